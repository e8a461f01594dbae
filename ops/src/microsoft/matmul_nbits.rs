//! `MatMulNBits`: A · Wᵀ + bias, where W is of 2, 4 or 8 bits, `[N, K]` in blocks along K: W = (code − zero) · scale.
//!
//! Zero points are packed as the codes are, or numbers of A's type; 2^(bits − 1) without any. With `g_idx`, which names a
//! block for each k, W's scale and zero point at k are that block's. The product is computed in `float`, but for many rows of
//! A at `accuracy_level` 4, which says that 8 bits are enough for A: its rows are quantized then, block by block. Where B
//! is empty, the product counts as 0.

use super::DOMAIN;
use crate::Define;
use crate::dtypes::{from_f32, to_f32};
use crate::matmul::product_macs;
use crate::packed::Packed;
use crate::parallel;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Prepared, Schema, Types, arg, int, opt, required,
};
use planish_kernels::Threads;
use planish_kernels::gemm::{Epilogue, MatRef, PackedB, gemm};
use planish_kernels::nbits::{Blocks, PackedBlocks};
use planish_tensor::{DType, Shape, Tensor, TensorMut};
use std::ops::Range;
use std::sync::Arc;

const REAL: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

/// The most rows of A that are multiplied with codes as they are read.
const FEW_ROWS: usize = 8;

/// Rows of W that become numbers together.
const TILE: usize = 32;

/// A core's time for one multiply-accumulate of many rows.
const NS_PER_MAC: f64 = 0.03;

/// A core's time for one element that moves.
const NS_PER_ELEMENT: f64 = 0.5;

/// The attributes of `MatMulNBits`, checked.
#[derive(Clone, Copy, Debug)]
struct Form {
    depth: usize,
    columns: usize,
    bits: usize,
    block: usize,
    /// Whether 8 bits are enough for A.
    is_coarse: bool,
}

/// `MatMulNBits`.
#[derive(Debug)]
pub struct MatMulNBits {
    form: Form,
    num_inputs: usize,
    weights: Option<Arc<Weights>>,
}

impl Define for MatMulNBits {
    const SCHEMA: Schema = Schema::new("MatMulNBits", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("A", REAL).var("T1"),
            arg("B", Types::of(&[DType::U8])).var("T2"),
            arg("scales", REAL).var("T1"),
            opt("zero_points", REAL.or(Types::of(&[DType::U8]))).var("T3"),
            opt("g_idx", Types::of(&[DType::I32])),
            opt("bias", REAL).var("T1"),
        ])
        .outputs(&[arg("Y", REAL).var("T1")])
        .attributes(&[
            required("K", AttributeKind::Int),
            required("N", AttributeKind::Int),
            int("accuracy_level", 0),
            int("bits", 4),
            required("block_size", AttributeKind::Int),
            int("weight_prepacked", 0),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let size = |name: &str| -> Result<usize, AttributeError> {
            let got = node.int(name)?;
            u32::try_from(got).ok().filter(|&got| got > 0).map(|got| got as usize).ok_or_else(|| {
                AttributeError::invalid(format!("attribute {name:?}: expected a positive number, got {got}"))
            })
        };
        let (bits, block) = (size("bits")?, block_size(node, 16)?);
        match bits {
            2 | 4 | 8 => {}
            3 | 5..=7 => return Err(AttributeError::unsupported(format!("weights of {bits} bits"))),
            _ => return Err(AttributeError::invalid(format!("attribute \"bits\": expected 2, 4 or 8, got {bits}"))),
        }
        if !(0..=4).contains(&node.int("accuracy_level")?) {
            let got = node.int("accuracy_level")?;
            return Err(AttributeError::invalid(format!("attribute \"accuracy_level\": expected 0 to 4, got {got}")));
        }
        if node.int("weight_prepacked")? != 0 {
            return Err(AttributeError::unsupported("weights packed for another device"));
        }
        let is_coarse = node.int("accuracy_level")? == 4;
        let form = Form { depth: size("K")?, columns: size("N")?, bits, block, is_coarse };
        Ok(MatMulNBits { form, num_inputs: node.num_inputs, weights: None })
    }
}

/// `block_size`, a power of 2 of at least `least`.
pub(super) fn block_size(node: &NodeView<'_>, least: u32) -> Result<usize, AttributeError> {
    let got = node.int("block_size")?;
    let size = u32::try_from(got).ok().filter(|size| size.is_power_of_two() && *size >= least);
    size.map(|size| size as usize).ok_or_else(|| {
        let expected = format!("a power of 2 of at least {least}");
        AttributeError::invalid(format!("attribute \"block_size\": expected {expected}, got {got}"))
    })
}

/// W in the order in which products read it, as it came, or both.
#[derive(Debug)]
struct Weights {
    packed: Option<Packed<PackedBlocks>>,
    raw: Option<RawWeights>,
}

/// W as it came, its scales and zero points as `float`.
#[derive(Debug)]
struct RawWeights {
    codes: Tensor,
    scales: Tensor,
    zeros: Option<Tensor>,
    /// The block of each k, where they are not in order.
    groups: Option<Vec<usize>>,
}

impl Form {
    fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// Codes, scales, zero points and `g_idx`, checked.
    fn weights(
        &self,
        cx: &EvalCx<'_>,
        codes: &Tensor,
        scales: &Tensor,
        zeros: Option<&Tensor>,
        groups: Option<&Tensor>,
    ) -> Result<RawWeights, OpError> {
        let (blocks, bytes) = (self.blocks(), self.block * self.bits / 8);
        let of_blocks = self.columns.checked_mul(blocks);
        let expected = of_blocks.and_then(|count| count.checked_mul(bytes));
        if expected != Some(codes.num_elements()) {
            let (shape, n) = (codes.shape(), self.columns);
            return Err(OpError::invalid(format!("B: expected shape [{n}, {blocks}, {bytes}], got {shape}")));
        }
        if of_blocks != Some(scales.num_elements()) {
            let (shape, n) = (scales.shape(), self.columns);
            return Err(OpError::invalid(format!("scales: expected shape [{n}, {blocks}], got {shape}")));
        }
        let zeros = zeros.map(|zeros| self.zeros(cx, zeros)).transpose()?;
        let groups = groups.map(|groups| self.groups(groups)).transpose()?;
        Ok(RawWeights { codes: codes.clone(), scales: to_f32(cx, scales)?, zeros, groups: groups.flatten() })
    }

    /// Zero points as `float`, one a block.
    fn zeros(&self, cx: &EvalCx<'_>, zeros: &Tensor) -> Result<Tensor, OpError> {
        let blocks = self.blocks();
        let row_bytes = (blocks * self.bits).div_ceil(8);
        let each = if zeros.dtype() == DType::U8 { row_bytes } else { blocks };
        if self.columns.checked_mul(each) != Some(zeros.num_elements()) {
            let (shape, n) = (zeros.shape(), self.columns);
            return Err(OpError::invalid(format!("zero_points: expected shape [{n}, {each}], got {shape}")));
        }
        if zeros.dtype() != DType::U8 {
            return to_f32(cx, zeros);
        }
        let mut y = cx.uninit::<f32>(Shape::new(&[self.columns, blocks])?)?;
        let (per_byte, mask) = (8 / self.bits, 0xffu8 >> (8 - self.bits));
        for (y, bytes) in y.chunks_exact_mut(blocks).zip(zeros.as_slice::<u8>()?.chunks_exact(row_bytes)) {
            for (i, y) in y.iter_mut().enumerate() {
                *y = f32::from((bytes[i / per_byte] >> (i % per_byte * self.bits)) & mask);
            }
        }
        Ok(y.freeze())
    }

    /// The block of each k; nothing where k's blocks are in order.
    fn groups(&self, groups: &Tensor) -> Result<Option<Vec<usize>>, OpError> {
        let groups = groups.as_slice::<i32>()?;
        let blocks = self.blocks();
        // The standard packing pads g_idx to whole blocks.
        if groups.len() != self.depth && groups.len() != blocks * self.block {
            let (expected, got) = (self.depth, groups.len());
            return Err(OpError::invalid(format!("g_idx: expected {expected} elements, got {got}")));
        }
        let checked = groups[..self.depth].iter().map(|&group| {
            usize::try_from(group)
                .ok()
                .filter(|&group| group < blocks)
                .ok_or_else(|| OpError::invalid(format!("g_idx: index {group} is out of range for {blocks} blocks")))
        });
        let checked = checked.collect::<Result<Vec<usize>, OpError>>()?;
        let is_in_order = checked.iter().enumerate().all(|(k, &group)| k / self.block == group);
        Ok((!is_in_order).then_some(checked))
    }
}

impl Weights {
    /// The product with `rows` rows of A.
    fn product(
        &self,
        cx: &EvalCx<'_>,
        form: &Form,
        a: &[f32],
        rows: usize,
        bias: Option<&[f32]>,
        shape: Shape,
    ) -> Result<Tensor, OpError> {
        let raw = self.raw.as_ref().filter(|_| rows > FEW_ROWS || self.packed.is_none());
        match (&self.packed, raw) {
            (_, Some(raw)) => finish(cx, &raw.product(cx, form, a, rows)?, shape, form.columns, bias),
            (Some(packed), None) => {
                cx.check()?;
                let mut y = cx.uninit::<f32>(shape)?;
                let padded = form.depth.next_multiple_of(form.block);
                let _charge = cx.memory.reserve(padded.saturating_mul(rows).saturating_mul(size_of::<f32>()))?;
                if rows > FEW_ROWS && packed.can_multiply_int8() {
                    packed.multiply_int8(&cx.threads, a, rows, bias, &mut y);
                } else {
                    packed.multiply(&cx.threads, a, rows, bias, &mut y);
                }
                Ok(y.freeze())
            }
            (None, None) => Err(OpError::Internal("weights are neither packed nor as they came".to_owned())),
        }
    }
}

impl RawWeights {
    fn blocks<'a>(&'a self, form: &Form) -> Result<Blocks<'a>, OpError> {
        let zeros = self.zeros.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let (codes, scales) = (self.codes.as_slice::<u8>()?, self.scales.as_slice::<f32>()?);
        Ok(Blocks::new(form.bits, form.block, [form.columns, form.depth], codes, scales, zeros))
    }

    /// Packed for products, and left as they are where those need it.
    fn packed(self, cx: &EvalCx<'_>, form: &Form) -> Result<Weights, OpError> {
        if self.groups.is_some() || !PackedBlocks::takes(form.bits, form.block) {
            return Ok(Weights { packed: None, raw: Some(self) });
        }
        let size = [form.columns, form.depth];
        let size = PackedBlocks::size_bytes(form.bits, form.block, size, self.zeros.is_some());
        let blocks = self.blocks(form)?;
        let packed = Packed::new(&cx.memory, size, || PackedBlocks::pack(&blocks, &cx.threads))?;
        let is_enough = form.is_coarse && packed.can_multiply_int8();
        Ok(Weights { packed: Some(packed), raw: (!is_enough).then_some(self) })
    }

    /// The product with `rows` rows of A, transposed: `[N, rows]`.
    fn product(&self, cx: &EvalCx<'_>, form: &Form, a: &[f32], rows: usize) -> Result<TensorMut<f32>, OpError> {
        let mut y = cx.uninit::<f32>(Shape::new(&[form.columns, rows])?)?;
        if y.is_empty() {
            return Ok(y);
        }
        if let Some(groups) = &self.groups {
            return self.product_of_groups(cx, form, a, y, groups);
        }
        let blocks = self.blocks(form)?;
        multiply_tiles(cx, form, a, &mut y, |columns, weights| blocks.dequantize(columns, weights))?;
        Ok(y)
    }

    /// [`product`](Self::product) where scale and zero point of each k are those of the block that `groups` names.
    fn product_of_groups(
        &self,
        cx: &EvalCx<'_>,
        form: &Form,
        a: &[f32],
        mut y: TensorMut<f32>,
        groups: &[usize],
    ) -> Result<TensorMut<f32>, OpError> {
        let blocks = form.blocks();
        let mut ones = cx.uninit::<f32>(Shape::new(&[form.columns, blocks])?)?;
        ones.fill(1.0);
        let none = cx.zeros::<f32>(Shape::new(&[form.columns, blocks])?)?;
        let codes = self.codes.as_slice::<u8>()?;
        let plain = Blocks::new(form.bits, form.block, [form.columns, form.depth], codes, &ones, Some(&none));
        let zeros = self.zeros.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let scales = self.scales.as_slice::<f32>()?;
        let middle = f32::from(1u8 << (form.bits - 1));
        multiply_tiles(cx, form, a, &mut y, |columns, weights| {
            plain.dequantize(columns.clone(), weights);
            for (column, weights) in columns.zip(weights.chunks_exact_mut(form.depth)) {
                for (weight, group) in weights.iter_mut().zip(groups) {
                    let at = column * blocks + group;
                    *weight = (*weight - zeros.map_or(middle, |zeros| zeros[at])) * scales[at];
                }
            }
        })?;
        Ok(y)
    }
}

/// y = W · Aᵀ by tiles of rows of W, which `dequantize` turns into numbers.
fn multiply_tiles(
    cx: &EvalCx<'_>,
    form: &Form,
    a: &[f32],
    y: &mut [f32],
    dequantize: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Result<(), OpError> {
    let (rows, depth) = (y.len() / form.columns, form.depth);
    let right = MatRef::row_major(a, rows, depth).transposed();
    let size = PackedB::size_bytes(depth, rows);
    let right = Packed::new(&cx.memory, size, || PackedB::pack(right, &cx.threads))?;
    let _tiles = cx.memory.reserve(depth.saturating_mul(TILE * size_of::<f32>()).saturating_mul(cx.threads.count()))?;
    let ns_per_element = depth as f64 * NS_PER_MAC;
    parallel::fill_units(cx, y, rows, ns_per_element, |start, y| {
        let mut weights = vec![0.0; TILE * depth];
        let first = start / rows;
        for (tile, y) in y.chunks_mut(TILE * rows).enumerate() {
            let columns = first + tile * TILE..first + tile * TILE + y.len() / rows;
            let weights = &mut weights[..columns.len() * depth];
            dequantize(columns.clone(), weights);
            let left = MatRef::row_major(weights, columns.len(), depth);
            gemm(&Threads::single(), 1.0, left, &*right, 0.0, y, rows, &Epilogue::default());
        }
    })
}

/// The transpose of `[columns, rows]`, and a bias for each column.
fn finish(
    cx: &EvalCx<'_>,
    transposed: &[f32],
    shape: Shape,
    columns: usize,
    bias: Option<&[f32]>,
) -> Result<Tensor, OpError> {
    let mut y = cx.uninit::<f32>(shape)?;
    let rows = transposed.len() / columns;
    parallel::fill_units(cx, &mut y, columns, NS_PER_ELEMENT, |start, y| {
        for (row, y) in (start / columns..).zip(y.chunks_exact_mut(columns)) {
            y.iter_mut().enumerate().for_each(|(column, y)| *y = transposed[column * rows + row]);
            if let Some(bias) = bias {
                y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
    })?;
    Ok(y.freeze())
}

impl MatMulNBits {
    fn multiply(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let form = &self.form;
        let a = inputs.tensor(0)?;
        let rows = match a.shape().split_last() {
            Some((&depth, rows)) if depth == form.depth => rows,
            _ => {
                let (depth, shape) = (form.depth, a.shape());
                return Err(OpError::invalid(format!("A: expected a last axis of {depth}, got shape {shape}")));
            }
        };
        let shape = Shape::new(&[rows, &[form.columns]].concat())?;
        let bias = inputs.opt_tensor(5)?.map(|bias| to_f32(cx, bias)).transpose()?;
        let bias = bias.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        if let Some(got) = bias.map(<[f32]>::len).filter(|&got| got != form.columns) {
            return Err(OpError::invalid(format!("bias: expected {} elements, got {got}", form.columns)));
        }
        let rows = rows.iter().product();
        let weights = match &self.weights {
            Some(weights) => weights.clone(),
            None if inputs.tensor(1)?.num_elements() == 0 => {
                let zeros = cx.zeros::<f32>(Shape::new(&[form.columns, rows])?)?;
                return finish(cx, &zeros, shape, form.columns, bias);
            }
            None => {
                let (zeros, groups) = (inputs.opt_tensor(3)?, inputs.opt_tensor(4)?);
                let raw = form.weights(cx, inputs.tensor(1)?, inputs.tensor(2)?, zeros, groups)?;
                Arc::new(Weights { packed: None, raw: Some(raw) })
            }
        };
        weights.product(cx, form, to_f32(cx, a)?.as_slice()?, rows, bias, shape)
    }
}

impl Op for MatMulNBits {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(a) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let (depth, columns) = (Dim::known(self.form.depth as i64), Dim::known(self.form.columns as i64));
        match a {
            [rows @ .., last] if !Dim::provably_different(last, &depth) => {
                Ok(vec![Fact::shaped(x.dtype(0), rows.iter().cloned().chain([columns]).collect())])
            }
            _ => Err(InferError(format!("A: expected a last axis of {depth}, got {a:?}"))),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let y = self.multiply(cx, &inputs)?;
        Ok(from_f32(cx, y, inputs.tensor(0)?.dtype())?.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(codes), Some(scales)) = (constant(1), constant(2)) else { return Ok(None) };
        let is_open = |index: usize| self.num_inputs > index && constant(index).is_none();
        if codes.num_elements() == 0 || is_open(3) || is_open(4) {
            return Ok(None);
        }
        let raw = self.form.weights(cx, codes, scales, constant(3), constant(4))?;
        let weights = Arc::new(raw.packed(cx, &self.form)?);
        let op = MatMulNBits { form: self.form, num_inputs: self.num_inputs, weights: Some(weights) };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1, 2, 3, 4] }))
    }
}

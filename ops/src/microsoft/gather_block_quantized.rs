//! `GatherBlockQuantized`: slices of a quantized tensor along one axis, dequantized: (code − zero) · scale, scales and zero
//! points being shared by blocks along `quantize_axis`.
//!
//! Data of `uint8` holds codes of `bits` bits, packed along the last axis; without zero points they count from 2^(bits − 1),
//! data of 4-bit types from 0. An index out of range gives zeros.

use super::DOMAIN;
use super::matmul_nbits::block_size;
use crate::Define;
use crate::dtypes::{from_f32, to_f32};
use crate::indices::checked_index;
use crate::parallel;
use planish_ir::{
    AttributeError, Axis, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int, opt,
};
use planish_tensor::{DType, Shape, Tensor};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 2.0;

const CODES: Types = Types::of(&[DType::I4, DType::U4, DType::U8]);

const REAL: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

/// `GatherBlockQuantized`.
#[derive(Debug)]
pub struct GatherBlockQuantized {
    gather_axis: Axis,
    quantize_axis: Axis,
    block: usize,
    /// Bits of a code in data of `uint8`.
    bits: usize,
}

impl Define for GatherBlockQuantized {
    const SCHEMA: Schema = Schema::new("GatherBlockQuantized", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("data", CODES).var("T1"),
            arg("indices", INDICES).var("Tind"),
            arg("scales", REAL).var("T2"),
            opt("zero_points", CODES).var("T1"),
        ])
        .outputs(&[arg("output", REAL).var("T2")])
        .attributes(&[int("bits", 4), int("block_size", 128), int("gather_axis", 0), int("quantize_axis", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let bits = match node.int("bits")? {
            2 => 2,
            4 => 4,
            8 => 8,
            got => return Err(AttributeError::invalid(format!("attribute \"bits\": expected 2, 4 or 8, got {got}"))),
        };
        Ok(GatherBlockQuantized {
            gather_axis: Axis::new(node.int("gather_axis")?),
            quantize_axis: Axis::new(node.int("quantize_axis")?),
            block: block_size(node, 16)?,
            bits,
        })
    }
}

impl GatherBlockQuantized {
    /// Codes in one element of the data.
    fn codes_each(&self, dtype: DType) -> usize {
        if dtype == DType::U8 { 8 / self.bits } else { 1 }
    }
}

impl Op for GatherBlockQuantized {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(data), Some(indices), Some(dtype)) = (x.shape(0), x.shape(1), x.dtype(0)) else {
            return Ok(vec![Fact::tensor(x.dtype(2))]);
        };
        let axis = self.gather_axis.resolve(data.len())?;
        self.quantize_axis.resolve(data.len())?;
        let mut codes = data.to_vec();
        if let Some(last) = codes.last_mut() {
            *last = &*last * self.codes_each(dtype) as i64;
        }
        let y: Vec<Dim> = [&codes[..axis], indices, &codes[axis + 1..]].concat();
        Ok(vec![Fact::shaped(x.dtype(2), y)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let scales = to_f32(cx, inputs.tensor(2)?)?;
        let table = Table::new(self, inputs.tensor(0)?, &scales, inputs.opt_tensor(3)?)?;
        let y = table.gather(cx, self.gather_axis, inputs.tensor(1)?)?;
        Ok(from_f32(cx, y, inputs.tensor(2)?.dtype())?.into())
    }
}

/// A quantized tensor, its parts checked against each other.
struct Table<'a> {
    /// The shape in codes.
    shape: Shape,
    codes: Codes<'a>,
    scales: &'a [f32],
    /// Scales along the last axis.
    row: usize,
    /// Zero points, and how many of them such a row of them takes.
    zeros: Option<(Codes<'a>, usize)>,
    middle: f32,
    block: usize,
    /// Codes of one step along the quantized axis, and the length of that axis.
    inner: usize,
    length: usize,
}

/// Integers of few bits in rows of whole bytes.
#[derive(Clone, Copy)]
struct Codes<'a> {
    bytes: &'a [u8],
    bits: usize,
    is_signed: bool,
}

impl Codes<'_> {
    #[inline]
    fn at(&self, index: usize) -> f32 {
        let per_byte = 8 / self.bits;
        let unused = 8 - self.bits;
        let code = (self.bytes[index / per_byte] >> (index % per_byte * self.bits)) << unused;
        if self.is_signed { f32::from(code.cast_signed() >> unused) } else { f32::from(code >> unused) }
    }
}

impl<'a> Table<'a> {
    fn new(
        op: &GatherBlockQuantized,
        data: &'a Tensor,
        scales: &'a Tensor,
        zeros: Option<&'a Tensor>,
    ) -> Result<Table<'a>, OpError> {
        let is_packed = data.dtype() == DType::U8;
        let bits = if is_packed { op.bits } else { 4 };
        let axis = op.quantize_axis.resolve(data.rank())?;
        if is_packed && bits < 8 && op.gather_axis.resolve(data.rank())? + 1 == data.rank() {
            return Err(OpError::invalid("packed codes cannot be gathered along their last axis"));
        }
        let mut dims = data.shape().to_vec();
        let last = dims.len() - 1;
        dims[last] = dims[last]
            .checked_mul(op.codes_each(data.dtype()))
            .ok_or_else(|| OpError::invalid(format!("data of shape {} has too many codes", data.shape())))?;
        let shape = Shape::new(&dims)?;
        dims[axis] = dims[axis].div_ceil(op.block);
        if scales.shape().dims() != dims {
            return Err(OpError::invalid(format!("scales: expected shape {dims:?}, got {}", scales.shape())));
        }
        let codes = |tensor: &'a Tensor| Codes { bytes: tensor.bytes(), bits, is_signed: tensor.dtype() == DType::I4 };
        let row = dims[last];
        if is_packed {
            dims[last] = (row * bits).div_ceil(8);
        }
        if let Some(zeros) = zeros.filter(|zeros| zeros.shape().dims() != dims) {
            return Err(OpError::invalid(format!("zero_points: expected shape {dims:?}, got {}", zeros.shape())));
        }
        // Rows of packed zero points begin at whole bytes.
        let row_codes = if is_packed { dims[last] * 8 / bits } else { row };
        Ok(Table {
            inner: shape.split_at(axis + 1).1,
            length: shape[axis],
            shape,
            codes: codes(data),
            scales: scales.as_slice()?,
            row,
            zeros: zeros.map(|zeros| (codes(zeros), row_codes)),
            middle: if is_packed { f32::from(1u8 << (bits - 1)) } else { 0.0 },
            block: op.block,
        })
    }

    /// The number that code `index` stands for.
    fn number(&self, index: usize) -> f32 {
        let along = self.inner * self.length;
        let blocks = self.length.div_ceil(self.block);
        let (outer, k) = (index / along, index % along / self.inner);
        let scale = (outer * blocks + k / self.block) * self.inner + index % self.inner;
        let zero = match &self.zeros {
            Some((zeros, row_codes)) => zeros.at(scale / self.row * row_codes + scale % self.row),
            None => self.middle,
        };
        (self.codes.at(index) - zero) * self.scales[scale]
    }

    fn gather(&self, cx: &EvalCx<'_>, axis: Axis, indices: &Tensor) -> Result<Tensor, OpError> {
        let axis = axis.resolve(self.shape.rank())?;
        let (length, slice) = (self.shape[axis], self.shape.split_at(axis + 1).1);
        let dims = [&self.shape[..axis], indices.shape(), &self.shape[axis + 1..]].concat();
        let _charge = cx.memory.reserve(indices.num_elements().saturating_mul(size_of::<Option<usize>>()))?;
        let indices: Vec<Option<usize>> = match indices.dtype() {
            DType::I32 => indices.as_slice::<i32>()?.iter().map(|&i| checked_index(i.into(), length).ok()).collect(),
            _ => indices.as_slice::<i64>()?.iter().map(|&i| checked_index(i, length).ok()).collect(),
        };
        let mut y = cx.uninit::<f32>(Shape::new(&dims)?)?;
        if y.is_empty() {
            return Ok(y.freeze());
        }
        parallel::fill_units(cx, &mut y, slice, NS_PER_ELEMENT, |start, piece| {
            for (i, y) in (start / slice..).zip(piece.chunks_exact_mut(slice)) {
                match indices[i % indices.len()] {
                    Some(index) => {
                        let first = (i / indices.len() * length + index) * slice;
                        y.iter_mut().enumerate().for_each(|(at, y)| *y = self.number(first + at));
                    }
                    None => y.fill(0.0),
                }
            }
        })?;
        Ok(y.freeze())
    }
}

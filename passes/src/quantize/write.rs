//! Puts a weight's codes in place of its numbers.
//!
//! For any runtime, `DequantizeLinear` in blocks makes the numbers again, and whoever read them reads those; scales of 16
//! bits go with a `Cast` after it. ONNX Runtime gets `MatMulNBits` and `GatherBlockQuantized` of its own domain where they
//! fit: both read the same bytes.

use super::codes::Codes;
use super::sites::{Reader, Role, Weight};
use crate::driver::PROVENANCE_KEY;
use crate::pipeline::Target;
use planish_ir::{Attribute, Attributes, Graph, GraphError, NodeId, Registry, ValueId};
use planish_ops::StandardRegistry;
use planish_tensor::{DType, PayloadError, Tensor, bf16, f16};
use std::fmt;

/// Why a graph could not take a weight's codes.
#[derive(Debug)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The graph refused an edit.
    Graph(GraphError),
    /// There is no memory for a tensor.
    Tensor(PayloadError),
    /// An operator that planish itself makes was refused.
    Operator(String),
}

impl fmt::Display for QuantizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuantizeError::Graph(error) => error.fmt(f),
            QuantizeError::Tensor(error) => error.fmt(f),
            QuantizeError::Operator(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for QuantizeError {}

impl From<GraphError> for QuantizeError {
    fn from(error: GraphError) -> Self {
        QuantizeError::Graph(error)
    }
}

impl From<PayloadError> for QuantizeError {
    fn from(error: PayloadError) -> Self {
        QuantizeError::Tensor(error)
    }
}

/// Adds nodes to a graph, each saying what it came from.
pub(super) struct Builder<'a> {
    pub graph: &'a mut Graph,
    /// What names of new values begin with.
    pub stem: String,
    /// The node, or the weight, that new nodes stand for.
    pub origin: String,
}

impl Builder<'_> {
    pub fn constant(&mut self, what: &str, tensor: Tensor) -> Result<ValueId, QuantizeError> {
        let name = self.graph.fresh_name(&format!("{}_{what}", self.stem));
        Ok(self.graph.add_constant(&name, tensor)?)
    }

    pub fn operator(
        &mut self,
        domain: &str,
        name: &str,
        attributes: Attributes,
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, QuantizeError> {
        let length = inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let inputs = &inputs[..length];
        let operator = StandardRegistry
            .operator(domain, name, attributes, inputs.len(), 1)
            .map_err(|e| QuantizeError::Operator(format!("{name}: {e}")))?;
        let output = self.graph.fresh_name(&format!("{}_{}", self.stem, name.to_lowercase()));
        let id = self.graph.add_node("", operator, inputs, &[], &[&output])?;
        self.graph.node_mut(id).metadata.push((PROVENANCE_KEY.to_owned(), self.origin.clone()));
        if let Some(conflict) = self.graph.infer_node(id).first() {
            return Err(QuantizeError::Operator(format!("{name}: {}", conflict.message)));
        }
        Ok(ValueId { node: id, output: 0 })
    }
}

/// Readers of `old` read `new`, which takes its name.
pub(super) fn stand_in(graph: &mut Graph, old: ValueId, new: ValueId) -> Result<(), QuantizeError> {
    let name = graph.value_name(old).to_owned();
    let ty = graph.fact(old).ty.clone();
    graph.replace_uses(old, new);
    let known = graph.fact(new).clone();
    if let Ok(ty) = known.ty.unify(&ty) {
        graph.set_fact(new, planish_ir::Fact { ty, ..known });
    }
    let spare = graph.fresh_name("replaced");
    graph.rename_value(old, &spare)?;
    graph.rename_value(new, &name)?;
    Ok(())
}

/// Removes a node that nobody reads, and what only it read.
pub(super) fn sweep(graph: &mut Graph, id: NodeId) {
    let mut pending = vec![id];
    while let Some(id) = pending.pop() {
        let inputs = if graph.contains(id) { graph.node_inputs(id) } else { continue };
        let is_source = graph.node(id).operator().is_none() && graph.node(id).constant().is_none();
        if !is_source && graph.remove_node(id).is_ok() {
            pending.extend(inputs.iter().flatten().map(|v| v.node));
        }
    }
}

/// Puts `codes` in place of `weight`. Returns the bytes that they take.
pub fn put(graph: &mut Graph, weight: &Weight, codes: &Codes, target: Target) -> Result<usize, QuantizeError> {
    if target == Target::Ort {
        let fits = weight.readers.iter().all(|reader| ort_fits(graph, weight, codes, reader));
        if fits {
            return put_for_ort(graph, weight, codes);
        }
    }
    put_standard(graph, weight, codes)
}

fn put_standard(graph: &mut Graph, weight: &Weight, codes: &Codes) -> Result<usize, QuantizeError> {
    let mut builder = Builder { stem: weight.name.clone(), origin: weight.name.clone(), graph };
    // Rows that are gathered lie in one piece.
    let is_transposed = weight.is_transposed && !weight.is_gathered();
    let is_half = codes.grid.has_half_scales && codes.fits_halves();
    let scales = codes.scales(if is_half { DType::F16 } else { DType::F32 }, is_transposed)?;
    let (codes_tensor, zeros) = (codes.tensor(is_transposed)?, codes.zeros(is_transposed)?);
    let bytes = [Some(&codes_tensor), Some(&scales), zeros.as_ref()].into_iter().flatten().map(Tensor::num_bytes).sum();
    let inputs = [
        Some(builder.constant("codes", codes_tensor)?),
        Some(builder.constant("scales", scales)?),
        zeros.map(|zeros| builder.constant("zeros", zeros)).transpose()?,
    ];
    let attributes = Attributes::new().with("axis", i64::from(!is_transposed)).with("block_size", codes.block as i64);
    let mut numbers = builder.operator("", "DequantizeLinear", attributes, &inputs)?;
    if is_half {
        let to = Attributes::new().with("to", i64::from(DType::F32.to_onnx()));
        numbers = builder.operator("", "Cast", to, &[Some(numbers)])?;
    }
    if is_transposed == weight.is_transposed {
        stand_in(builder.graph, weight.value, numbers)?;
        sweep(builder.graph, weight.value.node);
        return Ok(bytes);
    }
    // The constant was Wᵀ, the numbers are W: readers through a transposition read them at once, the others through one.
    let perm = Attributes::new().with("perm", Attribute::Ints(vec![1, 0]));
    let direct = weight.readers.iter().any(|reader| reader.through.is_none());
    let transposed = match direct {
        true => Some(builder.operator("", "Transpose", perm, &[Some(numbers)])?),
        false => None,
    };
    for through in weight.readers.iter().filter_map(|reader| reader.through) {
        if builder.graph.contains(through) {
            builder.graph.replace_uses(ValueId { node: through, output: 0 }, numbers);
            sweep(builder.graph, through);
        }
    }
    if let Some(transposed) = transposed {
        stand_in(builder.graph, weight.value, transposed)?;
        sweep(builder.graph, weight.value.node);
    }
    Ok(bytes)
}

/// Whether ONNX Runtime's own operators say what a reader does with a weight.
fn ort_fits(graph: &Graph, weight: &Weight, codes: &Codes, reader: &Reader) -> bool {
    if !codes.block.is_power_of_two() || codes.block < 16 {
        return false;
    }
    match reader.role {
        Role::Product => true,
        // Its rows must be whole blocks, or the codes of both operators lie in different places.
        Role::Gather => weight.depth.is_multiple_of(codes.block),
        Role::Gemm => gemm_is_plain(graph, weight, reader.node),
    }
}

/// Whether a `Gemm` is x · Wᵀ + c, with an element of c for each row of W or no c at all.
fn gemm_is_plain(graph: &Graph, weight: &Weight, gemm: NodeId) -> bool {
    let Some(operator) = graph.node(gemm).operator() else { return false };
    let is_one = |name: &str| !matches!(operator.attributes.get(name), Some(Attribute::Float(v)) if *v != 1.0);
    let is_transposed = matches!(operator.attributes.get("transA"), Some(Attribute::Int(v)) if *v != 0);
    let c = graph.node_inputs(gemm).get(2).copied().flatten();
    let fits = c.is_none_or(|c| {
        graph.fact(c).shape().is_some_and(|shape| shape.len() == 1 && shape[0].as_known() == Some(weight.rows as i64))
    });
    is_one("alpha") && is_one("beta") && !is_transposed && fits
}

const MICROSOFT: &str = "com.microsoft";

fn put_for_ort(graph: &mut Graph, weight: &Weight, codes: &Codes) -> Result<usize, QuantizeError> {
    let mut builder = Builder { stem: weight.name.clone(), origin: weight.name.clone(), graph };
    let (packed, scales, zeros) = (codes.packed()?, codes.scales(DType::F32, false)?, codes.packed_zeros()?);
    let bytes = [Some(&packed), Some(&scales), zeros.as_ref()].into_iter().flatten().map(Tensor::num_bytes).sum();
    let packed = builder.constant("codes", packed)?;
    let scales = builder.constant("scales", scales)?;
    let zeros = zeros.map(|zeros| builder.constant("zeros", zeros)).transpose()?;
    let (bits, block) = (i64::from(codes.grid.bits), codes.block as i64);
    for reader in &weight.readers {
        let output = ValueId { node: reader.node, output: 0 };
        builder.origin = builder.graph.describe(reader.node);
        builder.stem = builder.graph.value_name(output).to_owned();
        let inputs = builder.graph.node_inputs(reader.node);
        let input = |index: usize| inputs.get(index).copied().flatten();
        let new = if reader.role == Role::Gather {
            let row_bytes = (weight.depth * codes.grid.bits as usize / 8) as i64;
            let shape = builder.constant("rows", Tensor::vector(&[weight.rows as i64, row_bytes]))?;
            let data = builder.operator("", "Reshape", Attributes::new(), &[Some(packed), Some(shape)])?;
            let attributes = Attributes::new()
                .with("bits", bits)
                .with("block_size", block)
                .with("gather_axis", 0i64)
                .with("quantize_axis", 1i64);
            builder.operator(
                MICROSOFT,
                "GatherBlockQuantized",
                attributes,
                &[Some(data), input(1), Some(scales), zeros],
            )?
        } else {
            let attributes = Attributes::new()
                .with("K", weight.depth as i64)
                .with("N", weight.rows as i64)
                .with("bits", bits)
                .with("block_size", block);
            let bias = input(2).filter(|_| reader.role == Role::Gemm);
            let inputs = [input(0), Some(packed), Some(scales), zeros, None, bias];
            builder.operator(MICROSOFT, "MatMulNBits", attributes, &inputs)?
        };
        let name = builder.graph.node(reader.node).name.clone();
        stand_in(builder.graph, output, new)?;
        builder.graph.node_mut(new.node).name = name;
        sweep(builder.graph, reader.node);
    }
    Ok(bytes)
}

/// Keeps `weight` in numbers of 16 bits. Returns the bytes that they take and the error relative to the weight; nothing, and
/// nothing done, where a number is too large for 16 bits.
pub fn put_short(graph: &mut Graph, weight: &Weight, dtype: DType) -> Result<Option<(usize, f64)>, QuantizeError> {
    let Some(tensor) = graph.constant(weight.value).cloned() else { return Ok(None) };
    let Ok(numbers) = tensor.as_slice::<f32>() else { return Ok(None) };
    let shape = tensor.shape().clone();
    let (short, restored): (Tensor, Vec<f32>) = match dtype {
        DType::F16 => {
            let short: Vec<f16> = numbers.iter().map(|&w| f16::from_f32(w)).collect();
            (Tensor::new(shape, &short)?, short.iter().map(|w| w.to_f32()).collect())
        }
        _ => {
            let short: Vec<bf16> = numbers.iter().map(|&w| bf16::from_f32(w)).collect();
            (Tensor::new(shape, &short)?, short.iter().map(|w| w.to_f32()).collect())
        }
    };
    if restored.iter().any(|w| !w.is_finite()) {
        return Ok(None);
    }
    let square = |x: f32| f64::from(x) * f64::from(x);
    let energy: f64 = numbers.iter().map(|&w| square(w)).sum();
    let error: f64 = numbers.iter().zip(&restored).map(|(w, r)| square(w - r)).sum();
    let bytes = short.num_bytes();
    let mut builder = Builder { stem: weight.name.clone(), origin: weight.name.clone(), graph };
    let short = builder.constant("short", short)?;
    let to = Attributes::new().with("to", i64::from(DType::F32.to_onnx()));
    let numbers = builder.operator("", "Cast", to, &[Some(short)])?;
    stand_in(builder.graph, weight.value, numbers)?;
    sweep(builder.graph, weight.value.node);
    Ok(Some((bytes, if energy > 0.0 { (error / energy).sqrt() } else { 0.0 })))
}

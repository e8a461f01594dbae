//! Layers between `QuantizeLinear` and `DequantizeLinear`, by ranges that were measured:
//!
//! ```text
//! y = Conv(x, w, b)   ⇒   y = D(Q(Conv(D(Q(x)), D(w'), D(b'))))
//! ```
//!
//! Activations are `uint8` with one scale a tensor, weights `int8` with one an output channel, biases `int32` of the scale that
//! sums have. A MatMul or Gemm gives floats unless what follows is quantized too.

use super::codes::laid_out;
use super::rows::Rows;
use super::write::{Builder, QuantizeError, sweep};
use planish_ir::{Attribute, Attributes, Graph, NodeId, Use, ValueId};
use planish_tensor::{DType, Memory, Shape, Tensor};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// Operators whose outputs are quantized where all that they read is.
const CARRIERS: &[&str] = &[
    "Add",
    "Mul",
    "Concat",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Reshape",
    "Transpose",
    "Flatten",
    "Resize",
];

/// Operators that give what they read: scales stay the same.
const MOVERS: &[&str] = &["MaxPool", "Reshape", "Transpose", "Flatten"];

/// A layer whose weights are constant.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The node.
    pub node: NodeId,
    /// What it reads.
    pub x: ValueId,
    /// Its weights.
    pub w: ValueId,
    /// Its bias, where it is constant.
    pub bias: Option<ValueId>,
    /// The axis of the weights that counts outputs, and the axis of x that counts inputs from the end or the front.
    output_axis: usize,
    /// The value that the layer and the bounds after it give.
    pub y: ValueId,
    is_conv: bool,
}

impl Layer {
    /// The axis of x along which means are taken for the correction of biases.
    pub fn channel_axis(&self, rank: usize) -> usize {
        if self.is_conv { 1 } else { rank.saturating_sub(1) }
    }
}

/// The layers of a graph that can be quantized.
pub fn find_layers(graph: &Graph) -> Vec<Layer> {
    let order = graph.topological_order().unwrap_or_default();
    order.into_iter().filter_map(|id| layer(graph, id)).collect()
}

fn layer(graph: &Graph, node: NodeId) -> Option<Layer> {
    let operator = graph.node(node).operator()?;
    let inputs = graph.node_inputs(node);
    let (x, w) = (inputs.first().copied().flatten()?, inputs.get(1).copied().flatten()?);
    let weights = graph.constant(w).filter(|w| w.dtype() == DType::F32)?;
    let is =
        |name: &str, value: f32| !matches!(operator.attributes.get(name), Some(Attribute::Float(v)) if *v != value);
    let int = |name: &str| matches!(operator.attributes.get(name), Some(Attribute::Int(v)) if *v != 0);
    let output_axis = match (operator.full_name().as_str(), weights.rank()) {
        ("Conv", rank) if rank >= 3 => 0,
        ("MatMul", 2) => 1,
        ("Gemm", 2) if is("alpha", 1.0) && is("beta", 1.0) && !int("transA") => usize::from(!int("transB")),
        _ => return None,
    };
    let is_conv = operator.is("Conv");
    let bias = inputs.get(2).copied().flatten();
    let fits = |bias: ValueId| graph.constant(bias).is_some_and(|b| b.rank() == 1 && b.dtype() == DType::F32);
    // A bias that is computed has no scale beforehand.
    if bias.is_some_and(|bias| !fits(bias)) || graph.fact(x).dtype() != Some(DType::F32) {
        return None;
    }
    let y = after_bounds(graph, ValueId { node, output: 0 });
    Some(Layer { node, x, w, bias, output_axis, y, is_conv })
}

/// The value after bounds, which the codes' own range takes over.
fn after_bounds(graph: &Graph, mut y: ValueId) -> ValueId {
    loop {
        let mut uses = graph.readers(y);
        let (Some(reader), None) = (uses.next(), uses.next()) else { return y };
        let is_bound = graph.node(reader.node).operator().is_some_and(|o| o.is("Relu") || o.is("Clip"));
        if graph.is_output(y) || !is_bound || reader.input != 0 {
            return y;
        }
        y = ValueId { node: reader.node, output: 0 };
    }
}

/// The values that become codes when these layers are quantized, in the order of the graph.
pub fn quantized_values(graph: &Graph, layers: &[Layer]) -> Vec<ValueId> {
    let mut wanted: HashSet<ValueId> = layers.iter().map(|layer| layer.x).collect();
    wanted.extend(layers.iter().filter(|layer| layer.is_conv).map(|layer| layer.y));
    let mut values = Vec::new();
    let mut seen: HashSet<ValueId> = HashSet::new();
    for id in graph.topological_order().unwrap_or_default() {
        let operator = graph.node(id).operator();
        for value in graph.node_outputs(id) {
            let carries = operator.is_some_and(|o| o.domain.is_empty() && CARRIERS.contains(&o.name.as_str()));
            let reads_codes = || {
                let floats = |v: &&ValueId| graph.fact(**v).dtype() == Some(DType::F32);
                let inputs = graph.node_inputs(id);
                let mut of_floats = inputs.iter().flatten().filter(floats).peekable();
                of_floats.peek().is_some() && of_floats.all(|v| seen.contains(v))
            };
            let is_float = graph.fact(value).dtype() == Some(DType::F32);
            let is_made = graph.constant(value).is_none();
            let is_wanted = wanted.contains(&value) || carries && !graph.is_output(value) && reads_codes();
            if is_float && is_made && is_wanted && seen.insert(value) {
                values.push(value);
            }
        }
    }
    values
}

/// What a value's codes mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The distance of two codes.
    pub scale: f32,
    /// The code of 0.
    pub zero: u8,
}

impl Affine {
    /// The 256 codes from `least` to `most`; 0 is one of them.
    pub fn over(least: f32, most: f32) -> Affine {
        let (least, most) = (least.min(0.0), most.max(0.0));
        let scale = (most - least) / 255.0;
        let scale = if scale.is_normal() { scale } else { 1.0 };
        Affine { scale, zero: (-least / scale).round().clamp(0.0, 255.0) as u8 }
    }
}

/// What became of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Bytes of its codes, scales and bias.
    pub bytes: usize,
    /// The error of its weights, relative to them.
    pub error: f64,
}

/// Quantizes layers and what lies between them. `means` of x by channel, where they are known, move biases by what the
/// errors of weights shift sums on average.
pub fn put_static(
    graph: &mut Graph,
    layers: &[Layer],
    ranges: &HashMap<ValueId, Affine>,
    means: &HashMap<ValueId, Vec<f64>>,
) -> Result<Vec<Placed>, QuantizeError> {
    let ranges = shared_ranges(graph, layers, ranges);
    let mut placed = Vec::new();
    let mut weights: HashMap<ValueId, (ValueId, Rows)> = HashMap::new();
    for layer in layers {
        placed.push(put_layer(graph, layer, &ranges, means, &mut weights)?);
    }
    for value in quantized_values_of(graph, &ranges) {
        put_pair(graph, value, ranges[&value])?;
    }
    for layer in
        layers.iter().filter(|layer| graph.contains(layer.w.node)).map(|layer| layer.w.node).collect::<Vec<_>>()
    {
        sweep(graph, layer);
    }
    Ok(placed)
}

/// Values that are moved only keep the codes of where they come from.
fn shared_ranges(graph: &Graph, layers: &[Layer], ranges: &HashMap<ValueId, Affine>) -> HashMap<ValueId, Affine> {
    let mut shared = HashMap::new();
    for value in quantized_values(graph, layers) {
        let Some(own) = ranges.get(&value) else { continue };
        let operator = graph.node(value.node).operator();
        let is_moved = operator.is_some_and(|o| o.domain.is_empty() && MOVERS.contains(&o.name.as_str()));
        let source = graph.node_inputs(value.node).first().copied().flatten();
        let of_source = source.filter(|_| is_moved).and_then(|source| shared.get(&source).copied());
        shared.insert(value, of_source.unwrap_or(*own));
    }
    shared
}

fn quantized_values_of(graph: &Graph, ranges: &HashMap<ValueId, Affine>) -> Vec<ValueId> {
    let order = graph.topological_order().unwrap_or_default();
    order
        .into_iter()
        .flat_map(|id| graph.node_outputs(id).collect::<Vec<_>>())
        .filter(|v| ranges.contains_key(v))
        .collect()
}

/// All readers of a value read it from its codes; the model gives out the value itself.
fn put_pair(graph: &mut Graph, value: ValueId, affine: Affine) -> Result<(), QuantizeError> {
    let readers: Vec<Use> = graph.uses(value).into_iter().collect();
    let name = graph.value_name(value).to_owned();
    let mut builder = Builder { stem: name.clone(), origin: name, graph };
    let scale = builder.constant("scale", Tensor::scalar(affine.scale))?;
    let zero = builder.constant("zero", Tensor::scalar(affine.zero))?;
    let codes = builder.operator("", "QuantizeLinear", Attributes::new(), &[Some(value), Some(scale), Some(zero)])?;
    let inputs = [Some(codes), Some(scale), Some(zero)];
    let numbers = builder.operator("", "DequantizeLinear", Attributes::new(), &inputs)?;
    for reader in readers {
        builder.graph.set_input(reader.node, reader.input, Some(numbers));
    }
    Ok(())
}

fn put_layer(
    graph: &mut Graph,
    layer: &Layer,
    ranges: &HashMap<ValueId, Affine>,
    means: &HashMap<ValueId, Vec<f64>>,
    weights: &mut HashMap<ValueId, (ValueId, Rows)>,
) -> Result<Placed, QuantizeError> {
    let missing = || QuantizeError::Operator(format!("layer {:?} has no weights", graph.describe(layer.node)));
    let w = graph.constant(layer.w).cloned().ok_or_else(missing)?;
    let dims = w.shape().dims().to_vec();
    let outputs = dims[layer.output_axis];
    let depth = w.num_elements().checked_div(outputs).unwrap_or(0);
    let is_transposed = !layer.is_conv && layer.output_axis == 1;
    let numbers = w.as_slice::<f32>().map_err(|e| QuantizeError::Operator(e.to_string()))?;
    let turned = if is_transposed { [depth, outputs] } else { [outputs, depth] };
    let by_row = laid_out(numbers, turned, is_transposed);
    let name = graph.value_name(layer.w).to_owned();
    let mut builder = Builder { stem: name, origin: graph.describe(layer.node), graph };
    let known = match weights.entry(layer.w) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let rows = Rows::of(&by_row, depth, !layer.is_conv);
            let codes = laid_out(&rows.codes, [outputs, depth], is_transposed);
            let codes: Vec<u8> = codes.into_iter().map(i8::cast_unsigned).collect();
            let codes = Tensor::from_bytes(Memory::global(), DType::I8, w.shape().clone(), codes.into())?;
            let zeros = Tensor::zeros(Memory::global(), DType::I8, shape(&[outputs])?)?;
            let inputs = [
                Some(builder.constant("codes", codes)?),
                Some(builder.constant("scales", Tensor::vector(&rows.scales))?),
                Some(builder.constant("zeros", zeros)?),
            ];
            let axis = Attributes::new().with("axis", layer.output_axis as i64);
            let made = builder.operator("", "DequantizeLinear", axis, &inputs)?;
            place.insert((made, rows))
        }
    };
    let (made, rows) = &*known;
    builder.graph.set_input(layer.node, 1, Some(*made));
    let mut bytes = rows.codes.len() + rows.scales.len() * 5;
    let affine = ranges.get(&layer.x);
    if let (Some(bias), Some(affine)) = (layer.bias, affine) {
        let shift = means.get(&layer.x).map(|means| shift_of(&by_row, rows, depth, means));
        bytes += put_bias(&mut builder, layer, bias, rows, *affine, shift.as_deref())?;
    }
    Ok(Placed { bytes, error: rows.relative_error() })
}

fn shape(dims: &[usize]) -> Result<Shape, QuantizeError> {
    Shape::new(dims).map_err(|e| QuantizeError::Operator(e.to_string()))
}

/// Σ (w − what its code stands for) · mean, for each output. Rows hold all places of one channel after the other; with groups
/// nothing is known of which channels a row reads, and nothing is moved.
fn shift_of(by_row: &[f32], rows: &Rows, depth: usize, means: &[f64]) -> Vec<f64> {
    let outputs = rows.scales.len();
    if means.is_empty() || !depth.is_multiple_of(means.len()) {
        return vec![0.0; outputs];
    }
    let places = depth / means.len();
    let of_row = |row: usize| -> f64 {
        (0..depth)
            .map(|k| {
                let at = row * depth + k;
                let off = f64::from(by_row[at]) - f64::from(rows.codes[at]) * f64::from(rows.scales[row]);
                off * means[k / places]
            })
            .sum()
    };
    (0..outputs).map(of_row).collect()
}

/// A bias in steps of the scale that sums have.
fn put_bias(
    builder: &mut Builder<'_>,
    layer: &Layer,
    bias: ValueId,
    rows: &Rows,
    x: Affine,
    shift: Option<&[f64]>,
) -> Result<usize, QuantizeError> {
    let Some(values) = builder.graph.constant(bias).and_then(|b| b.as_slice::<f32>().ok().map(<[f32]>::to_vec)) else {
        return Ok(0);
    };
    if values.len() != rows.scales.len() {
        return Ok(0);
    }
    let scales: Vec<f32> = rows.scales.iter().map(|scale| scale * x.scale).collect();
    let steps = |(i, &b): (usize, &f32)| {
        let b = f64::from(b) + shift.map_or(0.0, |shift| shift[i]);
        // Saturates: a bias beyond that is beyond every sum.
        (b / f64::from(scales[i])).round() as i32
    };
    let codes: Vec<i32> = values.iter().enumerate().map(steps).collect();
    builder.stem = builder.graph.value_name(bias).to_owned();
    let zeros = Tensor::zeros(Memory::global(), DType::I32, shape(&[values.len()])?)?;
    let inputs = [
        Some(builder.constant("codes", Tensor::vector(&codes))?),
        Some(builder.constant("scales", Tensor::vector(&scales))?),
        Some(builder.constant("zeros", zeros)?),
    ];
    let axis = Attributes::new().with("axis", 0i64);
    let made = builder.operator("", "DequantizeLinear", axis, &inputs)?;
    builder.graph.set_input(layer.node, 2, Some(made));
    sweep(builder.graph, bias.node);
    Ok(values.len() * 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::{EvalCx, Interpreter, Type};
    use planish_ops::StandardRegistry;
    use planish_tensor::Value;

    fn noise(shape: &[usize], seed: usize) -> Tensor {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| ((i * 7919 + seed * 131) % 997) as f32 / 500.0 - 0.997).collect();
        Tensor::new(Shape::new(shape).unwrap(), &numbers).unwrap()
    }

    /// A graph whose inputs but `x` become constants.
    fn graph(text: &str) -> Graph {
        let mut graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let inputs: Vec<ValueId> = graph.inputs().collect();
        for (seed, input) in inputs.into_iter().enumerate().skip(1) {
            let name = graph.value_name(input).to_owned();
            let dims: Vec<usize> =
                graph.fact(input).shape().unwrap().iter().map(|d| d.as_known().unwrap() as usize).collect();
            graph.rename_value(input, "an input no more").unwrap();
            let constant = graph.add_constant(&name, noise(&dims, seed)).unwrap();
            graph.replace_uses(input, constant);
            graph.remove_node(input.node).unwrap();
        }
        graph.infer().unwrap();
        graph
    }

    fn run(graph: &Graph, x: &Tensor) -> Vec<f32> {
        let mut cx = EvalCx::unlimited(&Interpreter);
        let outputs = Interpreter.run(graph, vec![Some(Value::Tensor(x.clone()))], &mut cx).unwrap();
        outputs[0].as_tensor().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    /// The range of each value that becomes codes, by running the graph.
    fn ranges(graph: &Graph, layers: &[Layer], x: &Tensor) -> HashMap<ValueId, Affine> {
        let range = |value: ValueId| {
            let mut looked_at = graph.clone();
            looked_at.clear_outputs();
            looked_at.add_output("looked at", value, Type::Unknown).unwrap();
            let numbers = run(&looked_at, x);
            let [least, most] =
                numbers.iter().fold([f32::MAX, f32::MIN], |[least, most], &y| [least.min(y), most.max(y)]);
            (value, Affine::over(least, most))
        };
        quantized_values(graph, layers).into_iter().map(range).collect()
    }

    const NETWORK: &str = "g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] w, float[8] b, float[8, 8, 1, 1] v, float[32, 5] m, float[5] c) => (float[1, 5] y) \
        <int64[2] flat = {1, -1}> { p = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (p) q = Conv (r, v) s = Add (r, q) \
        u = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (s) t = Reshape (u, flat) y = Gemm (t, m, c) }";

    #[test]
    fn layers_and_what_lies_between_become_codes() {
        let mut graph = graph(NETWORK);
        let before = graph.clone();
        let layers = find_layers(&graph);
        assert_eq!(layers.len(), 3);
        let names: Vec<String> =
            quantized_values(&graph, &layers).iter().map(|&v| graph.value_name(v).to_owned()).collect();
        assert_eq!(names, ["x", "r", "q", "s", "u", "t"]);
        let x = noise(&[1, 3, 8, 8], 9);
        let ranges = ranges(&graph, &layers, &x);
        let placed = put_static(&mut graph, &layers, &ranges, &HashMap::new()).unwrap();
        graph.verify().unwrap();
        assert!(placed.iter().all(|layer| layer.error < 0.03 && layer.bytes > 0), "{placed:?}");
        let count = |name: &str| graph.operators().filter(|(_, o)| o.is(name)).count();
        // One pair a value, weights of three layers, biases of two.
        assert_eq!((count("QuantizeLinear"), count("DequantizeLinear")), (6, 6 + 3 + 2));
        let scale = |name: &str| graph.constant(graph.value(name).unwrap()).unwrap().as_slice::<f32>().unwrap()[0];
        assert_eq!((scale("s_scale"), scale("s_scale")), (scale("u_scale"), scale("t_scale")));
        let (expected, got) = (run(&before, &x), run(&graph, &x));
        let largest = expected.iter().fold(0f32, |m, y| m.max(y.abs()));
        for (e, g) in expected.iter().zip(&got) {
            assert!((e - g).abs() < 0.05 * largest, "{e}, got {g}");
        }
    }

    #[test]
    fn biases_take_over_what_weights_lose() {
        let text = "g (float[4, 16] x, float[16, 3] m, float[3] c) => (float[4, 3] y) { y = Gemm (x, m, c) }";
        let x = Tensor::new(Shape::new(&[4, 16]).unwrap(), &[100.0f32; 64]).unwrap();
        let error = |means: Option<f64>| {
            let mut graph = graph(text);
            let expected = run(&graph, &x);
            let layers = find_layers(&graph);
            let ranges = ranges(&graph, &layers, &x);
            let means = means.map(|mean| (layers[0].x, vec![mean; 16])).into_iter().collect();
            put_static(&mut graph, &layers, &ranges, &means).unwrap();
            expected.iter().zip(run(&graph, &x)).map(|(e, g)| (e - g).abs()).fold(0.0, f32::max)
        };
        assert!(error(Some(100.0)) < 0.1 * error(None), "{} of {}", error(Some(100.0)), error(None));
    }

    #[test]
    fn ranges_hold_zero() {
        assert_eq!(Affine::over(1.0, 51.0), Affine { scale: 0.2, zero: 0 });
        assert_eq!(Affine::over(-51.0, -1.0), Affine { scale: 0.2, zero: 255 });
        assert_eq!(Affine::over(0.0, 0.0), Affine { scale: 1.0, zero: 0 });
    }
}

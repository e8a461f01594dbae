//! Products of integers whose left operand is quantized as it comes, each row with a scale of its own:
//!
//! ```text
//! s = max(|x|) / 127 along the last axis,  q = round(x / s)
//! y = MatMulInteger(q, w) · s · sw + c
//! ```
//!
//! One scale for a whole tensor, as `DynamicQuantizeLinear` takes it, lets one large row spoil all others.

use super::codes::laid_out;
use super::rows::Rows;
use super::sites::{Role, Weight};
use super::write::{Builder, QuantizeError, stand_in, sweep};
use planish_ir::{Attribute, Attributes, Graph, ValueId};
use planish_tensor::{DType, Memory, Shape, Tensor};
use std::collections::HashMap;

/// Left operands that are quantized already: their codes and scales.
#[derive(Debug, Default)]
pub struct Quantized(HashMap<ValueId, [ValueId; 2]>);

/// What a row of zeros is divided by.
const LEAST_SCALE: f32 = 1e-30;

/// Why a weight cannot be multiplied as integers; nothing where it can.
pub fn obstacle(graph: &Graph, weight: &Weight) -> Option<&'static str> {
    for reader in &weight.readers {
        let operator = graph.node(reader.node).operator()?;
        let is_one = |name: &str| !matches!(operator.attributes.get(name), Some(Attribute::Float(v)) if *v != 1.0);
        let is_turned = matches!(operator.attributes.get("transA"), Some(Attribute::Int(v)) if *v != 0);
        let x = graph.node_inputs(reader.node).first().copied().flatten();
        let rank = x.and_then(|x| graph.fact(x).rank());
        match reader.role {
            Role::Gather => return Some("its rows are gathered"),
            Role::Gemm if !is_one("alpha") || !is_one("beta") || is_turned => {
                return Some("its Gemm scales or transposes");
            }
            _ if rank.is_none_or(|rank| rank < 2) => {
                return Some("the rank of what it is multiplied with is not known");
            }
            _ => {}
        }
    }
    None
}

/// Multiplies `weight` in integers. Returns the bytes that its codes and scales take, and its error.
pub fn put_dynamic(
    graph: &mut Graph,
    weight: &Weight,
    numbers: &[f32],
    quantized: &mut Quantized,
) -> Result<(usize, f64), QuantizeError> {
    let rows = Rows::of(numbers, weight.depth, true);
    let codes = laid_out(&rows.codes, [weight.rows, weight.depth], true);
    let codes: Vec<u8> = codes.into_iter().map(i8::cast_unsigned).collect();
    let shape = Shape::new(&[weight.depth, weight.rows]).map_err(|e| QuantizeError::Operator(e.to_string()))?;
    let codes = Tensor::from_bytes(Memory::global(), DType::I8, shape, codes.into())?;
    let bytes = codes.num_bytes() + rows.scales.len() * size_of::<f32>();
    let mut builder = Builder { stem: weight.name.clone(), origin: weight.name.clone(), graph };
    let codes = builder.constant("codes", codes)?;
    let scales = builder.constant("scales", Tensor::vector(&rows.scales))?;
    for reader in &weight.readers {
        let output = ValueId { node: reader.node, output: 0 };
        let inputs = builder.graph.node_inputs(reader.node);
        let Some(x) = inputs.first().copied().flatten() else { continue };
        builder.origin = builder.graph.describe(reader.node);
        let [q, s] = match quantized.0.get(&x) {
            Some(&found) => found,
            None => {
                let made = quantize_rows(&mut builder, x, weight.depth)?;
                quantized.0.insert(x, made);
                made
            }
        };
        builder.stem = builder.graph.value_name(output).to_owned();
        let product = builder.operator("", "MatMulInteger", Attributes::new(), &[Some(q), Some(codes)])?;
        let float = Attributes::new().with("to", i64::from(DType::F32.to_onnx()));
        let sum = builder.operator("", "Cast", float, &[Some(product)])?;
        let by_row = builder.operator("", "Mul", Attributes::new(), &[Some(sum), Some(s)])?;
        let mut y = builder.operator("", "Mul", Attributes::new(), &[Some(by_row), Some(scales)])?;
        if let Some(c) = inputs.get(2).copied().flatten() {
            y = builder.operator("", "Add", Attributes::new(), &[Some(y), Some(c)])?;
        }
        let name = builder.graph.node(reader.node).name.clone();
        stand_in(builder.graph, output, y)?;
        builder.graph.node_mut(y.node).name = name;
        sweep(builder.graph, reader.node);
    }
    Ok((bytes, rows.relative_error()))
}

/// The codes of `x`, and a scale for each row of it.
fn quantize_rows(builder: &mut Builder<'_>, x: ValueId, depth: usize) -> Result<[ValueId; 2], QuantizeError> {
    builder.stem = builder.graph.value_name(x).to_owned();
    let magnitude = builder.operator("", "Abs", Attributes::new(), &[Some(x)])?;
    let last = builder.constant("last", Tensor::vector(&[-1i64]))?;
    let keep = Attributes::new().with("keepdims", 1i64);
    let largest = builder.operator("", "ReduceMax", keep, &[Some(magnitude), Some(last)])?;
    let share = builder.constant("share", Tensor::scalar(1.0f32 / 127.0))?;
    let scale = builder.operator("", "Mul", Attributes::new(), &[Some(largest), Some(share)])?;
    let least = builder.constant("least", Tensor::scalar(LEAST_SCALE))?;
    let scale = builder.operator("", "Max", Attributes::new(), &[Some(scale), Some(least)])?;
    let attributes = Attributes::new()
        .with("axis", -1i64)
        .with("block_size", depth as i64)
        .with("output_dtype", i64::from(DType::I8.to_onnx()));
    let codes = builder.operator("", "QuantizeLinear", attributes, &[Some(x), Some(scale)])?;
    Ok([codes, scale])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::{elements, find_weights};
    use planish_ir::{Dim, EvalCx, Interpreter, Registry, Type};
    use planish_ops::StandardRegistry;
    use planish_tensor::Value;

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 131) % 997) as f32 / 500.0 - 0.997).collect()
    }

    fn run(graph: &Graph, x: &Tensor) -> Vec<f32> {
        let mut cx = EvalCx::unlimited(&Interpreter);
        let outputs = Interpreter.run(graph, vec![Some(Value::Tensor(x.clone()))], &mut cx).unwrap();
        outputs[0].as_tensor().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn rows_of_all_sizes_keep_their_products() {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", Type::shaped(DType::F32, [Dim::symbol("rows"), Dim::known(64)])).unwrap();
        let w = Tensor::new(Shape::new(&[64, 32]).unwrap(), &noise(64 * 32, 1)).unwrap();
        let v = Tensor::new(Shape::new(&[48, 64]).unwrap(), &noise(48 * 64, 2)).unwrap();
        let c = Tensor::vector(&noise(48, 3));
        let [w, v, c] = [("w", w), ("v", v), ("c", c)].map(|(name, tensor)| graph.add_constant(name, tensor).unwrap());
        let mut add = |name: &str, attributes: Attributes, inputs: &[ValueId], output: &str| {
            let operator = StandardRegistry.operator("", name, attributes, inputs.len(), 1).unwrap();
            let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
            let node = graph.add_node("", operator, &inputs, &[], &[output]).unwrap();
            ValueId { node, output: 0 }
        };
        let a = add("MatMul", Attributes::new(), &[x, w], "a");
        let b = add("Gemm", Attributes::new().with("transB", 1i64), &[x, v, c], "b");
        let y = add("Concat", Attributes::new().with("axis", 1i64), &[a, b], "y");
        graph.add_output("y", y, Type::Unknown).unwrap();
        graph.infer().unwrap();
        let before = graph.clone();
        let (weights, _) = find_weights(&graph);
        assert_eq!(weights.len(), 2);
        let mut quantized = Quantized::default();
        for weight in &weights {
            assert_eq!(obstacle(&graph, weight), None);
            let numbers = elements(&graph, weight).unwrap();
            let (bytes, error) = put_dynamic(&mut graph, weight, &numbers, &mut quantized).unwrap();
            assert_eq!(bytes, weight.num_elements() + weight.rows * 4);
            assert!(error < 0.02, "{error}");
        }
        graph.verify().unwrap();
        let count = |name: &str| graph.operators().filter(|(_, o)| o.is(name)).count();
        assert_eq!((count("QuantizeLinear"), count("MatMulInteger"), count("MatMul"), count("Gemm")), (1, 2, 0, 0));
        // A row of zeros, a small one and a large one: each keeps its precision.
        let mut rows = noise(3 * 64, 7);
        rows[..64].fill(0.0);
        rows[64..128].iter_mut().for_each(|x| *x *= 1e-3);
        rows[128..].iter_mut().for_each(|x| *x *= 1e3);
        let x = Tensor::new(Shape::new(&[3, 64]).unwrap(), &rows).unwrap();
        let (expected, got) = (run(&before, &x), run(&graph, &x));
        for (expected, got) in expected.chunks(80).zip(got.chunks(80)) {
            let largest = expected[..32].iter().fold(0f32, |m, y| m.max(y.abs()));
            for (e, g) in expected[..32].iter().zip(&got[..32]) {
                assert!((e - g).abs() <= 0.02 * largest, "{e}, got {g}, {largest}");
            }
        }
    }
}

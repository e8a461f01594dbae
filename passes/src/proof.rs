//! The proof of a rule: what a graph becomes, that both compute the same, that a second run changes nothing, and where the
//! rule leaves a graph alone.

use crate::driver::PROVENANCE_KEY;
use crate::pipeline::{OptimizeOptions, Target, is_for_ort, optimize_with};
use planish_ir::{Dim, EvalCx, Graph, Interpreter, Type, ValueId};
use planish_ops::StandardRegistry;
use planish_tensor::{DType, Memory, Shape, Tensor, Value};

/// A rule, or a few, and a graph to bring them to.
pub(crate) struct Proof {
    rules: Vec<String>,
    before: String,
    after: String,
    weights: Vec<String>,
}

/// The extents that symbols of a graph get, in the order of their names: once small, once with an extent of 1.
const EXTENTS: [[i64; 4]; 2] = [[2, 3, 4, 5], [1, 2, 1, 3]];

impl Proof {
    /// A proof of the rule of this name.
    pub(crate) fn of(rule: &str) -> Proof {
        Proof::of_all(&[rule])
    }

    /// A proof of what several rules do together.
    pub(crate) fn of_all(rules: &[&str]) -> Proof {
        let known = crate::rule_names();
        assert!(rules.iter().all(|r| known.contains(r)), "{rules:?} are not all in the pipeline");
        let rules = rules.iter().map(|&r| r.to_owned()).collect();
        Proof { rules, before: String::new(), after: String::new(), weights: Vec::new() }
    }

    /// The graph before, in ONNX's textual syntax.
    #[must_use]
    pub(crate) fn before(mut self, text: &str) -> Proof {
        self.before = text.to_owned();
        self
    }

    /// These graph inputs of the text become constants of random contents: weights too large to write down.
    #[must_use]
    pub(crate) fn weights(mut self, names: &[&str]) -> Proof {
        self.weights = names.iter().map(|&n| n.to_owned()).collect();
        self
    }

    /// The nodes afterwards, in ONNX's textual syntax; blanks do not matter.
    #[must_use]
    pub(crate) fn after(mut self, nodes: &str) -> Proof {
        self.after = nodes.to_owned();
        self
    }

    /// Shows that the graph becomes what it should, with the same results to the bit.
    pub(crate) fn exact(self) {
        self.within(0.0);
    }

    /// Shows that the graph becomes what it should, with results that differ by at most `tolerance`, relative to the
    /// largest magnitude of the output.
    pub(crate) fn within(self, tolerance: f64) {
        let before = self.graph();
        let mut after = before.clone();
        let report = optimize_with(&mut after, &self.options());
        assert!(!report.rewrites.is_empty(), "nothing fired in {}: {:#?}", self.before, report.missed);
        after.verify().unwrap();
        assert_eq!(nodes(&after), blanks_as_one(&self.after));
        for extents in EXTENTS {
            let inputs = generate(&before, extents);
            let (expected, got) = (run(&before, &inputs), run(&after, &inputs));
            for (expected, got) in expected.iter().zip(&got) {
                assert_close(expected, got, tolerance);
            }
        }
        let again = optimize_with(&mut after, &self.options());
        assert!(again.rewrites.is_empty(), "a second run changes something: {:?}", again.rewrites);
    }

    /// Shows that the rules leave the graph alone, for a reason with these words in it.
    pub(crate) fn does_not_fire(self, reason: &str) {
        let mut graph = self.graph();
        let report = optimize_with(&mut graph, &self.options());
        assert!(report.rewrites.is_empty(), "{:?} in {}", report.rewrites, self.before);
        let is_given = report.missed.iter().any(|m| m.reason.contains(reason));
        assert!(reason.is_empty() || is_given, "{:#?}", report.missed);
    }

    fn options(&self) -> OptimizeOptions {
        let target = if self.rules.iter().any(|r| is_for_ort(r)) { Target::Ort } else { Target::Planish };
        OptimizeOptions {
            only: self.rules.clone(),
            explain: true,
            target,
            opset: Some(28),
            ..OptimizeOptions::default()
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::from_text(&self.before, &StandardRegistry).unwrap_or_else(|e| panic!("{e}"));
        for (seed, name) in self.weights.iter().enumerate() {
            let input = graph.value(name).unwrap_or_else(|| panic!("no input {name:?}"));
            let tensor = fill(&graph.fact(input).ty, 100 + seed as u64, &|d| panic!("{d} in a weight"));
            graph.rename_value(input, "an input no more").unwrap();
            let constant = graph.add_constant(name, tensor).unwrap();
            graph.replace_uses(input, constant);
            graph.remove_node(input.node).unwrap();
        }
        let conflicts = graph.infer().unwrap();
        assert!(conflicts.is_empty(), "{conflicts:?}");
        graph
    }
}

/// The nodes of a graph as text, without their names and origins.
fn nodes(graph: &Graph) -> String {
    let mut plain = graph.clone();
    let ids: Vec<_> = plain.nodes().map(|(id, _)| id).collect();
    for id in ids {
        plain.node_mut(id).metadata.retain(|(key, _)| key != PROVENANCE_KEY);
        plain.node_mut(id).name.clear();
    }
    let text = plain.to_text();
    let begin = text.find("\n{").map_or(0, |i| i + 2);
    let end = text.rfind('}').unwrap_or(text.len());
    blanks_as_one(&text[begin..end])
}

fn blanks_as_one(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn generate(graph: &Graph, extents: [i64; 4]) -> Vec<Option<Value>> {
    let mut symbols: Vec<String> = Vec::new();
    let inputs: Vec<ValueId> = graph.inputs().collect();
    for input in &inputs {
        let dims = graph.fact(*input).shape().unwrap_or_default();
        symbols.extend(dims.iter().flat_map(Dim::symbols).map(|s| s.to_string()));
    }
    symbols.sort();
    symbols.dedup();
    let bind = |name: &str| symbols.iter().position(|s| s == name).map(|i| extents[i % 4]);
    let extent = |dim: &Dim| dim.eval(&bind).unwrap_or(2);
    let value =
        |(seed, input): (usize, &ValueId)| Some(Value::Tensor(fill(&graph.fact(*input).ty, seed as u64, &extent)));
    inputs.iter().enumerate().map(value).collect()
}

/// A tensor of this type: numbers around 0 for floats, small ones for integers.
fn fill(ty: &Type, seed: u64, extent: &dyn Fn(&Dim) -> i64) -> Tensor {
    let dims: Vec<i64> =
        ty.shape().expect("inputs have shapes").iter().map(|d| d.as_known().unwrap_or_else(|| extent(d))).collect();
    let shape = Shape::from_i64(&dims).unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let count = shape.num_elements();
    let unit: Vec<f64> = (0..count).map(|_| next()).collect();
    match ty.dtype().expect("inputs have dtypes") {
        DType::F32 => Tensor::new(shape, &unit.iter().map(|u| (4.0 * u - 2.0) as f32).collect::<Vec<_>>()),
        DType::F64 => Tensor::new(shape, &unit.iter().map(|u| 4.0 * u - 2.0).collect::<Vec<_>>()),
        DType::F16 => {
            Tensor::new(shape, &unit.iter().map(|u| planish_tensor::f16::from_f64(4.0 * u - 2.0)).collect::<Vec<_>>())
        }
        DType::I64 => Tensor::new(shape, &unit.iter().map(|u| (u * 3.0) as i64).collect::<Vec<_>>()),
        DType::I32 => Tensor::new(shape, &unit.iter().map(|u| (u * 3.0) as i32).collect::<Vec<_>>()),
        DType::I8 => Tensor::new(shape, &unit.iter().map(|u| (u * 200.0 - 100.0) as i8).collect::<Vec<_>>()),
        DType::U8 => Tensor::new(shape, &unit.iter().map(|u| (u * 200.0) as u8).collect::<Vec<_>>()),
        dtype @ (DType::I4 | DType::U4) => {
            let codes: Vec<u8> = unit.iter().map(|u| (u * 16.0) as u8).collect();
            Tensor::from_codes(Memory::global(), dtype, shape, &codes)
        }
        DType::Bool => Tensor::new(shape, &unit.iter().map(|&u| u < 0.5).collect::<Vec<_>>()),
        other => panic!("inputs of {other} are not generated"),
    }
    .unwrap()
}

fn run(graph: &Graph, inputs: &[Option<Value>]) -> Vec<Value> {
    let mut cx = EvalCx::unlimited(&Interpreter);
    Interpreter.run(graph, inputs.to_vec(), &mut cx).unwrap_or_else(|e| panic!("{e}\n{}", graph.to_text()))
}

fn assert_close(expected: &Value, got: &Value, tolerance: f64) {
    let (Value::Tensor(expected), Value::Tensor(got)) = (expected, got) else {
        assert_eq!(format!("{expected:?}"), format!("{got:?}"));
        return;
    };
    assert_eq!((expected.dtype(), expected.shape()), (got.dtype(), got.shape()));
    let (Some(e), Some(g)) = (numbers(expected), numbers(got)) else {
        assert!(expected == got, "values differ");
        return;
    };
    let largest = e.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs()));
    for (e, g) in e.iter().zip(&g) {
        let is_close = e == g || e.is_nan() && g.is_nan() || (e - g).abs() <= tolerance * largest;
        assert!(is_close, "expected {e}, got {g}, tolerance {tolerance} of {largest}");
    }
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.dtype() {
        DType::F32 => Some(tensor.as_slice::<f32>().ok()?.iter().map(|&v| f64::from(v)).collect()),
        DType::F64 => Some(tensor.as_slice::<f64>().ok()?.to_vec()),
        DType::F16 => Some(tensor.as_slice::<planish_tensor::f16>().ok()?.iter().map(|&v| f64::from(v)).collect()),
        _ => None,
    }
}

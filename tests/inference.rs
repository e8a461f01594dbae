//! What operators infer is what they evaluate, for each node of ONNX's own tests in a folder named by
//! `PLANISH_CONFORMANCE`, which holds `KIND/NAME/model.onnx` and `test_data_set_0` beside it.

use planish::data::{DataSet, NamedType};
use planish::{Model, Type, Value};
use planish_ir::{EvalCx, Fact, Facts, Graph, Inputs, Interpreter, NodeKind, Operator, ValueId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Operators whose shapes depend on elements: of their inputs, or of what bodies compute.
const DEPENDS_ON_ELEMENTS: [&str; 19] = [
    "Compress",
    "ConcatFromSequence",
    "If",
    "ImageDecoder",
    "Loop",
    "NonMaxSuppression",
    "NonZero",
    "Optional",
    "OptionalGetElement",
    "Range",
    "Resize",
    "Scan",
    "SequenceAt",
    "SequenceMap",
    "SplitToSequence",
    "StringNormalizer",
    "StringSplit",
    "TfIdfVectorizer",
    "Unique",
];

/// Every folder two below `PLANISH_CONFORMANCE`; none if it is not set.
fn tests() -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let root = std::env::var_os("PLANISH_CONFORMANCE").map(PathBuf::from);
    let mut tests: Vec<PathBuf> = root.iter().flat_map(|root| folders(root)).flat_map(|kind| folders(&kind)).collect();
    tests.sort();
    assert!(root.is_none() || !tests.is_empty(), "PLANISH_CONFORMANCE holds no tests");
    tests
}

#[test]
fn inferred_types_are_those_evaluated() {
    let (mut failures, mut num_checked, tests) = (Vec::new(), 0, tests());
    for test in &tests {
        let Ok(model) = Model::load(test.join("model.onnx")) else { continue };
        num_checked += check(&model.graph, test, &mut |what| failures.push(format!("{}: {what}", test.display())));
    }
    println!("{num_checked} nodes of {} tests", tests.len());
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(num_checked >= tests.len() / 2, "only {num_checked} nodes of {} tests could be evaluated", tests.len());
}

/// Evaluates the graph node by node, as far as planish runs it; the number of nodes.
fn check(graph: &Graph, test: &Path, fail: &mut dyn FnMut(String)) -> usize {
    let named =
        |value: ValueId| NamedType { name: graph.value_name(value).to_owned(), ty: graph.fact(value).ty.clone() };
    let inputs: Vec<NamedType> = graph.inputs().map(named).collect();
    let outputs: Vec<NamedType> = graph
        .outputs()
        .iter()
        .map(|o| NamedType { name: o.name.clone(), ty: graph.fact(o.value).ty.clone() })
        .collect();
    let Ok(set) = DataSet::read(&test.join("test_data_set_0"), &inputs, &outputs) else { return 0 };
    let mut num_checked = 0;
    let mut values: HashMap<String, Value> = set.inputs.into_iter().collect();
    for id in graph.topological_order().unwrap() {
        let names: Vec<String> = graph.node_outputs(id).map(|v| graph.value_name(v).to_owned()).collect();
        match &graph.node(id).kind {
            NodeKind::Input => {}
            NodeKind::Constant(tensor) => {
                values.insert(names[0].clone(), tensor.clone().into());
            }
            NodeKind::Operator(operator) => {
                let inputs = graph.node_inputs(id);
                let inputs: Vec<Option<Value>> =
                    inputs.iter().map(|v| values.get(graph.value_name((*v)?)).cloned()).collect();
                let Some(outputs) = evaluate(operator, &inputs, names.len()) else { return num_checked };
                num_checked += 1;
                if let Err(why) = agree(operator, &inputs, &outputs) {
                    fail(format!("{}: {why}", graph.describe(id)));
                }
                values.extend(names.into_iter().zip(outputs).filter_map(|(name, value)| Some((name, value?))));
            }
        }
    }
    num_checked
}

fn evaluate(operator: &Operator, inputs: &[Option<Value>], num_outputs: usize) -> Option<Vec<Option<Value>>> {
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.wanted = std::iter::repeat_n(true, num_outputs).collect();
    let outputs = operator.op()?.eval(&mut cx, Inputs::new(inputs.iter().cloned())).ok()?;
    Some(outputs.into_values().into_iter().take(num_outputs).collect())
}

/// Inference from types must not contradict the values, and from constants it must say all about tensors.
fn agree(operator: &Operator, inputs: &[Option<Value>], outputs: &[Option<Value>]) -> Result<(), String> {
    let constants: Vec<Option<Fact>> = inputs.iter().map(|v| v.as_ref().map(Fact::of_value)).collect();
    let types: Vec<Option<Fact>> = constants.iter().map(|f| f.as_ref().map(|f| Fact::of_type(f.ty.clone()))).collect();
    let infer = |facts: &[Option<Fact>]| {
        let known: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let op = operator.op().ok_or("no such operator")?;
        op.infer(&Facts::new(&known, outputs.len())).map_err(|e| format!("what evaluates is not inferred: {e}"))
    };
    let (from_types, from_constants) = (infer(&types)?, infer(&constants)?);
    for (i, value) in outputs.iter().enumerate() {
        let Some(actual) = value.as_ref().map(|value| Fact::of_value(value).ty) else { continue };
        for inferred in [&from_types, &from_constants] {
            let inferred = &inferred.get(i).ok_or("outputs are missing")?.ty;
            inferred.unify(&actual).map_err(|e| format!("inferred {inferred}, evaluated {actual}: {e}"))?;
        }
        let inferred = &from_constants[i].ty;
        let is_tensor = matches!(actual, Type::Tensor { .. });
        if is_tensor && *inferred != actual && !DEPENDS_ON_ELEMENTS.contains(&&operator.name[..]) {
            return Err(format!("{} infers no more than {inferred} of {actual}", operator.full_name()));
        }
    }
    Ok(())
}

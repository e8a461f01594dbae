//! Every operator does what its definition says: one property for each line of the list of operators.
//!
//! A [`Property`] draws cases: attributes, inputs, and what must come out by a definition that is written from the
//! standard, index by index, in `f64` or `i128`. A case is run as a session runs it: with inputs that others hold too and
//! with inputs of its own (which may be written over), on one thread and on two, with constants packed; what was inferred
//! from constants, from types and from symbolic shapes must be what came out.
//!
//! `PROPTEST_CASES=5000 PROPTEST_RNG_SEED=7 cargo test -p planish-ops --test property` searches for longer.

mod algebra;
mod array;
mod attention;
mod draw;
mod dtypes;
mod elementwise;
mod images;
mod indexing;
mod learned;
mod movement;
mod recurrent;
mod reduction;
mod structures;
mod windows;

use array::{Array, Cell, cells, from_cells, real, reals};
use draw::Draw;
use planish_ir::{Attributes, Dim, EvalCx, Fact, Facts, Inputs, Interpreter, Op, Registry, Type};
use planish_kernels::Threads;
use planish_ops::{OPERATORS, StandardRegistry};
use planish_tensor::{DType, Memory, Sequence, Shape, Tensor, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use std::fmt::Write;
use std::sync::Arc;

/// Cases of each operator.
const CASES: u32 = 40;

/// Choices that a case is drawn from.
const CHOICES: usize = 48;

/// What holds for one operator.
struct Property {
    domain: &'static str,
    name: &'static str,
    /// Whether shapes of inputs and constants say all about the outputs' shapes.
    is_inferable: bool,
    case: Box<dyn Fn(&mut Draw<'_>) -> Case>,
}

/// A property of an operator of ONNX's own domain.
fn property(name: &'static str, case: impl Fn(&mut Draw<'_>) -> Case + 'static) -> Property {
    Property { domain: "", name, is_inferable: true, case: Box::new(case) }
}

impl Property {
    /// The same in another domain.
    fn domain(self, domain: &'static str) -> Property {
        Property { domain, ..self }
    }

    /// The same where shapes of outputs depend on elements of inputs.
    fn of_elements(self) -> Property {
        Property { is_inferable: false, ..self }
    }
}

/// What an operator is given, and what it must give.
struct Case {
    attributes: Attributes,
    inputs: Vec<Option<Value>>,
    expected: Vec<Expected>,
}

/// What an output must be.
enum Expected {
    /// This, to the bit.
    Exactly(Value),
    /// Floats as near as this to these.
    Near { dtype: DType, values: Array<f64>, rtol: f64, atol: f64 },
    /// Whatever passes.
    Such(Box<dyn Fn(&Value) -> Result<(), String>>),
    /// An error instead of all outputs.
    Refused,
    /// Anything, an error too.
    Anything,
}

impl Expected {
    /// Elements of any dtype, to the bit.
    fn cells(dtype: DType, cells: &Array<Cell>) -> Expected {
        Expected::Exactly(from_cells(dtype, cells).into())
    }

    /// Numbers of `dtype`: integers exactly, floats within a few roundings of the largest.
    fn numbers(dtype: DType, values: Array<f64>) -> Expected {
        Expected::within(dtype, values, 1.0)
    }

    /// The same within `roundings` times as much.
    fn within(dtype: DType, values: Array<f64>, roundings: f64) -> Expected {
        let (unit, least) = match dtype {
            DType::F64 => (1e-11, 1e-300),
            DType::F32 => (4e-6, 1e-37),
            DType::F16 => (2e-3, 1e-7),
            DType::BF16 => (1.6e-2, 1e-37),
            _ => return Expected::Near { dtype, values, rtol: 0.0, atol: 0.0 },
        };
        let largest = values.data.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs()));
        Expected::Near { dtype, values, rtol: unit * roundings, atol: unit * roundings * largest.min(1.0) + least }
    }

    /// Floats within `scale` times the rounding of a number of magnitude 1, however small they are.
    fn absolute(dtype: DType, values: Array<f64>, scale: f64) -> Expected {
        let expected = Expected::within(dtype, Array { dims: vec![], data: vec![scale] }, 1.0);
        match expected {
            Expected::Near { rtol, .. } => Expected::Near { dtype, values, rtol, atol: rtol * scale },
            other => other,
        }
    }

    fn check(&self, got: &Value) -> Result<(), String> {
        match self {
            Expected::Exactly(expected) if got == expected => Ok(()),
            Expected::Exactly(expected) => Err(format!("expected {}", shown(expected))),
            Expected::Near { dtype, values, rtol, atol } => {
                let tensor = got.as_tensor().ok_or("not a tensor")?;
                if tensor.dtype() != *dtype || tensor.shape().dims() != values.dims {
                    return Err(format!("expected {dtype}{:?}", values.dims));
                }
                let is_near = |got: f64, expected: f64| {
                    let expected =
                        if dtype.is_float() && expected.is_finite() { real(*dtype, expected) } else { expected };
                    got == expected
                        || (got.is_nan() && expected.is_nan())
                        || (got - expected).abs() <= atol + rtol * expected.abs()
                };
                let wrong = reals(tensor).data.into_iter().zip(&values.data).position(|(g, &e)| !is_near(g, e));
                wrong.map_or(Ok(()), |at| Err(format!("element {at}: expected {:?}", values.data)))
            }
            Expected::Such(check) => check(got),
            Expected::Refused => Err("expected an error".to_owned()),
            Expected::Anything => Ok(()),
        }
    }
}

/// A case of tensors.
fn case(attributes: Attributes, inputs: impl IntoIterator<Item = Tensor>, expected: Expected) -> Case {
    opt_case(attributes, inputs.into_iter().map(Some), [expected])
}

/// A case of tensors of which some are absent, and of several outputs.
fn opt_case(
    attributes: Attributes,
    inputs: impl IntoIterator<Item = Option<Tensor>>,
    expected: impl IntoIterator<Item = Expected>,
) -> Case {
    let inputs = inputs.into_iter().map(|t| t.map(Value::Tensor)).collect();
    Case { attributes, inputs, expected: expected.into_iter().collect() }
}

/// The value with its elements.
fn shown(value: &Value) -> String {
    match value {
        Value::Tensor(t) if t.dtype().is_float() || t.dtype().is_integer() => format!("{t:?} {:?}", reals(t).data),
        Value::Tensor(t) => format!("{t:?} {:?}", cells(t).data),
        Value::Sequence(s) => s.items.iter().fold("sequence".to_owned(), |text, item| text + ", " + &shown(item)),
        Value::Optional(_, Some(item)) => format!("optional {}", shown(item)),
        other => format!("{other:?}"),
    }
}

/// The value in buffers that nobody else holds.
fn unshared(value: &Value) -> Value {
    match value {
        Value::Tensor(t) if t.dtype() == DType::String => {
            Tensor::from_strings(t.shape().clone(), t.as_strings().unwrap().to_vec()).unwrap().into()
        }
        Value::Tensor(t) => {
            let mut buffer = Memory::global().raw(t.dtype(), t.shape());
            buffer.bytes_mut().copy_from_slice(t.bytes());
            buffer.freeze().into()
        }
        Value::Sequence(s) => {
            let items = Arc::new(s.items.iter().map(unshared).collect());
            Value::Sequence(Sequence { element: s.element.clone(), items })
        }
        other => other.clone(),
    }
}

trait RawTensor {
    fn raw(&self, dtype: DType, shape: &Shape) -> planish_tensor::RawTensorMut;
}

impl RawTensor for Memory {
    fn raw(&self, dtype: DType, shape: &Shape) -> planish_tensor::RawTensorMut {
        planish_tensor::RawTensorMut::uninit(self, dtype, shape.clone()).unwrap()
    }
}

/// What a run gives: outputs, of which unwanted ones may be absent, or an error.
type Ran = Result<Vec<Option<Value>>, String>;

fn run(op: &dyn Op, inputs: Vec<Option<Value>>, wanted: &[bool], threads: &Threads) -> Ran {
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.threads = threads.clone();
    cx.wanted = wanted.iter().copied().collect();
    let outputs = op.eval(&mut cx, Inputs::new(inputs)).map_err(|e| e.to_string())?;
    Ok(outputs.into_values().into_iter().take(wanted.len()).collect())
}

/// Whether the outputs are as expected. What is not wanted may be anything.
fn agrees(ran: &Ran, expected: &[Expected], wanted: &[bool]) -> Result<(), String> {
    let is_refused = matches!(expected, [Expected::Refused | Expected::Anything, ..]);
    let outputs = match ran {
        Err(_) if is_refused => return Ok(()),
        Err(error) => return Err(format!("error {error}")),
        Ok(outputs) => outputs,
    };
    for (i, expected) in expected.iter().enumerate().filter(|&(i, _)| wanted[i]) {
        let got = outputs.get(i).and_then(Option::as_ref).ok_or_else(|| format!("output {i} is absent"))?;
        expected.check(got).map_err(|why| format!("output {i}: {why}\n  got {}", shown(got)))?;
    }
    Ok(())
}

/// Holds an operator against a case of its property.
fn check(property: &Property, choices: &[u64], threads: &Threads) -> Result<(), String> {
    let mut draw = Draw::new(choices);
    let Case { attributes, inputs, expected } = (property.case)(&mut draw);
    let mut about = format!("{} {attributes:?}", property.name);
    for input in &inputs {
        let _ = write!(about, "\n  {}", input.as_ref().map_or_else(|| "absent".to_owned(), shown));
    }
    let at = |what: &'static str| {
        let about = &about;
        move |why: String| format!("{what}: {about}\n  {why}")
    };
    let is_refused = matches!(expected[..], [Expected::Refused | Expected::Anything, ..]);
    let all = vec![true; expected.len()];
    let made = StandardRegistry.operator(property.domain, property.name, attributes, inputs.len(), expected.len());
    let op = match made.map(|operator| operator.op().cloned()) {
        Ok(Some(op)) => op,
        Ok(None) | Err(_) if is_refused => return Ok(()),
        Ok(None) => return Err(at("load")("unsupported".to_owned())),
        Err(error) => return Err(at("load")(error.to_string())),
    };
    let single = Threads::single();
    let shared = run(&*op, inputs.clone(), &all, &single);
    agrees(&shared, &expected, &all).map_err(at("shared inputs"))?;
    if let Ok(outputs) = &shared {
        inferred(property, &*op, &inputs, outputs).map_err(at("inference"))?;
    }
    let own = || inputs.iter().map(|v| v.as_ref().map(unshared)).collect::<Vec<_>>();
    agrees(&run(&*op, own(), &all, threads), &expected, &all).map_err(at("own inputs"))?;
    if expected.len() > 1 {
        let wanted: Vec<bool> = expected.iter().map(|_| draw.flag()).collect();
        agrees(&run(&*op, own(), &wanted, threads), &expected, &wanted).map_err(at("some outputs"))?;
    }
    packed(&*op, own(), threads).map_or(Ok(()), |ran| agrees(&ran, &expected, &all)).map_err(at("packed"))
}

/// A run with all inputs but the first constant, where the operator prepares for that.
fn packed(op: &dyn Op, mut inputs: Vec<Option<Value>>, threads: &Threads) -> Option<Ran> {
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.threads = threads.clone();
    let given = inputs.clone();
    let known = |(i, value): (usize, &Value)| match Fact::of_value(value) {
        fact if i == 0 => Fact::of_type(fact.ty),
        fact => fact,
    };
    let facts: Vec<Option<Fact>> = given.iter().enumerate().map(|(i, v)| Some(known((i, v.as_ref()?)))).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    match op.prepare(&cx, &Facts::new(&facts, 1)) {
        Ok(None) => None,
        Ok(Some(prepared)) => {
            prepared.dropped.iter().for_each(|&index| inputs[index] = None);
            Some(run(&*prepared.op, inputs, &[true; 8], threads))
        }
        Err(error) => Some(Err(error.to_string())),
    }
}

/// Whether inference says what came out: all of it from constants, nothing else from types and symbols.
fn inferred(
    property: &Property,
    op: &dyn Op,
    inputs: &[Option<Value>],
    outputs: &[Option<Value>],
) -> Result<(), String> {
    let infer = |facts: &[Option<Fact>]| {
        let known: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        op.infer(&Facts::new(&known, outputs.len())).map_err(|e| format!("what evaluates is not inferred: {e}"))
    };
    let constants: Vec<Option<Fact>> = inputs.iter().map(|v| v.as_ref().map(Fact::of_value)).collect();
    let types: Vec<Option<Fact>> = constants.iter().map(|f| Some(Fact::of_type(f.as_ref()?.ty.clone()))).collect();
    let symbols: Vec<Option<Fact>> = constants.iter().map(|f| Some(symbolic(f.as_ref()?))).collect();
    let unknown: Vec<Option<Fact>> = inputs.iter().map(|v| v.as_ref().map(|_| Fact::of_type(Type::Unknown))).collect();
    let known = infer(&constants)?;
    for (i, value) in outputs.iter().enumerate() {
        let Some(actual) = value.as_ref().map(Fact::of_value) else { continue };
        let fact = known.get(i).ok_or("facts of outputs are missing")?;
        fact.ty.unify(&actual.ty).map_err(|e| format!("inferred from constants: {e}"))?;
        let is_tensor = matches!(actual.ty, Type::Tensor { .. });
        if is_tensor && property.is_inferable && fact.ty != actual.ty {
            return Err(format!("inferred no more than {} of {}", fact.ty, actual.ty));
        }
        if let (Some(said), Some(is)) = (fact.elements(), actual.elements())
            && (said.len() != is.len() || said.iter().zip(&is).any(|(said, is)| Dim::unify(said, is).is_err()))
        {
            return Err(format!("inferred contents {said:?} of {is:?}"));
        }
    }
    for (what, facts) in [("types", infer(&types)?), ("symbols", infer(&symbols)?), ("nothing", infer(&unknown)?)] {
        for (fact, value) in facts.iter().zip(outputs) {
            let Some(actual) = value.as_ref().map(Fact::of_value) else { continue };
            bound(&fact.ty).unify(&actual.ty).map_err(|e| format!("inferred {} from {what}: {e}", fact.ty))?;
        }
    }
    Ok(())
}

/// The type with dimensions of two and more by names that tell their length.
fn symbolic(fact: &Fact) -> Fact {
    let name = |dim: &Dim| match dim.as_known() {
        Some(length) if length > 1 => Dim::symbol(&format!("of_{length}")),
        _ => dim.clone(),
    };
    match &fact.ty {
        Type::Tensor { dtype, shape: Some(shape) } => Fact::shaped(*dtype, shape.iter().map(name).collect()),
        other => Fact::of_type(other.clone()),
    }
}

/// The type with the lengths that its names tell.
fn bound(ty: &Type) -> Type {
    let length = |name: &str| name.strip_prefix("of_").and_then(|length| length.parse().ok());
    let bind = |dim: &Dim| dim.eval(&length).map_or_else(|| dim.clone(), Dim::known);
    match ty {
        Type::Tensor { dtype, shape: Some(shape) } => {
            Type::Tensor { dtype: *dtype, shape: Some(shape.iter().map(bind).collect()) }
        }
        other => other.clone(),
    }
}

/// Holds every operator of a family against cases of its property.
fn check_all(properties: Vec<Property>) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let given = Config { failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let threads = Threads::new(2).unwrap();
    let mut failures = Vec::new();
    for property in properties {
        let config = if std::env::var_os("PROPTEST_CASES").is_some() { given.clone() } else { config.clone() };
        let choices = proptest::collection::vec(any::<u64>(), CHOICES);
        let outcome = TestRunner::new(config)
            .run(&choices, |choices| check(&property, &choices, &threads).map_err(TestCaseError::fail));
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, _)) => failures.push(why.to_string()),
            Err(other) => failures.push(format!("{}: {other}", property.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Every family's properties.
const FAMILIES: &[fn() -> Vec<Property>] = &[
    elementwise::properties,
    movement::properties,
    reduction::properties,
    indexing::properties,
    windows::properties,
    recurrent::properties,
    attention::properties,
    images::properties,
    algebra::properties,
    structures::properties,
    learned::properties,
];

/// Operators whose properties stand elsewhere, and where.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("", "ImageDecoder", "image_decoder/ holds it against pictures that Pillow decoded, and against broken ones"),
    ("ai.onnx.ml", "SVMClassifier", "tests/onnx_ml replays what ONNX Runtime gives"),
    ("ai.onnx.ml", "TreeEnsemble", "ml/tree/tests.rs: forests_sum_what_each_tree_says"),
    ("ai.onnx.ml", "TreeEnsembleClassifier", "ml/tree/tests.rs, and tests/onnx_ml"),
    ("ai.onnx.ml", "TreeEnsembleRegressor", "ml/tree/tests.rs: forests_sum_what_each_tree_says"),
    ("com.microsoft", "FusedConv", "tests/microsoft replays what ONNX Runtime gives"),
    ("com.microsoft", "FusedMatMul", "passes/src/fuse_ort_matmul.rs, against the nodes that it stands for"),
    ("com.microsoft", "MurmurHash3", "microsoft/murmur_hash3.rs, and tests/microsoft replays what ONNX Runtime gives"),
    ("com.microsoft", "Tokenizer", "tests/microsoft replays what ONNX Runtime gives"),
    ("planish", "Elementwise", "planish/tests.rs: a_tree_of_functions_is_its_definition"),
    ("planish", "FusedConv", "planish/tests.rs, against its body"),
    ("planish", "FusedConvInteger", "passes/src/fuse_conv_integer.rs, against the nodes that it is made of"),
    ("planish", "FusedMatMul", "planish/tests.rs, against its body"),
    ("planish", "Lookup", "passes/src/fuse_lookup.rs, against the nodes that it is made of"),
    ("planish", "SafeSoftmax", "planish/safe_softmax.rs, against its body"),
];

#[test]
fn every_operator_has_one_property() {
    let properties = FAMILIES.iter().flat_map(|family| family()).map(|p| (p.domain, p.name));
    let mut names: Vec<_> = properties.chain(ELSEWHERE.iter().map(|&(domain, name, _)| (domain, name))).collect();
    names.sort_unstable();
    let registered: Vec<_> = OPERATORS.iter().map(|e| (e.schema.domain, e.schema.name)).collect();
    let without: Vec<_> = registered.iter().filter(|name| !names.contains(name)).collect();
    assert!(without.is_empty(), "operators without a property: {without:?}");
    assert_eq!(names, registered, "a property of no operator, or two of one");
}

//! Every dtype that a schema allows is computed: the cases of an operator's property, their inputs cast to each dtype of
//! their type variable, are never refused as unsupported when they run, and are exact in `double`.

use super::array::{Cell, bits, from_cells, int_bits, reals};
use super::{CHOICES, Case, Draw, Expected, FAMILIES, Property};
use planish_ir::{EvalCx, Fact, Facts, Formal, Inputs, Interpreter, OpError, Registry, Schema};
use planish_ops::{OPERATORS, StandardRegistry};
use planish_tensor::{DType, Tensor, Value};
use std::collections::BTreeMap;

/// Cases of each dtype, of which one at least must run.
const CASES: u64 = 24;

/// Inputs whose dtype cannot be changed in a case without making nonsense of it, and why.
const APART: &[(&str, &str, &str)] = &[
    ("BitCast", "T1", "the attribute `to` is for one width"),
    ("GatherBlockQuantized", "T1", "the width of a code decides how many there are"),
    ("Loop", "v_initial", "bodies of the cases add numbers"),
    ("Scan", "initial_state_and_scan_inputs", "bodies of the cases add numbers"),
    ("SequenceInsert", "tensor", "the sequence holds one dtype"),
    ("SequenceMap", "additional_inputs", "bodies of the cases add numbers of one dtype"),
    ("TfIdfVectorizer", "X", "the pool holds one dtype"),
];

/// Operators whose definitions round on the way to the dtype that was drawn.
const ROUNDED: &[&str] =
    &["BiasGelu", "FastGelu", "LayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"];

/// What came of a case.
enum Outcome {
    Good,
    /// By attributes, types or values that make no sense together.
    Refused(String),
    Wrong(String),
}

/// The same numbers in another dtype; strings are their digits.
fn cast(tensor: &Tensor, dtype: DType) -> Option<Tensor> {
    if matches!(tensor.dtype(), DType::String | DType::Complex64 | DType::Complex128) {
        return None;
    }
    let cell = |x: f64| match dtype {
        DType::String => Cell::Text(format!("{x}")),
        DType::Bool => int_bits(dtype, i128::from(x != 0.0)),
        DType::Complex64 => Cell::Bits(u128::from((x as f32).to_bits())),
        DType::Complex128 => Cell::Bits(u128::from(x.to_bits())),
        _ => bits(dtype, x),
    };
    Some(from_cells(dtype, &reals(tensor).map(cell)))
}

/// What tells the formal inputs of one dtype from others: their type variable, or their name.
fn variable(formal: &Formal) -> &'static str {
    if formal.variable.is_empty() { formal.name } else { formal.variable }
}

/// A case in which the inputs of a variable are of `dtype`; `None` where there is none to expect something of.
fn attempt(property: &Property, schema: &Schema, of: &str, dtype: DType, seed: u64) -> Option<Outcome> {
    let choice = |i: usize| (seed * CHOICES as u64 + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let choices: Vec<u64> = (0..CHOICES).map(|i| choice(i) ^ choice(i) >> 29).collect();
    let Case { attributes, inputs, expected } = (property.case)(&mut Draw::new(&choices));
    if matches!(expected[..], [Expected::Refused | Expected::Anything, ..]) {
        return None;
    }
    let mut is_widened = dtype == DType::F64 && !ROUNDED.contains(&property.name);
    let mut given = Vec::new();
    for (index, value) in inputs.into_iter().enumerate() {
        given.push(match (value, schema.input(index)) {
            (Some(Value::Tensor(tensor)), Some(formal)) if variable(formal) == of => {
                is_widened &= tensor.dtype() == DType::F32;
                Some(Value::Tensor(if tensor.dtype() == dtype { tensor } else { cast(&tensor, dtype)? }))
            }
            (value, _) => value,
        });
    }
    let made = StandardRegistry.operator(property.domain, property.name, attributes, given.len(), expected.len());
    let op = match made.map(|operator| operator.op().cloned()) {
        Ok(op) => op?,
        Err(error) => return Some(Outcome::Refused(error.to_string())),
    };
    let facts: Vec<Option<Fact>> =
        given.iter().map(|v| v.as_ref().map(|v| Fact::of_type(Fact::of_value(v).ty))).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    if let Err(error) = op.infer(&Facts::new(&facts, expected.len())) {
        return Some(Outcome::Refused(error.to_string()));
    }
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.wanted = expected.iter().map(|_| true).collect();
    Some(match op.eval(&mut cx, Inputs::new(given)) {
        Ok(outputs) if is_widened => precise(&outputs.into_values(), &expected),
        Ok(_) => Outcome::Good,
        Err(error) => {
            let is_of_dtype = error.to_string().contains("expected a tensor of");
            match error.root() {
                OpError::Unsupported(_) | OpError::Internal(_) => Outcome::Wrong(error.to_string()),
                _ if is_of_dtype => Outcome::Wrong(error.to_string()),
                _ => Outcome::Refused(error.to_string()),
            }
        }
    })
}

/// Whether numbers of `double` are what the definition says, whatever dtype that was meant for.
fn precise(outputs: &[Option<Value>], expected: &[Expected]) -> Outcome {
    for (index, (value, expected)) in outputs.iter().zip(expected).enumerate() {
        let (Some(Value::Tensor(tensor)), Expected::Near { values, .. }) = (value, expected) else { continue };
        if tensor.dtype() != DType::F64 || tensor.shape().dims() != values.dims {
            continue;
        }
        let largest = values.data.iter().filter(|v| v.is_finite()).fold(1f64, |m, v| m.max(v.abs()));
        let got = reals(tensor);
        let errors = got.data.iter().zip(&values.data).map(|(g, e)| (g - e).abs());
        let worst = errors.filter(|error| error.is_finite()).fold(0.0, f64::max);
        if worst > 1e-9 * largest {
            return Outcome::Wrong(format!("output {index} is off by {worst:e} of {largest}"));
        }
    }
    Outcome::Good
}

#[test]
fn every_dtype_of_a_schema_is_evaluated() {
    let mut wrong = Vec::new();
    for property in FAMILIES.iter().flat_map(|family| family()) {
        let is_it = |schema: &Schema| (schema.domain, schema.name) == (property.domain, property.name);
        let Some(entry) = OPERATORS.iter().find(|entry| is_it(entry.schema)) else { continue };
        let variables: BTreeMap<&str, &Formal> = entry.schema.inputs.iter().map(|f| (variable(f), f)).collect();
        for (of, formal) in variables {
            if APART.iter().any(|&(name, variable, _)| (name, variable) == (property.name, of)) {
                continue;
            }
            for dtype in formal.types.dtypes() {
                let (mut is_any_good, mut refused) = (false, None);
                for seed in 0..CASES {
                    match attempt(&property, entry.schema, of, dtype, seed) {
                        Some(Outcome::Good) => is_any_good = true,
                        Some(Outcome::Refused(why)) => refused = Some(why),
                        Some(Outcome::Wrong(why)) => {
                            wrong.push(format!("{} {of} {dtype}: {why}", property.name));
                            break;
                        }
                        None => {}
                    }
                }
                if let Some(why) = refused.filter(|_| !is_any_good) {
                    wrong.push(format!("{} {of} {dtype}: always {why}", property.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Every operator is given attributes and inputs that make no sense: it answers with an error or a result, but never
//! panics, and stays within its memory and its time.

use crate::{Entry, OPERATORS, StandardRegistry};
use planish_ir::{
    Attribute, AttributeDef, AttributeDefault, AttributeKind, Attributes, EvalCx, Fact, Facts, Formal, FormalKind,
    Inputs, Interpreter, Registry, Types,
};
use planish_tensor::{DType, Map, MapKeys, Memory, Sequence, Shape, Tensor, Value, ValueType, bf16, f16};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod corners;

/// Tries for each operator.
const TRIES: u64 = 400;

/// What an operator may allocate.
const MEMORY_BYTES: usize = 16 << 20;

/// What an operator may take before it must notice that its time is over, and what it may take to notice.
const TIME: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

const INTS: [i64; 12] = [0, 1, 2, -1, 3, 1, 2, 7, -3, 1 << 31, i64::MAX, i64::MIN];
const FLOATS: [f64; 9] = [0.0, 1.0, -1.0, 0.5, 2.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30];
const STRINGS: [&str; 6] = ["", "a", "é", "NONE", "[", "-1e400"];
const SHAPES: [&[usize]; 12] =
    [&[], &[0], &[1], &[2], &[3], &[2, 3], &[3, 2], &[1, 2, 3], &[1, 2, 4, 4], &[2, 2, 3, 3], &[2, 0, 3], &[1; 9]];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Dice) -> T) -> Vec<T> {
        let length = self.roll(6);
        (0..length).map(|_| item(self)).collect()
    }

    /// Mostly small, sometimes as far out as can be.
    fn int(&mut self) -> i64 {
        let likely = if self.roll(4) == 0 { INTS.len() } else { 8 };
        self.pick(&INTS[..likely])
    }

    fn string(&mut self) -> String {
        self.pick(&STRINGS).to_owned()
    }

    fn attribute(&mut self, def: &AttributeDef) -> Option<Attribute> {
        let strings = |dice: &mut Dice| match def.default {
            AttributeDefault::String(usual) if dice.roll(2) == 0 => usual.to_owned(),
            _ => dice.string(),
        };
        Some(match def.kind {
            AttributeKind::Int => Attribute::Int(self.int()),
            AttributeKind::Float => Attribute::Float(self.pick(&FLOATS) as f32),
            AttributeKind::String => Attribute::String(strings(self)),
            AttributeKind::Tensor => Attribute::Tensor(self.any_tensor()),
            AttributeKind::Ints => Attribute::Ints(self.list(Dice::int)),
            AttributeKind::Floats => Attribute::Floats(self.list(|dice| dice.pick(&FLOATS) as f32)),
            AttributeKind::Strings => Attribute::Strings(self.list(strings)),
            AttributeKind::Tensors => Attribute::Tensors(self.list(Dice::any_tensor)),
            _ => return None,
        })
    }

    fn any_tensor(&mut self) -> Tensor {
        let dtype = self.pick(&DType::ALL);
        self.tensor(dtype)
    }

    fn tensor(&mut self, dtype: DType) -> Tensor {
        let shape = Shape::new(self.pick(&SHAPES)).unwrap();
        let count = shape.num_elements();
        if dtype == DType::String {
            return Tensor::from_strings(shape, (0..count).map(|_| self.string()).collect()).unwrap();
        }
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < dtype.bytes_for(count).unwrap() {
            let (int, float) = (self.int(), self.pick(&FLOATS));
            match dtype {
                DType::F32 => bytes.extend((float as f32).to_le_bytes()),
                DType::F64 => bytes.extend(float.to_le_bytes()),
                DType::F16 => bytes.extend(f16::from_f64(float).to_le_bytes()),
                DType::BF16 => bytes.extend(bf16::from_f64(float).to_le_bytes()),
                _ => bytes.extend(&int.to_le_bytes()[..dtype.bits().clamp(8, 64) / 8]),
            }
        }
        bytes.truncate(dtype.bytes_for(count).unwrap());
        Tensor::from_bytes(Memory::global(), dtype, shape, bytes.into()).unwrap()
    }

    /// A value of one of `types`, of the dtype that others with the same type variable have.
    fn value(&mut self, formal: &Formal, bound: &mut HashMap<&'static str, DType>) -> Value {
        let dtypes: Vec<DType> = formal.types.dtypes().collect();
        let mut dtype = if dtypes.is_empty() { DType::F32 } else { self.pick(&dtypes) };
        if !formal.variable.is_empty() {
            dtype = *bound.entry(formal.variable).or_insert(dtype);
        }
        let tensor = Value::Tensor(self.tensor(dtype));
        let element = tensor.value_type();
        let is_tensor = !dtypes.is_empty() && self.roll(3) > 0;
        if is_tensor {
            tensor
        } else if formal.types.includes(Types::SEQUENCE) {
            Value::Sequence(Sequence { element, items: Arc::new(vec![tensor]) })
        } else if formal.types.includes(Types::OPTIONAL) {
            Value::Optional(element, Some(Arc::new(tensor)))
        } else if formal.types.includes(Types::MAP) {
            let values = vec![Value::Tensor(Tensor::scalar(1f32)), tensor];
            let keys = MapKeys::Ints(Arc::new(vec![self.int(), self.int()]));
            Value::Map(Map { keys, values: Arc::new(values), element: ValueType::Tensor(DType::F32) })
        } else {
            tensor
        }
    }

    fn inputs(&mut self, entry: &Entry) -> Vec<Option<Value>> {
        let mut bound = HashMap::new();
        let (least, most) = entry.schema.input_arity();
        let count = least + self.roll(most.min(least + 4) - least + 1);
        let input = |index| {
            let formal = entry.schema.input(index)?;
            let is_absent = formal.kind == FormalKind::Optional && self.roll(3) == 0;
            (!is_absent).then(|| self.value(formal, &mut bound))
        };
        (0..count).map(input).collect()
    }
}

/// What an operator is evaluated in: little memory, and little time from `start`.
fn limited(num_outputs: usize, start: Instant) -> EvalCx<'static> {
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.memory = Memory::with_limit(MEMORY_BYTES);
    cx.wanted = std::iter::repeat_n(true, num_outputs).collect();
    cx.deadline = Some(start + TIME[0]);
    cx
}

/// Gives an operator what follows from `seed`.
fn attempt(entry: &Entry, seed: u64) {
    let mut dice = Dice(seed | 1);
    let mut attributes = Attributes::new();
    for def in entry.schema.attributes {
        if (def.default == AttributeDefault::Required || dice.roll(3) == 0)
            && let Some(attribute) = dice.attribute(def)
        {
            attributes.set(def.name, attribute);
        }
    }
    let inputs = dice.inputs(entry);
    let (least, most) = entry.schema.output_arity();
    let num_outputs = (least + dice.roll(most.min(least + 2) - least + 1)).max(1);
    let made = StandardRegistry.operator(entry.schema.domain, entry.schema.name, attributes, inputs.len(), num_outputs);
    let Some(op) = made.ok().and_then(|operator| operator.op().cloned()) else { return };
    let facts: Vec<Option<Fact>> = inputs.iter().map(|value| value.as_ref().map(Fact::of_value)).collect();
    let types: Vec<Option<Fact>> = facts.iter().map(|f| f.as_ref().map(|f| Fact::of_type(f.ty.clone()))).collect();
    for known in [facts, types] {
        let known: Vec<Option<&Fact>> = known.iter().map(Option::as_ref).collect();
        let _ = op.infer(&Facts::new(&known, num_outputs));
    }
    let _ = op.infer(&Facts::new(&vec![None; inputs.len()], num_outputs));
    let start = Instant::now();
    let mut cx = limited(num_outputs, start);
    let _ = op.eval(&mut cx, Inputs::new(inputs));
    assert!(start.elapsed() < TIME[0] + TIME[1], "the time limit was not noticed");
}

#[test]
fn nonsense_is_answered_without_a_panic() {
    let mut failures = Vec::new();
    for (index, entry) in (1u64..).zip(OPERATORS) {
        let seeds = (0..TRIES).map(|i| (index * 1000 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let failed = seeds.filter(|&seed| catch_unwind(AssertUnwindSafe(|| attempt(entry, seed))).is_err());
        let failed: Vec<u64> = failed.collect();
        if let Some(first) = failed.first() {
            failures.push(format!("{}: {} of {TRIES}, first with seed {first:#x}", entry.schema, failed.len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

//! Evaluates an operator on constants while the model is optimized, within limits.

use crate::rule::No;
use planish_ir::{EvalCx, Fact, Facts, Inputs, Interpreter, Operator};
use planish_tensor::{Memory, Tensor, Value};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// Results up to this size are always folded: they cost less than the node that would make them again.
const ALWAYS_BYTES: usize = 4 << 10;

/// How much folding may add to a model in all. Masks and position tables of real exports take tens of kilobytes, rarely a
/// megabyte; what is larger (a `ConstantOfShape`, `Tile` or `Expand` of weights) is made faster than it is read from disk.
pub(crate) const GROWTH_BYTES: usize = 4 << 20;

/// How much one folded node may add. Weights stored as 8-bit integers, which a Cast or a product widens, stay narrow.
const GROWTH_OF_ONE_BYTES: usize = 256 << 10;

/// What one evaluation may allocate where the size of its result is not known beforehand.
const SCRATCH_BYTES: usize = 256 << 20;

/// How many multiply-adds one evaluation may take: milliseconds of them.
const MACS: i64 = 1 << 24;

/// How long one evaluation may take, should its shapes not tell how much it computes.
const TIME: Duration = Duration::from_secs(1);

/// The size of a tensor of this fact.
fn known_bytes(fact: &Fact) -> Option<usize> {
    let bits = fact.dtype()?.bits();
    let extents = fact.shape()?.iter().map(|d| d.as_known().and_then(|d| usize::try_from(d).ok()));
    let count = extents.into_iter().try_fold(1usize, |n, d| n.checked_mul(d?))?;
    count.checked_mul(bits).map(|bits| bits.div_ceil(8))
}

/// The outputs of the operator on these constants, if they take no more bytes than would be freed, and by how much the model
/// may still grow.
///
/// The limit is asked of the sizes that inference knows, before anything is computed, and again of the results.
pub(crate) fn fold(
    operator: &Operator,
    inputs: Vec<Option<Tensor>>,
    outputs: &[&Fact],
    freed_bytes: usize,
    growth_left_bytes: usize,
) -> Result<SmallVec<[Option<Tensor>; 2]>, No> {
    let op = operator.op().ok_or_else(|| No(format!("planish does not run {}", operator.full_name()).into()))?;
    if !op.is_deterministic() {
        return Err("random operators are not folded".into());
    }
    if operator.subgraphs().next().is_some() {
        return Err("how long a body runs is not known".into());
    }
    if operator.is("DequantizeLinear") {
        return Err("quantized weights stay quantized".into());
    }
    let limit = freed_bytes.saturating_add(growth_left_bytes.min(GROWTH_OF_ONE_BYTES)).max(ALWAYS_BYTES);
    let estimate: usize = outputs.iter().filter_map(|f| known_bytes(f)).fold(0, usize::saturating_add);
    check(estimate, limit)?;
    let known: Vec<Option<Fact>> = inputs.iter().map(|t| t.clone().map(Fact::constant)).collect();
    let known: Vec<Option<&Fact>> = known.iter().map(Option::as_ref).collect();
    let made: Vec<Fact> = outputs.iter().map(|&f| f.clone()).collect();
    let macs = op.macs(&Facts::new(&known, made.len()), &made);
    if macs.as_known().is_none_or(|macs| macs > MACS) {
        return Err(format!("it takes {macs} multiply-adds, {MACS} are allowed").into());
    }
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.memory = Memory::with_limit(SCRATCH_BYTES.max(limit.saturating_mul(2)));
    cx.deadline = Some(Instant::now() + TIME);
    cx.wanted = outputs.iter().map(|_| true).collect();
    let inputs = Inputs::new(inputs.into_iter().map(|t| t.map(Value::Tensor)));
    let results = op.eval(&mut cx, inputs).map_err(|e| No(format!("it cannot be evaluated: {e}").into()))?;
    let results: SmallVec<[Option<Tensor>; 2]> =
        results.into_values().into_iter().map(|v| v.and_then(Value::into_tensor)).collect();
    check(results.iter().flatten().map(Tensor::num_bytes).sum(), limit)?;
    Ok(results)
}

fn check(bytes: usize, limit: usize) -> Result<(), No> {
    if bytes <= limit {
        return Ok(());
    }
    Err(format!("the result takes {bytes} bytes, {limit} are allowed").into())
}

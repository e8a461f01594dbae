//! What is known of small integer tensors, for operators that pass their elements on.

use planish_ir::{Dim, Fact, Facts, InferError, MAX_TRACKED_CONTENTS};

/// The elements of a scalar or rank-1 integer input, unknown ones where only their number is known.
pub fn elements(x: &Facts<'_>, index: usize) -> Option<Vec<Dim>> {
    let count = || match x.shape(index)? {
        [] => Some(1),
        [length] => usize::try_from(length.as_known()?).ok().filter(|&n| n <= MAX_TRACKED_CONTENTS),
        _ => None,
    };
    x.elements(index).or_else(|| Some(vec![Dim::unknown(); count()?]))
}

/// The number of elements of a rank-1 input, where it is known.
pub fn length(x: &Facts<'_>, index: usize) -> Option<usize> {
    match x.shape(index)? {
        [length] => usize::try_from(length.as_known()?).ok(),
        _ => None,
    }
}

/// What is known of a tensor that has the elements of `source` in the same order under the shape `dims`.
pub fn regrouped(source: Option<&Fact>, dims: Vec<Dim>) -> Fact {
    let dtype = source.and_then(Fact::dtype);
    let mut fact = Fact::shaped(dtype, dims);
    if fact.rank().is_some_and(|rank| rank <= 1) {
        fact.contents = source.and_then(Fact::elements);
    }
    fact
}

/// What is known of a scalar or rank-1 tensor of `dims` whose elements, where they are integers, are `elements`.
pub fn with_elements(mut fact: Fact, elements: Option<Vec<Dim>>) -> Fact {
    let is_tracked =
        |elements: &Vec<Dim>| elements.len() <= MAX_TRACKED_CONTENTS && fact.rank().is_some_and(|r| r <= 1);
    fact.contents = elements.filter(is_tracked);
    fact
}

/// What both dimensions say together, or an error that names the axis and the operator's word for the tensor.
pub fn unify(a: &Dim, b: &Dim, what: &str) -> Result<Dim, InferError> {
    Dim::unify(a, b).map_err(|conflict| InferError(format!("{what}: {conflict}")))
}

/// Dimensions of a tensor at hand.
pub fn known_dims(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&d| Dim::known(d as i64)).collect()
}

/// An error where a known rank is not the expected one.
pub fn expect_rank(x: &Facts<'_>, index: usize, expected: usize) -> Result<(), InferError> {
    match x.shape(index) {
        Some(shape) if shape.len() != expected => {
            Err(InferError(format!("input {index}: expected rank {expected}, got rank {} {shape:?}", shape.len())))
        }
        _ => Ok(()),
    }
}

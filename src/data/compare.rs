//! How far a result is from the expected one.

use planish_ir::{Attributes, EvalCx, Inputs, Interpreter, Registry};
use planish_ops::StandardRegistry;
use planish_tensor::{DType, Tensor, Value};

/// When two values are equal enough.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    /// Relative tolerance; 1e-3 if `None`.
    pub rtol: Option<f64>,
    /// Absolute tolerance; if `None`, 1e-4 × the largest finite magnitude in the expected tensor, at least 1e-6.
    pub atol: Option<f64>,
    /// Accepts tensors of at least this cosine similarity instead.
    pub cosine: Option<f64>,
}

impl Tolerance {
    /// Whether integers, bools and strings may differ at all.
    fn is_given(&self) -> bool {
        self.rtol.is_some() || self.atol.is_some() || self.cosine.is_some()
    }
}

/// How two values compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Why they do not match; nothing where they do.
    pub mismatch: Option<String>,
    /// Whether types agree throughout.
    pub dtype_ok: bool,
    /// The largest absolute difference of finite elements.
    pub max_abs_err: f64,
    /// The largest difference relative to the expected element, where that is not 0.
    pub max_rel_err: f64,
    /// The cosine similarity of all elements; 1 for equal values.
    pub cosine: f64,
}

impl Comparison {
    const EQUAL: Comparison =
        Comparison { mismatch: None, dtype_ok: true, max_abs_err: 0.0, max_rel_err: 0.0, cosine: 1.0 };

    fn mismatch(message: String) -> Comparison {
        Comparison { mismatch: Some(message), ..Comparison::EQUAL }
    }

    /// Whether the values match.
    pub fn is_match(&self) -> bool {
        self.mismatch.is_none()
    }

    /// Both comparisons as one: the first mismatch, the worst figures.
    #[must_use]
    pub fn and(self, other: Comparison) -> Comparison {
        Comparison {
            mismatch: self.mismatch.or(other.mismatch),
            dtype_ok: self.dtype_ok && other.dtype_ok,
            max_abs_err: self.max_abs_err.max(other.max_abs_err),
            max_rel_err: self.max_rel_err.max(other.max_rel_err),
            cosine: self.cosine.min(other.cosine),
        }
    }
}

/// Compares a result with what was expected.
///
/// An element matches when |got − expected| ≤ atol + rtol·|expected|; NaN matches NaN, infinities match in sign.
/// Integers, bools and strings must be equal unless a tolerance is given.
pub fn compare(got: &Value, expected: &Value, tolerance: Tolerance) -> Comparison {
    match (got, expected) {
        (Value::Tensor(got), Value::Tensor(expected)) => compare_tensors(got, expected, tolerance),
        (Value::Sequence(got), Value::Sequence(expected)) => {
            compare_lists(&got.items, &expected.items, tolerance, "items")
        }
        (Value::Optional(_, Some(got)), Value::Optional(_, Some(expected))) => compare(got, expected, tolerance),
        (Value::Optional(_, None), Value::Optional(_, None)) => Comparison::EQUAL,
        // Test data writes an optional that holds something as the thing itself.
        (Value::Optional(_, Some(got)), expected) => compare(got, expected, tolerance),
        (got, Value::Optional(_, Some(expected))) => compare(got, expected, tolerance),
        (Value::Map(got), Value::Map(expected)) if got.keys == expected.keys => {
            compare_lists(&got.values, &expected.values, tolerance, "values")
        }
        (got, expected) => {
            let message = format!("expected {}, got {}", expected.value_type(), got.value_type());
            Comparison { dtype_ok: got.value_type() == expected.value_type(), ..Comparison::mismatch(message) }
        }
    }
}

fn compare_lists(got: &[Value], expected: &[Value], tolerance: Tolerance, what: &str) -> Comparison {
    if got.len() != expected.len() {
        return Comparison::mismatch(format!("expected {} {what}, got {}", expected.len(), got.len()));
    }
    let pairs = got.iter().zip(expected);
    pairs.map(|(g, e)| compare(g, e, tolerance)).fold(Comparison::EQUAL, Comparison::and)
}

fn compare_tensors(got: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Comparison {
    if got.dtype() != expected.dtype() || got.shape() != expected.shape() {
        let message = format!("expected {expected:?}, got {got:?}");
        return Comparison { dtype_ok: got.dtype() == expected.dtype(), ..Comparison::mismatch(message) };
    }
    if got == expected {
        return Comparison::EQUAL;
    }
    match (to_f64(got), to_f64(expected)) {
        (Some(got_values), Some(expected_values)) => {
            let is_exact = !got.dtype().is_float() && !tolerance.is_given() && !is_complex(got.dtype());
            compare_numbers(&got_values, &expected_values, tolerance, is_exact)
        }
        _ => Comparison::mismatch(first_difference(got, expected)),
    }
}

fn is_complex(dtype: DType) -> bool {
    matches!(dtype, DType::Complex64 | DType::Complex128)
}

fn first_difference(got: &Tensor, expected: &Tensor) -> String {
    match (got.as_strings(), expected.as_strings()) {
        (Ok(got), Ok(expected)) => {
            let different = got.iter().zip(expected).enumerate().find(|(_, (g, e))| g != e);
            different.map_or_else(String::new, |(i, (g, e))| format!("element {i}: expected {e:?}, got {g:?}"))
        }
        _ => format!("{:?} tensors differ", got.dtype()),
    }
}

fn compare_numbers(got: &[f64], expected: &[f64], tolerance: Tolerance, is_exact: bool) -> Comparison {
    let largest = expected.iter().filter(|e| e.is_finite()).fold(0f64, |m, e| m.max(e.abs()));
    let (rtol, atol) = match is_exact {
        true => (0.0, 0.0),
        false => (tolerance.rtol.unwrap_or(1e-3), tolerance.atol.unwrap_or_else(|| (1e-4 * largest).max(1e-6))),
    };
    let mut result = Comparison { cosine: cosine(got, expected), ..Comparison::EQUAL };
    let mut outside = 0usize;
    let mut worst = None;
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        if g == e || (g.is_nan() && e.is_nan()) {
            continue;
        }
        let difference = (g - e).abs();
        if difference.is_finite() {
            result.max_abs_err = result.max_abs_err.max(difference);
            if e != 0.0 {
                result.max_rel_err = result.max_rel_err.max(difference / e.abs());
            }
        }
        // Written so that a NaN on one side is outside.
        let is_inside = difference <= atol + rtol * e.abs() && e.is_finite();
        if !is_inside {
            outside += 1;
            worst.get_or_insert((i, g, e));
        }
    }
    let is_similar = tolerance.cosine.is_some_and(|least| result.cosine >= least);
    if let Some((i, g, e)) = worst.filter(|_| !is_similar) {
        result.mismatch = Some(format!(
            "{outside} of {} elements differ, first at {i}: expected {e}, got {g} (largest difference {:.3e}, cosine {:.6})",
            got.len(),
            result.max_abs_err,
            result.cosine
        ));
    }
    result
}

/// The cosine similarity of the elements finite on both sides; 1 where both are all zeros.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b).filter(|(x, y)| x.is_finite() && y.is_finite()) {
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    match (aa == 0.0, bb == 0.0) {
        (true, true) => 1.0,
        (false, false) => dot / (aa.sqrt() * bb.sqrt()),
        _ => 0.0,
    }
}

/// The elements as `f64`, complex ones as two each; `None` for strings.
pub fn to_f64(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.dtype() {
        DType::String => None,
        DType::F64 => tensor.as_slice::<f64>().ok().map(<[f64]>::to_vec),
        DType::F32 => tensor.as_slice::<f32>().ok().map(|s| s.iter().map(|&v| f64::from(v)).collect()),
        DType::Complex64 => {
            let parts = tensor.as_slice::<planish_tensor::Complex64>().ok()?;
            Some(parts.iter().flat_map(|c| [f64::from(c.re), f64::from(c.im)]).collect())
        }
        DType::Complex128 => {
            let parts = tensor.as_slice::<planish_tensor::Complex128>().ok()?;
            Some(parts.iter().flat_map(|c| [c.re, c.im]).collect())
        }
        _ => {
            let to = Attributes::new().with("to", i64::from(DType::F64.to_onnx()));
            let cast = StandardRegistry.operator("", "Cast", to, 1, 1).ok()?;
            let inputs = Inputs::new([Some(Value::Tensor(tensor.clone()))]);
            let outputs = cast.op()?.eval(&mut EvalCx::unlimited(&Interpreter), inputs).ok()?;
            to_f64(outputs.into_values().first()?.as_ref()?.as_tensor()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(got: &[f32], expected: &[f32], tolerance: Tolerance) -> Comparison {
        compare(&Tensor::vector(got).into(), &Tensor::vector(expected).into(), tolerance)
    }

    #[test]
    fn nan_and_infinities_match_themselves_only() {
        let none = Tolerance::default();
        assert!(tensors(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY], none).is_match());
        for (got, expected) in
            [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, f32::NEG_INFINITY), (1.0, f32::INFINITY)]
        {
            assert!(!tensors(&[got], &[expected], none).is_match(), "{got} is not {expected}");
        }
    }

    #[test]
    fn the_default_tolerance_scales_with_the_output() {
        let none = Tolerance::default();
        assert!(tensors(&[1000.0, 0.09], &[1000.0, 0.0], none).is_match());
        assert!(!tensors(&[1000.0, 0.11], &[1000.0, 0.0], none).is_match());
        assert!(!tensors(&[2e-6], &[0.0], none).is_match());
    }

    #[test]
    fn integers_match_exactly_unless_told_otherwise() {
        let (a, b) = (Tensor::vector(&[100i32]).into(), Tensor::vector(&[101i32]).into());
        assert!(!compare(&a, &b, Tolerance::default()).is_match());
        assert!(compare(&a, &b, Tolerance { atol: Some(1.0), ..Tolerance::default() }).is_match());
    }

    #[test]
    fn cosine_accepts_what_points_the_same_way() {
        let tolerance = Tolerance { cosine: Some(0.999), ..Tolerance::default() };
        assert!(tensors(&[1.0, 2.02], &[1.0, 2.0], tolerance).is_match());
        assert!(!tensors(&[1.0, -2.0], &[1.0, 2.0], tolerance).is_match());
    }

    #[test]
    fn another_dtype_is_a_mismatch_of_type() {
        let got = compare(&Tensor::vector(&[1i64]).into(), &Tensor::vector(&[1f32]).into(), Tolerance::default());
        assert!(!got.dtype_ok && !got.is_match());
    }
}

//! Elementary functions of each element: `Acos`, `Acosh`, `Asin`, `Asinh`, `Atan`, `Atanh`, `Ceil`, `Cos`, `Cosh`, `Erf`, `Exp`,
//! `Floor`, `Log`, `Reciprocal`, `Round` (ties to even), `Sin`, `Sinh`, `Sqrt`, `Tan`, `Tanh`.
//!
//! Opsets: those from 1 were changed in 6 (in form only) and 13 (bfloat16), those from 7 and 9 in 22 (bfloat16).

use crate::unary::{Unary, plain_functions};
use planish_ir::FLOATS;
use planish_kernels::elementwise::Unary as Kernel;

/// The operators.
pub mod operator {
    use super::{Unary, function};

    macro_rules! operators {
        ($($name:ident)*) => {$(
            #[doc = concat!("`", stringify!($name), "`.")]
            pub type $name = Unary<function::$name>;
        )*};
    }
    operators! {
        Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Log Reciprocal Round Sin Sinh Sqrt Tan Tanh
    }
}

/// The functions.
pub mod function {
    use super::{FLOATS, Kernel, plain_functions};

    plain_functions! {
        /// arccos x.
        Acos(22, "input", "output", FLOATS, 10.0, None) = |x| x.acos();
        /// arcosh x.
        Acosh(22, "input", "output", FLOATS, 15.0, None) = |x| x.acosh();
        /// arcsin x.
        Asin(22, "input", "output", FLOATS, 10.0, None) = |x| x.asin();
        /// arsinh x.
        Asinh(22, "input", "output", FLOATS, 15.0, None) = |x| x.asinh();
        /// arctan x.
        Atan(22, "input", "output", FLOATS, 10.0, None) = |x| x.atan();
        /// artanh x.
        Atanh(22, "input", "output", FLOATS, 15.0, None) = |x| if x < T::zero() { -(-x).atanh() } else { x.atanh() };
        /// The nearest integer not below x.
        Ceil(13, "X", "Y", FLOATS, 0.3, Some(Kernel::Ceil)) = |x| x.ceil();
        /// cos x.
        Cos(22, "input", "output", FLOATS, 1.5, Some(Kernel::Cos)) = |x| x.cos();
        /// cosh x.
        Cosh(22, "input", "output", FLOATS, 10.0, None) = |x| x.cosh();
        /// erf x.
        Erf(13, "input", "output", FLOATS, 1.5, Some(Kernel::Erf)) = |x| x.erf();
        /// eˣ.
        Exp(13, "input", "output", FLOATS, 1.0, Some(Kernel::Exp)) = |x| x.exp();
        /// The nearest integer not above x.
        Floor(13, "X", "Y", FLOATS, 0.3, Some(Kernel::Floor)) = |x| x.floor();
        /// ln x.
        Log(13, "input", "output", FLOATS, 1.0, Some(Kernel::Log)) = |x| x.ln();
        /// 1/x.
        Reciprocal(13, "X", "Y", FLOATS, 0.5, Some(Kernel::Reciprocal)) = |x| x.recip();
        /// The nearest integer, ties to even.
        Round(22, "X", "Y", FLOATS, 0.3, Some(Kernel::Round)) = |x| x.round_ties_even();
        /// sin x.
        Sin(22, "input", "output", FLOATS, 1.5, Some(Kernel::Sin)) = |x| x.sin();
        /// sinh x.
        Sinh(22, "input", "output", FLOATS, 10.0, None) = |x| x.sinh();
        /// √x.
        Sqrt(13, "X", "Y", FLOATS, 0.5, Some(Kernel::Sqrt)) = |x| x.sqrt();
        /// tan x.
        Tan(22, "input", "output", FLOATS, 10.0, None) = |x| x.tan();
        /// tanh x.
        Tanh(13, "input", "output", FLOATS, 1.5, Some(Kernel::Tanh)) = |x| x.tanh();
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{bf16, f16};

    /// The operators with their definitions on `f64`.
    const FUNCTIONS: &[(&str, fn(f64) -> f64)] = &[
        ("Acos", f64::acos),
        ("Acosh", f64::acosh),
        ("Asin", f64::asin),
        ("Asinh", f64::asinh),
        ("Atan", f64::atan),
        ("Atanh", f64::atanh),
        ("Ceil", f64::ceil),
        ("Cos", f64::cos),
        ("Cosh", f64::cosh),
        ("Erf", libm::erf),
        ("Exp", f64::exp),
        ("Floor", f64::floor),
        ("Log", f64::ln),
        ("Reciprocal", f64::recip),
        ("Round", f64::round_ties_even),
        ("Sin", f64::sin),
        ("Sinh", f64::sinh),
        ("Sqrt", f64::sqrt),
        ("Tan", f64::tan),
        ("Tanh", f64::tanh),
    ];

    fn is_close(got: f64, expected: f64, tolerance: f64) -> bool {
        got == expected || got.is_nan() && expected.is_nan() || (got - expected).abs() <= tolerance * expected.abs()
    }

    #[test]
    fn every_float_dtype_computes_the_definition() {
        let x: Vec<f64> = [-2.5, -1.5, -0.5, 0.0, 0.125, 0.5, 1.0, 1.5, 2.5, f64::NAN].repeat(60);
        for &(name, definition) in FUNCTIONS {
            let check = |got: Vec<f64>, tolerance: f64| {
                for (x, y) in x.iter().zip(got) {
                    assert!(is_close(y, definition(*x), tolerance), "{name}({x}) = {y}, not {}", definition(*x));
                }
            };
            let run = |x| eval(name, Attributes::new(), &[x]).unwrap();
            let n = [x.len()];
            let y = run(tensor(&n, &x));
            check(y.as_slice::<f64>().unwrap().to_vec(), 1e-15);
            let y = run(tensor(&n, &x.iter().map(|&v| v as f32).collect::<Vec<_>>()));
            check(y.as_slice::<f32>().unwrap().iter().map(|&v| v.into()).collect(), 1e-6);
            let y = run(tensor(&n, &x.iter().map(|&v| f16::from_f64(v)).collect::<Vec<_>>()));
            check(y.as_slice::<f16>().unwrap().iter().map(|&v| v.into()).collect(), 1e-3);
            let y = run(tensor(&n, &x.iter().map(|&v| bf16::from_f64(v)).collect::<Vec<_>>()));
            check(y.as_slice::<bf16>().unwrap().iter().map(|&v| v.into()).collect(), 1e-2);
        }
    }

    #[test]
    fn empty_tensors_pass() {
        let empty = tensor::<f32>(&[0, 3], &[]);
        assert_eq!(eval("Exp", Attributes::new(), std::slice::from_ref(&empty)).unwrap(), empty);
    }
}

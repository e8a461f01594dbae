//! Finding elements in a list of keys.

use planish_ir::OpError;
use planish_tensor::{DType, Tensor, f16};
use std::collections::HashMap;

/// Where each key stands in its list, the last place of one that is listed twice.
#[derive(Debug)]
pub enum Keys {
    /// Text.
    Strings(HashMap<String, usize>),
    /// Integers of any width.
    Ints(HashMap<i64, usize>),
    /// Floats of any width, by the bits of the `f64` that [`canonical`] makes of them.
    Floats(HashMap<u64, usize>),
}

/// The bits of a float; the same for all NaNs, and for 0 and −0.
fn canonical(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

impl Keys {
    /// Keys that are strings.
    pub fn of_strings(keys: &[String]) -> Keys {
        Keys::Strings(keys.iter().cloned().zip(0..).collect())
    }

    /// Keys that are integers.
    pub fn of_ints(keys: &[i64]) -> Keys {
        Keys::Ints(keys.iter().copied().zip(0..).collect())
    }

    /// Keys of any dtype that [`places`](Self::places) can look up.
    pub fn of_tensor(keys: &Tensor) -> Result<Keys, OpError> {
        match read(keys)? {
            Elements::Strings(keys) => Ok(Keys::of_strings(keys)),
            Elements::Ints(keys) => Ok(Keys::of_ints(&keys)),
            Elements::Floats(keys) => Ok(Keys::Floats(keys.into_iter().map(canonical).zip(0..).collect())),
        }
    }

    /// Where each element of `x` stands among the keys; `None` for one that does not.
    pub fn places(&self, x: &Tensor) -> Result<Vec<Option<usize>>, OpError> {
        match (self, read(x)?) {
            (Keys::Strings(keys), Elements::Strings(x)) => Ok(x.iter().map(|x| keys.get(x).copied()).collect()),
            (Keys::Ints(keys), Elements::Ints(x)) => Ok(x.iter().map(|x| keys.get(x).copied()).collect()),
            (Keys::Floats(keys), Elements::Floats(x)) => {
                Ok(x.into_iter().map(|x| keys.get(&canonical(x)).copied()).collect())
            }
            _ => Err(OpError::invalid(format!("input 0: the keys are not of {}", x.dtype()))),
        }
    }
}

enum Elements<'a> {
    Strings(&'a [String]),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

fn read(x: &Tensor) -> Result<Elements<'_>, OpError> {
    macro_rules! widened {
        ($kind:ident, $t:ty) => {
            Elements::$kind(x.as_slice::<$t>()?.iter().map(|&v| v.into()).collect())
        };
    }
    Ok(match x.dtype() {
        DType::String => Elements::Strings(x.as_strings()?),
        DType::I64 => widened!(Ints, i64),
        DType::I32 => widened!(Ints, i32),
        DType::I16 => widened!(Ints, i16),
        DType::F32 => widened!(Floats, f32),
        DType::F64 => widened!(Floats, f64),
        DType::F16 => widened!(Floats, f16),
        other => return Err(OpError::unsupported(format!("keys of {other}"))),
    })
}

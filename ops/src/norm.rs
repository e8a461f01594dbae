//! The Lp norm (Σ |x|ᵖ)^(1/p), which several operators take over different elements.

use num_traits::Float;
use planish_ir::{AttributeError, NodeView};

/// The exponent of a norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    p: i32,
}

impl Norm {
    /// Parses the attribute `p`.
    pub fn parse(node: &NodeView<'_>) -> Result<Norm, AttributeError> {
        let p = node.int("p")?;
        match i32::try_from(p) {
            Ok(p) if p > 0 => Ok(Norm { p }),
            _ => Err(AttributeError::invalid(format!("attribute \"p\": expected a positive number, got {p}"))),
        }
    }

    /// The exponent.
    pub fn p(self) -> i32 {
        self.p
    }

    /// |x|ᵖ.
    pub fn power<T: Float>(self, x: T) -> T {
        match self.p {
            1 => x.abs(),
            2 => x * x,
            p => x.abs().powi(p),
        }
    }

    /// sum^(1/p).
    pub fn root<T: Float>(self, sum: T) -> T {
        match self.p {
            1 => sum,
            2 => sum.sqrt(),
            p => sum.powf(T::from(p).map_or(T::nan(), T::recip)),
        }
    }
}

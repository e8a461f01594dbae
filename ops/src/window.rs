//! `HannWindow`, `HammingWindow`, `BlackmanWindow`: sums of cosines that taper the ends of a frame,
//! a₀ − a₁ cos(2πn/N) + a₂ cos(4πn/N), where N is the size of a periodic window and one less of a symmetric one.
//!
//! Opsets: 17.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::{DType, Shape, Tensor};
use std::f64::consts::PI;
use std::marker::PhantomData;

/// `HannWindow`.
pub type HannWindow = Window<Hann>;
/// `HammingWindow`.
pub type HammingWindow = Window<Hamming>;
/// `BlackmanWindow`.
pub type BlackmanWindow = Window<Blackman>;

/// A window of one kind.
#[derive(Debug)]
pub struct Window<K> {
    dtype: DType,
    is_periodic: bool,
    kind: PhantomData<K>,
}

/// What sets one window apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// a₀, a₁, a₂.
    const COEFFICIENTS: [f64; 3];
}

macro_rules! kinds {
    ($($kind:ident, $name:literal, $coefficients:expr;)*) => {$(
        #[doc = concat!("`", $name, "`'s coefficients.")]
        #[derive(Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const COEFFICIENTS: [f64; 3] = $coefficients;
        }
    )*};
}

kinds! {
    Hann, "HannWindow", [0.5, 0.5, 0.0];
    Hamming, "HammingWindow", [25.0 / 46.0, 21.0 / 46.0, 0.0];
    Blackman, "BlackmanWindow", [0.42, 0.5, 0.08];
}

impl<K: Kind> Define for Window<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 17)
        .inputs(&[arg("size", INDICES).var("T1")])
        .outputs(&[arg("output", NUMERIC).var("T2")])
        .attributes(&[int("output_datatype", 1), int("periodic", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.dtype("output_datatype")?;
        if !NUMERIC.contains(dtype) {
            return Err(AttributeError::invalid(format!("attribute \"output_datatype\": no window is of {dtype}")));
        }
        Ok(Window { dtype, is_periodic: node.flag("periodic")?, kind: PhantomData })
    }
}

impl<K: Kind> Op for Window<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let size = x.elements(0).and_then(|elements| elements.into_iter().next()).unwrap_or(Dim::unknown());
        Ok(vec![Fact::shaped(Some(self.dtype), vec![size])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let shape = Shape::from_i64(&[inputs.int(0)?])?;
        Ok(for_numeric!(self.dtype, T => window::<T, K>(cx, shape, self.is_periodic))?.into())
    }
}

fn window<T: Number, K: Kind>(cx: &EvalCx<'_>, shape: Shape, is_periodic: bool) -> Result<Tensor, OpError> {
    let size = shape.num_elements() as f64;
    let period = if is_periodic { size } else { size - 1.0 };
    let [a0, a1, a2] = K::COEFFICIENTS;
    let mut y = cx.uninit::<T>(shape)?;
    crate::parallel::fill(cx, &mut y, 30.0, |start, y| {
        for (i, y) in y.iter_mut().enumerate() {
            let angle = 2.0 * PI * (start + i) as f64 / period;
            *y = T::from_f64(a0 - a1 * angle.cos() + a2 * (2.0 * angle).cos());
        }
    })?;
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn ends_and_middle() {
        for (name, end) in [("HannWindow", 0.0), ("HammingWindow", 4.0 / 46.0), ("BlackmanWindow", 0.0)] {
            let symmetric = eval(name, Attributes::new().with("periodic", 0i64), &[tensor(&[], &[5i64])]).unwrap();
            let symmetric = symmetric.as_slice::<f32>().unwrap();
            let periodic = eval(name, Attributes::new(), &[tensor(&[], &[4i32])]).unwrap();
            approx::assert_abs_diff_eq!(symmetric[..4], *periodic.as_slice::<f32>().unwrap(), epsilon = 1e-6);
            approx::assert_abs_diff_eq!(symmetric[0], end, epsilon = 1e-6);
            approx::assert_abs_diff_eq!(symmetric[2], 1.0, epsilon = 1e-6);
        }
    }

    #[test]
    fn a_negative_size_is_refused() {
        assert!(eval("HannWindow", Attributes::new(), &[tensor(&[], &[-1i64])]).is_err());
    }
}

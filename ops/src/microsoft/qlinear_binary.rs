//! `QLinearAdd`, `QLinearMul`: sums and products of quantized operands, quantized, with broadcasting:
//! C = saturate(round(A' + B') + …), rounding to even what ONNX Runtime rounds:
//!
//! ```text
//! add: a·(A_scale/C_scale) + (b·(B_scale/C_scale) + fixed)    fixed = C_zero − (A_zero·A_scale + B_zero·B_scale)/C_scale
//! mul: (a − A_zero)·(b − B_zero)·(A_scale·B_scale/C_scale) + C_zero
//! ```

use super::DOMAIN;
use crate::Define;
use crate::dtypes::for_dtypes;
use crate::elementwise::{Operand, binary, infer_broadcast, zip};
use crate::quantized::integers::{Quantum, round_to};
use crate::quantized::product::BYTES;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    opt,
};
use planish_tensor::Tensor;
use std::fmt::Debug;
use std::marker::PhantomData;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.8;

/// `QLinearAdd`.
pub type QLinearAdd = QLinearBinary<Sum>;
/// `QLinearMul`.
pub type QLinearMul = QLinearBinary<Product>;

/// A function of two quantized operands.
#[derive(Debug)]
pub struct QLinearBinary<K> {
    kind: PhantomData<K>,
}

/// Scales and zero points of A, B and C.
#[derive(Clone, Copy, Debug)]
pub struct Quantization {
    scales: [f32; 3],
    zeros: [f32; 3],
}

/// Which function.
pub trait Kind: Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// What is rounded, made of two codes.
    fn function(quantization: Quantization) -> impl Fn(f32, f32) -> f32 + Sync;
}

/// The sum.
#[derive(Debug)]
pub struct Sum;

/// The product.
#[derive(Debug)]
pub struct Product;

impl Kind for Sum {
    const NAME: &'static str = "QLinearAdd";

    fn function(Quantization { scales: [a, b, c], zeros }: Quantization) -> impl Fn(f32, f32) -> f32 + Sync {
        let (a, b) = (a / c, b / c);
        let fixed = zeros[2] - a.mul_add(zeros[0], b * zeros[1]);
        move |x, y| x * a + (y * b + fixed)
    }
}

impl Kind for Product {
    const NAME: &'static str = "QLinearMul";

    fn function(Quantization { scales: [a, b, c], zeros }: Quantization) -> impl Fn(f32, f32) -> f32 + Sync {
        let factor = a * b / c;
        move |x, y| (x - zeros[0]) * (y - zeros[1]) * factor + zeros[2]
    }
}

impl<K: Kind> Define for QLinearBinary<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("A", BYTES).var("T"),
            arg("A_scale", FLOAT),
            opt("A_zero_point", BYTES).var("T"),
            arg("B", BYTES).var("T"),
            arg("B_scale", FLOAT),
            opt("B_zero_point", BYTES).var("T"),
            arg("C_scale", FLOAT),
            opt("C_zero_point", BYTES).var("T"),
        ])
        .outputs(&[arg("C", BYTES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QLinearBinary { kind: PhantomData })
    }
}

impl<K: Kind> Op for QLinearBinary<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let operands = [x.get(0), x.get(3)];
        infer_broadcast(&Facts::new(&operands, x.num_outputs()), x.dtype(0).or(x.dtype(3)), |_| Dim::unknown())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        Ok(for_dtypes!(dtype, Q => evaluate::<K, Q>(cx, inputs), [U8 = u8, I8 = i8])?.into())
    }
}

fn evaluate<K: Kind, Q: Quantum>(cx: &EvalCx<'_>, mut inputs: Inputs) -> Result<Tensor, OpError> {
    let zero = |index: usize| match inputs.has(index) {
        true => inputs.scalar::<Q>(index).map(|zero| zero.as_()),
        false => Ok(0.0),
    };
    let quantization = Quantization {
        scales: [inputs.scalar(1)?, inputs.scalar(4)?, inputs.scalar(6)?],
        zeros: [zero(2)?, zero(5)?, zero(7)?],
    };
    let f = K::function(quantization);
    let (a, b) = (inputs.take_tensor(0)?, inputs.take_tensor(3)?);
    binary::<Q>(cx, a, b, NS_PER_ELEMENT, |a: Operand<'_, Q>, b, y| {
        zip(a, b, y, |a, b| round_to(f(a.as_(), b.as_()), 0.0, Q::RANGE));
    })
}

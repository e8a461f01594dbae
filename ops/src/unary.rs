//! What functions of one element have in common: `float` by a vectorised kernel where there is one, 16-bit floats through
//! `float` and rounded once, `double` by the definition. Each family of functions has a file of its own.

use crate::Define;
use crate::dtypes::Float32;
use crate::elementwise::{in_range, map, map_in_f32, map_runs};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
};
use planish_kernels::{elementwise as kernels, simd};
use planish_tensor::{DType, Tensor, bf16, f16};

/// An operator that applies `F` to each element.
#[derive(Debug)]
pub struct Unary<F>(F);

/// A function of one element.
pub trait Function: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// The operator's signature.
    const SCHEMA: Schema;
    /// What one element costs.
    const NS: f64;

    /// The function of a node.
    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError>;
    /// The definition.
    fn apply<T: Real>(&self, x: T) -> T;
    /// The kernel for `float`; where there is none the definition is used.
    fn kernel(&self) -> Option<kernels::Unary>;
    /// The result for integer tensors, where the operator takes them.
    fn eval_integers(&self, _cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
        Err(OpError::unsupported(format!("dtype {}", x.dtype())))
    }
    /// The function of a symbolic integer.
    fn of_dim(&self, _x: &Dim) -> Dim {
        Dim::unknown()
    }
}

/// `f32` or `f64`.
pub trait Real: num_traits::Float + planish_tensor::Element {
    /// The nearest number.
    fn of(value: f64) -> Self;
    /// The nearest integer, ties to even.
    fn round_ties_even(self) -> Self;
    /// The error function, 2/√π · ∫₀ˣ e^(−t²) dt.
    fn erf(self) -> Self;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }
    fn round_ties_even(self) -> f32 {
        self.round_ties_even()
    }
    fn erf(self) -> f32 {
        libm::erff(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }
    fn round_ties_even(self) -> f64 {
        self.round_ties_even()
    }
    fn erf(self) -> f64 {
        libm::erf(self)
    }
}

impl<F: Function> Define for Unary<F> {
    const SCHEMA: Schema = F::SCHEMA;

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Unary(F::parse(node)?))
    }
}

impl<F: Function> Op for Unary<F> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let mut fact = Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default());
        let contents =
            |elements: Vec<Dim>| elements.iter().map(|dim| in_range(self.0.of_dim(dim), x.dtype(0))).collect();
        fact.contents = x.elements(0).map(contents);
        Ok(vec![fact])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(apply(cx, &self.0, inputs.take_tensor(0)?)?.into())
    }
}

/// y = f(x).
pub fn apply<F: Function>(cx: &EvalCx<'_>, f: &F, x: Tensor) -> Result<Tensor, OpError> {
    match x.dtype() {
        DType::F32 => map_runs(cx, x, F::NS, |x, y| {
            if let Some(kernel) = f.kernel() {
                return kernels::unary(kernel, x.map_or(simd::Operand::Output, simd::Operand::Slice), y);
            }
            if let Some(x) = x {
                y.copy_from_slice(x);
            }
            apply_in_place(f, y);
        }),
        DType::F16 => apply_half::<f16, F>(cx, f, x),
        DType::BF16 => apply_half::<bf16, F>(cx, f, x),
        DType::F64 => map::<f64>(cx, x, 10.0 * F::NS, |v| f.apply(v)),
        _ => f.eval_integers(cx, x),
    }
}

fn apply_half<T: Float32, F: Function>(cx: &EvalCx<'_>, f: &F, x: Tensor) -> Result<Tensor, OpError> {
    map_runs(cx, x, F::NS + 0.3, map_in_f32::<T>(|y| apply_in_place(f, y)))
}

fn apply_in_place<F: Function>(f: &F, y: &mut [f32]) {
    match f.kernel() {
        Some(kernel) => kernels::unary(kernel, simd::Operand::Output, y),
        None => y.iter_mut().for_each(|y| *y = f.apply(*y)),
    }
}

/// Functions without attributes: type and operator name, opset version, names of input and output, dtypes, cost in
/// nanoseconds, kernel, definition.
macro_rules! plain_functions {
    ($($(#[$doc:meta])* $name:ident($since:literal, $input:literal, $output:literal, $types:expr, $ns:literal, $kernel:expr)
        = |$x:ident| $body:expr $(, integers: $integers:expr, dims: $dims:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl $crate::unary::Function for $name {
            const SCHEMA: planish_ir::Schema = planish_ir::Schema::new(stringify!($name), $since)
                .inputs(&[planish_ir::arg($input, $types).var("T")])
                .outputs(&[planish_ir::arg($output, $types).var("T")]);
            const NS: f64 = $ns;

            fn parse(_node: &planish_ir::NodeView<'_>) -> Result<Self, planish_ir::AttributeError> {
                Ok($name)
            }
            #[inline(always)]
            fn apply<T: $crate::unary::Real>(&self, $x: T) -> T {
                $body
            }
            fn kernel(&self) -> Option<planish_kernels::elementwise::Unary> {
                $kernel
            }
            $(
                fn eval_integers(
                    &self,
                    cx: &planish_ir::EvalCx<'_>,
                    x: planish_tensor::Tensor,
                ) -> Result<planish_tensor::Tensor, planish_ir::OpError> {
                    $integers(cx, x)
                }
                fn of_dim(&self, x: &planish_ir::Dim) -> planish_ir::Dim {
                    $dims(x)
                }
            )?
        }
    )*};
}

pub(crate) use plain_functions;

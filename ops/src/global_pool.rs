//! `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`: one number for each channel, from all of its spatial extent.
//!
//! Opsets: 1; GlobalLpPool 2 makes `p` an integer; 22 adds bfloat16.

use crate::Define;
use crate::half::{for_real, widened};
use crate::norm::Norm;
use crate::parallel;
use num_traits::Float;
use planish_ir::{
    AttributeDef, AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_kernels::reduce::{Reduction, reduce};
use planish_tensor::{DType, Element, Shape, Tensor};
use std::fmt::Debug;

/// `GlobalAveragePool`.
pub type GlobalAveragePool = Global<Average>;
/// `GlobalMaxPool`.
pub type GlobalMaxPool = Global<Max>;
/// `GlobalLpPool`.
pub type GlobalLpPool = Global<Norm>;

/// A pool over whole channels.
#[derive(Debug)]
pub struct Global<K> {
    kind: K,
}

/// What a channel is pooled to.
pub trait Kind: Debug + Send + Sync + Sized + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// Its attributes.
    const ATTRIBUTES: &'static [AttributeDef] = &[];
    /// Reads the attributes.
    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError>;
    /// The kernel that computes it, if there is one.
    fn reduction(&self) -> Option<Reduction>;
    /// The definition.
    fn pool<T: Float>(&self, channel: &[T]) -> T;
}

/// The mean.
#[derive(Debug)]
pub struct Average;

impl Kind for Average {
    const NAME: &'static str = "GlobalAveragePool";

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Average)
    }

    fn reduction(&self) -> Option<Reduction> {
        Some(Reduction::Mean)
    }

    fn pool<T: Float>(&self, channel: &[T]) -> T {
        let sum = channel.iter().fold(T::zero(), |sum, &x| sum + x);
        sum / T::from(channel.len()).unwrap_or_else(T::infinity)
    }
}

/// The maximum.
#[derive(Debug)]
pub struct Max;

impl Kind for Max {
    const NAME: &'static str = "GlobalMaxPool";

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Max)
    }

    fn reduction(&self) -> Option<Reduction> {
        Some(Reduction::Max)
    }

    fn pool<T: Float>(&self, channel: &[T]) -> T {
        channel.iter().fold(T::neg_infinity(), |max, &x| if x > max || x.is_nan() { x } else { max })
    }
}

impl Kind for Norm {
    const NAME: &'static str = "GlobalLpPool";
    const ATTRIBUTES: &'static [AttributeDef] = &[int("p", 2)];

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Norm::parse(node)
    }

    fn reduction(&self) -> Option<Reduction> {
        match self.p() {
            1 => Some(Reduction::L1),
            2 => Some(Reduction::L2),
            _ => None,
        }
    }

    fn pool<T: Float>(&self, channel: &[T]) -> T {
        self.root(channel.iter().fold(T::zero(), |sum, &x| sum + self.power(x)))
    }
}

impl<K: Kind> Define for Global<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 22)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(K::ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Global { kind: K::parse(node)? })
    }
}

/// What is known of the first input with each spatial axis pooled to one element.
pub fn pooled_to_one(x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
    let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
    let [batch, channels, spatial @ ..] = shape else {
        return Err(InferError(format!("expected an input of rank 2 or more, got {}", shape.len())));
    };
    let ones = spatial.iter().map(|_| Dim::known(1));
    let y = [batch.clone(), channels.clone()].into_iter().chain(ones).collect();
    Ok(vec![Fact::shaped(x.dtype(0), y)])
}

impl<K: Kind> Op for Global<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        pooled_to_one(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            let y = match self.kind.reduction() {
                Some(reduction) if x.dtype() == DType::F32 => {
                    pooled(cx, x, |x, plane, y| reduce(reduction, x, plane, 1, y))?
                }
                _ => for_real!(x.dtype(), T => pooled::<T>(cx, x, |x, plane, y| self.define(x, plane, y)))?,
            };
            Ok(y.into())
        })
    }
}

impl<K: Kind> Global<K> {
    /// Pools each run of `plane` elements.
    fn define<T: Float>(&self, x: &[T], plane: usize, y: &mut [T]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = self.kind.pool(&x[i * plane..][..plane]);
        }
    }
}

/// What `pool(channels of x, elements of one, their outputs)` makes of all channels.
fn pooled<T: Element>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    pool: impl Fn(&[T], usize, &mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    let &[batch, channels, ref spatial @ ..] = x.shape().dims() else {
        return Err(OpError::invalid(format!("expected an input of rank 2 or more, got shape {}", x.shape())));
    };
    let plane: usize = spatial.iter().product();
    let dims: Vec<usize> = [batch, channels].into_iter().chain(spatial.iter().map(|_| 1)).collect();
    let mut y = cx.uninit::<T>(Shape::new(&dims)?)?;
    let values = x.as_slice::<T>()?;
    parallel::fill(cx, &mut y, plane as f64 * 0.3, |start, piece| {
        pool(&values[start * plane..][..piece.len() * plane], plane, piece);
    })?;
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn channels_are_pooled_whole() {
        struct Case {
            name: &'static str,
            p: Option<i64>,
            expected: [f32; 2],
        }
        for Case { name, p, expected } in [
            Case { name: "GlobalAveragePool", p: None, expected: [1.0, -1.0] },
            Case { name: "GlobalMaxPool", p: None, expected: [4.0, 3.0] },
            Case { name: "GlobalLpPool", p: Some(1), expected: [8.0, 10.0] },
            Case { name: "GlobalLpPool", p: None, expected: [24f32.sqrt(), 34f32.sqrt()] },
            Case { name: "GlobalLpPool", p: Some(3), expected: [80f32.cbrt(), 118f32.cbrt()] },
        ] {
            let data = [4f32, -2., 2., 0., 3., -3., -4., 0.];
            let attributes = p.map_or(Attributes::new(), |p| Attributes::new().with("p", p));
            let y = eval(name, attributes.clone(), &[tensor(&[1, 2, 2, 2], &data)]).unwrap();
            assert_eq!(y.shape().dims(), [1, 2, 1, 1]);
            approx::assert_relative_eq!(y.as_slice::<f32>().unwrap(), &expected[..], max_relative = 1e-6);
        }
    }
}

//! `Multinomial`: samples of classes, from their unnormalised log-probabilities.
//!
//! Opsets: 7; 22 adds bfloat16.

use crate::Define;
use crate::dtypes::{Number, for_dtypes, for_float};
use crate::random::Generator;
use crate::random_fill::parse_seed;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, int, optional,
};
use planish_tensor::{DType, Shape, Tensor};

/// `Multinomial`.
#[derive(Debug)]
pub struct Multinomial {
    dtype: DType,
    sample_size: usize,
    seed: Option<u32>,
}

impl Define for Multinomial {
    const SCHEMA: Schema = Schema::new("Multinomial", 22)
        .inputs(&[arg("input", FLOATS).var("T1")])
        .outputs(&[arg("output", INDICES).var("T2")])
        .attributes(&[int("dtype", 6), int("sample_size", 1), optional("seed", AttributeKind::Float)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.dtype("dtype")?;
        if !INDICES.contains(dtype) {
            return Err(AttributeError::invalid(format!("attribute \"dtype\": expected int32 or int64, got {dtype}")));
        }
        let sample_size = node.int("sample_size")?;
        let negative = |_| AttributeError::invalid(format!("attribute \"sample_size\": {sample_size} is negative"));
        Ok(Multinomial { dtype, sample_size: usize::try_from(sample_size).map_err(negative)?, seed: parse_seed(node) })
    }
}

impl Op for Multinomial {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let batch = match x.shape(0) {
            Some([batch, _]) => batch.clone(),
            Some(other) => return Err(InferError(format!("expected rank 2, got rank {}", other.len()))),
            None => Dim::unknown(),
        };
        Ok(vec![Fact::shaped(Some(self.dtype), vec![batch, Dim::known(self.sample_size as i64)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let &[batch, classes] = x.shape().dims() else {
            return Err(OpError::invalid(format!("expected rank 2, got rank {}", x.rank())));
        };
        if classes == 0 && batch > 0 {
            return Err(OpError::invalid("there is no class to sample"));
        }
        let shape = Shape::new(&[batch, self.sample_size])?;
        let mut cumulated = cx.uninit::<f64>(x.shape().clone())?;
        for_float!(x.dtype(), T => {
            cumulated.iter_mut().zip(x.as_slice::<T>()?).for_each(|(p, x)| *p = x.to_f64());
            Ok::<(), OpError>(())
        })?;
        cumulated.chunks_exact_mut(classes.max(1)).for_each(cumulate);
        let y = for_dtypes!(self.dtype, I => self.sample::<I>(cx, shape, &cumulated, classes), [I32 = i32, I64 = i64]);
        Ok(y?.into())
    }

    fn is_deterministic(&self) -> bool {
        self.seed.is_some()
    }
}

/// Log-probabilities of a row, turned into the sums of the probabilities up to each.
fn cumulate(row: &mut [f64]) {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for p in row {
        sum += (*p - max).exp();
        *p = sum;
    }
}

impl Multinomial {
    fn sample<I: Number>(
        &self,
        cx: &EvalCx<'_>,
        shape: Shape,
        cumulated: &[f64],
        classes: usize,
    ) -> Result<Tensor, OpError> {
        let mut generator = Generator::new(self.seed);
        let mut y = cx.uninit::<I>(shape)?;
        if self.sample_size > 0 && classes > 0 {
            for (samples, row) in y.chunks_exact_mut(self.sample_size).zip(cumulated.chunks_exact(classes)) {
                cx.check()?;
                for sample in samples {
                    let drawn = generator.uniform() * row[classes - 1];
                    let class = row.partition_point(|&sum| sum <= drawn).min(classes - 1);
                    *sample = I::from_f64(class as f64);
                }
            }
        }
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn classes_are_as_frequent_as_they_are_probable() {
        let x =
            tensor(&[2, 3], &[f32::NEG_INFINITY, 0., f32::NEG_INFINITY, 0.25f32.ln(), 0.75f32.ln(), f32::NEG_INFINITY]);
        let attributes = Attributes::new().with("sample_size", 1000i64).with("seed", 1f32);
        let y = eval("Multinomial", attributes, &[x]).unwrap();
        let y = y.as_slice::<i32>().unwrap();
        assert!(y[..1000].iter().all(|&class| class == 1));
        let zeros = y[1000..].iter().filter(|&&class| class == 0).count();
        assert!((200..300).contains(&zeros), "{zeros}");
    }
}

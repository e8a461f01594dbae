//! `NegativeLogLikelihoodLoss`, `SoftmaxCrossEntropyLoss`: the loss of each sample from the score of its true class.
//!
//! loss = −w\[c\] · log p\[c\] for the target class c, where log p is the input, or the logarithm of its softmax along axis 1; 0
//! where the target is `ignore_index`. `sum` adds all losses, `mean` divides that by the sum of their weights.
//!
//! Opsets: 12; 13 adds bfloat16 and, to the first, negative `ignore_index`; 22 of the first adds bfloat16.

use crate::Define;
use crate::half::{for_real, is_half, widened};
use crate::unary::Real;
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, opt, optional, string,
};
use planish_tensor::{Shape, Tensor, Value};

/// `NegativeLogLikelihoodLoss`.
#[derive(Debug)]
pub struct NegativeLogLikelihoodLoss(Loss);

/// `SoftmaxCrossEntropyLoss`.
#[derive(Debug)]
pub struct SoftmaxCrossEntropyLoss(Loss);

/// What both operators have in common.
#[derive(Debug)]
struct Loss {
    ignore_index: Option<i64>,
    reduction: Reduction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reduction {
    None,
    Sum,
    Mean,
}

impl Define for NegativeLogLikelihoodLoss {
    const SCHEMA: Schema = Schema::new("NegativeLogLikelihoodLoss", 22)
        .inputs(&[arg("input", FLOATS).var("T"), arg("target", INDICES).var("Tind"), opt("weight", FLOATS).var("T")])
        .outputs(&[arg("loss", FLOATS).var("T")])
        .attributes(&[optional("ignore_index", AttributeKind::Int), string("reduction", "mean")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(NegativeLogLikelihoodLoss(Loss::parse(node)?))
    }
}

impl Op for NegativeLogLikelihoodLoss {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![self.0.infer(x)?])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        if is_half(dtype) {
            return widened(cx, inputs, &[dtype], |cx, inputs| self.eval(cx, inputs));
        }
        let loss = for_real!(dtype, T => {
            let sizes = Sizes::of(inputs.tensor(0)?, inputs.tensor(1)?)?;
            self.0.eval::<T>(cx, &sizes, inputs.slice(0)?, &inputs)
        })?;
        Ok(loss.into())
    }
}

impl Define for SoftmaxCrossEntropyLoss {
    const SCHEMA: Schema = Schema::new("SoftmaxCrossEntropyLoss", 13)
        .inputs(&[arg("scores", FLOATS).var("T"), arg("labels", INDICES).var("Tind"), opt("weights", FLOATS).var("T")])
        .outputs(&[arg("output", FLOATS).var("T"), opt("log_prob", FLOATS).var("T")])
        .attributes(&[optional("ignore_index", AttributeKind::Int), string("reduction", "mean")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SoftmaxCrossEntropyLoss(Loss::parse(node)?))
    }
}

impl Op for SoftmaxCrossEntropyLoss {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let log_prob = Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default());
        Ok([self.0.infer(x)?, log_prob].into_iter().take(x.num_outputs()).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        if is_half(dtype) {
            return widened(cx, inputs, &[dtype, dtype], |cx, inputs| self.eval(cx, inputs));
        }
        for_real!(dtype, T => {
            let sizes = Sizes::of(inputs.tensor(0)?, inputs.tensor(1)?)?;
            let mut log_prob = cx.uninit::<T>(inputs.tensor(0)?.shape().clone())?;
            log_softmax(&sizes, inputs.slice::<T>(0)?, &mut log_prob);
            let loss = self.0.eval::<T>(cx, &sizes, &log_prob, &inputs)?;
            let log_prob = cx.wants(1).then(|| Value::Tensor(log_prob.freeze()));
            Ok(Outputs::new([Some(Value::Tensor(loss)), log_prob]))
        })
    }
}

/// The extents of the input, \[samples, classes, positions\], and the shape of the targets.
struct Sizes {
    samples: usize,
    classes: usize,
    positions: usize,
    targets: Shape,
}

impl Sizes {
    fn of(input: &Tensor, target: &Tensor) -> Result<Sizes, OpError> {
        let [samples, classes, rest @ ..] = input.shape().dims() else {
            return Err(OpError::invalid(format!("expected an input of rank 2 or more, got {}", input.shape())));
        };
        let expected: Vec<usize> = [*samples].iter().chain(rest).copied().collect();
        if target.shape().dims() != expected {
            return Err(OpError::invalid(format!("expected targets of shape {expected:?}, got {}", target.shape())));
        }
        let positions = rest.iter().product();
        Ok(Sizes { samples: *samples, classes: *classes, positions, targets: target.shape().clone() })
    }
}

fn log_softmax<T: Real>(sizes: &Sizes, x: &[T], y: &mut [T]) {
    let (classes, positions) = (sizes.classes, sizes.positions);
    for (n, p) in (0..sizes.samples).flat_map(|n| (0..positions).map(move |p| (n, p))) {
        let at = |c: usize| (n * classes + c) * positions + p;
        let max = (0..classes).map(|c| x[at(c)]).fold(T::neg_infinity(), T::max);
        let sum = (0..classes).map(|c| (x[at(c)] - max).exp()).fold(T::zero(), |a, b| a + b);
        (0..classes).for_each(|c| y[at(c)] = x[at(c)] - max - sum.ln());
    }
}

impl Loss {
    fn parse(node: &NodeView<'_>) -> Result<Loss, AttributeError> {
        let reductions = [("none", Reduction::None), ("sum", Reduction::Sum), ("mean", Reduction::Mean)];
        Ok(Loss { ignore_index: node.opt_int("ignore_index"), reduction: node.choice("reduction", &reductions)? })
    }

    fn infer(&self, x: &Facts<'_>) -> Result<Fact, InferError> {
        if let (Some(input), Some(target)) = (x.rank(0), x.rank(1))
            && input != target + 1
        {
            return Err(InferError(format!("expected targets of rank {}, got rank {target}", input.saturating_sub(1))));
        }
        Ok(match (self.reduction, x.shape(1)) {
            (Reduction::Sum | Reduction::Mean, _) => Fact::shaped(x.dtype(0), vec![]),
            (Reduction::None, Some(shape)) => Fact::shaped(x.dtype(0), shape.to_vec()),
            (Reduction::None, None) => Fact::tensor(x.dtype(0)),
        })
    }

    fn eval<T: Real>(
        &self,
        cx: &EvalCx<'_>,
        sizes: &Sizes,
        log_prob: &[T],
        inputs: &Inputs,
    ) -> Result<Tensor, OpError> {
        let weights = inputs.opt_slice::<T>(2)?;
        if let Some(weights) = weights.filter(|weights| weights.len() != sizes.classes) {
            let (expected, got) = (sizes.classes, weights.len());
            return Err(OpError::invalid(format!("expected a weight for each of {expected} classes, got {got}")));
        }
        let mut losses = cx.uninit::<T>(sizes.targets.clone())?;
        let (mut total, mut total_weight) = (0.0, 0.0);
        for (i, target) in inputs.ints(1)?.into_iter().enumerate() {
            if self.ignore_index == Some(target) {
                losses[i] = T::zero();
                continue;
            }
            let class = usize::try_from(target).ok().filter(|&class| class < sizes.classes);
            let class = class.ok_or_else(|| {
                OpError::invalid(format!("target {target} is not one of the {} classes", sizes.classes))
            })?;
            let (n, p) = (i / sizes.positions, i % sizes.positions);
            let weight = weights.map_or(T::one(), |weights| weights[class]);
            losses[i] = -log_prob[(n * sizes.classes + class) * sizes.positions + p] * weight;
            total += losses[i].to_f64().unwrap_or(f64::NAN);
            total_weight += weight.to_f64().unwrap_or(f64::NAN);
        }
        Ok(match self.reduction {
            Reduction::None => losses.freeze(),
            Reduction::Sum => Tensor::scalar(T::of(total)),
            Reduction::Mean => Tensor::scalar(T::of(total / total_weight)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;

    fn reduction(reduction: &str) -> Attributes {
        Attributes::new().with("reduction", reduction)
    }

    #[test]
    fn losses_are_weighted_and_reduced() {
        let x = tensor(&[2, 2, 2], &[1f32, 2., 3., 4., 5., 6., 7., 8.]);
        let (target, weight) = (tensor(&[2, 2], &[0i64, 1, 1, -7]), tensor(&[2], &[1f32, 2.]));
        let loss = |name: &str| {
            let attributes = reduction(name).with("ignore_index", -7i64);
            eval("NegativeLogLikelihoodLoss", attributes, &[x.clone(), target.clone(), weight.clone()]).unwrap()
        };
        assert_eq!(loss("none"), tensor(&[2, 2], &[-1f32, -8., -14., 0.]));
        assert_eq!(loss("sum"), tensor(&[], &[-23f32]));
        assert_eq!(loss("mean"), tensor(&[], &[-23f32 / 5.]));
    }

    #[test]
    fn cross_entropy_is_the_loss_of_the_log_softmax() {
        let inputs = [Some(tensor(&[1, 2], &[1000f64, 1000.])), Some(tensor(&[1], &[1i32]))];
        let y = eval_all("", "SoftmaxCrossEntropyLoss", reduction("none"), &inputs, 2).unwrap();
        let ln_2 = std::f64::consts::LN_2;
        assert_eq!(y, [tensor(&[1], &[ln_2]), tensor(&[1, 2], &[-ln_2, -ln_2])]);
    }

    #[test]
    fn targets_out_of_range_are_refused() {
        let x = tensor(&[1, 2], &[0f32; 2]);
        for target in [2i64, -1] {
            let inputs = [x.clone(), tensor(&[1], &[target])];
            assert!(eval("NegativeLogLikelihoodLoss", Attributes::new(), &inputs).is_err());
        }
    }
}

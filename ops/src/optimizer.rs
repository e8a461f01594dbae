//! `Adagrad`, `Adam`, `Momentum` of `ai.onnx.preview.training`: one step of an optimizer of gradients.
//!
//! After the rate and the number of steps taken come the tensors to optimize, all their gradients, and what the optimizer
//! remembers of each; out come the new tensors and the new memories. Numbers are computed in `f64` and rounded once.
//!
//! Opsets of the domain: 1.

use crate::Define;
use crate::dtypes::Number;
use crate::half::for_real;
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, Fact, Facts, Formal, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, Types, arg, float, mixed_variadic, required,
};
use planish_tensor::{DType, Tensor};

/// The domain.
const DOMAIN: &str = "ai.onnx.preview.training";
/// What is optimized.
const REAL: Types = Types::of(&[DType::F32, DType::F64]);
/// Elements between two looks at the deadline.
const TILE: usize = 1 << 14;

/// A rule for one element.
pub trait Rule: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// The operator's signature.
    const SCHEMA: Schema;
    /// How many memories an element has; at most two.
    const MEMORIES: usize;
    /// Reads the attributes.
    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError>;
    /// What goes before each step number `count`: the rule with what depends on that number alone.
    fn step(&self, rate: f64, count: f64) -> impl Fn(Element) -> Element;
}

/// An element, its gradient and its memories; a step leaves the gradient as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Element {
    x: f64,
    gradient: f64,
    memories: [f64; 2],
}

const INPUTS: &[Formal] = &[arg("R", REAL).var("T1"), arg("T", INT64), mixed_variadic("inputs", REAL, 1)];
const OUTPUTS: &[Formal] = &[mixed_variadic("outputs", REAL, 1)];

const fn schema(name: &'static str) -> Schema {
    Schema::new(name, 1).domain(DOMAIN).inputs(INPUTS).outputs(OUTPUTS)
}

/// `Adagrad`: steps shrink with the sum of all squared gradients.
#[derive(Debug)]
pub struct AdagradRule {
    decay: f64,
    epsilon: f64,
    norm: f64,
}

impl Rule for AdagradRule {
    const SCHEMA: Schema = schema("Adagrad").attributes(&[
        float("decay_factor", 0.0),
        float("epsilon", 1e-6),
        float("norm_coefficient", 0.0),
    ]);
    const MEMORIES: usize = 1;

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let [decay, epsilon, norm] = ["decay_factor", "epsilon", "norm_coefficient"].map(|name| node.float(name));
        Ok(AdagradRule { decay: decay?.into(), epsilon: epsilon?.into(), norm: norm?.into() })
    }

    fn step(&self, rate: f64, count: f64) -> impl Fn(Element) -> Element {
        let rate = rate / (1.0 + count * self.decay);
        move |Element { x, gradient, memories: [squares, _] }| {
            let regularized = self.norm * x + gradient;
            let squares = squares + regularized * regularized;
            Element { x: x - rate * regularized / (squares.sqrt() + self.epsilon), gradient, memories: [squares, 0.0] }
        }
    }
}

/// `Adam`: steps along the running mean of gradients, shrunk by that of their squares.
#[derive(Debug)]
pub struct AdamRule {
    alpha: f64,
    beta: f64,
    epsilon: f64,
    norm: f64,
    norm_after: f64,
}

impl Rule for AdamRule {
    const SCHEMA: Schema = schema("Adam").attributes(&[
        float("alpha", 0.9),
        float("beta", 0.999),
        float("epsilon", 1e-6),
        float("norm_coefficient", 0.0),
        float("norm_coefficient_post", 0.0),
    ]);
    const MEMORIES: usize = 2;

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let number = |name| node.float(name).map(f64::from);
        Ok(AdamRule {
            alpha: number("alpha")?,
            beta: number("beta")?,
            epsilon: number("epsilon")?,
            norm: number("norm_coefficient")?,
            norm_after: number("norm_coefficient_post")?,
        })
    }

    fn step(&self, rate: f64, count: f64) -> impl Fn(Element) -> Element {
        let AdamRule { alpha, beta, epsilon, norm, norm_after } = *self;
        let correction = (1.0 - beta.powf(count)).sqrt() / (1.0 - alpha.powf(count));
        let rate = if count > 0.0 { rate * correction } else { rate };
        move |Element { x, gradient, memories: [mean, squares] }| {
            let regularized = norm * x + gradient;
            let mean = alpha * mean + (1.0 - alpha) * regularized;
            let squares = beta * squares + (1.0 - beta) * regularized * regularized;
            let moved = x - rate * mean / (squares.sqrt() + epsilon);
            Element { x: (1.0 - norm_after) * moved, gradient, memories: [mean, squares] }
        }
    }
}

/// `Momentum`: steps along a decaying sum of gradients, or, by Nesterov, along what that will be.
#[derive(Debug)]
pub struct MomentumRule {
    alpha: f64,
    beta: f64,
    norm: f64,
    is_nesterov: bool,
}

impl Rule for MomentumRule {
    const SCHEMA: Schema = schema("Momentum").attributes(&[
        required("alpha", AttributeKind::Float),
        required("beta", AttributeKind::Float),
        required("mode", AttributeKind::String),
        required("norm_coefficient", AttributeKind::Float),
    ]);
    const MEMORIES: usize = 1;

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MomentumRule {
            alpha: node.float("alpha")?.into(),
            beta: node.float("beta")?.into(),
            norm: node.float("norm_coefficient")?.into(),
            is_nesterov: node.choice("mode", &[("standard", false), ("nesterov", true)])?,
        })
    }

    fn step(&self, rate: f64, count: f64) -> impl Fn(Element) -> Element {
        let beta = if count > 0.0 { self.beta } else { 1.0 };
        move |Element { x, gradient, memories: [momentum, _] }| {
            let regularized = self.norm * x + gradient;
            let momentum = self.alpha * momentum + beta * regularized;
            let direction = if self.is_nesterov { regularized + self.alpha * momentum } else { momentum };
            Element { x: x - rate * direction, gradient, memories: [momentum, 0.0] }
        }
    }
}

/// `Adagrad`.
pub type Adagrad = Optimizer<AdagradRule>;
/// `Adam`.
pub type Adam = Optimizer<AdamRule>;
/// `Momentum`.
pub type Momentum = Optimizer<MomentumRule>;

/// An optimizer of any number of tensors.
#[derive(Debug)]
pub struct Optimizer<R> {
    rule: R,
    /// How many tensors are optimized.
    count: usize,
}

/// The inputs before the tensors to optimize: the rate and the number of steps.
const SCALARS: usize = 2;

impl<R: Rule> Define for Optimizer<R> {
    const SCHEMA: Schema = R::SCHEMA;

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let (given, each) = (node.num_inputs - SCALARS, R::MEMORIES + 2);
        let count = given / each;
        if given % each != 0 || node.num_outputs != count * (R::MEMORIES + 1) {
            let outputs = node.num_outputs;
            return Err(AttributeError::invalid(format!(
                "{given} tensors and {outputs} outputs are not {each} and {} for each tensor to optimize",
                each - 1
            )));
        }
        Ok(Optimizer { rule: R::parse(node)?, count })
    }
}

impl<R> Optimizer<R> {
    /// The input that holds part `part` of tensor `i`: itself, its gradient, its memories.
    fn input(&self, part: usize, i: usize) -> usize {
        SCALARS + part * self.count + i
    }
}

impl<R: Rule> Op for Optimizer<R> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let parts = std::iter::once(0).chain((0..R::MEMORIES).map(|memory| memory + 2));
        let sources = parts.flat_map(|part| (0..self.count).map(move |i| self.input(part, i)));
        Ok(sources.map(|source| Fact::of_type(x.get(source).map(|f| f.ty.clone()).unwrap_or_default())).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let rate = inputs.tensor(0)?;
        let rate = for_real!(rate.dtype(), T => Ok::<f64, OpError>(inputs.scalar::<T>(0)?.to_f64()))?;
        let step = self.rule.step(rate, inputs.int(1)? as f64);
        let mut outputs = vec![None; self.count * (R::MEMORIES + 1)];
        for i in 0..self.count {
            let parts = (0..R::MEMORIES + 2).map(|part| inputs.tensor(self.input(part, i)));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            if let Some(other) = parts.iter().find(|p| p.shape() != parts[0].shape() || p.dtype() != parts[0].dtype()) {
                return Err(OpError::invalid(format!("a tensor {} goes with one {}", parts[0].shape(), other.shape())));
            }
            let updated = for_real!(parts[0].dtype(), T => update::<T>(cx, &parts, &step))?;
            for (part, tensor) in updated.into_iter().enumerate() {
                outputs[part * self.count + i] = Some(tensor.into());
            }
        }
        Ok(Outputs::new(outputs))
    }
}

/// The new tensor and its new memories, from the tensor, its gradient and its memories, which are all of one shape.
fn update<T: Number>(
    cx: &EvalCx<'_>,
    parts: &[&Tensor],
    step: impl Fn(Element) -> Element,
) -> Result<Vec<Tensor>, OpError> {
    let slices = parts.iter().map(|part| part.as_slice::<T>()).collect::<Result<Vec<_>, _>>()?;
    let (x, gradient, memories) = (slices[0], slices[1], &slices[2..]);
    let mut updated =
        (1..parts.len()).map(|_| cx.uninit::<T>(parts[0].shape().clone())).collect::<Result<Vec<_>, _>>()?;
    for i in 0..x.len() {
        if i % TILE == 0 {
            cx.check()?;
        }
        let mut element = Element { x: x[i].to_f64(), gradient: gradient[i].to_f64(), memories: [0.0; 2] };
        element.memories.iter_mut().zip(memories).for_each(|(value, memory)| *value = memory[i].to_f64());
        let Element { x, memories, .. } = step(element);
        updated.iter_mut().zip([x, memories[0], memories[1]]).for_each(|(y, value)| y[i] = T::from_f64(value));
    }
    Ok(updated.into_iter().map(|y| y.freeze()).collect())
}

#[cfg(test)]
mod tests {
    use super::DOMAIN;
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;

    fn optimize(
        name: &str,
        attributes: Attributes,
        count: i64,
        parts: &[f64],
        outputs: usize,
    ) -> Result<Vec<f64>, OpError> {
        let scalars = [tensor(&[], &[0.5f32]), tensor(&[], &[count])];
        let parts = parts.iter().map(|&v| tensor(&[1], &[v]));
        let inputs: Vec<Option<Tensor>> = scalars.into_iter().chain(parts).map(Some).collect();
        let updated = eval_all(DOMAIN, name, attributes, &inputs, outputs)?;
        Ok(updated.iter().map(|y| y.as_slice::<f64>().unwrap()[0]).collect())
    }

    fn momentum(mode: &str) -> Attributes {
        let numbers = [("alpha", 0.5f32), ("beta", 2.0), ("norm_coefficient", 1.0)];
        numbers.iter().fold(Attributes::new().with("mode", mode), |all, &(name, value)| all.with(name, value))
    }

    #[test]
    fn steps_are_as_defined() {
        let exact = |attributes: Attributes| attributes.with("epsilon", 0f32);
        let adagrad = exact(Attributes::new()).with("decay_factor", 0.5f32);
        assert_eq!(optimize("Adagrad", adagrad, 2, &[1., 4., 9.], 2).unwrap(), [1.0 - 0.25 * 4.0 / 5.0, 25.0]);
        assert_eq!(optimize("Momentum", momentum("standard"), 0, &[1., 2., 4.], 2).unwrap(), [1.0 - 0.5 * 5.0, 5.0]);
        assert_eq!(optimize("Momentum", momentum("nesterov"), 1, &[1., 2., 4.], 2).unwrap(), [1.0 - 0.5 * 7.0, 8.0]);
        let adam =
            exact(Attributes::new()).with("alpha", 0.5f32).with("beta", 0.75f32).with("norm_coefficient_post", 0.5f32);
        assert_eq!(
            optimize("Adam", adam.clone(), 0, &[1., 4., 2., 0.], 3).unwrap(),
            [0.5 * (1.0 - 0.5 * 3.0 / 2.0), 3.0, 4.0]
        );
        assert_eq!(optimize("Adam", adam, 1, &[1., 4., 2., 0.], 3).unwrap(), [0.5 * (1.0 - 0.5 * 3.0 / 2.0), 3.0, 4.0]);
    }

    #[test]
    fn several_tensors_are_optimized_at_once() {
        let parts = [1., 10., 2., 20., 4., 40.];
        let updated = optimize("Momentum", momentum("standard"), 0, &parts, 4).unwrap();
        assert_eq!(updated, [1.0 - 0.5 * 5.0, 10.0 - 0.5 * 50.0, 5.0, 50.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(optimize("Momentum", momentum("other"), 0, &[1., 2., 4.], 2).is_err());
        assert!(optimize("Adam", Attributes::new(), 0, &[1., 2., 4.], 2).is_err());
        assert!(optimize("Adagrad", Attributes::new(), 0, &[1., 2., 4.], 1).is_err());
    }
}

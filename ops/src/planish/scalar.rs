//! Which elementwise kernel a node is on `float`.

use crate::unary::Function;
use crate::{activation, math, sign};
use planish_ir::{Graph, NodeId, NodeView, Operator};
use planish_kernels::elementwise::{Binary, Unary};
use planish_tensor::DType;

/// A function of one or two elements. A binary one may have an operand that is a constant of the graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarFunction {
    /// Of the node's first input; any others are constants that the function holds.
    Unary(Unary),
    /// Of the node's two inputs.
    Binary(Binary),
}

/// The kernel that computes each element of a node's output from those of its inputs, where its operator is a function
/// of elements that has one for `float`.
pub fn scalar_function(graph: &Graph, id: NodeId) -> Option<ScalarFunction> {
    let operator = graph.node(id).operator()?;
    if !operator.domain.is_empty() {
        return None;
    }
    let inputs = graph.node_inputs(id);
    let scalar = |index: usize| {
        let tensor = graph.constant((*inputs.get(index)?)?)?;
        (tensor.dtype() == DType::F32 && tensor.num_elements() == 1)
            .then(|| tensor.as_slice::<f32>().ok()?.first().copied())?
    };
    let is_absent = |index: usize| inputs.get(index).copied().flatten().is_none();
    let bound = |index: usize, otherwise: f32| if is_absent(index) { Some(otherwise) } else { scalar(index) };
    let binary = match operator.name.as_str() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "PRelu" => Binary::PRelu,
        "Min" if inputs.len() == 2 => Binary::Min,
        "Max" if inputs.len() == 2 => Binary::Max,
        "Sum" if inputs.len() == 2 => Binary::Add,
        "Clip" => {
            let (min, max) = (bound(1, f32::MIN)?, bound(2, f32::MAX)?);
            return Some(ScalarFunction::Unary(Unary::Clip { min, max }));
        }
        "Pow" => return crate::pow::kernel_for_exponent(scalar(1)?.into()).map(ScalarFunction::Unary),
        _ => return unary(operator).map(ScalarFunction::Unary),
    };
    Some(ScalarFunction::Binary(binary))
}

fn unary(operator: &Operator) -> Option<Unary> {
    UNARY.iter().find(|(name, _)| *name == operator.name)?.1(operator)
}

/// By the operator's name: its kernel, with the attributes of the node.
static UNARY: &[(&str, fn(&Operator) -> Option<Unary>)] = &[
    line::<activation::function::Celu>(),
    line::<activation::function::Elu>(),
    line::<activation::function::Gelu>(),
    line::<activation::function::HardSigmoid>(),
    line::<activation::function::HardSwish>(),
    line::<activation::function::LeakyRelu>(),
    line::<activation::function::Mish>(),
    line::<activation::function::Selu>(),
    line::<activation::function::Shrink>(),
    line::<activation::function::Sigmoid>(),
    line::<activation::function::Softplus>(),
    line::<activation::function::Softsign>(),
    line::<activation::function::Swish>(),
    line::<activation::function::ThresholdedRelu>(),
    line::<math::function::Ceil>(),
    line::<math::function::Cos>(),
    line::<math::function::Erf>(),
    line::<math::function::Exp>(),
    line::<math::function::Floor>(),
    line::<math::function::Log>(),
    line::<math::function::Reciprocal>(),
    line::<math::function::Round>(),
    line::<math::function::Sin>(),
    line::<math::function::Sqrt>(),
    line::<math::function::Tanh>(),
    line::<sign::function::Abs>(),
    line::<sign::function::Neg>(),
    line::<sign::function::Relu>(),
    line::<sign::function::Sign>(),
];

const fn line<F: Function>() -> (&'static str, fn(&Operator) -> Option<Unary>) {
    (F::SCHEMA.name, |operator| {
        let node = NodeView::new(&F::SCHEMA, &operator.attributes, 1, 1).ok()?;
        F::parse(&node).ok()?.kernel()
    })
}

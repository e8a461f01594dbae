//! `Where`: an element of X where the condition holds, of Y elsewhere, with multidirectional broadcasting.
//!
//! Opsets: 9; 16 adds bfloat16.

use crate::Define;
use crate::broadcast::{Walk, broadcast_inputs};
use crate::movement::{Movement, move_elements};
use planish_ir::{
    AttributeError, BOOL, COMPLEX, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, STRING, Schema, Types, arg,
};

const TYPES: Types = NUMERIC.or(BOOL).or(STRING).or(COMPLEX);

/// `Where`.
#[derive(Debug)]
pub struct Where;

impl Define for Where {
    const SCHEMA: Schema = Schema::new("Where", 16)
        .inputs(&[arg("condition", BOOL), arg("X", TYPES).var("T"), arg("Y", TYPES).var("T")])
        .outputs(&[arg("output", TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Where)
    }
}

impl Op for Where {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(1).or(x.dtype(2));
        let Some(shape) = broadcast_inputs(x)? else { return Ok(vec![Fact::tensor(dtype)]) };
        let mut fact = Fact::shaped(dtype, shape);
        if fact.rank() <= Some(1) {
            fact.contents = contents(x);
        }
        Ok(vec![fact])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (condition, x, y) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let walk = Walk::new([condition.shape(), x.shape(), y.shape()])?;
        let shape = walk.shape().clone();
        let choose = Choose { walk, condition: condition.as_slice()? };
        Ok(move_elements(cx, &[x, y], shape, &choose)?.into())
    }
}

/// The chosen elements, where the condition is constant and both sides are tracked.
fn contents(facts: &Facts<'_>) -> Option<Vec<Dim>> {
    let condition = facts.constant(0).and_then(|tensor| tensor.as_slice::<bool>().ok())?;
    let (x, y) = (facts.elements(1)?, facts.elements(2)?);
    let lengths = [condition.len(), x.len(), y.len()];
    let length = lengths.into_iter().find(|&n| n != 1).unwrap_or(1);
    if lengths.into_iter().any(|n| n != 1 && n != length) {
        return None;
    }
    let at = |n: usize, i: usize| if n == 1 { 0 } else { i };
    let choose = |i| if condition[at(lengths[0], i)] { &x[at(lengths[1], i)] } else { &y[at(lengths[2], i)] };
    Some((0..length).map(|i| choose(i).clone()).collect())
}

struct Choose<'a> {
    walk: Walk<3>,
    condition: &'a [bool],
}

impl Movement for Choose<'_> {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let &[x, y] = sources else { return Err(OpError::Internal("Where moves from two sources".into())) };
        self.walk.fill(cx, target, 1.0, |run, [condition, at_x, at_y]| {
            for (i, element) in run.iter_mut().enumerate() {
                let chosen = if *condition.at(self.condition, i) { at_x.at(x, i) } else { at_y.at(y, i) };
                element.clone_from(chosen);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim, Fact, Facts, Registry};
    use planish_tensor::{DType, Shape, Tensor};

    #[test]
    fn all_three_inputs_broadcast() {
        let condition = tensor(&[2, 1], &[true, false]);
        let y = eval("Where", Attributes::new(), &[condition, tensor(&[2], &[1i8, 2]), tensor(&[], &[9i8])]).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[1i8, 2, 9, 9]));
    }

    #[test]
    fn strings_are_chosen_too() {
        let word = |w: &str| Tensor::from_strings(Shape::scalar(), vec![w.to_owned()]).unwrap();
        let y = eval("Where", Attributes::new(), &[tensor(&[2], &[true, false]), word("a"), word("b")]).unwrap();
        assert_eq!(y.as_strings().unwrap(), ["a", "b"]);
    }

    #[test]
    fn symbolic_contents_are_chosen() {
        let condition = Fact::constant(tensor(&[2], &[true, false]));
        let ones = Fact::integers(DType::I64, false, vec![Dim::known(1)]);
        let shape = Fact::integers(DType::I64, false, vec![Dim::symbol("a"), Dim::symbol("b")]);
        let operator = StandardRegistry.operator("", "Where", Attributes::new(), 3, 1).unwrap();
        let facts = [Some(&condition), Some(&ones), Some(&shape)];
        let fact = operator.op().unwrap().infer(&Facts::new(&facts, 1)).unwrap().remove(0);
        assert_eq!(fact.elements(), Some(vec![Dim::known(1), Dim::symbol("b")]));
    }
}

//! `BitShift`: the bits of X moved left or right by Y places, with multidirectional broadcasting.
//!
//! A right shift of a signed integer fills with its sign. Shifting by a negative amount, or by as many places as there are
//! bits or more, leaves nothing but the fill.
//!
//! Opsets: 11 (unsigned); 28 adds signed integers.

use crate::Define;
use crate::dtypes::for_integer;
use crate::elementwise::{binary, common_dtype, infer_broadcast, take_two, zip};
use num_traits::PrimInt;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, INTEGERS, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, required,
};

/// `BitShift`.
#[derive(Debug)]
pub struct BitShift {
    direction: Direction,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Left,
    Right,
}

impl Define for BitShift {
    const SCHEMA: Schema = Schema::new("BitShift", 28)
        .inputs(&[arg("X", INTEGERS).var("T"), arg("Y", INTEGERS).var("T")])
        .outputs(&[arg("Z", INTEGERS).var("T")])
        .attributes(&[required("direction", AttributeKind::String)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let direction = node.choice("direction", &[("LEFT", Direction::Left), ("RIGHT", Direction::Right)])?;
        Ok(BitShift { direction })
    }
}

impl Op for BitShift {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, common_dtype(x), |_| Dim::unknown())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, amount) = take_two(&mut inputs)?;
        let direction = self.direction;
        let y = for_integer!(x.dtype(), T => binary::<T>(cx, x, amount, 0.5, |x, amount, y| match direction {
            Direction::Left => zip(x, amount, y, left),
            Direction::Right => zip(x, amount, y, right),
        }));
        Ok(y?.into())
    }
}

/// The shift amount, where any of the bits stays.
fn places<T: PrimInt>(amount: T) -> Option<usize> {
    amount.to_usize().filter(|&places| places < 8 * size_of::<T>())
}

fn left<T: PrimInt>(x: T, amount: T) -> T {
    places(amount).map_or(T::zero(), |places| x << places)
}

fn right<T: PrimInt>(x: T, amount: T) -> T {
    let fill = || if x < T::zero() { !T::zero() } else { T::zero() };
    places(amount).map_or_else(fill, |places| x >> places)
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn bits_move_and_the_sign_fills() {
        let shift = |direction: &str| Attributes::new().with("direction", direction);
        let (x, y) = (tensor(&[5], &[-8i32, 8, i32::MIN, -1, 1]), tensor(&[5], &[1i32, 1, 31, 32, -1]));
        assert_eq!(
            eval("BitShift", shift("RIGHT"), &[x.clone(), y.clone()]).unwrap(),
            tensor(&[5], &[-4, 4, -1, -1, 0])
        );
        assert_eq!(eval("BitShift", shift("LEFT"), &[x, y]).unwrap(), tensor(&[5], &[-16, 16, 0, 0, 0]));
        let (x, y) = (tensor(&[3], &[16u8, 4, 255]), tensor(&[1], &[8u8]));
        assert_eq!(eval("BitShift", shift("LEFT"), &[x, y]).unwrap(), tensor(&[3], &[0u8, 0, 0]));
    }

    #[test]
    fn an_unknown_direction_is_refused() {
        let x = tensor(&[1], &[1u8]);
        assert!(eval("BitShift", Attributes::new().with("direction", "UP"), &[x.clone(), x]).is_err());
    }
}

//! `Lookup`: a function of single 8-bit codes, read from a table of what it is for each of the 256.
//!
//! The body takes the codes. Whatever it does with one element at a time, such as dequantizing it, an activation and
//! quantizing the result again, is computed once for all codes.

use super::{Definition, schema};
use crate::Define;
use crate::dtypes::for_dtypes;
use crate::parallel;
use planish_ir::{AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema};
use planish_tensor::{DType, Element, Shape, Tensor, Value};
use std::sync::OnceLock;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.5;

/// `planish::Lookup`.
#[derive(Debug)]
pub struct Lookup {
    definition: Definition,
    /// What the body makes of each code, from the least on.
    table: OnceLock<Tensor>,
}

impl Define for Lookup {
    const SCHEMA: Schema = schema("Lookup");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Lookup { definition: Definition::parse(node)?, table: OnceLock::new() })
    }
}

/// All codes of an 8-bit type, from the least on.
fn all_codes(cx: &EvalCx<'_>, dtype: DType) -> Result<Tensor, OpError> {
    let shape = Shape::new(&[256])?;
    match dtype {
        DType::I8 => cx.tensor(shape, &std::array::from_fn::<i8, 256, _>(|i| (i as u8 ^ 0x80).cast_signed())),
        _ => cx.tensor(shape, &std::array::from_fn::<u8, 256, _>(|i| i as u8)),
    }
}

impl Lookup {
    /// The table, if the body makes one element of a type that has a kernel of each code.
    fn table(&self, cx: &mut EvalCx<'_>, dtype: DType) -> Result<Option<&Tensor>, OpError> {
        if self.table.get().is_none() {
            let codes = Some(Value::Tensor(all_codes(cx, dtype)?));
            let outputs = self.definition.eval(cx, Inputs::new([codes]))?;
            let table = outputs.into_values().pop().flatten().and_then(Value::into_tensor);
            if let Some(table) = table {
                let _ = self.table.set(table);
            }
        }
        let is_usable = |table: &&Tensor| {
            table.shape().dims() == [256] && matches!(table.dtype(), DType::F32 | DType::U8 | DType::I8)
        };
        Ok(self.table.get().filter(is_usable))
    }
}

impl Op for Lookup {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?.clone();
        // The body's input has a type of its own: codes of another one make no table that fits.
        let declared = self.definition.body.inputs().next().and_then(|input| self.definition.body.fact(input).dtype());
        if inputs.len() != 1 || !matches!(x.dtype(), DType::U8 | DType::I8) || declared != Some(x.dtype()) {
            return self.definition.eval(cx, inputs);
        }
        let Some(table) = self.table(cx, x.dtype())? else { return self.definition.eval(cx, inputs) };
        let y = match x.dtype() {
            DType::I8 => {
                for_dtypes!(table.dtype(), T => look_up::<i8, T>(cx, &x, table, |code| code.cast_unsigned() ^ 0x80), [
                    F32 = f32, U8 = u8, I8 = i8,
                ])?
            }
            _ => for_dtypes!(table.dtype(), T => look_up::<u8, T>(cx, &x, table, |code| code), [
                F32 = f32, U8 = u8, I8 = i8,
            ])?,
        };
        Ok(y.into())
    }
}

fn look_up<Q: Element, T: Element>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    table: &Tensor,
    place: impl Fn(Q) -> u8 + Sync,
) -> Result<Tensor, OpError> {
    let codes = x.as_slice::<Q>()?;
    let table: &[T; 256] = table.as_slice::<T>()?.try_into().map_err(|_| OpError::Internal("no table".to_owned()))?;
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    parallel::fill(cx, &mut y, NS_PER_ELEMENT, |start, y| {
        for (y, &code) in y.iter_mut().zip(&codes[start..]) {
            *y = table[usize::from(place(code))];
        }
    })?;
    Ok(y.freeze())
}

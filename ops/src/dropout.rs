//! `Dropout`: in training, elements set to 0 with probability `ratio` and the others scaled by 1/(1 − ratio); the data itself
//! otherwise. The mask says which elements stay.
//!
//! Opsets: 1, 6, 7, 10 hold `ratio` as an attribute and never train, which the importer brings to this form; 12 takes `ratio` and
//! `training_mode` as inputs; 13 and 22 add dtypes.

use crate::Define;
use crate::cast::{Rounding, cast};
use crate::dtypes::{Number, for_float};
use crate::random::Generator;
use planish_ir::{
    AttributeError, AttributeKind, BOOL, EvalCx, FLOAT8, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, Types, arg, opt, optional,
};
use planish_tensor::{DType, Tensor, Value};

const TYPES: Types = FLOATS.or(FLOAT8);

/// `Dropout`.
#[derive(Debug)]
pub struct Dropout {
    seed: Option<u32>,
    /// Whether the node has an input that says whether to train.
    may_train: bool,
}

impl Define for Dropout {
    const SCHEMA: Schema = Schema::new("Dropout", 22)
        .inputs(&[arg("data", TYPES).var("T"), opt("ratio", TYPES).var("T1"), opt("training_mode", BOOL).var("T2")])
        .outputs(&[arg("output", TYPES).var("T"), opt("mask", BOOL).var("T2")])
        .attributes(&[optional("seed", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Dropout { seed: node.opt_int("seed").map(|seed| seed as u32), may_train: node.num_inputs > 2 })
    }
}

impl Op for Dropout {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let output = Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default());
        let mask = match x.shape(0) {
            Some(shape) => Fact::shaped(Some(DType::Bool), shape.to_vec()),
            None => Fact::tensor(Some(DType::Bool)),
        };
        Ok([output, mask].into_iter().take(x.num_outputs()).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let trains = inputs.has(2) && inputs.scalar::<bool>(2)?;
        let ratio = inputs.opt_tensor(1)?.map_or(Ok(0.5), |given| ratio(cx, given))?;
        let data = inputs.take_tensor(0)?;
        let mask = if trains && ratio != 0.0 { Some(self.mask(cx, &data, ratio)?) } else { None };
        let output = match &mask {
            Some(mask) if FLOAT8.contains(data.dtype()) => {
                let wide = cast(cx, data.clone(), DType::F32, Rounding::default())?;
                cast(cx, drop_out(cx, &wide, mask, 1.0 / (1.0 - ratio))?, data.dtype(), Rounding::default())?
            }
            Some(mask) => drop_out(cx, &data, mask, 1.0 / (1.0 - ratio))?,
            None => data.clone(),
        };
        let kept = match mask {
            _ if !cx.wants(1) => None,
            Some(mask) => Some(mask),
            None => {
                let mut all = cx.uninit::<bool>(data.shape().clone())?;
                all.fill(true);
                Some(all.freeze())
            }
        };
        Ok(Outputs::new([Some(Value::Tensor(output)), kept.map(Value::Tensor)]))
    }

    fn is_deterministic(&self) -> bool {
        self.seed.is_some() || !self.may_train
    }
}

impl Dropout {
    fn mask(&self, cx: &EvalCx<'_>, data: &Tensor, ratio: f64) -> Result<Tensor, OpError> {
        let mut generator = Generator::new(self.seed);
        let mut mask = cx.uninit::<bool>(data.shape().clone())?;
        mask.iter_mut().for_each(|kept| *kept = generator.uniform() >= ratio);
        Ok(mask.freeze())
    }
}

fn ratio(cx: &EvalCx<'_>, tensor: &Tensor) -> Result<f64, OpError> {
    if FLOAT8.contains(tensor.dtype()) {
        return ratio(cx, &cast(cx, tensor.clone(), DType::F32, Rounding::default())?);
    }
    let ratio = for_float!(tensor.dtype(), T => match tensor.as_slice::<T>()? {
        [ratio] => Ok(ratio.to_f64()),
        other => Err(OpError::invalid(format!("ratio: expected one element, got {}", other.len()))),
    })?;
    if (0.0..1.0).contains(&ratio) {
        return Ok(ratio);
    }
    Err(OpError::invalid(format!("ratio: expected a number from 0 to below 1, got {ratio}")))
}

fn drop_out(cx: &EvalCx<'_>, data: &Tensor, mask: &Tensor, scale: f64) -> Result<Tensor, OpError> {
    let mask = mask.as_slice::<bool>()?;
    for_float!(data.dtype(), T => {
        let mut y = cx.uninit::<T>(data.shape().clone())?;
        for ((y, &x), &kept) in y.iter_mut().zip(data.as_slice::<T>()?).zip(mask) {
            *y = if kept { T::from_f64(x.to_f64() * scale) } else { T::ZERO };
        }
        Ok(y.freeze())
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn without_training_the_data_passes() {
        let x = tensor(&[2], &[1f32, 2.]);
        let y = eval_all("", "Dropout", Attributes::new(), &[Some(x.clone())], 2).unwrap();
        assert_eq!(y, [x, tensor(&[2], &[true, true])]);
    }

    #[test]
    fn training_drops_what_the_mask_says() {
        let x = tensor(&[1000], &[3f32; 1000]);
        let inputs = [Some(x), Some(tensor(&[], &[0.25f32])), Some(tensor(&[], &[true]))];
        let y = eval_all("", "Dropout", Attributes::new().with("seed", 0i64), &inputs, 2).unwrap();
        let kept = y[1].as_slice::<bool>().unwrap();
        for (y, &kept) in y[0].as_slice::<f32>().unwrap().iter().zip(kept) {
            assert_eq!(*y, if kept { 4.0 } else { 0.0 });
        }
        let count = kept.iter().filter(|&&kept| kept).count();
        assert!((700..800).contains(&count), "{count}");
    }

    #[test]
    fn a_ratio_out_of_range_is_refused() {
        let inputs = [tensor(&[1], &[0f32]), tensor(&[], &[1f32]), tensor(&[], &[true])];
        assert!(eval("Dropout", Attributes::new(), &inputs).is_err());
    }
}

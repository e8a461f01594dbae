//! `RandomUniform`, `RandomNormal`, their `Like` forms, and `Bernoulli`: tensors of random numbers.
//!
//! With a `seed` the numbers are the same each time. Without one they are not, and a node is neither folded nor merged.
//!
//! Opsets: the first four 1, `Bernoulli` 15; 22 adds bfloat16 to all.

use crate::Define;
use crate::dtypes::{Number, for_dtypes, for_float};
use crate::random::Generator;
use planish_ir::{
    AttributeError, AttributeKind, BOOL, COMPLEX, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NUMERIC,
    NodeView, Op, OpError, Outputs, STRING, Schema, Types, arg, float, int, optional, required,
};
use planish_tensor::{DType, Shape, Tensor};

/// Elements between two looks at the deadline.
const TILE: usize = 1 << 14;

/// `RandomUniform`.
pub type RandomUniform = Random<Uniform>;
/// `RandomNormal`.
pub type RandomNormal = Random<Normal>;
/// `RandomUniformLike`.
pub type RandomUniformLike = RandomLike<Uniform>;
/// `RandomNormalLike`.
pub type RandomNormalLike = RandomLike<Normal>;

/// The `seed` attribute, a float whose whole part counts.
pub fn parse_seed(node: &NodeView<'_>) -> Option<u32> {
    node.opt_float("seed").filter(|seed| !seed.is_nan()).map(|seed| seed as i64 as u32)
}

/// A distribution with its parameters.
pub trait Distribution: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// The operator's name and that of its `Like` form.
    const NAMES: [&'static str; 2];
    /// The names and defaults of the two parameters.
    const PARAMETERS: [(&'static str, f32); 2];
    /// The distribution of these parameters.
    fn of(parameters: [f32; 2]) -> Self;
    /// A number.
    fn draw(&self, generator: &mut Generator) -> f64;
}

/// Equally likely between two bounds.
#[derive(Debug)]
pub struct Uniform {
    low: f64,
    high: f64,
}

/// The normal distribution.
#[derive(Debug)]
pub struct Normal {
    mean: f64,
    scale: f64,
}

impl Distribution for Uniform {
    const NAMES: [&'static str; 2] = ["RandomUniform", "RandomUniformLike"];
    const PARAMETERS: [(&'static str, f32); 2] = [("low", 0.0), ("high", 1.0)];
    fn of([low, high]: [f32; 2]) -> Uniform {
        Uniform { low: low.into(), high: high.into() }
    }
    fn draw(&self, generator: &mut Generator) -> f64 {
        self.low + generator.uniform() * (self.high - self.low)
    }
}

impl Distribution for Normal {
    const NAMES: [&'static str; 2] = ["RandomNormal", "RandomNormalLike"];
    const PARAMETERS: [(&'static str, f32); 2] = [("mean", 0.0), ("scale", 1.0)];
    fn of([mean, scale]: [f32; 2]) -> Normal {
        Normal { mean: mean.into(), scale: scale.into() }
    }
    fn draw(&self, generator: &mut Generator) -> f64 {
        self.mean + generator.normal() * self.scale
    }
}

fn parse_distribution<D: Distribution>(node: &NodeView<'_>) -> Result<D, AttributeError> {
    let [(first, _), (second, _)] = D::PARAMETERS;
    Ok(D::of([node.float(first)?, node.float(second)?]))
}

/// A tensor of `shape` whose elements are drawn one after the other.
fn fill(
    cx: &EvalCx<'_>,
    dtype: DType,
    shape: Shape,
    seed: Option<u32>,
    draw: impl Fn(&mut Generator) -> f64,
) -> Result<Tensor, OpError> {
    let mut generator = Generator::new(seed);
    for_float!(dtype, T => {
        let mut y = cx.uninit::<T>(shape)?;
        for tile in y.chunks_mut(TILE) {
            cx.check()?;
            tile.iter_mut().for_each(|y| *y = T::from_f64(draw(&mut generator)));
        }
        Ok(y.freeze())
    })
}

/// Random numbers of a given shape.
#[derive(Debug)]
pub struct Random<D> {
    distribution: D,
    dtype: DType,
    shape: Shape,
    seed: Option<u32>,
}

impl<D: Distribution> Define for Random<D> {
    const SCHEMA: Schema = Schema::new(D::NAMES[0], 22).outputs(&[arg("output", FLOATS).var("T")]).attributes(&[
        int("dtype", 1),
        float(D::PARAMETERS[0].0, D::PARAMETERS[0].1),
        float(D::PARAMETERS[1].0, D::PARAMETERS[1].1),
        optional("seed", AttributeKind::Float),
        required("shape", AttributeKind::Ints),
    ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.dtype("dtype")?;
        check_dtype(dtype, FLOATS)?;
        let shape = Shape::from_i64(node.ints("shape")?);
        let shape = shape.map_err(|e| AttributeError::invalid(format!("attribute \"shape\": {e}")))?;
        Ok(Random { distribution: parse_distribution(node)?, dtype, shape, seed: parse_seed(node) })
    }
}

fn check_dtype(dtype: DType, allowed: Types) -> Result<(), AttributeError> {
    if allowed.contains(dtype) {
        return Ok(());
    }
    Err(AttributeError::invalid(format!("attribute \"dtype\": no random numbers are of {dtype}")))
}

impl<D: Distribution> Op for Random<D> {
    fn infer(&self, _x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dims = self.shape.to_i64().into_iter().map(Dim::known);
        Ok(vec![Fact::shaped(Some(self.dtype), dims.collect())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, _inputs: Inputs) -> Result<Outputs, OpError> {
        let draw = |generator: &mut Generator| self.distribution.draw(generator);
        Ok(fill(cx, self.dtype, self.shape.clone(), self.seed, draw)?.into())
    }

    fn is_deterministic(&self) -> bool {
        self.seed.is_some()
    }
}

/// Random numbers of the shape, and unless told otherwise the dtype, of a tensor.
#[derive(Debug)]
pub struct RandomLike<D> {
    distribution: D,
    dtype: Option<DType>,
    seed: Option<u32>,
}

impl<D: Distribution> Define for RandomLike<D> {
    const SCHEMA: Schema = Schema::new(D::NAMES[1], 22)
        .inputs(&[arg("input", NUMERIC.or(BOOL).or(STRING).or(COMPLEX)).var("T1")])
        .outputs(&[arg("output", FLOATS).var("T2")])
        .attributes(&[
            optional("dtype", AttributeKind::Int),
            float(D::PARAMETERS[0].0, D::PARAMETERS[0].1),
            float(D::PARAMETERS[1].0, D::PARAMETERS[1].1),
            optional("seed", AttributeKind::Float),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.opt_dtype("dtype")?;
        dtype.map_or(Ok(()), |dtype| check_dtype(dtype, FLOATS))?;
        Ok(RandomLike { distribution: parse_distribution(node)?, dtype, seed: parse_seed(node) })
    }
}

impl<D: Distribution> Op for RandomLike<D> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(infer_like(x, self.dtype))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let draw = |generator: &mut Generator| self.distribution.draw(generator);
        Ok(fill(cx, self.dtype.unwrap_or(x.dtype()), x.shape().clone(), self.seed, draw)?.into())
    }

    fn is_deterministic(&self) -> bool {
        self.seed.is_some()
    }
}

fn infer_like(x: &Facts<'_>, dtype: Option<DType>) -> Vec<Fact> {
    let dtype = dtype.or(x.dtype(0));
    vec![match x.shape(0) {
        Some(shape) => Fact::shaped(dtype, shape.to_vec()),
        None => Fact::tensor(dtype),
    }]
}

/// `Bernoulli`: 1 with the probability that the input says, else 0.
#[derive(Debug)]
pub struct Bernoulli {
    dtype: Option<DType>,
    seed: Option<u32>,
}

impl Define for Bernoulli {
    const SCHEMA: Schema = Schema::new("Bernoulli", 22)
        .inputs(&[arg("input", FLOATS).var("T1")])
        .outputs(&[arg("output", NUMERIC.or(BOOL)).var("T2")])
        .attributes(&[optional("dtype", AttributeKind::Int), optional("seed", AttributeKind::Float)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.opt_dtype("dtype")?;
        dtype.map_or(Ok(()), |dtype| check_dtype(dtype, NUMERIC.or(BOOL)))?;
        Ok(Bernoulli { dtype, seed: parse_seed(node) })
    }
}

impl Op for Bernoulli {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(infer_like(x, self.dtype))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let mut generator = Generator::new(self.seed);
        let mut happens = cx.uninit::<bool>(x.shape().clone())?;
        for_float!(x.dtype(), P => {
            for (y, p) in happens.iter_mut().zip(x.as_slice::<P>()?) {
                *y = generator.happens(p.to_f64());
            }
            Ok::<(), OpError>(())
        })?;
        let dtype = self.dtype.unwrap_or(x.dtype());
        if dtype == DType::Bool {
            return Ok(happens.freeze().into());
        }
        let y = for_dtypes!(dtype, T => {
            let mut y = cx.uninit::<T>(x.shape().clone())?;
            y.iter_mut().zip(happens.iter()).for_each(|(y, &happens)| *y = if happens { T::ONE } else { T::ZERO });
            Ok::<Tensor, OpError>(y.freeze())
        }, [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16,
            U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
        ])?;
        Ok(y.into())
    }

    fn is_deterministic(&self) -> bool {
        self.seed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    fn seeded() -> Attributes {
        Attributes::new().with("seed", 3f32)
    }

    #[test]
    fn a_seed_makes_numbers_repeat() {
        let x = tensor(&[2, 500], &[0i64; 1000]);
        for name in ["RandomUniformLike", "RandomNormalLike"] {
            let attributes = || seeded().with("dtype", 1i64);
            let y = eval(name, attributes(), &[x.clone()]).unwrap();
            assert_eq!(eval(name, attributes(), &[x.clone()]).unwrap(), y);
            let mean = y.as_slice::<f32>().unwrap().iter().sum::<f32>() / 1000.0;
            let expected = if name.contains("Normal") { 0.0 } else { 0.5 };
            assert!((mean - expected).abs() < 0.1, "{name}: mean {mean}");
        }
    }

    #[test]
    fn shapes_and_bounds_are_the_attributes() {
        let attributes = seeded().with("shape", vec![3i64, 2]).with("low", 5f32).with("high", 6f32);
        let y = eval("RandomUniform", attributes, &[]).unwrap();
        assert_eq!(y.shape().dims(), [3, 2]);
        assert!(y.as_slice::<f32>().unwrap().iter().all(|v| (5.0..6.0).contains(v)));
        assert!(eval("RandomUniform", seeded().with("shape", vec![-1i64]), &[]).is_err());
        assert!(eval("RandomNormal", seeded().with("shape", vec![1i64]).with("dtype", 6i64), &[]).is_err());
    }

    #[test]
    fn certain_outcomes_are_certain() {
        let x = tensor(&[4], &[0f32, 1., 0., 1.]);
        let y = eval("Bernoulli", seeded().with("dtype", i64::from(DType::Bool.to_onnx())), &[x.clone()]).unwrap();
        assert_eq!(y, tensor(&[4], &[false, true, false, true]));
        assert_eq!(eval("Bernoulli", Attributes::new(), &[x.clone()]).unwrap(), x);
    }
}

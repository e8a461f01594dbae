//! Reductions over any axes: `ReduceL1` (Σ |x|), `ReduceL2` (√Σ x²), `ReduceLogSum` (ln Σ x), `ReduceLogSumExp` (ln Σ eˣ),
//! `ReduceMax`, `ReduceMean`, `ReduceMin`, `ReduceProd`, `ReduceSum`, `ReduceSumSquare` (Σ x²).
//!
//! Without axes all are reduced, or none where `noop_with_empty_axes` says so; what remains to do to single elements is
//! done then too. Nothing reduces to the neutral value: 0, 1, the lowest or highest value of the type; its mean is NaN,
//! or 0 where the type has none. Integers wrap, and their means and roots are rounded towards zero.
//!
//! Opsets: 1 has the axes as an attribute; 11 allows negative ones; 13 adds bfloat16 and, to `ReduceSum`, the axes as an
//! input; 18 does so to the others; 20 adds bool to `ReduceMax` and `ReduceMin`; 28 drops integers from `ReduceLogSum` and
//! `ReduceLogSumExp`.

use crate::Define;
use crate::dtypes::{for_dtypes, from_f32, to_f32};
use crate::elementwise::{in_range, map, map_to};
use crate::fold::{Fold, Foldable, fold_axes};
use crate::half::is_half;
use crate::indices::axes_mask;
use crate::symbolic::{length, with_elements};
use planish_ir::{
    AttributeError, BOOL, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int, opt,
};
use planish_tensor::{DType, Shape, Tensor};
use std::marker::PhantomData;

/// A reduction of one kind.
#[derive(Debug)]
pub struct Reduce<K> {
    keeps_dims: bool,
    is_noop_without_axes: bool,
    kind: PhantomData<K>,
}

/// What sets one reduction apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// The opset version of its newest form.
    const SINCE: u32;
    /// The dtypes.
    const TYPES: Types;
    /// What is made of the elements.
    const FOLD: Fold;
    /// What is made of that.
    const FINISH: Finish;
}

/// What remains to do once the elements are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing.
    Nothing,
    /// Divide by the number of elements.
    Mean,
    /// Take the square root.
    Root,
    /// Take the logarithm.
    Log,
}

const ADDABLE: Types = FLOATS.or(Types::of(&[DType::I32, DType::I64, DType::U32, DType::U64]));
const ORDERED: Types = ADDABLE.or(Types::of(&[DType::I8, DType::U8])).or(BOOL);

macro_rules! reductions {
    ($($name:ident = $kind:ident($since:literal, $types:expr, $fold:ident, $finish:ident);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub type $name = Reduce<$kind>;

        #[doc = concat!("What sets `", stringify!($name), "` apart.")]
        #[derive(Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const NAME: &'static str = stringify!($name);
            const SINCE: u32 = $since;
            const TYPES: Types = $types;
            const FOLD: Fold = Fold::$fold;
            const FINISH: Finish = Finish::$finish;
        }
    )*};
}

reductions! {
    ReduceL1 = L1(18, ADDABLE, L1, Nothing);
    ReduceL2 = L2(18, ADDABLE, SumSquare, Root);
    ReduceLogSum = LogSum(28, FLOATS, Sum, Log);
    ReduceLogSumExp = LogSumExp(28, FLOATS, LogSumExp, Nothing);
    ReduceMax = Max(20, ORDERED, Max, Nothing);
    ReduceMean = Mean(18, ADDABLE, Sum, Mean);
    ReduceMin = Min(20, ORDERED, Min, Nothing);
    ReduceProd = Prod(18, ADDABLE, Prod, Nothing);
    ReduceSum = Sum(13, ADDABLE, Sum, Nothing);
    ReduceSumSquare = SumSquare(18, ADDABLE, SumSquare, Nothing);
}

impl<K: Kind> Define for Reduce<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, K::SINCE)
        .inputs(&[arg("data", K::TYPES).var("T"), opt("axes", INT64)])
        .outputs(&[arg("reduced", K::TYPES).var("T")])
        .attributes(&[int("keepdims", 1), int("noop_with_empty_axes", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let is_noop_without_axes = node.flag("noop_with_empty_axes")?;
        Ok(Reduce { keeps_dims: node.flag("keepdims")?, is_noop_without_axes, kind: PhantomData })
    }
}

impl<K: Kind> Op for Reduce<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let axes = if x.has(1) { x.known_ints(1) } else { Some(Vec::new()) };
        let Some(axes) = axes else { return Ok(vec![self.infer_for_unknown_axes(x, shape)]) };
        let is_reduced = self.mask(&axes, shape.len())?;
        let fact = Fact::shaped(x.dtype(0), self.remaining(shape, &is_reduced, Dim::known(1)));
        let folds_all = K::FINISH == Finish::Nothing && is_reduced.iter().all(|&is_reduced| is_reduced);
        let elements = x.elements(0).filter(|_| folds_all).and_then(|elements| {
            let counted = elements.iter().map(|element| K::FOLD.of_dim(element));
            let folded = counted.reduce(|a, b| K::FOLD.of_dims(&a, &b))?;
            Some(vec![in_range(folded, x.dtype(0))])
        });
        Ok(vec![with_elements(fact, elements)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let axes = inputs.opt_ints(1)?.unwrap_or_default();
        let x = inputs.take_tensor(0)?;
        let is_reduced = self.mask(&axes, x.rank())?;
        let shape = Shape::new(&self.remaining(x.shape(), &is_reduced, 1))?;
        Ok(reduce(cx, K::FOLD, K::FINISH, x, &is_reduced)?.reshaped(shape)?.into())
    }
}

impl<K: Kind> Reduce<K> {
    /// For each axis, whether it is reduced.
    fn mask(&self, axes: &[i64], rank: usize) -> Result<Vec<bool>, InferError> {
        if axes.is_empty() { Ok(vec![!self.is_noop_without_axes; rank]) } else { axes_mask(axes, rank) }
    }

    /// The dimensions of the result.
    fn remaining<D: Clone>(&self, dims: &[D], is_reduced: &[bool], one: D) -> Vec<D> {
        let dims = dims.iter().zip(is_reduced);
        match self.keeps_dims {
            true => dims.map(|(dim, &is_reduced)| if is_reduced { one.clone() } else { dim.clone() }).collect(),
            false => dims.filter(|&(_, &is_reduced)| !is_reduced).map(|(dim, _)| dim.clone()).collect(),
        }
    }

    fn infer_for_unknown_axes(&self, x: &Facts<'_>, shape: &[Dim]) -> Fact {
        let rank = match length(x, 1) {
            _ if self.keeps_dims => Some(shape.len()),
            Some(0) if self.is_noop_without_axes => Some(shape.len()),
            Some(0) => Some(0),
            Some(count) => shape.len().checked_sub(count),
            None => None,
        };
        match rank {
            Some(rank) => Fact::shaped(x.dtype(0), vec![Dim::unknown(); rank]),
            None => Fact::tensor(x.dtype(0)),
        }
    }
}

/// Reduces the axes that `is_reduced` marks; they are of one element in the result.
pub fn reduce(cx: &EvalCx<'_>, fold: Fold, finish: Finish, x: Tensor, is_reduced: &[bool]) -> Result<Tensor, OpError> {
    let dtype = x.dtype();
    if is_half(dtype) {
        return from_f32(cx, reduce(cx, fold, finish, to_f32(cx, &x)?, is_reduced)?, dtype);
    }
    if dtype == DType::Bool {
        let bytes = map_to::<bool, u8>(cx, &x, 0.1, u8::from)?;
        return map_to::<u8, bool>(cx, &reduce(cx, fold, finish, bytes, is_reduced)?, 0.1, |v| v != 0);
    }
    for_dtypes!(dtype, T => reduce_numbers::<T>(cx, fold, finish, x, is_reduced), [
        F32 = f32, F64 = f64, I8 = i8, U8 = u8, I32 = i32, I64 = i64, U32 = u32, U64 = u64,
    ])
}

fn reduce_numbers<T: Foldable>(
    cx: &EvalCx<'_>,
    fold: Fold,
    finish: Finish,
    x: Tensor,
    is_reduced: &[bool],
) -> Result<Tensor, OpError> {
    let total = x.num_elements();
    let y = fold_axes::<T>(cx, fold, &x, is_reduced)?;
    drop(x);
    match finish {
        Finish::Nothing => Ok(y),
        Finish::Mean => {
            let count = T::from_f64(total.checked_div(y.num_elements()).unwrap_or(0) as f64);
            map::<T>(cx, y, 0.3, |v| v.div(count))
        }
        Finish::Root => map::<T>(cx, y, 2.0, |v| T::from_f64(v.to_f64().sqrt())),
        Finish::Log => map::<T>(cx, y, 10.0, |v| T::from_f64(v.to_f64().ln())),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Tensor, f16};

    const NAMES: [&str; 10] = [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ];

    fn definition(name: &str, x: &[f64]) -> f64 {
        match name {
            "ReduceL1" => x.iter().map(|v| v.abs()).sum(),
            "ReduceL2" => x.iter().map(|v| v * v).sum::<f64>().sqrt(),
            "ReduceLogSum" => x.iter().sum::<f64>().ln(),
            "ReduceLogSumExp" => x.iter().map(|v| v.exp()).sum::<f64>().ln(),
            "ReduceMax" => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "ReduceMean" => x.iter().sum::<f64>() / x.len() as f64,
            "ReduceMin" => x.iter().copied().fold(f64::INFINITY, f64::min),
            "ReduceProd" => x.iter().product(),
            "ReduceSum" => x.iter().sum(),
            _ => x.iter().map(|v| v * v).sum(),
        }
    }

    fn axes(axes: &[i64]) -> Tensor {
        tensor(&[axes.len()], axes)
    }

    fn assert_near(got: f64, expected: f64, tolerance: f64, what: &str) {
        let is_near = (got - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(got == expected || is_near || got.is_nan() && expected.is_nan(), "{what}: {got}, not {expected}");
    }

    /// The definition of `name` over the marked axes of a tensor of `dims`, in order.
    fn expected(name: &str, dims: &[usize], x: &[f64], is_reduced: &[bool]) -> Vec<f64> {
        let key = |index: usize| {
            let mut rest = index;
            let mut coordinates: Vec<usize> = dims.iter().rev().map(|d| (rest % d, rest /= d).0).collect();
            coordinates.reverse();
            coordinates.into_iter().zip(is_reduced).filter(|(_, r)| !**r).map(|(c, _)| c).collect::<Vec<_>>()
        };
        let mut rows = std::collections::BTreeMap::<_, Vec<f64>>::new();
        x.iter().enumerate().for_each(|(i, &v)| rows.entry(key(i)).or_default().push(v));
        rows.values().map(|row| definition(name, row)).collect()
    }

    #[test]
    fn contents_are_folded_as_elements_are() {
        for (name, expected) in [("ReduceSum", "-8"), ("ReduceL1", "8"), ("ReduceSumSquare", "64")] {
            let attributes = Attributes::new().with("keepdims", 1i64);
            assert_eq!(infer(name, attributes, &[elements("-8")]).unwrap(), elements(expected), "{name}");
        }
        let y = infer("ReduceSumSquare", Attributes::new(), &[elements("2, 3")]).unwrap();
        assert_eq!(y, elements("13"));
    }

    #[test]
    fn every_set_of_axes_reduces_as_defined() {
        let dims = [2, 3, 1, 4];
        let x: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 11) / 4.0 + 0.25).collect();
        let floats: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        for name in NAMES {
            for set in 1..16 {
                let is_reduced: Vec<bool> = (0..4).map(|axis| set >> axis & 1 == 1).collect();
                let named: Vec<i64> = (0..4).filter(|&axis| is_reduced[axis as usize]).map(|axis| axis - 4).collect();
                let truth = expected(name, &dims, &x, &is_reduced);
                let keeps = Attributes::new().with("keepdims", i64::from(set % 2));
                let wide = eval(name, keeps.clone(), &[tensor(&dims, &x), axes(&named)]).unwrap();
                let y = eval(name, keeps, &[tensor(&dims, &floats), axes(&named)]).unwrap();
                assert_eq!(y.rank(), if set % 2 == 1 { 4 } else { 4 - named.len() });
                for ((y, wide), truth) in
                    y.as_slice::<f32>().unwrap().iter().zip(wide.as_slice::<f64>().unwrap()).zip(truth)
                {
                    assert_near(f64::from(*y), truth, 1e-6, name);
                    assert_near(*wide, truth, 1e-14, name);
                }
            }
        }
    }

    #[test]
    fn without_axes_all_are_reduced_or_none() {
        let x = tensor(&[2, 2], &[-1f32, 2., 3., 4.]);
        let noop = Attributes::new().with("noop_with_empty_axes", 1i64);
        for (name, all, none) in [
            ("ReduceSum", 8f32, [-1f32, 2., 3., 4.]),
            ("ReduceMean", 2.0, [-1., 2., 3., 4.]),
            ("ReduceL2", 30f32.sqrt(), [1., 2., 3., 4.]),
            ("ReduceSumSquare", 30.0, [1., 4., 9., 16.]),
        ] {
            for inputs in [vec![x.clone()], vec![x.clone(), axes(&[])]] {
                assert_eq!(eval(name, Attributes::new(), &inputs).unwrap(), tensor(&[1, 1], &[all]), "{name}");
                assert_eq!(eval(name, noop.clone(), &inputs).unwrap(), tensor(&[2, 2], &none), "{name}");
            }
        }
    }

    #[test]
    fn nothing_reduces_to_the_neutral_value() {
        let infinity = f32::INFINITY;
        let neutral = [0.0, 0.0, -infinity, -infinity, -infinity, f32::NAN, infinity, 1.0, 0.0, 0.0];
        for (name, neutral) in NAMES.into_iter().zip(neutral) {
            let y = eval(name, Attributes::new(), &[tensor::<f32>(&[2, 0, 3], &[]), axes(&[1])]).unwrap();
            assert_eq!(y.shape().dims(), [2, 1, 3]);
            y.as_slice::<f32>().unwrap().iter().for_each(|&v| assert_near(v.into(), neutral.into(), 0.0, name));
            let empty = eval(name, Attributes::new(), &[tensor::<f32>(&[2, 0, 3], &[]), axes(&[2])]).unwrap();
            assert_eq!(empty.shape().dims(), [2, 0, 1]);
        }
        let least = eval("ReduceMin", Attributes::new(), &[tensor::<bool>(&[0], &[])]).unwrap();
        assert_eq!(least, tensor(&[1], &[true]));
        let mean = eval("ReduceMean", Attributes::new(), &[tensor::<i32>(&[0], &[])]).unwrap();
        assert_eq!(mean, tensor(&[1], &[0i32]));
    }

    #[test]
    fn integers_truth_values_and_halves_reduce() {
        let run = |name, x: Tensor| eval(name, Attributes::new(), &[x]).unwrap();
        assert_eq!(run("ReduceMean", tensor(&[3], &[-1i32, -2, -2])), tensor(&[1], &[-1i32]));
        assert_eq!(run("ReduceL2", tensor(&[2], &[3i64, 4])), tensor(&[1], &[5i64]));
        assert_eq!(run("ReduceSum", tensor(&[2], &[i32::MAX, 1])), tensor(&[1], &[i32::MIN]));
        assert_eq!(run("ReduceMax", tensor(&[2], &[-3i8, -4])), tensor(&[1], &[-3i8]));
        assert_eq!(run("ReduceMax", tensor(&[2], &[false, true])), tensor(&[1], &[true]));
        assert_eq!(run("ReduceMin", tensor(&[2], &[false, true])), tensor(&[1], &[false]));
        let halves = |values: &[f32]| values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>();
        let sum = run("ReduceSum", tensor(&[3], &halves(&[2048., 1., 1.])));
        assert_eq!(sum, tensor(&[1], &halves(&[2050.])));
    }

    #[test]
    fn shapes_are_inferred_as_far_as_axes_are_known() {
        let x = || shaped(DType::F32, "n, 3, s");
        let drops = || Attributes::new().with("keepdims", 0i64);
        for (attributes, given, expected) in [
            (Attributes::new(), Some(elements("1")), Some("n, 1, s")),
            (drops(), Some(elements("1, -1")), Some("n")),
            (drops(), None, Some("")),
            (Attributes::new(), Some(elements("?")), Some("?, ?, ?")),
            (drops(), Some(elements("?")), Some("?, ?")),
            (drops(), Some(shaped(DType::I64, "?")), None),
        ] {
            let inputs: Vec<_> = [Some(x()), given].into_iter().flatten().collect();
            let y = infer("ReduceSum", attributes, &inputs).unwrap();
            assert_eq!(y.shape(), expected.map(|dims| shaped(DType::F32, dims)).as_ref().and_then(|f| f.shape()));
        }
        for wrong in ["0, 0", "3", "-4"] {
            assert!(infer("ReduceSum", Attributes::new(), &[x(), elements(wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn elements_of_shapes_are_folded() {
        let scalar = Attributes::new().with("keepdims", 0i64);
        let y = infer("ReduceProd", scalar, &[elements("n, 3, 4"), elements("0")]).unwrap();
        assert_eq!((y.rank(), y.elements()), (Some(0), elements("12*n").elements()));
        let y = infer("ReduceMax", Attributes::new(), &[elements("2, 7")]).unwrap();
        assert_eq!(y, elements("7"));
    }
}

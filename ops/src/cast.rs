//! `Cast`, `CastLike`: elements converted to another dtype, every tensor dtype but the complex ones.
//!
//! A float becomes an integer by dropping its fraction. Out of range, `int32` and `int64` saturate and NaN is 0; narrower and
//! unsigned types keep the low bits, as they do of an integer. To a float the nearest is taken, ties to even; float8, float6
//! and float4 are described at [`MiniFloat::encode`]. A string is parsed, an error where it is no number; a number is
//! written with the fewest digits that say which it is.
//!
//! Opsets: `Cast` 1 names the dtype by a string, which the importer translates; 6; 9 adds strings; 13 bfloat16; 19 float8 with
//! `saturate`; 21 four-bit integers; 23 float4; 24 float8e8m0 with `round_mode`; 25 two-bit integers; 28 float6. `CastLike` 15
//! and the same from 19.

use crate::Define;
use crate::dtypes::{Float32, for_dtypes};
use crate::elementwise::in_range;
use crate::parallel;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, COMPLEX, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, Types, arg, int, required, string,
};
use planish_tensor::{
    DType, Element, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, MiniFloat, ScaleRounding, Tensor,
    bf16, f16, scale_from_code, scale_to_code,
};

const TYPES: Types = ALL_TENSORS.without(COMPLEX);
const LIKE_TYPES: Types = TYPES.without(Types::of(&[DType::F6E2M3, DType::F6E3M2]));

/// What one element costs.
const NS: f64 = 1.5;

/// `Cast`.
#[derive(Debug)]
pub struct Cast {
    to: DType,
    rounding: Rounding,
}

/// `CastLike`.
#[derive(Debug)]
pub struct CastLike {
    rounding: Rounding,
}

/// What happens to numbers that a float of 8 bits does not hold.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    saturate: bool,
    scale: ScaleRounding,
}

impl Rounding {
    fn parse(node: &NodeView<'_>) -> Result<Rounding, AttributeError> {
        use ScaleRounding::{Down, Nearest, Up};
        let scale = node.choice("round_mode", &[("up", Up), ("down", Down), ("nearest", Nearest)])?;
        Ok(Rounding { saturate: node.flag("saturate")?, scale })
    }
}

impl Define for Cast {
    const SCHEMA: Schema = Schema::new("Cast", 28)
        .inputs(&[arg("input", TYPES).var("T1")])
        .outputs(&[arg("output", TYPES).var("T2")])
        .attributes(&[string("round_mode", "up"), int("saturate", 1), required("to", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let to = node.dtype("to")?;
        if !TYPES.contains(to) {
            return Err(AttributeError::invalid(format!("attribute \"to\": nothing is cast to {to}")));
        }
        Ok(Cast { to, rounding: Rounding::parse(node)? })
    }
}

impl Op for Cast {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![infer(x, Some(self.to))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(cast(cx, inputs.take_tensor(0)?, self.to, self.rounding)?.into())
    }
}

impl Define for CastLike {
    const SCHEMA: Schema = Schema::new("CastLike", 25)
        .inputs(&[arg("input", LIKE_TYPES).var("T1"), arg("target_type", LIKE_TYPES).var("T2")])
        .outputs(&[arg("output", LIKE_TYPES).var("T2")])
        .attributes(&[string("round_mode", "up"), int("saturate", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(CastLike { rounding: Rounding::parse(node)? })
    }
}

impl Op for CastLike {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![infer(x, x.dtype(1))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let to = inputs.tensor(1)?.dtype();
        Ok(cast(cx, inputs.take_tensor(0)?, to, self.rounding)?.into())
    }
}

fn infer(x: &Facts<'_>, to: Option<DType>) -> Fact {
    let mut fact = match x.shape(0) {
        Some(shape) => Fact::shaped(to, shape.to_vec()),
        None => Fact::tensor(to),
    };
    if matches!(to, Some(DType::I64 | DType::I32)) {
        let elements = x.elements(0);
        fact.contents = elements.map(|elements| elements.into_iter().map(|dim| in_range(dim, to)).collect());
    }
    fact
}

/// `x` converted to `to`.
pub fn cast(cx: &EvalCx<'_>, x: Tensor, to: DType, rounding: Rounding) -> Result<Tensor, OpError> {
    match (x.dtype(), to) {
        (from, to) if from == to => Ok(x),
        (DType::String, _) => parse_strings(cx, &x, to, rounding),
        (_, DType::String) => to_strings(cx, &x),
        (DType::F32, DType::F16) => narrow::<f16>(cx, &x),
        (DType::F32, DType::BF16) => narrow::<bf16>(cx, &x),
        (DType::F16, DType::F32) => widen::<f16>(cx, &x),
        (DType::BF16, DType::F32) => widen::<bf16>(cx, &x),
        _ => {
            let source = Source::new(cx, &x)?;
            convert(cx, &source, &x, to, rounding)
        }
    }
}

fn narrow<T: Float32>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    let source = x.as_slice::<f32>()?;
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    parallel::fill(cx, &mut y, 0.5, |start, y| T::narrow(&source[start..start + y.len()], y))?;
    Ok(y.freeze())
}

fn widen<T: Float32>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    let source = x.as_slice::<T>()?;
    let mut y = cx.uninit::<f32>(x.shape().clone())?;
    parallel::fill(cx, &mut y, 0.5, |start, y| T::widen(&source[start..start + y.len()], y))?;
    Ok(y.freeze())
}

/// Elements converted at a time.
const TILE: usize = 256;

/// A stretch of elements in the widest type of their kind, which holds each exactly.
enum Wide {
    Float([f64; TILE]),
    Signed([i64; TILE]),
    Unsigned([u64; TILE]),
}

/// Reads elements of any dtype but strings, `TILE` at a time.
struct Source<'a>(Box<dyn Fn(usize, usize) -> Wide + Sync + 'a>);

/// A [`Source`] over the slice `$x`, by a function from an element to the wide type of `$kind`.
macro_rules! source {
    ($x:expr, $kind:ident, $zero:literal, $widen:expr) => {{
        let x = $x;
        let widen = $widen;
        Source(Box::new(move |start, length| {
            let mut wide = [$zero; TILE];
            wide.iter_mut().zip(&x[start..start + length]).for_each(|(wide, &x)| *wide = widen(x));
            Wide::$kind(wide)
        }))
    }};
}

impl<'a> Source<'a> {
    fn new(cx: &EvalCx<'_>, x: &'a Tensor) -> Result<Source<'a>, OpError> {
        let mini = MiniFloat::of(x.dtype());
        let decode = move |code: u8| mini.map_or(f64::NAN, |format| f64::from(format.decode(code)));
        Ok(match x.dtype() {
            DType::F32 => source!(x.as_slice::<f32>()?, Float, 0.0, f64::from),
            DType::F64 => source!(x.as_slice::<f64>()?, Float, 0.0, f64::from),
            DType::F16 => source!(x.as_slice::<f16>()?, Float, 0.0, f64::from),
            DType::BF16 => source!(x.as_slice::<bf16>()?, Float, 0.0, f64::from),
            DType::I8 => source!(x.as_slice::<i8>()?, Signed, 0, i64::from),
            DType::I16 => source!(x.as_slice::<i16>()?, Signed, 0, i64::from),
            DType::I32 => source!(x.as_slice::<i32>()?, Signed, 0, i64::from),
            DType::I64 => source!(x.as_slice::<i64>()?, Signed, 0, i64::from),
            DType::U8 => source!(x.as_slice::<u8>()?, Signed, 0, i64::from),
            DType::U16 => source!(x.as_slice::<u16>()?, Signed, 0, i64::from),
            DType::U32 => source!(x.as_slice::<u32>()?, Signed, 0, i64::from),
            DType::U64 => source!(x.as_slice::<u64>()?, Unsigned, 0, u64::from),
            DType::Bool => source!(x.as_slice::<bool>()?, Signed, 0, i64::from),
            DType::F8E8M0 => source!(x.as_slice::<F8E8M0>()?, Float, 0.0, |v: F8E8M0| scale_from_code(v.0).into()),
            dtype if dtype.is_packed() => {
                let charged = cx.memory.reserve(x.num_elements())?;
                let codes = x.unpacked_codes().unwrap_or_default();
                let held = move |code: i8| {
                    let _held = &charged;
                    code
                };
                match mini {
                    Some(_) => source!(codes, Float, 0.0, move |code| decode(held(code) as u8)),
                    None => source!(codes, Signed, 0, move |code| i64::from(held(code))),
                }
            }
            dtype if mini.is_some() && dtype.bits() == 8 => source!(x.bytes(), Float, 0.0, decode),
            other => return Err(OpError::unsupported(format!("dtype {other}"))),
        })
    }

    /// A tensor of the shape of `x` by functions of a float, a signed and an unsigned element.
    fn fill<Y: Element>(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        of_float: impl Fn(f64) -> Y + Sync,
        of_signed: impl Fn(i64) -> Y + Sync,
        of_unsigned: impl Fn(u64) -> Y + Sync,
    ) -> Result<planish_tensor::TensorMut<Y>, OpError> {
        let mut y = cx.uninit::<Y>(x.shape().clone())?;
        parallel::fill(cx, &mut y, NS, |start, y| {
            for (tile, offset) in y.chunks_mut(TILE).zip((start..).step_by(TILE)) {
                match (self.0)(offset, tile.len()) {
                    Wide::Float(wide) => tile.iter_mut().zip(wide).for_each(|(y, v)| *y = of_float(v)),
                    Wide::Signed(wide) => tile.iter_mut().zip(wide).for_each(|(y, v)| *y = of_signed(v)),
                    Wide::Unsigned(wide) => tile.iter_mut().zip(wide).for_each(|(y, v)| *y = of_unsigned(v)),
                }
            }
        })?;
        Ok(y)
    }
}

fn convert(
    cx: &EvalCx<'_>,
    source: &Source<'_>,
    x: &Tensor,
    to: DType,
    rounding: Rounding,
) -> Result<Tensor, OpError> {
    let saturate = rounding.saturate;
    /// To numbers that `as` converts from all wide types; `$low_bits` brings a float near.
    macro_rules! plain {
        ($t:ty, $via:ty) => {
            source.fill::<$t>(cx, x, |v| v as $via as $t, |v| v as $t, |v| v as $t)?.freeze()
        };
    }
    /// To floats that are made from `f64`.
    macro_rules! float {
        ($t:ty, $of:expr) => {{
            let of = $of;
            source.fill::<$t>(cx, x, of, |v| of(v as f64), |v| of(v as f64))?.freeze()
        }};
    }
    let mini = MiniFloat::of(to);
    let encode = |v: f64| mini.map_or(0, |format| format.encode(v, saturate));
    Ok(match to {
        DType::F32 => plain!(f32, f64),
        DType::F64 => plain!(f64, f64),
        DType::F16 => float!(f16, f16::from_f64),
        DType::BF16 => float!(bf16, bf16::from_f64),
        DType::I8 => plain!(i8, i32),
        DType::I16 => plain!(i16, i32),
        DType::I32 => plain!(i32, i32),
        DType::I64 => plain!(i64, i64),
        DType::U8 => plain!(u8, i32),
        DType::U16 => plain!(u16, i32),
        DType::U32 => plain!(u32, i64),
        DType::U64 => {
            let of_float = |v: f64| if v < 0.0 { v as i64 as u64 } else { v as u64 };
            source.fill::<u64>(cx, x, of_float, |v| v as u64, |v| v)?.freeze()
        }
        DType::Bool => source.fill::<bool>(cx, x, |v| v != 0.0, |v| v != 0, |v| v != 0)?.freeze(),
        DType::F8E4M3FN => float!(F8E4M3FN, |v| F8E4M3FN(encode(v))),
        DType::F8E4M3FNUZ => float!(F8E4M3FNUZ, |v| F8E4M3FNUZ(encode(v))),
        DType::F8E5M2 => float!(F8E5M2, |v| F8E5M2(encode(v))),
        DType::F8E5M2FNUZ => float!(F8E5M2FNUZ, |v| F8E5M2FNUZ(encode(v))),
        DType::F6E2M3 => float!(F6E2M3, |v| F6E2M3(encode(v))),
        DType::F6E3M2 => float!(F6E3M2, |v| F6E3M2(encode(v))),
        DType::F8E8M0 => float!(F8E8M0, |v| F8E8M0(scale_to_code(v, rounding.scale, saturate))),
        DType::F4E2M1 => {
            let codes = source.fill::<u8>(cx, x, encode, |v| encode(v as f64), |v| encode(v as f64))?;
            Tensor::from_codes(&cx.memory, to, x.shape().clone(), &codes)?
        }
        DType::I4 | DType::U4 | DType::I2 | DType::U2 => {
            let codes = source.fill::<u8>(cx, x, |v| v as i32 as u8, |v| v as u8, |v| v as u8)?;
            Tensor::from_codes(&cx.memory, to, x.shape().clone(), &codes)?
        }
        DType::String | DType::Complex64 | DType::Complex128 => {
            return Err(OpError::unsupported(format!("a cast to {to}")));
        }
    })
}

/// Numbers as text; each string's text is charged at its longest.
fn to_strings(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    const LONGEST_TEXT: usize = 24;
    let _charged = cx.memory.reserve(x.num_elements().saturating_mul(size_of::<String>() + LONGEST_TEXT))?;
    let narrow_floats = |of: &dyn Fn(usize) -> String| (0..x.num_elements()).map(of).collect::<Vec<String>>();
    let text = match x.dtype() {
        DType::F32 => {
            let x = x.as_slice::<f32>()?;
            narrow_floats(&|i| float_text(x[i]))
        }
        DType::F64 => {
            let x = x.as_slice::<f64>()?;
            narrow_floats(&|i| float_text(x[i]))
        }
        _ => {
            let source = Source::new(cx, x)?;
            let mut text = Vec::with_capacity(x.num_elements());
            for start in (0..x.num_elements()).step_by(TILE) {
                cx.check()?;
                let length = TILE.min(x.num_elements() - start);
                match (source.0)(start, length) {
                    // Exact in `f32`, and of few digits there.
                    Wide::Float(wide) => text.extend(wide[..length].iter().map(|&v| float_text(v as f32))),
                    Wide::Signed(wide) => text.extend(wide[..length].iter().map(i64::to_string)),
                    Wide::Unsigned(wide) => text.extend(wide[..length].iter().map(u64::to_string)),
                }
            }
            text
        }
    };
    Ok(Tensor::from_strings(x.shape().clone(), text)?)
}

/// The fewest digits that say which float this is: plain, or with an exponent where that would take many zeros.
fn float_text<T: num_traits::Float + std::fmt::Display + std::fmt::LowerExp>(value: T) -> String {
    let magnitude = value.abs().to_f64().unwrap_or(f64::NAN);
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value.is_sign_negative() { "-INF" } else { "INF" }.to_owned()
    } else if magnitude != 0.0 && !(1e-5..1e16).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

fn parse_strings(cx: &EvalCx<'_>, x: &Tensor, to: DType, rounding: Rounding) -> Result<Tensor, OpError> {
    let strings = x.as_strings()?;
    let is_integer = to.is_integer() || to == DType::Bool;
    if is_integer && to != DType::U64 {
        let mut numbers = cx.uninit::<i64>(x.shape().clone())?;
        for (number, text) in numbers.iter_mut().zip(strings) {
            *number = match text.trim().parse::<i64>() {
                Ok(number) => number,
                Err(_) => parse_float(text)? as i64,
            };
        }
        return cast(cx, numbers.freeze(), to, rounding);
    }
    if to == DType::U64 {
        let mut numbers = cx.uninit::<u64>(x.shape().clone())?;
        for (number, text) in numbers.iter_mut().zip(strings) {
            *number = match text.trim().parse::<u64>() {
                Ok(number) => number,
                Err(_) => parse_float(text)? as u64,
            };
        }
        return Ok(numbers.freeze());
    }
    if to == DType::F32 {
        let mut numbers = cx.uninit::<f32>(x.shape().clone())?;
        for (number, text) in numbers.iter_mut().zip(strings) {
            *number = text.trim().parse().map_err(|_| no_number(text))?;
        }
        return Ok(numbers.freeze());
    }
    let mut numbers = cx.uninit::<f64>(x.shape().clone())?;
    for (number, text) in numbers.iter_mut().zip(strings) {
        *number = parse_float(text)?;
    }
    cast(cx, numbers.freeze(), to, rounding)
}

fn parse_float(text: &str) -> Result<f64, OpError> {
    text.trim().parse().map_err(|_| no_number(text))
}

fn no_number(text: &str) -> OpError {
    let shown: String = text.chars().take(40).collect();
    OpError::invalid(format!("the string {shown:?} is not a number"))
}

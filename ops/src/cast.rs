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
use crate::dtypes::Float32;
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

/// As `Cast` rounds where its attributes say nothing.
impl Default for Rounding {
    fn default() -> Rounding {
        Rounding { saturate: true, scale: ScaleRounding::Up }
    }
}

impl Rounding {
    /// Numbers out of range become the greatest if `saturate`, scales go up to the next power of two.
    pub const fn new(saturate: bool) -> Rounding {
        Rounding { saturate, scale: ScaleRounding::Up }
    }

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

fn convert(cx: &EvalCx<'_>, source: &Source<'_>, x: &Tensor, to: DType, rounding: Rounding) -> Result<Tensor, OpError> {
    let saturate = rounding.saturate;
    /// To numbers that `as` converts from all wide types, floats by way of `$via`.
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
    let text = match x.dtype() {
        DType::F64 => x.as_slice::<f64>()?.iter().map(|&v| float_text(v)).collect(),
        _ => {
            let source = Source::new(cx, x)?;
            let mut text = Vec::with_capacity(x.num_elements());
            for start in (0..x.num_elements()).step_by(TILE) {
                cx.check()?;
                let length = TILE.min(x.num_elements() - start);
                match (source.0)(start, length) {
                    // Every float but `double` is exact in `f32`, and of fewer digits there.
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

/// The fewest digits that say which float this is: plain, or with an exponent where C's `%g` has one for eight digits, which
/// is when ONNX Runtime writes one.
fn float_text<T: num_traits::Float + std::fmt::Display + std::fmt::LowerExp>(value: T) -> String {
    let magnitude = value.abs().to_f64().unwrap_or(f64::NAN);
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value.is_sign_negative() { "-INF" } else { "INF" }.to_owned()
    } else if magnitude != 0.0 && !(1e-4..1e8).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        value.to_string()
    }
}

fn parse_strings(cx: &EvalCx<'_>, x: &Tensor, to: DType, rounding: Rounding) -> Result<Tensor, OpError> {
    let float = |text: &str| text.parse::<f64>().ok();
    let numbers = match to {
        DType::F32 => parse_all(cx, x, |text| text.parse::<f32>().ok())?,
        DType::U64 => parse_all(cx, x, |text| text.parse::<u64>().ok().or(float(text).map(|v| v as u64)))?,
        to if to.is_integer() => parse_all(cx, x, |text| text.parse::<i64>().ok().or(float(text).map(|v| v as i64)))?,
        _ => parse_all(cx, x, float)?,
    };
    cast(cx, numbers, to, rounding)
}

fn parse_all<T: Element>(cx: &EvalCx<'_>, x: &Tensor, of: impl Fn(&str) -> Option<T>) -> Result<Tensor, OpError> {
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    for (y, text) in y.iter_mut().zip(x.as_strings()?) {
        *y = of(text.trim()).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            OpError::invalid(format!("the string {shown:?} is not a number"))
        })?;
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim, Fact, Facts, OpError, Registry};
    use planish_tensor::{DType, F8E4M3FN, F8E5M2, F8E8M0, Memory, Shape, Tensor, bf16, f16};

    fn to(dtype: DType) -> Attributes {
        Attributes::new().with("to", i64::from(dtype.to_onnx()))
    }

    fn cast(x: Tensor, dtype: DType) -> Tensor {
        eval("Cast", to(dtype), &[x]).unwrap()
    }

    fn words(words: &[&str]) -> Tensor {
        let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
        Tensor::from_strings(Shape::new(&[words.len()]).unwrap(), words).unwrap()
    }

    #[test]
    fn fractions_are_dropped_and_high_bits_discarded() {
        let x = tensor(&[5], &[-1.9f32, 2.5, 300.7, f32::NAN, -0.5]);
        assert_eq!(cast(x.clone(), DType::I64), tensor(&[5], &[-1i64, 2, 300, 0, 0]));
        assert_eq!(cast(x.clone(), DType::U8), tensor(&[5], &[255u8, 2, 44, 0, 0]));
        assert_eq!(cast(x, DType::Bool), tensor(&[5], &[true, true, true, true, true]));
        assert_eq!(cast(tensor(&[2], &[200i16, -200]), DType::I8), tensor(&[2], &[-56i8, 56]));
        assert_eq!(cast(tensor(&[1], &[1e20f32]), DType::I32), tensor(&[1], &[i32::MAX]));
        assert_eq!(cast(tensor(&[1], &[u64::MAX]), DType::F64), tensor(&[1], &[u64::MAX as f64]));
        assert_eq!(cast(tensor(&[2], &[true, false]), DType::F32), tensor(&[2], &[1f32, 0.]));
    }

    #[test]
    fn every_pair_of_dtypes_keeps_small_integers() {
        let ones = |dtype: DType| match dtype {
            DType::String => words(&["0", "1", "1"]),
            dtype => cast(tensor(&[3], &[0f64, 1., 1.]), dtype),
        };
        let dtypes: Vec<DType> = super::TYPES.dtypes().filter(|&d| d != DType::F8E8M0).collect();
        for &from in &dtypes {
            for &to in &dtypes {
                assert_eq!(cast(ones(from), to), ones(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn long_tensors_convert_tile_by_tile() {
        let x: Vec<i32> = (0..1000).collect();
        let expected: Vec<f16> = x.iter().map(|&v| f16::from_f64(v.into())).collect();
        assert_eq!(cast(tensor(&[1000], &x), DType::F16), tensor(&[1000], &expected));
        let wide: Vec<f32> = x.iter().map(|&v| v as f32 * 0.37).collect();
        let expected: Vec<bf16> = wide.iter().map(|&v| bf16::from_f32(v)).collect();
        assert_eq!(cast(tensor(&[1000], &wide), DType::BF16), tensor(&[1000], &expected));
    }

    #[test]
    fn narrow_integers_wrap() {
        let codes = |dtype, codes: &[u8]| {
            Tensor::from_codes(Memory::global(), dtype, Shape::new(&[codes.len()]).unwrap(), codes).unwrap()
        };
        let x = tensor(&[4], &[-9f32, -8., 7., 8.]);
        assert_eq!(cast(x.clone(), DType::I4), codes(DType::I4, &[7, 8, 7, 8]));
        assert_eq!(cast(x.clone(), DType::U2), codes(DType::U2, &[3, 0, 3, 0]));
        assert_eq!(cast(x, DType::F4E2M1), codes(DType::F4E2M1, &[15, 15, 7, 7]));
        assert_eq!(cast(codes(DType::I4, &[15, 7]), DType::F32), tensor(&[2], &[-1f32, 7.]));
        assert_eq!(cast(codes(DType::F4E2M1, &[15, 1]), DType::F16), tensor(&[2], &[-6.0, 0.5].map(f16::from_f32)));
    }

    #[test]
    fn float8_saturates_unless_told_not_to() {
        let x = tensor(&[2], &[1e6f32, -0.5]);
        let loose = |dtype| to(dtype).with("saturate", 0i64);
        assert_eq!(cast(x.clone(), DType::F8E4M3FN), tensor(&[2], &[F8E4M3FN(0x7e), F8E4M3FN(0xb0)]));
        let y = eval("Cast", loose(DType::F8E5M2), &[x]).unwrap();
        assert_eq!(y, tensor(&[2], &[F8E5M2(0x7c), F8E5M2(0xb8)]));
        let scale = tensor(&[2], &[1.5f32, 0.]);
        assert_eq!(cast(scale.clone(), DType::F8E8M0), tensor(&[2], &[F8E8M0(128), F8E8M0(0)]));
        let y = eval("Cast", to(DType::F8E8M0).with("round_mode", "down"), &[scale]).unwrap();
        assert_eq!(y, tensor(&[2], &[F8E8M0(127), F8E8M0(0)]));
    }

    #[test]
    fn strings_are_parsed_and_written() {
        let x = words(&["3.25", "-INF", "1e3", " 7"]);
        assert_eq!(cast(x, DType::F32), tensor(&[4], &[3.25f32, f32::NEG_INFINITY, 1000., 7.]));
        assert_eq!(cast(words(&["100.5", "-9223372036854775808"]), DType::I64), tensor(&[2], &[100, i64::MIN]));
        assert!(matches!(eval("Cast", to(DType::F32), &[words(&["Hello"])]), Err(OpError::Invalid(_))));
        let y = cast(tensor(&[5], &[0.1f32, 1., 1e20, f32::NAN, f32::NEG_INFINITY]), DType::String);
        assert_eq!(y.as_strings().unwrap(), ["0.1", "1", "1e+20", "NaN", "-INF"]);
        let y = cast(tensor(&[5], &[-1.5e8f64, 12345678.0, 1.25e-7, 1e-4, 1e100]), DType::String);
        assert_eq!(y.as_strings().unwrap(), ["-1.5e+08", "12345678", "1.25e-07", "0.0001", "1e+100"]);
        assert_eq!(cast(tensor(&[1], &[u64::MAX]), DType::String).as_strings().unwrap(), ["18446744073709551615"]);
    }

    #[test]
    fn cast_like_takes_the_other_inputs_dtype() {
        let y = eval("CastLike", Attributes::new(), &[tensor(&[1], &[2.5f32]), tensor(&[0], &[0u8; 0])]).unwrap();
        assert_eq!(y, tensor(&[1], &[2u8]));
    }

    #[test]
    fn contents_pass_through_integers() {
        let fact = Fact::integers(DType::I64, false, vec![Dim::symbol("seq"), Dim::known(1 << 40)]);
        let operator = StandardRegistry.operator("", "Cast", to(DType::I32), 1, 1).unwrap();
        let narrow = operator.op().unwrap().infer(&Facts::new(&[Some(&fact)], 1)).unwrap().remove(0);
        assert_eq!(narrow.elements(), Some(vec![Dim::symbol("seq"), Dim::unknown()]));
        assert!(eval("Cast", to(DType::Complex64), &[tensor(&[1], &[0f32])]).is_err());
    }
}

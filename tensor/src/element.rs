//! Rust types that stand for one ONNX element.

use crate::DType;
use half::{bf16, f16};

/// A Rust type whose slices are the contents of tensors of one [`DType`].
///
/// # Safety
/// `Self` must have no padding, need no drop, be valid when all its bytes are zero, and have
/// `DTYPE.bits() == 8 * size_of::<Self>()`. If `ANY_BITS` is true, every bit pattern must be valid.
pub unsafe trait Element: Copy + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The element type of ONNX that `Self` stands for.
    const DTYPE: DType;
    /// Whether every bit pattern is a valid `Self`.
    const ANY_BITS: bool = true;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {$(
        // SAFETY: a primitive number (or transparent struct of such) of the dtype's width, valid for any bits.
        unsafe impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        }
        const _: () = assert!(DType::$dtype.bits() == 8 * size_of::<$rust>());
    )*};
}

/// A number of 8 or fewer bits, kept by its code.
macro_rules! coded {
    ($($name:ident, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u8);
    )*};
}

coded! {
    F8E4M3FN, "`FLOAT8E4M3FN`: 4 exponent bits, 3 mantissa bits, no infinities, by its code.";
    F8E4M3FNUZ, "`FLOAT8E4M3FNUZ`: as E4M3FN with one NaN and no negative zero, by its code.";
    F8E5M2, "`FLOAT8E5M2`: 5 exponent bits, 2 mantissa bits, IEEE-like, by its code.";
    F8E5M2FNUZ, "`FLOAT8E5M2FNUZ`: as E5M2 with one NaN, no infinities and no negative zero, by its code.";
    F8E8M0, "`FLOAT8E8M0`: a power of two, by its code.";
    F6E2M3, "`FLOAT6E2M3`: 2 exponent bits, 3 mantissa bits, finite only, in the low 6 bits.";
    F6E3M2, "`FLOAT6E3M2`: 3 exponent bits, 2 mantissa bits, finite only, in the low 6 bits.";
}

/// `COMPLEX64`: two `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Complex64 {
    /// Real part.
    pub re: f32,
    /// Imaginary part.
    pub im: f32,
}

/// `COMPLEX128`: two `f64`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Complex128 {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

elements! {
    f32 => F32, f64 => F64, f16 => F16, bf16 => BF16,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    Complex64 => Complex64, Complex128 => Complex128,
    F8E4M3FN => F8E4M3FN, F8E4M3FNUZ => F8E4M3FNUZ, F8E5M2 => F8E5M2, F8E5M2FNUZ => F8E5M2FNUZ,
    F8E8M0 => F8E8M0, F6E2M3 => F6E2M3, F6E3M2 => F6E3M2,
}

// SAFETY: an integer without padding; it stands for elements of 128 bits, of which `COMPLEX128` is the only dtype.
unsafe impl Element for u128 {
    const DTYPE: DType = DType::Complex128;
}

// SAFETY: one byte; zero is `false`. Not every byte is a bool, which `ANY_BITS` says: buffers of bools are zeroed
// when made and bytes from outside are checked by `Tensor::from_bytes`.
unsafe impl Element for bool {
    const DTYPE: DType = DType::Bool;
    const ANY_BITS: bool = false;
}

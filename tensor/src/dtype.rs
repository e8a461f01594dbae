//! The element types of ONNX tensors.

use std::fmt;

/// An ONNX element type (`TensorProto.DataType`).
///
/// The discriminants are ONNX's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the variants are ONNX's names")]
pub enum DType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    String = 8,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    BF16 = 16,
    F8E4M3FN = 17,
    F8E4M3FNUZ = 18,
    F8E5M2 = 19,
    F8E5M2FNUZ = 20,
    U4 = 21,
    I4 = 22,
    F4E2M1 = 23,
    F8E8M0 = 24,
    U2 = 25,
    I2 = 26,
    F6E2M3 = 27,
    F6E3M2 = 28,
}

impl DType {
    /// Every element type, in ONNX's order.
    pub const ALL: [DType; 28] = {
        use DType::*;
        [
            F32, U8, I8, U16, I16, I32, I64, String, Bool, F16, F64, U32, U64, Complex64, Complex128, BF16, F8E4M3FN,
            F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, U4, I4, F4E2M1, F8E8M0, U2, I2, F6E2M3, F6E3M2,
        ]
    };

    /// The type with ONNX's number `code`; `None` for 0 (undefined) and numbers the standard does not assign.
    pub fn from_onnx(code: i32) -> Option<DType> {
        Self::ALL.into_iter().find(|d| d.to_onnx() == code)
    }

    /// ONNX's number for this type.
    pub const fn to_onnx(self) -> i32 {
        self as i32
    }

    /// The type's name in ONNX's textual syntax and schemas (`float`, `int64`, `float8e4m3fn` …).
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "float",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::U16 => "uint16",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::String => "string",
            DType::Bool => "bool",
            DType::F16 => "float16",
            DType::F64 => "double",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::Complex64 => "complex64",
            DType::Complex128 => "complex128",
            DType::BF16 => "bfloat16",
            DType::F8E4M3FN => "float8e4m3fn",
            DType::F8E4M3FNUZ => "float8e4m3fnuz",
            DType::F8E5M2 => "float8e5m2",
            DType::F8E5M2FNUZ => "float8e5m2fnuz",
            DType::U4 => "uint4",
            DType::I4 => "int4",
            DType::F4E2M1 => "float4e2m1",
            DType::F8E8M0 => "float8e8m0",
            DType::U2 => "uint2",
            DType::I2 => "int2",
            DType::F6E2M3 => "float6e2m3",
            DType::F6E3M2 => "float6e3m2",
        }
    }

    /// The type whose [`name`](Self::name) is `name`.
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bits that one element takes in a buffer; 2- and 4-bit types are packed, lowest bits first, 6-bit ones
    /// take a byte each. Strings have no fixed size: 0.
    pub const fn bits(self) -> usize {
        match self {
            DType::String => 0,
            DType::U2 | DType::I2 => 2,
            DType::U4 | DType::I4 | DType::F4E2M1 => 4,
            DType::U8 | DType::I8 | DType::Bool => 8,
            DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ | DType::F8E8M0 => 8,
            DType::F6E2M3 | DType::F6E3M2 => 8,
            DType::U16 | DType::I16 | DType::F16 | DType::BF16 => 16,
            DType::F32 | DType::I32 | DType::U32 => 32,
            DType::F64 | DType::I64 | DType::U64 | DType::Complex64 => 64,
            DType::Complex128 => 128,
        }
    }

    /// Bytes that `elements` elements take, or `None` where that overflows. Strings count as 0.
    pub const fn bytes_for(self, elements: usize) -> Option<usize> {
        match elements.checked_mul(self.bits()) {
            Some(bits) => Some(bits.div_ceil(8)),
            None => None,
        }
    }

    /// Whether elements share a byte (2- and 4-bit types).
    pub const fn is_packed(self) -> bool {
        matches!(self.bits(), 2 | 4)
    }

    /// Whether this is a floating-point type of any width.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            DType::F32
                | DType::F16
                | DType::BF16
                | DType::F64
                | DType::F8E4M3FN
                | DType::F8E4M3FNUZ
                | DType::F8E5M2
                | DType::F8E5M2FNUZ
                | DType::F8E8M0
                | DType::F4E2M1
                | DType::F6E2M3
                | DType::F6E3M2
        )
    }

    /// Whether this is an integer type of any width, signed or not (`bool` is not).
    pub const fn is_integer(self) -> bool {
        self.is_signed_integer() || self.is_unsigned_integer()
    }

    /// Whether this is a signed integer type.
    pub const fn is_signed_integer(self) -> bool {
        matches!(self, DType::I2 | DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// Whether this is an unsigned integer type.
    pub const fn is_unsigned_integer(self) -> bool {
        matches!(self, DType::U2 | DType::U4 | DType::U8 | DType::U16 | DType::U32 | DType::U64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_inverses() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_onnx(dtype.to_onnx()), Some(dtype));
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::from_onnx(0), None);
        assert_eq!(DType::from_onnx(29), None);
    }

    #[test]
    fn packed_types_round_up_to_whole_bytes() {
        assert_eq!(DType::I4.bytes_for(3), Some(2));
        assert_eq!(DType::U2.bytes_for(5), Some(2));
        assert_eq!(DType::F64.bytes_for(usize::MAX), None);
    }
}

//! Floats of 8 bits and fewer: what their codes stand for, and rounding to them.
//!
//! Codes are as ONNX stores them: sign, exponent, mantissa, in the low bits of a byte.

use crate::DType;

/// How a float of at most 8 bits is laid out. [`F8E8M0`](crate::F8E8M0), which has no sign and no mantissa, is apart:
/// see [`scale_from_code`] and [`scale_to_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniFloat {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    /// The greatest finite magnitude.
    max_code: u8,
    specials: Specials,
}

/// Which codes are not finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Specials {
    /// None.
    Finite,
    /// The greatest magnitude is NaN.
    Nan,
    /// As in IEEE 754: all exponent bits set make ∞, or NaN where the mantissa is not 0.
    Ieee,
    /// What would be −0 is NaN.
    NegativeZero,
}

impl MiniFloat {
    /// The layout of `dtype`, where it is such a float.
    pub const fn of(dtype: DType) -> Option<MiniFloat> {
        let (exponent_bits, mantissa_bits, bias, max_code, specials) = match dtype {
            DType::F8E4M3FN => (4, 3, 7, 0x7e, Specials::Nan),
            DType::F8E4M3FNUZ => (4, 3, 8, 0x7f, Specials::NegativeZero),
            DType::F8E5M2 => (5, 2, 15, 0x7b, Specials::Ieee),
            DType::F8E5M2FNUZ => (5, 2, 16, 0x7f, Specials::NegativeZero),
            DType::F6E2M3 => (2, 3, 1, 0x1f, Specials::Finite),
            DType::F6E3M2 => (3, 2, 3, 0x1f, Specials::Finite),
            DType::F4E2M1 => (2, 1, 1, 0x7, Specials::Finite),
            _ => return None,
        };
        Some(MiniFloat { exponent_bits, mantissa_bits, bias, max_code, specials })
    }

    /// The greatest finite number.
    pub fn max(&self) -> f32 {
        self.decode(self.max_code)
    }

    fn sign_bit(&self) -> u8 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The code of NaN; formats without one have −0 stand for it.
    fn nan(&self, is_negative: bool) -> u8 {
        let sign = if is_negative { self.sign_bit() } else { 0 };
        match self.specials {
            Specials::Finite | Specials::NegativeZero => self.sign_bit(),
            Specials::Nan => sign | 0x7f,
            Specials::Ieee => sign | 0x7e,
        }
    }

    /// The number that `code` stands for. Bits above the format's are ignored.
    pub fn decode(&self, code: u8) -> f32 {
        let is_negative = code & self.sign_bit() != 0;
        let magnitude = code & (self.sign_bit() - 1);
        let is_special = match self.specials {
            Specials::Finite => false,
            Specials::NegativeZero => is_negative && magnitude == 0,
            Specials::Nan | Specials::Ieee => magnitude > self.max_code,
        };
        let sign = if is_negative { -1.0 } else { 1.0 };
        if is_special {
            let is_infinite = self.specials == Specials::Ieee && magnitude == self.max_code + 1;
            return if is_infinite { sign * f32::INFINITY } else { f32::NAN.copysign(sign) };
        }
        let exponent = i32::from(magnitude >> self.mantissa_bits);
        let mantissa = f32::from(magnitude & ((1 << self.mantissa_bits) - 1));
        let one = (1u32 << self.mantissa_bits) as f32;
        let significand = if exponent == 0 { mantissa } else { one + mantissa };
        sign * significand * 2f32.powi(exponent.max(1) - self.bias - self.mantissa_bits as i32)
    }

    /// The code of the nearest number, ties to even.
    ///
    /// What is greater than [`max`](Self::max) after rounding, ∞ too, becomes `max` if `saturate` or the format has nothing
    /// beyond it, else ∞ or NaN as the format has it.
    pub fn encode(&self, value: f64, saturate: bool) -> u8 {
        let is_negative = value.is_sign_negative();
        if value.is_nan() {
            return self.nan(is_negative);
        }
        let sign = if is_negative { self.sign_bit() } else { 0 };
        let magnitude = self.round(value.abs());
        if magnitude > u64::from(self.max_code) {
            return match self.specials {
                _ if saturate => sign | self.max_code,
                Specials::Finite => sign | self.max_code,
                Specials::Ieee => sign | (self.max_code + 1),
                Specials::Nan | Specials::NegativeZero => self.nan(is_negative),
            };
        }
        if magnitude == 0 && self.specials == Specials::NegativeZero { 0 } else { sign | magnitude as u8 }
    }

    /// The code of the number nearest to `value` ≥ 0, were the exponent of any width.
    fn round(&self, value: f64) -> u64 {
        if value.is_infinite() {
            return u64::MAX;
        }
        // A zero or subnormal f64 has exponent −1023 here, below every format's least.
        let exponent = ((value.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        let unit = 2f64.powi(exponent - self.mantissa_bits as i32);
        // Of a normal number the leading 1 of the significand adds one to the exponent field below, which is thus written one
        // too low; a carry out of the mantissa is right by itself.
        ((exponent + self.bias - 1) as u64) * (1 << self.mantissa_bits) + (value / unit).round_ties_even() as u64
    }
}

/// The power of two that a [`F8E8M0`](crate::F8E8M0) code stands for; NaN for 255.
pub fn scale_from_code(code: u8) -> f32 {
    match code {
        0xff => f32::NAN,
        // 2⁻¹²⁷ is subnormal.
        0 => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

/// Which power of two a number between two becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRounding {
    /// The greater.
    Up,
    /// The lesser.
    Down,
    /// The nearer, the greater of two equally near.
    Nearest,
}

/// The [`F8E8M0`](crate::F8E8M0) code for `value`. Below the least and above the greatest power it is that one if `saturate`,
/// else NaN, as negative numbers are always.
pub fn scale_to_code(value: f64, rounding: ScaleRounding, saturate: bool) -> u8 {
    const NAN: u8 = 0xff;
    const MAX: u8 = 0xfe;
    if value.is_nan() || value < 0.0 {
        return NAN;
    }
    if value.is_infinite() {
        return if saturate { MAX } else { NAN };
    }
    let exponent = (value.to_bits() >> 52) as i32 - 1023;
    let significand = value / 2f64.powi(exponent);
    let rounds_up = match rounding {
        ScaleRounding::Up => significand > 1.0,
        ScaleRounding::Down => false,
        ScaleRounding::Nearest => significand >= 1.5,
    };
    match exponent + i32::from(rounds_up) + 127 {
        code @ 0..=0xfe => code as u8,
        _ if !saturate => NAN,
        code if code < 0 => 0,
        _ => MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [DType; 7] = [
        DType::F8E4M3FN,
        DType::F8E4M3FNUZ,
        DType::F8E5M2,
        DType::F8E5M2FNUZ,
        DType::F6E2M3,
        DType::F6E3M2,
        DType::F4E2M1,
    ];

    fn format(dtype: DType) -> MiniFloat {
        MiniFloat::of(dtype).unwrap()
    }

    #[test]
    fn greatest_and_least_numbers_are_the_standards() {
        for (dtype, max, least) in [
            (DType::F8E4M3FN, 448.0, 2f32.powi(-9)),
            (DType::F8E4M3FNUZ, 240.0, 2f32.powi(-10)),
            (DType::F8E5M2, 57344.0, 2f32.powi(-16)),
            (DType::F8E5M2FNUZ, 57344.0, 2f32.powi(-17)),
            (DType::F6E2M3, 7.5, 0.125),
            (DType::F6E3M2, 28.0, 0.0625),
            (DType::F4E2M1, 6.0, 0.5),
        ] {
            assert_eq!((format(dtype).max(), format(dtype).decode(1)), (max, least), "{dtype}");
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for dtype in FORMATS {
            let format = format(dtype);
            for code in 0..2 * format.sign_bit() as u16 {
                let code = code as u8;
                let value = format.decode(code);
                let again = format.encode(value.into(), false);
                assert!(again == code || value.is_nan() && format.decode(again).is_nan(), "{dtype} {code:#x} {value}");
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_ties_go_to_even() {
        for dtype in FORMATS {
            let format = format(dtype);
            for code in 0..format.max_code {
                let (low, high) = (f64::from(format.decode(code)), f64::from(format.decode(code + 1)));
                let middle = (low + high) / 2.0;
                let even = if code % 2 == 0 { code } else { code + 1 };
                assert_eq!(format.encode(middle, true), even, "{dtype} {middle}");
                assert_eq!(format.encode(middle.next_down(), true), code);
                assert_eq!(format.encode(middle.next_up(), true), code + 1);
            }
        }
    }

    #[test]
    fn beyond_the_greatest_number() {
        for (dtype, saturated, infinite, nan) in [
            (DType::F8E4M3FN, 0x7e, 0x7f, 0x7f),
            (DType::F8E4M3FNUZ, 0x7f, 0x80, 0x80),
            (DType::F8E5M2, 0x7b, 0x7c, 0x7e),
            (DType::F8E5M2FNUZ, 0x7f, 0x80, 0x80),
            (DType::F6E2M3, 0x1f, 0x1f, 0x20),
            (DType::F6E3M2, 0x1f, 0x1f, 0x20),
            (DType::F4E2M1, 0x7, 0x7, 0x8),
        ] {
            let format = format(dtype);
            for value in [1e6, f64::INFINITY] {
                assert_eq!((format.encode(value, true), format.encode(value, false)), (saturated, infinite), "{dtype}");
            }
            assert_eq!(format.encode(f64::NAN, true), nan, "{dtype}");
        }
        assert_eq!(format(DType::F8E4M3FNUZ).encode(-0.0, true), 0);
        assert_eq!(format(DType::F8E4M3FN).encode(-1e-9, true), 0x80);
        assert_eq!(format(DType::F8E5M2).encode(f64::NEG_INFINITY, false), 0xfc);
    }

    #[test]
    fn scales_round_as_asked() {
        use ScaleRounding::{Down, Nearest, Up};
        for code in 0..=0xfe {
            for rounding in [Up, Down, Nearest] {
                assert_eq!(scale_to_code(scale_from_code(code).into(), rounding, false), code);
            }
        }
        assert_eq!([Up, Down, Nearest].map(|r| scale_to_code(1.5, r, true)), [128, 127, 128]);
        assert_eq!([Up, Down, Nearest].map(|r| scale_to_code(1.1, r, true)), [128, 127, 127]);
        for (value, saturated) in [(0.0, 0), (1e-60, 0), (1e60, 0xfe), (f64::INFINITY, 0xfe)] {
            assert_eq!((scale_to_code(value, Up, true), scale_to_code(value, Up, false)), (saturated, 0xff));
        }
        assert_eq!(scale_to_code(f64::NAN, Up, true), 0xff);
    }
}

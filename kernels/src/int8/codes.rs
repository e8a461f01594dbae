//! 8-bit codes and their zero points.

use std::ops::Range;

use crate::gemm::MatRef;

/// An 8-bit code: `u8` or `i8`.
pub trait Code: Copy + PartialEq + Send + Sync + sealed::Sealed + 'static {
    /// The code of 0.
    const ZERO: Self;

    /// What turns the code's bits into those of [`Sign::Signed`], by exclusive or.
    const FLIP: u8;

    /// The least and the greatest code.
    const RANGE: [f32; 2];

    /// The code as a number.
    fn value(self) -> i16;

    /// The code's bits.
    fn bits(self) -> u8;

    /// The code of these bits.
    fn from_bits(bits: u8) -> Self;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for u8 {}
    impl Sealed for i8 {}
}

impl Code for u8 {
    const ZERO: Self = 0;
    const FLIP: u8 = 0x80;
    const RANGE: [f32; 2] = [0.0, 255.0];

    #[inline(always)]
    fn value(self) -> i16 {
        self.into()
    }

    #[inline(always)]
    fn bits(self) -> u8 {
        self
    }

    #[inline(always)]
    fn from_bits(bits: u8) -> Self {
        bits
    }
}

impl Code for i8 {
    const ZERO: Self = 0;
    const FLIP: u8 = 0;
    const RANGE: [f32; 2] = [-128.0, 127.0];

    #[inline(always)]
    fn value(self) -> i16 {
        self.into()
    }

    #[inline(always)]
    fn bits(self) -> u8 {
        self.cast_unsigned()
    }

    #[inline(always)]
    fn from_bits(bits: u8) -> Self {
        bits.cast_signed()
    }
}

/// How an operand is packed. The instructions that multiply bytes want one operand of either kind; a code becomes the other
/// kind when it and its zero point move by 128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sign {
    /// Bytes from −128 to 127.
    #[default]
    Signed,
    /// Bytes from 0 to 255.
    Unsigned,
}

impl Sign {
    /// What turns the bits of codes into bytes of this kind, by exclusive or.
    pub(super) fn flip<T: Code>(self) -> u8 {
        match self {
            Sign::Signed => T::FLIP,
            Sign::Unsigned => T::FLIP ^ 0x80,
        }
    }

    /// A byte of this kind as a number.
    #[inline(always)]
    pub(super) fn value(self, byte: u8) -> i32 {
        match self {
            Sign::Signed => byte.cast_signed().into(),
            Sign::Unsigned => byte.into(),
        }
    }

    /// A code packed in this way, as a number.
    pub(super) fn of<T: Code>(self, code: T) -> i32 {
        self.value(code.bits() ^ self.flip::<T>())
    }
}

/// The codes that stand for zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ZeroPoints<'a, T> {
    /// One for all.
    All(T),
    /// One for each row of the left operand, or each column of the right one.
    Each(&'a [T]),
}

impl<'a, T: Code> ZeroPoints<'a, T> {
    /// The zero point of row or column `index`.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> T {
        match self {
            ZeroPoints::All(zero) => *zero,
            ZeroPoints::Each(zeros) => zeros[index],
        }
    }

    /// Whether there is one for each of `len` rows or columns.
    pub(crate) fn fits(&self, len: usize) -> bool {
        match self {
            ZeroPoints::All(_) => true,
            ZeroPoints::Each(zeros) => zeros.len() == len,
        }
    }

    /// Those of some rows or columns.
    pub(super) fn range(&self, indices: Range<usize>) -> ZeroPoints<'a, T> {
        match self {
            ZeroPoints::All(zero) => ZeroPoints::All(*zero),
            ZeroPoints::Each(zeros) => ZeroPoints::Each(&zeros[indices]),
        }
    }

    /// The zero points of `indices` as packed numbers.
    pub(super) fn packed(&self, sign: Sign, indices: Range<usize>) -> impl Iterator<Item = i32> {
        indices.map(move |index| sign.of(self.at(index)))
    }
}

/// A matrix of codes with its zero points.
#[derive(Debug, Clone, Copy)]
pub struct Quantized<'a, T> {
    pub(crate) codes: MatRef<'a, T>,
    pub(crate) zero_points: ZeroPoints<'a, T>,
}

impl<'a, T: Code> Quantized<'a, T> {
    /// The left operand of a product: `zero_points` has one for each row, or one for all.
    ///
    /// # Panics
    /// If there is not a zero point for each row.
    pub fn left(codes: MatRef<'a, T>, zero_points: ZeroPoints<'a, T>) -> Self {
        assert!(zero_points.fits(codes.rows()), "a zero point for each row");
        Self { codes, zero_points }
    }

    /// The right operand of a product: `zero_points` has one for each column, or one for all.
    ///
    /// # Panics
    /// If there is not a zero point for each column.
    pub fn right(codes: MatRef<'a, T>, zero_points: ZeroPoints<'a, T>) -> Self {
        assert!(zero_points.fits(codes.columns()), "a zero point for each column");
        Self { codes, zero_points }
    }
}

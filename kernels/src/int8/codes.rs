//! 8-bit codes and their zero points.

use std::ops::Range;

use crate::gemm::MatRef;

/// An 8-bit code: `u8` or `i8`.
pub trait Code: Copy + PartialEq + Send + Sync + sealed::Sealed + 'static {
    /// The code of 0.
    const ZERO: Self;

    /// The code as a number.
    fn value(self) -> i16;

    /// The code as a signed one that orders the same: `i8` as it is, `u8` less 128.
    fn signed(self) -> i8;
}

mod sealed {
    pub trait Sealed: crate::conv::Sample {}

    impl Sealed for u8 {}
    impl Sealed for i8 {}
}

impl Code for u8 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn value(self) -> i16 {
        self.into()
    }

    #[inline(always)]
    fn signed(self) -> i8 {
        (self ^ 0x80).cast_signed()
    }
}

impl Code for i8 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn value(self) -> i16 {
        self.into()
    }

    #[inline(always)]
    fn signed(self) -> i8 {
        self
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

impl<T: Code> ZeroPoints<'_, T> {
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

    /// The zero points of `indices` as signed codes.
    pub(crate) fn signed(&self, indices: Range<usize>) -> Vec<i32> {
        indices.map(|index| self.at(index).signed().into()).collect()
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

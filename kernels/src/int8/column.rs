//! Products with one column: a panel would be of no use, and each sum is taken along a row as it lies.

use super::codes::{Code, Quantized};
use super::finish::Finish;
use super::product::{Lhs8, Rhs8};
use super::tile::Level;
use crate::simd::{Kernel, Simd, dispatch_on};
use crate::{Isa, Threads};

/// What the codes of the only column of a right operand stand for: differences to their zero.
pub(super) fn differences(right: &Rhs8<'_>) -> Vec<i16> {
    fn of<T: Code>(b: &Quantized<'_, T>) -> Vec<i16> {
        let zero = b.zero_points.at(0).value();
        (0..b.codes.rows()).map(|k| b.codes.at(k, 0).value() - zero).collect()
    }
    match right {
        Rhs8::U8(b) => of(b),
        Rhs8::I8(b) => of(b),
        Rhs8::Packed(b) => b.differences(),
    }
}

/// `y[i · row_stride] = finish(Σ (a[i][k] − zero) · column[k])`, rows shared out over `threads`.
///
/// # Panics
/// If `column` is not as long as the rows of `a`, or `y` has no place for each.
pub(super) fn product<F: Finish>(
    level: Level,
    threads: &Threads,
    a: Lhs8<'_>,
    column: &[i16],
    finish: &F,
    y: &mut [F::Out],
    row_stride: usize,
) {
    let rows = match a {
        Lhs8::U8(a) => a.codes.rows(),
        Lhs8::I8(a) => a.codes.rows(),
    };
    let row_stride = row_stride.max(1);
    let each = rows.div_ceil(threads.split(rows, column.len() as f64 * NS_PER_CODE).max(1)).max(1);
    threads.for_each_chunk_mut(y, each.saturating_mul(row_stride), |task, y| {
        let first = task * each;
        let (isa, count) = (level.isa, each.min(rows.saturating_sub(first)));
        match a {
            Lhs8::U8(a) => dispatch_on(isa, Rows { isa, a, column, finish, first, count, y, row_stride }),
            Lhs8::I8(a) => dispatch_on(isa, Rows { isa, a, column, finish, first, count, y, row_stride }),
        }
    });
}

/// A core's time for one product.
const NS_PER_CODE: f64 = 0.05;

struct Rows<'a, T, F: Finish> {
    isa: Isa,
    a: Quantized<'a, T>,
    column: &'a [i16],
    finish: &'a F,
    first: usize,
    count: usize,
    y: &'a mut [F::Out],
    row_stride: usize,
}

impl<T: Code, F: Finish> Kernel for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { a, column, .. } = self;
        for (row, y) in (self.first..self.first + self.count).zip(self.y.chunks_mut(self.row_stride)) {
            let zero = a.zero_points.at(row).value();
            let mut sum = 0i32;
            if a.codes.column_stride() == 1 {
                let codes = &a.codes.from(row, 0)[..column.len()];
                for k in 0..column.len() {
                    sum = sum.wrapping_add(i32::from(codes[k].value() - zero) * i32::from(column[k]));
                }
            } else {
                for (k, &b) in column.iter().enumerate() {
                    sum = sum.wrapping_add(i32::from(a.codes.at(row, k).value() - zero) * i32::from(b));
                }
            }
            self.finish.finish(self.isa, row, 0, &[sum], &mut y[..1]);
        }
    }
}

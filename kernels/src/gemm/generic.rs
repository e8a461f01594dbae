//! The product of two matrices of any number type that ONNX's MatMul knows besides `f32`.

use std::ops::Range;

use super::matrix::MatRef;
use crate::Threads;

/// A number that matrices can be made of. Integers wrap around.
pub trait Number: Copy + Send + Sync + 'static {
    /// Nothing.
    const ZERO: Self;

    /// `self + a · b`
    fn add_product(self, a: Self, b: Self) -> Self;
}

macro_rules! number {
    (float: $($float:ty),*; integer: $($integer:ty),*) => {
        $(impl Number for $float {
            const ZERO: Self = 0.0;

            #[inline]
            fn add_product(self, a: Self, b: Self) -> Self {
                self + a * b
            }
        })*
        $(impl Number for $integer {
            const ZERO: Self = 0;

            #[inline]
            fn add_product(self, a: Self, b: Self) -> Self {
                self.wrapping_add(a.wrapping_mul(b))
            }
        })*
    };
}

number!(float: f32, f64; integer: i8, u8, i16, u16, i32, u32, i64, u64);

/// Rows of C that are summed at once, so that a row of B is read once for all of them.
const ROWS: usize = 4;

/// Columns of B that are copied together.
const COLUMNS: usize = 256;

/// Depth of B that is copied together.
const DEPTH: usize = 64;

/// `c = a · b`, row-major, rows shared out over `threads`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_generic<T: Number>(threads: &Threads, a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut [T]) {
    let (rows, depth, columns) = (a.rows(), a.columns(), b.columns());
    assert_eq!(b.rows(), depth, "the depth of both operands");
    assert_eq!(Some(c.len()), rows.checked_mul(columns), "the result's size");
    if rows == 0 || columns == 0 {
        return;
    }
    let tasks = threads.split(rows.div_ceil(ROWS), (ROWS * depth * columns) as f64 * 0.5);
    let rows_each = rows.div_ceil(tasks).next_multiple_of(ROWS);
    threads.for_each_chunk_mut(c, rows_each * columns, |task, c| {
        c.fill(T::ZERO);
        let mut block = vec![T::ZERO; DEPTH.min(depth) * COLUMNS.min(columns)];
        for start in (0..columns).step_by(COLUMNS) {
            let block_columns = start..columns.min(start + COLUMNS);
            for start in (0..depth).step_by(DEPTH) {
                let block_depth = start..depth.min(start + DEPTH);
                copy_block(&b, block_depth.clone(), block_columns.clone(), &mut block);
                for (i, c) in c.chunks_mut(ROWS * columns).enumerate() {
                    let row = task * rows_each + i * ROWS;
                    add_rows(&a, row, block_depth.clone(), &block, block_columns.clone(), c, columns);
                }
            }
        }
    });
}

/// Copies a block of B so that its rows are contiguous.
fn copy_block<T: Number>(b: &MatRef<'_, T>, depth: Range<usize>, columns: Range<usize>, block: &mut [T]) {
    for (k, line) in depth.zip(block.chunks_exact_mut(columns.len())) {
        for (j, x) in columns.clone().zip(line) {
            *x = b.at(k, j);
        }
    }
}

/// Adds the product of the rows of A from `row` on, as many as `c` has, with a block of B.
fn add_rows<T: Number>(
    a: &MatRef<'_, T>,
    row: usize,
    depth: Range<usize>,
    block: &[T],
    columns: Range<usize>,
    c: &mut [T],
    c_columns: usize,
) {
    for (k, line) in depth.zip(block.chunks_exact(columns.len())) {
        for (i, c) in c.chunks_exact_mut(c_columns).enumerate() {
            let a = a.at(row + i, k);
            for (c, &b) in c[columns.clone()].iter_mut().zip(line) {
                *c = c.add_product(a, b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn definition<T: Number>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Vec<T> {
        let element = |i, j| (0..a.columns()).fold(T::ZERO, |sum, k| sum.add_product(a.at(i, k), b.at(k, j)));
        (0..a.rows()).flat_map(|i| (0..b.columns()).map(move |j| element(i, j))).collect()
    }

    fn agree<T: Number + PartialEq + std::fmt::Debug>(
        (m, k, n): (usize, usize, usize),
        data: &[i64],
        from: impl Fn(i64) -> T,
    ) {
        let take = |len: usize| -> Vec<T> { data.iter().cycle().take(len).map(|&x| from(x)).collect() };
        let (a, b) = (take(m * k), take(k * n));
        let a = MatRef::row_major(&a, m, k);
        let b = MatRef::row_major(&b, n, k).transposed();
        for threads in [Threads::single(), Threads::new(3).unwrap()] {
            let mut c = take(m * n);
            gemm_generic(&threads, a, b, &mut c);
            assert_eq!(c, definition(a, b));
        }
    }

    proptest! {
        #[test]
        fn the_definition_holds(
            size in (0usize..9, 0usize..140, prop_oneof![0usize..20, 250usize..270]),
            data in prop::collection::vec(any::<i64>(), 50..60),
        ) {
            agree(size, &data, |x| x);
            agree(size, &data, |x| x as u32);
            agree(size, &data, |x| (x % 1000) as f64);
        }
    }
}

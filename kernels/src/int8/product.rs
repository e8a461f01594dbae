//! The blocked product of bytes.
//!
//! Sums are formed over the whole depth at once, since panels of bytes are small: a tile is finished when it is stored.

use std::cell::Cell;
use std::ops::Range;

use super::codes::{Code, Quantized, Sign};
use super::column;
use super::finish::Finish;
use super::pack::{Lines, PackedA8, PackedB8, panel_len};
use super::planes::Planes;
use super::spill::{OfLeft, OfRight, Width};
use super::tile::{COLUMNS, GROUP, Level, MR, NR, Ones, RIGHT_STEP, Runs, Sums, Tile};
use crate::gemm::{share, steps};
use crate::simd::{Kernel, Simd, dispatch_on};
use crate::{Isa, Threads};

/// Bytes of a block of the left operand that is packed as it is needed.
const BLOCK_A_LEN: usize = 128 * 1024;

/// Bytes of a block of the right operand that is packed as it is needed.
const BLOCK_B_LEN: usize = 256 * 1024;

/// The left operand.
#[derive(Clone, Copy)]
pub enum Lhs8<'a> {
    /// Unsigned codes.
    U8(Quantized<'a, u8>),
    /// Signed codes.
    I8(Quantized<'a, i8>),
}

/// The right operand.
#[derive(Clone, Copy)]
pub enum Rhs8<'a> {
    /// Unsigned codes as they lie in memory.
    U8(Quantized<'a, u8>),
    /// Signed codes as they lie in memory.
    I8(Quantized<'a, i8>),
    /// Packed before.
    Packed(&'a PackedB8),
}

macro_rules! from {
    ($($operand:ident :: $variant:ident ($source:ty)),*) => {
        $(impl<'a> From<$source> for $operand<'a> {
            fn from(operand: $source) -> Self {
                $operand::$variant(operand)
            }
        })*
    };
}

from!(
    Lhs8::U8(Quantized<'a, u8>),
    Lhs8::I8(Quantized<'a, i8>),
    Rhs8::U8(Quantized<'a, u8>),
    Rhs8::I8(Quantized<'a, i8>),
    Rhs8::Packed(&'a PackedB8)
);

/// The two operands: one of signed bytes, the other of unsigned ones.
#[derive(Clone, Copy)]
pub(super) enum Operands<'a> {
    /// Left codes become unsigned, right ones signed.
    Matrices(Lhs8<'a>, Rhs8<'a>),
    /// Filters are signed, the planes of an image unsigned.
    Filters(&'a PackedA8, &'a Planes),
}

/// One product to be computed: `rows` × `depth` times `depth` × `columns`.
pub(super) struct Product8<'a, F> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) operands: Operands<'a>,
    pub(super) finish: F,
    /// Where columns lie in a row of the result.
    pub(super) places: Places,
}

/// Where the columns of a product lie in the rows of its result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Places {
    /// One after the other.
    Dense,
    /// Columns are the positions of a volume of this height and width, of which only the first rows of the first columns
    /// are wanted.
    Grid {
        /// Height and width.
        all: [usize; 2],
        /// What is wanted of them.
        wanted: [usize; 2],
    },
}

impl Places {
    /// Calls `f(first, place, len)` for each piece of `columns` that is wanted: its first column, its place in a row of the
    /// result, its length.
    #[inline(always)]
    fn for_each(self, columns: Range<usize>, mut f: impl FnMut(usize, usize, usize)) {
        match self {
            Places::Dense => f(columns.start, columns.start, columns.len()),
            Places::Grid { all: [height, width], wanted: [rows, len] } => {
                let mut column = columns.start;
                while column < columns.end {
                    let (x, y, z) = (column % width, column / width % height, column / width / height);
                    let count = (width - x).min(columns.end - column);
                    if y < rows && x < len {
                        f(column, (z * rows + y) * len + x, count.min(len - x));
                    }
                    column += count;
                }
            }
        }
    }
}

/// The buffers of one thread.
#[derive(Default)]
struct Scratch {
    a: Lines,
    b: Lines,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Where the result lies. Tasks write disjoint rectangles of it.
struct Output<T> {
    start: *mut T,
    row_stride: usize,
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Output<T> {}

// SAFETY: it stands for a `&mut [T]` of which tasks write rectangles that have no element in common.
unsafe impl<T: Send> Sync for Output<T> {}

/// Panels of the left operand, from the first row of a block on.
struct Rows<'a> {
    panels: &'a [u8],
    zeros: &'a [i32],
    sums: &'a [i32],
    /// Empty where codes are not known before.
    widths: &'a [Width],
}

/// Panels of the right operand, from the first column of a block on.
struct Columns<'a> {
    panels: &'a [u8],
    runs: Runs<'a>,
    zeros: Zeros<'a>,
    sums: &'a [i32],
    widths: &'a [Width],
}

#[derive(Clone, Copy)]
enum Zeros<'a> {
    All(i32),
    Each(&'a [i32]),
}

impl<F: Finish> Product8<'_, F> {
    /// Computes the product into `y`, whose rows are `row_stride` apart.
    ///
    /// # Panics
    /// If an operand or `y` does not have the stated size.
    pub(super) fn run(&self, level: Level, threads: &Threads, y: &mut [F::Out], row_stride: usize) {
        self.check(y.len(), row_stride);
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        if let (Operands::Matrices(left, right), 1) = (&self.operands, self.columns) {
            return column::product(level, threads, *left, &column::differences(right), &self.finish, y, row_stride);
        }
        let output = Output { start: y.as_mut_ptr(), row_stride };
        let output = &output;
        let row_panels = self.rows.div_ceil(MR);
        let column_panels = self.columns.div_ceil(COLUMNS);
        let panel_ns = (self.rows.min(MR) * COLUMNS * self.depth.max(16)) as f64 * level.ns_per_mac();
        let tasks = threads.split(row_panels.saturating_mul(column_panels), panel_ns);
        // Few rows are a matter of reading the right operand, of which each thread had better read the same part each time.
        let tasks = if row_panels == 1 { tasks.min(threads.count()) } else { tasks };
        let (row_tasks, column_tasks) = self.grid(tasks, row_panels, column_panels);
        threads.for_each(row_tasks * column_tasks, &|task| {
            let rows = share(self.rows, MR, task / column_tasks, row_tasks);
            let columns = share(self.columns, COLUMNS, task % column_tasks, column_tasks);
            let mut scratch = SCRATCH.take();
            // SAFETY: `check` has compared every size, and tasks have disjoint rectangles of the result.
            unsafe { self.rectangle(level, rows, columns, *output, &mut scratch) };
            SCRATCH.set(scratch);
        });
    }

    /// Into how many shares rows and columns are cut, so that least is packed more than once.
    fn grid(&self, tasks: usize, row_panels: usize, column_panels: usize) -> (usize, usize) {
        let [rows, columns] = match self.operands {
            Operands::Filters(..) => [0, 0],
            Operands::Matrices(_, Rhs8::Packed(_)) => [self.rows, 0],
            Operands::Matrices(..) => [self.rows, self.columns],
        };
        (1..=tasks)
            .map(|row_tasks| (row_tasks, tasks.div_ceil(row_tasks)))
            .filter(|&(row_tasks, column_tasks)| row_tasks <= row_panels && column_tasks <= column_panels)
            .min_by_key(|&(row_tasks, column_tasks)| {
                (rows * column_tasks + columns * row_tasks, row_tasks * column_tasks)
            })
            .unwrap_or((1, 1))
    }

    fn check(&self, len: usize, row_stride: usize) {
        let (rows, columns, depth) = (self.rows, self.columns, self.depth);
        match self.operands {
            Operands::Matrices(left, right) => {
                let left = match left {
                    Lhs8::U8(a) => (a.codes.rows(), a.codes.columns()),
                    Lhs8::I8(a) => (a.codes.rows(), a.codes.columns()),
                };
                let right = match right {
                    Rhs8::U8(b) => (b.codes.rows(), b.codes.columns()),
                    Rhs8::I8(b) => (b.codes.rows(), b.codes.columns()),
                    Rhs8::Packed(b) => (b.depth(), b.columns()),
                };
                assert_eq!(left, (rows, depth), "the left operand's size");
                assert_eq!(right, (depth, columns), "the right operand's size");
            }
            Operands::Filters(filters, planes) => {
                assert_eq!((filters.rows(), filters.groups()), (rows, planes.groups()), "the filters' size");
            }
        }
        assert!(self.finish.fits(rows, columns), "what each sum is finished with");
        if rows > 0 && columns > 0 {
            let mut end = 0;
            self.places.for_each(0..columns, |_, place, len| end = end.max(place + len));
            assert!(end <= row_stride || rows == 1, "rows of the result overlap");
            let end = (rows - 1).checked_mul(row_stride).and_then(|last| last.checked_add(end));
            assert!(end.is_some_and(|end| end <= len), "the result's size");
        }
    }

    /// Computes one rectangle of the result.
    ///
    /// # Safety
    /// `check` has passed, the rectangle lies in the product and begins at whole panels, and nobody else touches it.
    unsafe fn rectangle(
        &self,
        level: Level,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output<F::Out>,
        scratch: &mut Scratch,
    ) {
        let Scratch { a: scratch_a, b: scratch_b } = scratch;
        match self.operands {
            Operands::Filters(filters, planes) => {
                let panel_a = filters.groups() * MR * GROUP;
                let left = Rows {
                    panels: &filters.lines.panels[rows.start / MR * panel_a..],
                    zeros: &filters.lines.zeros[rows.clone()],
                    sums: &filters.lines.sums[rows.clone()],
                    widths: &filters.widths[rows.start / MR..],
                };
                let runs = planes.runs();
                let bytes = planes.bytes_from(columns.start);
                let mut sums = Vec::new();
                if left.zeros.iter().any(|&zero| zero != 0) {
                    sums = self.plane_sums(level, bytes, runs, columns.len());
                }
                let zeros = Zeros::All(planes.zero());
                let right = Columns { panels: bytes, runs, zeros, sums: &sums, widths: &[] };
                // SAFETY: the caller answers for the rectangle.
                unsafe { self.block(level, &left, &right, rows, columns, output) };
            }
            Operands::Matrices(left, right) => {
                let panel_b = panel_len(NR, self.depth);
                let column_step = match right {
                    Rhs8::Packed(_) => columns.len().max(1),
                    _ => (BLOCK_B_LEN / (panel_b * COLUMNS / NR).max(1)).max(1) * COLUMNS,
                };
                let row_step = (BLOCK_A_LEN / panel_len(MR, self.depth).max(1)).max(1) * MR;
                let runs =
                    Runs { starts: &[0], groups: self.depth.div_ceil(GROUP), step: RIGHT_STEP, panel_step: panel_b };
                for columns in steps(columns, column_step) {
                    let with_sums = match left {
                        Lhs8::U8(a) => has_zeros(&a, Sign::Unsigned),
                        Lhs8::I8(a) => has_zeros(&a, Sign::Unsigned),
                    };
                    let right = match right {
                        Rhs8::Packed(b) => Columns {
                            panels: &b.lines.panels[columns.start / NR * panel_b..],
                            runs,
                            zeros: if b.lines.has_zeros() {
                                Zeros::Each(&b.lines.zeros[columns.clone()])
                            } else {
                                Zeros::All(0)
                            },
                            sums: &b.lines.sums[columns.clone()],
                            widths: &b.widths[columns.start / NR..],
                        },
                        Rhs8::U8(b) => fresh(level, scratch_b, &b, columns.clone(), with_sums, runs),
                        Rhs8::I8(b) => fresh(level, scratch_b, &b, columns.clone(), with_sums, runs),
                    };
                    let with_sums = !matches!(right.zeros, Zeros::All(0));
                    for rows in steps(rows.clone(), row_step) {
                        scratch_a.sign = Sign::Unsigned;
                        let lines = &mut *scratch_a;
                        match left {
                            Lhs8::U8(Quantized { codes, zero_points }) => dispatch_on(
                                level.isa,
                                Repack::<MR, u8> { lines, codes, zero_points, range: rows.clone(), with_sums },
                            ),
                            Lhs8::I8(Quantized { codes, zero_points }) => dispatch_on(
                                level.isa,
                                Repack::<MR, i8> { lines, codes, zero_points, range: rows.clone(), with_sums },
                            ),
                        }
                        let left = Rows {
                            panels: &scratch_a.panels,
                            zeros: &scratch_a.zeros,
                            sums: &scratch_a.sums,
                            widths: &[],
                        };
                        // SAFETY: the caller answers for the rectangle, of which this is a block.
                        unsafe { self.block(level, &left, &right, rows, columns.clone(), output) };
                    }
                }
            }
        }
    }

    /// The sums of columns of planes.
    fn plane_sums(&self, level: Level, bytes: &[u8], runs: Runs<'_>, count: usize) -> Vec<i32> {
        let ones = Ones::new(runs.starts.len() * runs.groups);
        let kernel = level.unit.kernel(true);
        let mut sums = vec![0; count];
        let mut tile_sums: Sums = [[0; COLUMNS]; MR];
        for (i, sums) in sums.chunks_mut(COLUMNS).enumerate() {
            let tile = ones.tile(sums.len().div_ceil(NR), &bytes[i * COLUMNS * GROUP..], runs);
            // SAFETY: a level is made of what the CPU has.
            unsafe { kernel(&tile, &mut tile_sums) };
            sums.copy_from_slice(&tile_sums[0][..sums.len()]);
        }
        sums
    }

    /// Computes a block of the result tile by tile. Operands begin at the block's first row and column.
    ///
    /// # Safety
    /// The block lies in the product, and nobody else touches it.
    unsafe fn block(
        &self,
        level: Level,
        left: &Rows<'_>,
        right: &Columns<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output<F::Out>,
    ) {
        let kernel = level.unit.kernel(matches!(self.operands, Operands::Filters(..)));
        let panel_a = right.runs.starts.len() * right.runs.groups * MR * GROUP;
        let mut sums: Sums = [[0; COLUMNS]; MR];
        for (j, column) in columns.clone().step_by(COLUMNS).enumerate() {
            let width = COLUMNS.min(columns.end - column);
            let panels = width.div_ceil(NR);
            let first = j * COLUMNS / NR;
            let b = &right.panels[first * right.runs.panel_step..];
            let widths = right.widths.get(first..first + panels).unwrap_or(&[]);
            let is_right_narrow = !widths.is_empty() && widths.iter().all(Width::is_narrow);
            for (i, row) in rows.clone().step_by(MR).enumerate() {
                let height = MR.min(rows.end - row);
                let a = &left.panels[i * panel_a..][..panel_a];
                let of_rows = left.widths.get(i);
                let is_narrow = is_right_narrow || of_rows.is_some_and(Width::is_narrow);
                let tile = Tile::new([height, panels], a, b, right.runs, is_narrow);
                // SAFETY: a level is made of what the CPU has.
                unsafe { kernel(&tile, &mut sums) };
                add_spills(level.isa, &tile, of_rows, widths, &mut sums);
                let store = Store {
                    product: self,
                    isa: level.isa,
                    rows: row..row + height,
                    columns: column..column + width,
                    left: (&left.zeros[i * MR..][..height], left.sums.get(i * MR..).unwrap_or(&[])),
                    right: (
                        match right.zeros {
                            Zeros::All(zero) => Zeros::All(zero),
                            Zeros::Each(zeros) => Zeros::Each(&zeros[j * COLUMNS..][..width]),
                        },
                        right.sums.get(j * COLUMNS..).unwrap_or(&[]),
                    ),
                    sums: &mut sums,
                    output,
                };
                dispatch_on(level.isa, store);
            }
        }
    }
}

/// Adds what was taken off the codes of a tile's panels.
fn add_spills(isa: Isa, tile: &Tile<'_>, left: Option<&Width>, right: &[Width], sums: &mut Sums) {
    if let Some(spills) = left.map(Width::spills).filter(|spills| !spills.is_empty()) {
        let (right, runs, panels) = (tile.b(), tile.runs(), tile.panels());
        dispatch_on(isa, OfLeft { spills, right, runs, panels, sums: &mut *sums });
    }
    for (panel, width) in right.iter().enumerate() {
        let (spills, left, rows) = (width.spills(), tile.a(), tile.rows());
        if !spills.is_empty() {
            dispatch_on(isa, OfRight { spills, left, panel, rows, sums: &mut *sums });
        }
    }
}

/// Whether a left operand packed in this way has other zero points than zero.
fn has_zeros<T: Code>(operand: &Quantized<'_, T>, sign: Sign) -> bool {
    operand.zero_points.packed(sign, 0..operand.codes.rows()).any(|zero| zero != 0)
}

/// Columns packed as they are needed.
fn fresh<'a, T: Code>(
    level: Level,
    lines: &'a mut Lines,
    b: &Quantized<'_, T>,
    columns: Range<usize>,
    with_sums: bool,
    runs: Runs<'a>,
) -> Columns<'a> {
    lines.sign = Sign::Signed;
    let (codes, zero_points) = (b.codes.transposed(), b.zero_points);
    dispatch_on(level.isa, Repack::<NR, T> { lines: &mut *lines, codes, zero_points, range: columns, with_sums });
    let zeros = if lines.has_zeros() { Zeros::Each(&lines.zeros) } else { Zeros::All(0) };
    Columns { panels: &lines.panels, runs, zeros, sums: &lines.sums, widths: &[] }
}

/// [`Lines::repack`], compiled for each instruction set.
struct Repack<'a, 'c, const WIDTH: usize, T> {
    lines: &'a mut Lines,
    codes: crate::gemm::MatRef<'c, T>,
    zero_points: super::codes::ZeroPoints<'c, T>,
    range: Range<usize>,
    with_sums: bool,
}

impl<const WIDTH: usize, T: Code> Kernel for Repack<'_, '_, WIDTH, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.lines.repack::<WIDTH, T>(&self.codes, self.zero_points, self.range, self.with_sums);
    }
}

/// Takes what zero points add off the sums of a tile and stores what they become.
struct Store<'a, 'p, F: Finish> {
    product: &'a Product8<'p, F>,
    isa: Isa,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Zeros and sums of the tile's rows.
    left: (&'a [i32], &'a [i32]),
    /// Zeros and sums of the tile's columns.
    right: (Zeros<'a>, &'a [i32]),
    sums: &'a mut Sums,
    output: Output<F::Out>,
}

impl<F: Finish> Kernel for Store<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let depth = self.product.depth as i32;
        let width = self.columns.len();
        for (i, (row, sums)) in self.rows.clone().zip(&mut *self.sums).enumerate() {
            let sums = &mut sums[..width];
            let (zero, row_sum) = (self.left.0[i], self.left.1.get(i).copied().unwrap_or(0));
            match self.right.0 {
                Zeros::All(0) => {}
                Zeros::All(right) => {
                    let off = right.wrapping_mul(row_sum.wrapping_sub(depth.wrapping_mul(zero)));
                    for sum in sums.iter_mut() {
                        *sum = sum.wrapping_sub(off);
                    }
                }
                Zeros::Each(zeros) => {
                    let off = row_sum.wrapping_sub(depth.wrapping_mul(zero));
                    for (sum, right) in sums.iter_mut().zip(zeros) {
                        *sum = sum.wrapping_sub(right.wrapping_mul(off));
                    }
                }
            }
            if zero != 0 {
                for (sum, right) in sums.iter_mut().zip(self.right.1) {
                    *sum = sum.wrapping_sub(zero.wrapping_mul(*right));
                }
            }
            let start = self.columns.start;
            self.product.places.for_each(
                self.columns.clone(),
                #[inline(always)]
                |column, place, len| {
                    // SAFETY: `check` has compared the end of the last row with the length of the result, and this is a piece of
                    // one row of a tile that is this task's alone.
                    let y = unsafe {
                        let start = self.output.start.add(row * self.output.row_stride + place);
                        std::slice::from_raw_parts_mut(start, len)
                    };
                    self.product.finish.finish(self.isa, row, column, &sums[column - start..][..len], y);
                },
            );
        }
    }
}

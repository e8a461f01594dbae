//! What a panel's codes lose so that they become narrow.
//!
//! Where bytes are multiplied and added in pairs of 16 bits, two neighbouring weights must not be large both. Of most trained
//! weights few are: what is too much of them is taken off their codes, multiplied on its own and added to the sums of the
//! tile.

use super::tile::{GROUP, LEFT_STEP, MR, NR, PANELS, RIGHT_STEP, Runs, Sums, Unit};
use crate::simd::{Kernel, Simd, dispatch};

/// The largest sum of two neighbours that 255 may multiply in 16 bits.
const MOST_OF_PAIR: i16 = 128;

/// What was taken off one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spill {
    group: u32,
    /// The code's line in its panel, and its place in the group.
    line: u8,
    place: u8,
    excess: i16,
}

impl Spill {
    /// Puts it back, if it is of a panel's first line, which `codes` are.
    pub(super) fn add_to_first_line(self, codes: &mut [i16]) {
        if self.line == 0 {
            codes[self.group as usize * GROUP + usize::from(self.place)] += self.excess;
        }
    }
}

/// How the products of a panel's codes may be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// In pairs of 16 bits; what was taken off the codes comes on top.
    Narrow(Vec<Spill>),
    /// In 32 bits alone.
    Wide,
}

impl Width {
    pub(super) fn is_narrow(&self) -> bool {
        matches!(self, Width::Narrow(_))
    }

    pub(super) fn spills(&self) -> &[Spill] {
        match self {
            Width::Narrow(spills) => spills,
            Width::Wide => &[],
        }
    }
}

/// The largest part of a right panel's codes that may spill, as one in so many: each costs a tile some ten instructions.
const RIGHT_SHARE: usize = 32;

/// The same for a left panel, where a spill is added to whole vectors.
const LEFT_SHARE: usize = 24;

/// How many codes of panels of `len` bytes may spill.
fn most_spills<const WIDTH: usize>(len: usize) -> usize {
    len / if WIDTH == NR { RIGHT_SHARE } else { LEFT_SHARE }
}

/// The memory that what panels of `len` bytes spill takes at most.
pub(super) fn most_spilled_bytes<const WIDTH: usize>(len: usize) -> usize {
    most_spills::<WIDTH>(len) * size_of::<Spill>()
}

/// Makes the signed codes of a panel narrow, if the unit gains by it and few of them spill.
pub(super) fn narrow<const WIDTH: usize>(unit: Unit, panel: &mut [u8]) -> Width {
    let most = if unit.adds_in_pairs() { most_spills::<WIDTH>(panel.len()) } else { 0 };
    let count = dispatch(Count(panel));
    if count > most {
        return Width::Wide;
    }
    let mut spills = Vec::with_capacity(count);
    let pairs = panel.as_chunks_mut::<2>().0.iter_mut().enumerate();
    for (i, pair) in pairs.filter(|_| count > 0) {
        let excess = excess(pair);
        if excess != 0 {
            let second = usize::from((pair[1].cast_signed() > pair[0].cast_signed()) == (excess > 0));
            let code = i16::from(pair[second].cast_signed());
            pair[second] = ((code - excess) as i8).cast_unsigned();
            let at = 2 * i + second;
            spills.push(Spill {
                group: (at / (WIDTH * GROUP)) as u32,
                line: (at / GROUP % WIDTH) as u8,
                place: (at % GROUP) as u8,
                excess,
            });
        }
    }
    // Those of a line are added to its sums together.
    spills.sort_by_key(|spill| spill.line);
    Width::Narrow(spills)
}

/// How many pairs of neighbours are too large.
struct Count<'a>(&'a [u8]);

impl Kernel for Count<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        let mut count = 0;
        for pair in self.0.as_chunks::<2>().0 {
            count += u32::from(excess(pair) != 0);
        }
        count as usize
    }
}

/// What two neighbours are too large by; only products of one sign add up.
#[inline(always)]
fn excess(pair: &[u8; 2]) -> i16 {
    let (a, b) = (i16::from(pair[0].cast_signed()), i16::from(pair[1].cast_signed()));
    let most = a.max(0) + b.max(0);
    let least = a.min(0) + b.min(0);
    (most - MOST_OF_PAIR).max(0) + (least + MOST_OF_PAIR).min(0)
}

/// Adds what the columns of a right panel spilled to the sums of a tile.
pub(super) struct OfRight<'a> {
    pub(super) spills: &'a [Spill],
    /// `[groups][MR][4]`, unsigned.
    pub(super) left: &'a [u8],
    /// The panel of the tile.
    pub(super) panel: usize,
    pub(super) rows: usize,
    pub(super) sums: &'a mut Sums,
}

impl Kernel for OfRight<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let groups = self.left.as_chunks::<LEFT_STEP>().0;
        for spills in self.spills.chunk_by(|a, b| a.line == b.line) {
            let mut column = [0i32; MR];
            for spill in spills {
                let (rows, shift) = (groups[spill.group as usize].as_chunks::<GROUP>().0, 8 * u32::from(spill.place));
                for i in 0..MR {
                    let code = u32::from_le_bytes(rows[i]) >> shift & 0xff;
                    column[i] = column[i].wrapping_add(code.cast_signed() * i32::from(spill.excess));
                }
            }
            let at = self.panel * NR + usize::from(spills[0].line);
            for (sums, of_row) in self.sums.iter_mut().zip(column).take(self.rows) {
                sums[at] = sums[at].wrapping_add(of_row);
            }
        }
    }
}

/// Adds what the rows of a left panel spilled to the sums of a tile.
pub(super) struct OfLeft<'a> {
    pub(super) spills: &'a [Spill],
    /// Groups of `[NR][4]`, unsigned.
    pub(super) right: &'a [u8],
    pub(super) runs: Runs<'a>,
    pub(super) panels: usize,
    pub(super) sums: &'a mut Sums,
}

impl Kernel for OfLeft<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for spills in self.spills.chunk_by(|a, b| a.line == b.line) {
            let sums = self.sums[usize::from(spills[0].line)].as_chunks_mut::<NR>().0;
            if let (PANELS, Some(sums)) = (self.panels, sums.first_chunk_mut::<PANELS>()) {
                add_of_line(spills, self.right, self.runs, 0, sums);
                continue;
            }
            for (panel, sums) in sums.as_chunks_mut::<1>().0.iter_mut().enumerate().take(self.panels) {
                add_of_line(spills, self.right, self.runs, panel * self.runs.panel_step, sums);
            }
        }
    }
}

/// Adds what one row spilled to its sums in some panels, the first of which begins at `first`.
#[inline(always)]
fn add_of_line<const SIDE: usize>(
    spills: &[Spill],
    right: &[u8],
    runs: Runs<'_>,
    first: usize,
    sums: &mut [[i32; NR]; SIDE],
) {
    let mut all = *sums;
    for spill in spills {
        let (group, shift) = (spill.group as usize, 8 * u32::from(spill.place));
        let run = if runs.starts.len() == 1 { 0 } else { group / runs.groups };
        let start = first + runs.starts[run] + (group - run * runs.groups) * runs.step;
        for (i, sums) in all.iter_mut().enumerate() {
            let columns = right[start + i * runs.panel_step..][..RIGHT_STEP].as_chunks::<GROUP>().0;
            for j in 0..NR {
                let code = u32::from_le_bytes(columns[j]) >> shift & 0xff;
                sums[j] = sums[j].wrapping_add(code.cast_signed() * i32::from(spill.excess));
            }
        }
    }
    *sums = all;
}

//! Loops over slices, whole vectors first and then the rest, so that kernels are the formula alone.

use std::hint::black_box;
use std::marker::PhantomData;

use super::Simd;

/// Where an elementwise kernel reads from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand<'a> {
    /// As many values as the output has.
    Slice(&'a [f32]),
    /// One value for every element.
    Scalar(f32),
    /// The values that the output holds before the kernel runs: the kernel works in place.
    Output,
}

impl<'a> Operand<'a> {
    /// The part of the operand that `range` of the output is made from.
    ///
    /// # Panics
    /// Where the range is not inside the slice.
    #[inline]
    pub fn part(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Operand::Slice(x) => Operand::Slice(&x[range]),
            Operand::Scalar(_) | Operand::Output => self,
        }
    }

    /// The values in the slice, or else those in `output`. A scalar has none.
    #[inline]
    pub(crate) fn values<'o>(self, output: &'o [f32]) -> &'o [f32]
    where
        'a: 'o,
    {
        match self {
            Operand::Slice(x) => x,
            Operand::Output => output,
            Operand::Scalar(_) => &[],
        }
    }
}

/// `y[i] = f(x[i])`.
///
/// # Panics
/// Where `x` is a slice of another length than `y`.
#[inline(always)]
pub fn map<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32], f: impl Fn(S::F32) -> S::F32) {
    if let Operand::Scalar(x) = x {
        let mut value = [0.0];
        s.store_partial(&mut value, 1, f(s.splat(x)));
        return y.fill(value[0]);
    }
    let walk = Walk::new(s, y);
    let x = walk.source(x);
    for at in walk.vectors() {
        walk.store(at, f(walk.load(x, at)));
    }
    if let Some(at) = walk.tail() {
        walk.store(at, f(walk.load(x, at)));
    }
}

/// `y[i] = f(a[i], b[i])`.
///
/// # Panics
/// Where an operand is a slice of another length than `y`.
#[inline(always)]
pub fn zip<S: Simd>(s: S, a: Operand<'_>, b: Operand<'_>, y: &mut [f32], f: impl Fn(S::F32, S::F32) -> S::F32) {
    match (a, b) {
        (a, Operand::Scalar(b)) => {
            let b = s.splat(b);
            map(
                s,
                a,
                y,
                #[inline(always)]
                |a| f(a, b),
            );
        }
        (Operand::Scalar(a), b) => {
            let a = s.splat(a);
            map(
                s,
                b,
                y,
                #[inline(always)]
                |b| f(a, b),
            );
        }
        (a, b) => {
            let walk = Walk::new(s, y);
            let (a, b) = (walk.source(a), walk.source(b));
            for at in walk.vectors() {
                walk.store(at, f(walk.load(a, at), walk.load(b, at)));
            }
            if let Some(at) = walk.tail() {
                walk.store(at, f(walk.load(a, at), walk.load(b, at)));
            }
        }
    }
}

/// `y[i] = f(a[i], b[i], c[i])`; no operand may be a scalar.
///
/// # Panics
/// Where an operand is a slice of another length than `y`.
#[inline(always)]
pub fn zip3<S: Simd>(s: S, operands: [Operand<'_>; 3], y: &mut [f32], f: impl Fn(S::F32, S::F32, S::F32) -> S::F32) {
    let walk = Walk::new(s, y);
    let [a, b, c] = operands.map(|operand| walk.source(operand));
    for at in walk.vectors() {
        walk.store(at, f(walk.load(a, at), walk.load(b, at), walk.load(c, at)));
    }
    if let Some(at) = walk.tail() {
        walk.store(at, f(walk.load(a, at), walk.load(b, at), walk.load(c, at)));
    }
}

/// Folds a slice into one vector with `step`, in four independent chains that `merge` joins.
///
/// `start` is where each chain begins; `neutral` stands for the values beyond the end, and `step` must ignore it.
#[inline(always)]
pub fn reduce<S: Simd>(
    s: S,
    x: &[f32],
    start: f32,
    neutral: f32,
    step: impl Fn(S::F32, S::F32) -> S::F32,
    merge: impl Fn(S::F32, S::F32) -> S::F32,
) -> S::F32 {
    let mut chains = [s.splat(start); 4];
    let mut blocks = x.chunks_exact(4 * S::LANES);
    for block in &mut blocks {
        for (chain, values) in chains.iter_mut().zip(block.chunks_exact(S::LANES)) {
            *chain = step(*chain, s.load(values));
        }
    }
    let mut vectors = blocks.remainder().chunks_exact(S::LANES);
    for (chain, values) in chains.iter_mut().zip(&mut vectors) {
        *chain = step(*chain, s.load(values));
    }
    let rest = vectors.remainder();
    if !rest.is_empty() {
        chains[3] = step(chains[3], s.load_partial(rest, rest.len(), neutral));
    }
    merge(merge(chains[0], chains[1]), merge(chains[2], chains[3]))
}

/// An output, taken a vector at a time, that may be read as it is overwritten.
struct Walk<'y, S> {
    s: S,
    output: *mut f32,
    len: usize,
    lifetime: PhantomData<&'y mut [f32]>,
}

/// Memory that a [`Walk`] may read `len` values of: either its output or a slice that outlives it.
#[derive(Clone, Copy)]
struct Source(*const f32);

/// A place in a [`Walk`]: `count` values from `start` on lie inside the output.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    count: usize,
}

impl<'y, S: Simd> Walk<'y, S> {
    #[inline(always)]
    fn new(s: S, y: &'y mut [f32]) -> Self {
        Walk { s, output: y.as_mut_ptr(), len: y.len(), lifetime: PhantomData }
    }

    /// What an operand reads. A scalar must have been taken care of.
    #[inline(always)]
    fn source(&self, operand: Operand<'y>) -> Source {
        match operand {
            Operand::Slice(x) => {
                assert_eq!(x.len(), self.len, "an operand is as long as the output");
                Source(x.as_ptr())
            }
            // Were it known that a loop reads where it writes, a select between old and new would compile to a masked
            // store, which some CPUs are very slow at.
            Operand::Output => Source(black_box(self.output)),
            Operand::Scalar(_) => unreachable!("a scalar operand is a splat"),
        }
    }

    /// The whole vectors.
    #[inline(always)]
    fn vectors(&self) -> impl Iterator<Item = Place> + use<S> {
        (0..self.len / S::LANES).map(|i| Place { start: i * S::LANES, count: S::LANES })
    }

    /// What remains after the whole vectors.
    #[inline(always)]
    fn tail(&self) -> Option<Place> {
        let count = self.len % S::LANES;
        (count > 0).then_some(Place { start: self.len - count, count })
    }

    #[inline(always)]
    fn load(&self, source: Source, at: Place) -> S::F32 {
        // SAFETY: `source` checked that `len` values can be read there, `vectors` and `tail` make no place beyond `len`,
        // and no other borrow of the output is alive: `store` ends its own before it returns.
        let values = unsafe { std::slice::from_raw_parts(source.0.add(at.start), at.count) };
        if at.count == S::LANES { self.s.load(values) } else { self.s.load_partial(values, at.count, 1.0) }
    }

    #[inline(always)]
    fn store(&self, at: Place, v: S::F32) {
        // SAFETY: `output` is a slice of `len` values, borrowed for `'y`, that only this walk uses; `vectors` and `tail`
        // make no place beyond `len`; and `load` ended its borrow before it returned.
        let values = unsafe { std::slice::from_raw_parts_mut(self.output.add(at.start), at.count) };
        if at.count == S::LANES { self.s.store(values, v) } else { self.s.store_partial(values, at.count, v) }
    }
}

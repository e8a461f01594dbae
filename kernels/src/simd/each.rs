//! Loops over slices, whole vectors first and then the rest, so that kernels are the formula alone.

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
    let mut walk = Walk::new(s, y);
    let x = walk.source(x);
    while let Some(at) = walk.next_vector() {
        let result = f(walk.load(x, at));
        walk.store(at, result);
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
            let mut walk = Walk::new(s, y);
            let (a, b) = (walk.source(a), walk.source(b));
            while let Some(at) = walk.next_vector() {
                let result = f(walk.load(a, at), walk.load(b, at));
                walk.store(at, result);
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
    let mut walk = Walk::new(s, y);
    let [a, b, c] = operands.map(|operand| walk.source(operand));
    while let Some(at) = walk.next_vector() {
        let result = f(walk.load(a, at), walk.load(b, at), walk.load(c, at));
        walk.store(at, result);
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

/// A walk over an output, a vector at a time, that may read what it overwrites.
struct Walk<'y, S> {
    s: S,
    output: *mut f32,
    len: usize,
    at: usize,
    lifetime: std::marker::PhantomData<&'y mut [f32]>,
}

/// Memory that a [`Walk`] may read `len` values of: either its output or a slice that outlives it.
#[derive(Clone, Copy)]
struct Source(*const f32);

/// A position in a [`Walk`]: `count` values from `start` on lie inside the output.
#[derive(Clone, Copy)]
struct Position {
    start: usize,
    count: usize,
}

impl<'y, S: Simd> Walk<'y, S> {
    #[inline(always)]
    fn new(s: S, y: &'y mut [f32]) -> Self {
        Walk { s, output: y.as_mut_ptr(), len: y.len(), at: 0, lifetime: std::marker::PhantomData }
    }

    /// What an operand reads. A scalar must have been taken care of.
    #[inline(always)]
    fn source(&self, operand: Operand<'y>) -> Source {
        match operand {
            Operand::Slice(x) => {
                assert_eq!(x.len(), self.len, "an operand is as long as the output");
                Source(x.as_ptr())
            }
            Operand::Output => Source(self.output),
            Operand::Scalar(_) => unreachable!("a scalar operand is a splat"),
        }
    }

    #[inline(always)]
    fn next_vector(&mut self) -> Option<Position> {
        let start = self.at;
        let count = S::LANES.min(self.len - start);
        self.at += count;
        (count > 0).then_some(Position { start, count })
    }

    #[inline(always)]
    fn load(&self, source: Source, at: Position) -> S::F32 {
        // SAFETY: `source` checked that `len` values can be read there, `next_vector` keeps `start + count <= len`, and
        // this borrow ends before `store` makes its own.
        let values = unsafe { std::slice::from_raw_parts(source.0.add(at.start), at.count) };
        if at.count == S::LANES { self.s.load(values) } else { self.s.load_partial(values, at.count, 1.0) }
    }

    #[inline(always)]
    fn store(&mut self, at: Position, v: S::F32) {
        // SAFETY: `output` came from a slice of `len` values borrowed for the life of the walk, and `next_vector` keeps
        // `start + count <= len`.
        let values = unsafe { std::slice::from_raw_parts_mut(self.output.add(at.start), at.count) };
        if at.count == S::LANES { self.s.store(values, v) } else { self.s.store_partial(values, at.count, v) }
    }
}

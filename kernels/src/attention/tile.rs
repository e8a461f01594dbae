//! Attention a tile of query rows at a time.

use std::cell::Cell;
use std::ops::Range;

use super::{Attention, BiasRows, Layout, Order, Stage};
use crate::gemm::{Epilogue, MR, MatRef, PackedB, Rhs, gemm};
use crate::simd::{Kernel, Operand, Simd, dispatch, map, reduce, zip};
use crate::softmax::exp_below;
use crate::softmax::softmax_rounded;
use crate::{Threads, vecmath};

/// Rows of a tile, at most: whole panels, and enough to pay for packing keys and values.
const TILE_ROWS: usize = 11 * MR;

/// Tiles of one head from which on keys and values are packed once for them all.
const TILES_WORTH_PACKING: usize = 3;

/// Rows of a tile, at least, however many keys there are.
const LEAST_TILE_ROWS: usize = 8;

/// Scores of a tile: what the second level of cache holds.
const TILE_SCORES: usize = 128 * 1024;

/// Up to this many rows keys are read where they lie; for more the product of packed panels is faster.
const FEW_ROWS: usize = 4;

/// A core's time for one multiply-accumulate.
const NS_PER_MAC: f64 = 0.04;

/// Writes the attention's result to `out`, a dense tensor in this order, and its scores `[batch, head, query, key]` at a
/// stage. Stops early, with the rest of the result unwritten, once `may_go_on` says no.
///
/// # Panics
/// If the sizes do not fit together.
pub fn attention(
    threads: &Threads,
    a: &Attention<'_, f32>,
    order: Order,
    out: &mut [f32],
    scores: Option<(Stage, &mut [f32])>,
    may_go_on: &(dyn Fn() -> bool + Sync),
) {
    a.check(out.len(), scores.as_ref().map(|(_, scores)| scores.len()));
    let tiles = Tiles::new(a);
    let out = Rows::new(out, a.value_features);
    let scores = scores.map(|(stage, scores)| (stage, Rows::new(scores, a.keys)));
    let packed = a.packs().then(|| PackedHeads::new(a, threads));
    let layout = Layout::dense(order, a.heads, a.queries, a.value_features);
    let task = |index: usize| {
        if may_go_on() {
            let tile = tiles.get(index);
            tile.run(a, packed.as_ref(), scores.as_ref(), |place: [usize; 3], row: &[f32]| {
                // SAFETY: each batch, head and query belongs to one tile, and a dense layout gives each its own row.
                unsafe { out.write(layout.at(place[0], place[1], place[2]), row) };
            });
        }
    };
    let macs = TILE_ROWS * a.keys * (a.features + a.value_features);
    if threads.split(tiles.count(), macs as f64 * NS_PER_MAC) == 1 {
        (0..tiles.count()).for_each(task);
    } else {
        threads.for_each(tiles.count(), &task);
    }
}

impl<T> Attention<'_, T> {
    /// The memory that `threads` threads need for their tiles, and for what they share.
    pub fn scratch_bytes(&self, threads: usize) -> usize {
        let rows = tile_rows(self.keys);
        let tile = rows.saturating_mul(self.keys.saturating_add(self.value_features)).saturating_mul(size_of::<f32>());
        let head = || {
            let keys = PackedB::size_bytes(self.features, self.keys)?;
            keys.checked_add(PackedB::size_bytes(self.keys, self.value_features)?)
        };
        let heads = if self.packs() { self.batch.saturating_mul(self.kv_heads) } else { 0 };
        tile.saturating_mul(threads).saturating_add(head().unwrap_or(usize::MAX).saturating_mul(heads))
    }

    /// Whether many tiles multiply with all keys of a head.
    fn packs(&self) -> bool {
        self.queries >= TILES_WORTH_PACKING * tile_rows(self.keys)
            && self.keys > 0
            && self.batch > 0
            && self.visible(0, 0) == (0..self.keys)
    }
}

/// The keys and values of every head, as right operands of products.
struct PackedHeads {
    kv_heads: usize,
    heads: Vec<(PackedB, PackedB)>,
}

impl PackedHeads {
    fn new(a: &Attention<'_, f32>, threads: &Threads) -> Self {
        let head = |index: usize| {
            let (batch, head) = (index / a.kv_heads, index % a.kv_heads);
            let keys = a.keys_of(batch, head, 0..a.keys);
            let values = a.values_of(batch, head, 0..a.keys);
            (PackedB::pack(keys, threads), PackedB::pack(values, threads))
        };
        Self { kv_heads: a.kv_heads, heads: (0..a.batch * a.kv_heads).map(head).collect() }
    }

    fn of(&self, batch: usize, kv_head: usize) -> &(PackedB, PackedB) {
        &self.heads[batch * self.kv_heads + kv_head]
    }
}

impl<'a> Attention<'a, f32> {
    /// `kᵀ` for some keys of a head.
    fn keys_of(&self, batch: usize, kv_head: usize, span: Range<usize>) -> MatRef<'a> {
        let keys = self.k.from(batch, kv_head, span.start);
        MatRef::new(keys, self.features, span.len(), 1, self.k.layout.position)
    }

    /// The values of some keys of a head.
    fn values_of(&self, batch: usize, kv_head: usize, span: Range<usize>) -> MatRef<'a> {
        let values = self.v.from(batch, kv_head, span.start);
        MatRef::new(values, span.len(), self.value_features, self.v.layout.position, 1)
    }
}

thread_local! {
    static SCORES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static OUT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

fn tile_rows(keys: usize) -> usize {
    (TILE_SCORES / keys.max(1)).clamp(LEAST_TILE_ROWS, TILE_ROWS)
}

/// An output whose rows tasks write.
struct Rows {
    start: *mut f32,
    len: usize,
    row: usize,
}

// SAFETY: it stands for a `&mut [f32]`, and whoever writes promises that no two tasks write the same row.
unsafe impl Sync for Rows {}

impl Rows {
    fn new(out: &mut [f32], row: usize) -> Rows {
        Rows { start: out.as_mut_ptr(), len: out.len(), row }
    }

    /// Writes a row from element `at` on.
    ///
    /// # Safety
    /// No other thread reads or writes that row meanwhile.
    unsafe fn write(&self, at: usize, row: &[f32]) {
        assert!(row.len() == self.row && at.checked_add(row.len()).is_some_and(|end| end <= self.len));
        // SAFETY: the assertion keeps within the output, and the caller alone uses this row.
        let out = unsafe { std::slice::from_raw_parts_mut(self.start.add(at), row.len()) };
        out.copy_from_slice(row);
    }
}

/// How the query rows are cut into tiles.
struct Tiles {
    kv_heads: usize,
    /// Heads of queries that share one of keys.
    group: usize,
    queries: usize,
    /// Rows of a tile.
    rows: usize,
    /// Tiles of one head, or of one group where heads have one row each.
    each: usize,
    count: usize,
}

impl Tiles {
    fn new(a: &Attention<'_, f32>) -> Tiles {
        let rows = tile_rows(a.keys);
        let group = a.heads.checked_div(a.kv_heads).unwrap_or(0);
        let (heads, length) = if a.queries == 1 { (a.kv_heads, group) } else { (a.heads, a.queries) };
        let each = length.div_ceil(rows);
        Tiles { kv_heads: a.kv_heads, group, queries: a.queries, rows, each, count: a.batch * heads * each }
    }

    fn count(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> Tile {
        let start = index % self.each * self.rows;
        let index = index / self.each;
        if self.queries == 1 {
            let (batch, kv_head) = (index / self.kv_heads, index % self.kv_heads);
            let heads = start..(start + self.rows).min(self.group);
            Tile {
                batch,
                kv_head,
                head: kv_head * self.group + start,
                rows: heads.len(),
                is_across_heads: true,
                query: 0,
            }
        } else {
            let heads = self.kv_heads * self.group;
            let (batch, head) = (index / heads, index % heads);
            let queries = start..(start + self.rows).min(self.queries);
            let kv_head = head / self.group;
            Tile { batch, kv_head, head, rows: queries.len(), is_across_heads: false, query: start }
        }
    }
}

/// Rows of queries that share a head of keys: of one head, or the only ones of several.
struct Tile {
    batch: usize,
    kv_head: usize,
    /// The first row's head.
    head: usize,
    /// The first row's query.
    query: usize,
    rows: usize,
    is_across_heads: bool,
}

impl Tile {
    /// Batch, head and query of a row.
    fn place(&self, row: usize) -> [usize; 3] {
        match self.is_across_heads {
            true => [self.batch, self.head + row, self.query],
            false => [self.batch, self.head, self.query + row],
        }
    }

    fn run(
        &self,
        a: &Attention<'_, f32>,
        packed: Option<&PackedHeads>,
        all_scores: Option<&(Stage, Rows)>,
        mut write: impl FnMut([usize; 3], &[f32]),
    ) {
        let span = if all_scores.is_some() { 0..a.keys } else { self.span(a) };
        let packed = packed.filter(|_| span == (0..a.keys)).map(|packed| packed.of(self.batch, self.kv_head));
        let mut out = OUT.take();
        out.clear();
        out.resize(self.rows * a.value_features, 0.0);
        if !span.is_empty() {
            let mut scores = SCORES.take();
            scores.resize(scores.len().max(self.rows * span.len()), 0.0);
            let weights = &mut scores[..self.rows * span.len()];
            self.multiply(a, packed.map(|(keys, _)| keys), span.clone(), weights);
            for (row, weights) in weights.chunks_exact_mut(span.len()).enumerate() {
                self.weigh(a, self.place(row), span.clone(), weights, all_scores);
            }
            let weights = MatRef::row_major(weights, self.rows, span.len());
            let values = match packed {
                Some((_, values)) => Rhs::Packed(values),
                None => Rhs::Mat(a.values_of(self.batch, self.kv_head, span)),
            };
            gemm(&Threads::single(), 1.0, weights, values, 0.0, &mut out, a.value_features, &Epilogue::default());
            SCORES.set(scores);
        }
        for row in 0..self.rows {
            write(self.place(row), &out[row * a.value_features..][..a.value_features]);
        }
        OUT.set(out);
    }

    /// The keys that any row sees.
    fn span(&self, a: &Attention<'_, f32>) -> Range<usize> {
        let ranges = (0..self.rows).map(|row| {
            let [batch, _, query] = self.place(row);
            a.visible(batch, query)
        });
        ranges.filter(|r| !r.is_empty()).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
    }

    /// `scale · q · kᵀ`
    fn multiply(&self, a: &Attention<'_, f32>, packed: Option<&PackedB>, span: Range<usize>, scores: &mut [f32]) {
        let q = a.q.from(self.batch, self.head, self.query);
        let q_stride = if self.is_across_heads { a.q.layout.head } else { a.q.layout.position };
        if self.rows <= FEW_ROWS {
            let k = a.k.from(self.batch, self.kv_head, span.start);
            for (row, out) in scores.chunks_exact_mut(span.len()).enumerate() {
                let q = q.get(row * q_stride..).map_or(&[][..], |q| &q[..a.features]);
                dispatch(Products { q, k, stride: a.k.layout.position, scale: a.scale as f32, out });
            }
            return;
        }
        let q = MatRef::new(q, self.rows, a.features, q_stride, 1);
        let columns = span.len();
        let k = packed.map_or_else(|| Rhs::Mat(a.keys_of(self.batch, self.kv_head, span)), Rhs::Packed);
        gemm(&Threads::single(), a.scale as f32, q, k, 0.0, scores, columns, &Epilogue::default());
    }

    /// Turns a row of products into weights.
    fn weigh(
        &self,
        a: &Attention<'_, f32>,
        place @ [batch, head, query]: [usize; 3],
        span: Range<usize>,
        row: &mut [f32],
        all_scores: Option<&(Stage, Rows)>,
    ) {
        let show = |at: Stage, row: &[f32]| {
            if let Some((_, rows)) = all_scores.filter(|(stage, _)| *stage == at) {
                let index = (batch * a.heads + head) * a.queries + query;
                // SAFETY: each batch, head and query belongs to one tile, and has a row of its own.
                unsafe { rows.write(index * a.keys, row) };
            }
        };
        let round = |row: &mut [f32]| {
            if let Some(rounding) = a.rounding {
                rounding.all(row);
            }
        };
        round(row);
        show(Stage::Product, row);
        if a.softcap != 0.0 {
            dispatch(SoftCap { cap: a.softcap, row });
            round(row);
        }
        show(Stage::Capped, row);
        let visible = a.visible(batch, query);
        let visible = if visible.is_empty() { span.start..span.start } else { visible };
        let seen = visible.start - span.start..visible.end - span.start;
        add_bias(a, place, visible.start, &mut row[seen.clone()]);
        round(&mut row[seen.clone()]);
        if all_scores.is_some_and(|(stage, _)| *stage == Stage::Biased) {
            row[..seen.start].fill(f32::NEG_INFINITY);
            row[seen.end..].fill(f32::NEG_INFINITY);
            show(Stage::Biased, row);
        }
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
        let seen = &mut row[seen];
        match a.softmax_rounding {
            _ if !a.sees_any(place, visible) => seen.fill(0.0),
            Some(rounding) if a.sinks.is_none() => softmax_rounded(seen, rounding),
            _ => dispatch(Softmax { row: seen, sink: a.sinks.map(|sinks| sinks[head]) }),
        }
        round(row);
        show(Stage::Weights, row);
    }
}

/// Adds the bias of the keys from `first` on.
fn add_bias(a: &Attention<'_, f32>, [batch, head, query]: [usize; 3], first: usize, row: &mut [f32]) {
    let Some(bias) = &a.bias else { return };
    let (biased, beyond) = row.split_at_mut(bias.keys.saturating_sub(first).min(row.len()));
    beyond.fill(f32::NEG_INFINITY);
    let start = bias.layout.at(batch, head, query) + first.min(bias.keys);
    match bias.rows {
        BiasRows::Allowed(rows) => {
            let allowed = &rows[start..][..biased.len()];
            biased.iter_mut().zip(allowed).for_each(|(x, &allowed)| *x = if allowed { *x } else { f32::NEG_INFINITY });
        }
        BiasRows::Added(rows) => {
            let added = &rows[start..][..biased.len()];
            dispatch(Add { added, row: biased });
        }
    }
}

/// `out[j] = scale · q · k_j`, keys `stride` apart.
struct Products<'a> {
    q: &'a [f32],
    k: &'a [f32],
    stride: usize,
    scale: f32,
    out: &'a mut [f32],
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Products { q, k, stride, scale, out } = self;
        let key = |j: usize| &k[j * stride..][..q.len()];
        let mut blocks = out.chunks_exact_mut(4);
        let mut j = 0;
        for block in &mut blocks {
            let sums = products(s, q, [key(j), key(j + 1), key(j + 2), key(j + 3)]);
            block.iter_mut().zip(sums).for_each(|(out, sum)| *out = scale * sum);
            j += 4;
        }
        for out in blocks.into_remainder() {
            let [sum] = products(s, q, [key(j)]);
            *out = scale * sum;
            j += 1;
        }
    }
}

#[inline(always)]
fn products<S: Simd, const N: usize>(s: S, q: &[f32], keys: [&[f32]; N]) -> [f32; N] {
    let mut sums = [s.splat(0.0); N];
    let whole = q.len() / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        let q = s.load(&q[at..]);
        for (sum, key) in sums.iter_mut().zip(keys) {
            *sum = s.mul_add(q, s.load(&key[at..]), *sum);
        }
    }
    if whole < q.len() {
        let rest = q.len() - whole;
        let q = s.load_partial(&q[whole..], rest, 0.0);
        for (sum, key) in sums.iter_mut().zip(keys) {
            *sum = s.mul_add(q, s.load_partial(&key[whole..], rest, 0.0), *sum);
        }
    }
    // A call of `map` would not be compiled for the instruction set.
    let mut results = [0.0; N];
    for (result, sum) in results.iter_mut().zip(sums) {
        *result = s.reduce_add(sum);
    }
    results
}

/// `cap · tanh(x / cap)`
struct SoftCap<'a> {
    cap: f32,
    row: &'a mut [f32],
}

impl Kernel for SoftCap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cap = s.splat(self.cap);
        map(
            s,
            Operand::Output,
            self.row,
            #[inline(always)]
            |x| s.mul(cap, vecmath::tanh(s, s.div(x, cap))),
        );
    }
}

struct Add<'a> {
    added: &'a [f32],
    row: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        zip(s, Operand::Output, Operand::Slice(self.added), self.row, |x, added| s.add(x, added));
    }
}

/// The softmax of a row and a sink beside it; zero where nothing is above `-∞`.
struct Softmax<'a> {
    row: &'a mut [f32],
    sink: Option<f32>,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Softmax { row, sink } = self;
        let greater = |a, b| s.max(a, b);
        let greatest = s.reduce_max(reduce(s, row, f32::NEG_INFINITY, f32::NEG_INFINITY, greater, greater));
        let greatest = greatest.max(sink.unwrap_or(f32::NEG_INFINITY));
        if greatest == f32::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
            return row.fill(0.0);
        }
        exp_below(s, Operand::Output, row, greatest);
        let add = |a, b| s.add(a, b);
        let sum = s.reduce_add(reduce(s, row, 0.0, 0.0, add, add)) + sink.map_or(0.0, |sink| (sink - greatest).exp());
        let factor = s.splat(1.0 / sum);
        map(
            s,
            Operand::Output,
            row,
            #[inline(always)]
            |x| s.mul(x, factor),
        );
    }
}

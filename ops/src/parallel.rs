//! Sharing the elements of an output out among the session's threads.

use planish_ir::{EvalCx, OpError};

/// The most elements between two looks at the deadline and the cancel token.
const TILE: usize = 1 << 16;

/// The longest, by the cost estimate, between two looks at the deadline and the cancel token.
const TILE_NS: f64 = 1e6;

/// Calls `f(start, piece)` for consecutive pieces of `y` that cover it, `start` being the index in `y` of a piece's first
/// element. `ns_per_element` is the cost estimate that decides how many threads share the work. Pieces begin and end at
/// multiples of `unit` elements, of which `y` holds a whole number.
pub fn fill_units<T: Send>(
    cx: &EvalCx<'_>,
    y: &mut [T],
    unit: usize,
    ns_per_element: f64,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Result<(), OpError> {
    fill_pieces(cx, y, unit, ns_per_element, &f)
}

/// [`fill_units`], compiled once for each type.
fn fill_pieces<T: Send>(
    cx: &EvalCx<'_>,
    y: &mut [T],
    unit: usize,
    ns_per_element: f64,
    f: &(dyn Fn(usize, &mut [T]) + Sync),
) -> Result<(), OpError> {
    cx.check()?;
    if y.is_empty() {
        return Ok(());
    }
    let tile = tile(cx, y.len(), unit, ns_per_element);
    cx.threads.for_each_chunk_mut(y, tile, |index, piece| {
        if cx.check().is_ok() {
            f(index * tile, piece);
        }
    });
    cx.check()
}

/// Elements of a piece where `length` are to be filled.
fn tile(cx: &EvalCx<'_>, length: usize, unit: usize, ns_per_element: f64) -> usize {
    let units = length.div_ceil(unit);
    let tasks = cx.threads.split(units, ns_per_element * unit as f64);
    let affordable = (TILE_NS / (ns_per_element * unit as f64)) as usize;
    units.div_ceil(tasks).min(TILE / unit).min(affordable).max(1) * unit
}

/// [`fill_units`] where pieces may begin anywhere.
pub fn fill<T: Send>(
    cx: &EvalCx<'_>,
    y: &mut [T],
    ns_per_element: f64,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Result<(), OpError> {
    fill_units(cx, y, 1, ns_per_element, f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use planish_kernels::Threads;

    #[test]
    fn pieces_cover_the_output_in_whole_units() {
        for threads in [1, 3] {
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.threads = Threads::new(threads).unwrap();
            for (units, unit) in [(0, 3), (1, 1), (70_000, 3), (2, 100_000)] {
                let mut y = vec![0; units * unit];
                fill_units(&cx, &mut y, unit, 10.0, |start, piece| {
                    assert!(start.is_multiple_of(unit) && piece.len().is_multiple_of(unit));
                    piece.iter_mut().enumerate().for_each(|(i, y)| *y = start + i);
                })
                .unwrap();
                assert!(y.iter().enumerate().all(|(i, &y)| i == y));
            }
        }
    }

    #[test]
    fn costly_elements_make_small_pieces() {
        let cx = EvalCx::unlimited(&Interpreter);
        fill(&cx, &mut [0; 100], 1e6, |_, piece| assert!(piece.len() == 1)).unwrap();
        fill(&cx, &mut [0; 100], 1e9, |_, piece| assert_eq!(piece.len(), 1)).unwrap();
    }

    #[test]
    fn a_cancelled_run_stops() {
        let cx = EvalCx::unlimited(&Interpreter);
        cx.cancel.cancel();
        assert_eq!(fill(&cx, &mut [0], 1.0, |_, _| unreachable!()), Err(OpError::Cancelled));
    }
}

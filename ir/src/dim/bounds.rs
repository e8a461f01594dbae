//! Lower bounds, from the one thing known of every symbol: it names a dimension and is not negative.
//!
//! Bounds are sound and incomplete: `None` means that nothing was proved.

use super::divide::{ceil_div, checked_floor_div_i64};
use super::expr::{Atom, Call, Expr, Function, Term};

/// Expressions looked at in the proof of one bound.
const MAX_STEPS: u32 = 16;
/// The size up to which an expression is worth a proof.
const MAX_SIZE: usize = 64;

/// A value that `expr` is never below.
pub(super) fn at_least(expr: &Expr) -> Option<i64> {
    if expr.size() > MAX_SIZE {
        return None;
    }
    Prover { steps_left: MAX_STEPS }.lower_bound(expr)
}

/// `low <= x <= high`, where `None` is no bound.
#[derive(Clone, Copy)]
struct Interval {
    low: Option<i64>,
    high: Option<i64>,
}

impl Interval {
    const UNBOUNDED: Self = Self { low: None, high: None };

    fn scale(self, by: i64) -> Self {
        let scaled = Self {
            low: self.low.and_then(|bound| bound.checked_mul(by)),
            high: self.high.and_then(|bound| bound.checked_mul(by)),
        };
        if by < 0 { Self { low: scaled.high, high: scaled.low } } else { scaled }
    }

    fn is_non_negative(self) -> bool {
        self.low.is_some_and(|bound| bound >= 0)
    }

    fn multiply(self, other: Self) -> Self {
        if !(self.is_non_negative() && other.is_non_negative()) {
            return Self::UNBOUNDED;
        }
        let product = |a: Option<i64>, b: Option<i64>| a?.checked_mul(b?);
        // A product that is too large for i64 is still not negative.
        Self { low: product(self.low, other.low).or(Some(0)), high: product(self.high, other.high) }
    }
}

struct Prover {
    steps_left: u32,
}

impl Prover {
    fn lower_bound(&mut self, expr: &Expr) -> Option<i64> {
        self.steps_left = self.steps_left.checked_sub(1)?;
        let terms = expr.terms()?;
        self.interval_of_terms(&terms).low.or_else(|| terms.iter().find_map(|term| self.relax(expr, term)))
    }

    fn interval(&mut self, expr: &Expr) -> Interval {
        expr.terms().map_or(Interval::UNBOUNDED, |terms| self.interval_of_terms(&terms))
    }

    fn interval_of_terms(&mut self, terms: &[Term]) -> Interval {
        let sum = |a: Option<i64>, b: Option<i64>| a?.checked_add(b?);
        let zero = Interval { low: Some(0), high: Some(0) };
        terms.iter().fold(zero, |total, term| {
            let term = self.interval_of_term(term);
            Interval { low: sum(total.low, term.low), high: sum(total.high, term.high) }
        })
    }

    fn interval_of_term(&mut self, term: &Term) -> Interval {
        let product = match term.monomial.as_slice() {
            [] => Interval { low: Some(1), high: Some(1) },
            [first, rest @ ..] => {
                let first = self.interval_of_atom(first);
                rest.iter().fold(first, |product, atom| product.multiply(self.interval_of_atom(atom)))
            }
        };
        product.scale(term.coefficient)
    }

    fn interval_of_atom(&mut self, atom: &Atom) -> Interval {
        let Atom::Call(call) = atom else {
            return Interval { low: Some(0), high: None };
        };
        let arguments: Vec<Interval> = call.arguments.iter().map(|argument| self.interval(argument)).collect();
        let lows = || arguments.iter().map(|interval| interval.low);
        let highs = || arguments.iter().map(|interval| interval.high);
        match (call.function, call.arguments.as_slice(), arguments.as_slice()) {
            (Function::Min, ..) => Interval { low: all(lows()).min(), high: highs().flatten().min() },
            (Function::Max, ..) => Interval { low: lows().flatten().max(), high: all(highs()).max() },
            (Function::FloorDiv, [_, Expr::Known(by)], [dividend, _]) if *by > 0 => Interval {
                low: dividend.low.and_then(|bound| checked_floor_div_i64(bound, *by)),
                high: dividend.high.and_then(|bound| checked_floor_div_i64(bound, *by)),
            },
            (Function::TruncDiv, [_, Expr::Known(by)], [dividend, _]) if *by > 0 => Interval {
                low: dividend.low.and_then(|bound| bound.checked_div(*by)),
                high: dividend.high.and_then(|bound| bound.checked_div(*by)),
            },
            (_, _, [dividend, divisor]) if dividend.is_non_negative() && divisor.is_non_negative() => {
                Interval { low: Some(0), high: dividend.high }
            }
            _ => Interval::UNBOUNDED,
        }
    }

    /// Tries to bound `expr` with the call in one of its terms replaced by something simpler that makes it no larger.
    fn relax(&mut self, expr: &Expr, term: &Term) -> Option<i64> {
        let call = term.as_call()?;
        let others = expr.subtract(&Expr::from_terms(vec![term.clone()]));
        let coefficient = Expr::Known(term.coefficient);
        let adds = term.coefficient > 0;
        match call.function {
            Function::Min | Function::Max => {
                let mut bounds = call.arguments.iter().map(|argument| {
                    let replaced = others.add(&coefficient.multiply(argument));
                    self.lower_bound(&replaced)
                });
                // One argument bounds the call from the side that helps here, or the worst of all arguments does.
                let any_argument_will_do = adds == (call.function == Function::Max);
                if any_argument_will_do {
                    bounds.flatten().max()
                } else {
                    bounds.try_fold(i64::MAX, |low, bound| Some(low.min(bound?)))
                }
            }
            Function::FloorDiv => self.relax_floor_div(&others, term.coefficient, call),
            Function::TruncDiv => None,
        }
    }

    /// `(x - k + 1) / k <= x // k <= x / k`, multiplied through by `k`.
    fn relax_floor_div(&mut self, others: &Expr, coefficient: i64, call: &Call) -> Option<i64> {
        let [dividend, Expr::Known(by)] = call.arguments.as_slice() else {
            return None;
        };
        let rounding = if coefficient > 0 { Expr::Known(by.checked_sub(1)?) } else { Expr::Known(0) };
        let exact = dividend.subtract(&rounding).multiply(&Expr::Known(coefficient));
        let scaled = others.multiply(&Expr::Known(*by)).add(&exact);
        let bound = self.lower_bound(&scaled)?;
        match ceil_div(&Expr::Known(bound), &Expr::Known(*by)) {
            Expr::Known(bound) => Some(bound),
            _ => None,
        }
    }
}

/// The values, if none is missing.
fn all(bounds: impl Iterator<Item = Option<i64>>) -> std::vec::IntoIter<i64> {
    bounds.collect::<Option<Vec<_>>>().unwrap_or_default().into_iter()
}

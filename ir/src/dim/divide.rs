//! Division of canonical expressions: exact, rounding down, rounding up, rounding towards zero.
//!
//! Rounding division is pushed towards one form, so that a dimension halved twice and a dimension quartered once come
//! out equal: whole multiples of the divisor leave the quotient, common factors cancel, and
//! `((x // a) + y) // k` is `(x + a*y) // (a*k)`. Division by zero has no value, so a symbolic divisor may be taken to
//! be different from zero.

use super::bounds::at_least;
use super::expr::{Atom, Expr, Function, Monomial, Term, monomial_quotient};

/// Steps of long division before it gives up.
const MAX_DIVISION_STEPS: usize = 64;

/// `dividend / divisor` when the quotient is a polynomial with integer coefficients.
pub(super) fn divide_exact(dividend: &Expr, divisor: &Expr) -> Option<Expr> {
    let divisor_terms = divisor.terms()?;
    let leading_divisor = divisor_terms.first()?;
    let mut remainder = dividend.clone();
    let mut quotient = Vec::new();
    for _ in 0..MAX_DIVISION_STEPS {
        let step = match remainder.terms()?.first() {
            None => return Some(Expr::from_terms(quotient)),
            Some(leading) => leading.divide_exact(leading_divisor)?,
        };
        quotient.push(step.clone());
        remainder = remainder.subtract(&Expr::from_terms(vec![step]).multiply(divisor));
    }
    None
}

/// `dividend // divisor`, rounding towards minus infinity.
pub(super) fn floor_div(dividend: &Expr, divisor: &Expr) -> Expr {
    match (dividend, divisor) {
        (Expr::Unknown, _) | (_, Expr::Unknown | Expr::Known(0)) => Expr::Unknown,
        (Expr::Known(0), _) => Expr::Known(0),
        (Expr::Known(x), Expr::Known(y)) => checked_floor_div_i64(*x, *y).map_or(Expr::Unknown, Expr::Known),
        (_, Expr::Known(1)) => dividend.clone(),
        (_, Expr::Known(y)) if *y < 0 => floor_div(&dividend.negate(), &divisor.negate()),
        (Expr::Sum(_), Expr::Known(y)) => floor_div_sum_by_constant(dividend, *y),
        (_, Expr::Sum(_)) => floor_div_by_sum(dividend, divisor),
    }
}

/// The quotient rounded towards plus infinity.
pub(super) fn ceil_div(dividend: &Expr, divisor: &Expr) -> Expr {
    if let Some(quotient) = divide_exact(dividend, divisor) {
        return quotient;
    }
    match at_least(divisor) {
        Some(bound) if bound >= 0 => {
            let round_up = divisor.subtract(&Expr::Known(1));
            floor_div(&dividend.add(&round_up), divisor)
        }
        _ => floor_div(&dividend.negate(), divisor).negate(),
    }
}

/// The quotient rounded towards zero, as ONNX divides integer tensors.
pub(super) fn trunc_div(dividend: &Expr, divisor: &Expr) -> Expr {
    match (dividend, divisor) {
        (Expr::Unknown, _) | (_, Expr::Unknown | Expr::Known(0)) => return Expr::Unknown,
        (Expr::Known(x), Expr::Known(y)) => {
            return x.checked_div(*y).map_or(Expr::Unknown, Expr::Known);
        }
        (_, Expr::Known(y)) if *y < 0 => return trunc_div(dividend, &divisor.negate()).negate(),
        _ => {}
    }
    if let Some(quotient) = divide_exact(dividend, divisor) {
        return quotient;
    }
    let is_non_negative = |expr: &Expr| at_least(expr).is_some_and(|bound| bound >= 0);
    if is_non_negative(divisor) {
        if is_non_negative(dividend) {
            return floor_div(dividend, divisor);
        }
        if is_non_negative(&dividend.negate()) {
            return floor_div(&dividend.negate(), divisor).negate();
        }
    }
    Expr::call(Function::TruncDiv, vec![dividend.clone(), divisor.clone()])
}

/// Floor division of integers; `None` for a zero divisor and on overflow.
pub(super) fn checked_floor_div(dividend: i128, divisor: i128) -> Option<i128> {
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?;
    let rounds_down = remainder != 0 && (remainder < 0) != (divisor < 0);
    quotient.checked_sub(i128::from(rounds_down))
}

/// [`checked_floor_div`] where the quotient must fit.
pub(super) fn checked_floor_div_i64(dividend: i64, divisor: i64) -> Option<i64> {
    i64::try_from(checked_floor_div(dividend.into(), divisor.into())?).ok()
}

/// `divisor` is at least 2.
fn floor_div_sum_by_constant(dividend: &Expr, divisor: i64) -> Expr {
    let Some(terms) = dividend.terms() else {
        return Expr::Unknown;
    };
    let common = terms.iter().filter(|term| !term.is_constant()).fold(divisor, |g, term| gcd(g, term.coefficient));
    if common > 1 {
        // (g*r + c) // (g*k) = (r + c // g) // k: what is left of the constant cannot reach the next multiple.
        let reduce = |term: &Term| Term { coefficient: term.coefficient.div_euclid(common), ..term.clone() };
        let reduced = Expr::from_terms(terms.iter().map(reduce).collect());
        return floor_div(&reduced, &Expr::Known(divisor / common));
    }
    let SplitSum { quotient, remainder, leads_negative } = split_by_constant(&terms, divisor);
    if leads_negative {
        // floor(r / k) = -floor((-r + k - 1) / k)
        let flipped = remainder.negate().add(&Expr::Known(divisor - 1));
        return quotient.subtract(&floor_div(&flipped, &Expr::Known(divisor)));
    }
    if quotient != Expr::Known(0) {
        return quotient.add(&floor_div(&remainder, &Expr::Known(divisor)));
    }
    if let Some(merged) = merge_nested_floor_div(&remainder, divisor) {
        return merged;
    }
    floor_div_call(&remainder, &Expr::Known(divisor))
}

struct SplitSum {
    quotient: Expr,
    remainder: Expr,
    /// The first coefficient of the remainder is negative.
    leads_negative: bool,
}

/// `quotient * divisor + remainder`, remainder coefficients reduced to `0..divisor`, but the first to the integer nearest to
/// zero: `-x // 4` becomes `-((x + 3) // 4)` and not `-x + 3*x // 4`.
fn split_by_constant(terms: &[Term], divisor: i64) -> SplitSum {
    let (mut quotient, mut remainder) = (Vec::new(), Vec::new());
    let mut leads_negative = false;
    for term in terms {
        let mut whole = term.coefficient.div_euclid(divisor);
        let mut rest = term.coefficient.rem_euclid(divisor);
        if remainder.is_empty() && rest != 0 && !term.is_constant() {
            let distance_up = divisor - rest;
            if rest > distance_up || (rest == distance_up && term.coefficient < 0) {
                rest -= divisor;
                whole += 1;
                leads_negative = true;
            }
        }
        for (part, coefficient) in [(&mut quotient, whole), (&mut remainder, rest)] {
            if coefficient != 0 {
                part.push(Term { coefficient, monomial: term.monomial.clone() });
            }
        }
    }
    SplitSum { quotient: Expr::from_terms(quotient), remainder: Expr::from_terms(remainder), leads_negative }
}

/// `((x // a) + y) // k` as `(x + a*y) // (a*k)`, if exactly one term is such a division.
fn merge_nested_floor_div(dividend: &Expr, divisor: i64) -> Option<Expr> {
    let terms = dividend.terms()?;
    let mut nested = terms.iter().filter_map(|term| {
        let call = term.as_call().filter(|call| term.coefficient == 1 && call.function == Function::FloorDiv)?;
        match call.arguments.as_slice() {
            [inner, Expr::Known(by)] => Some((term, inner, *by)),
            _ => None,
        }
    });
    let (term, inner, by) = nested.next()?;
    if nested.next().is_some() {
        return None;
    }
    let others = dividend.subtract(&Expr::from_terms(vec![term.clone()]));
    let whole = inner.add(&others.multiply(&Expr::Known(by)));
    let merged = floor_div(&whole, &Expr::Known(divisor.checked_mul(by)?));
    (merged != Expr::Unknown).then_some(merged)
}

/// `divisor` is a sum, `dividend` is known.
fn floor_div_by_sum(dividend: &Expr, divisor: &Expr) -> Expr {
    let (Some(dividend_terms), Some(divisor_terms)) = (dividend.terms(), divisor.terms()) else {
        return Expr::Unknown;
    };
    if divisor_terms.first().is_some_and(|leading| leading.coefficient < 0) {
        return floor_div(&dividend.negate(), &divisor.negate());
    }
    let common = common_factor(dividend_terms.iter().chain(divisor_terms.iter()));
    if common != Term::constant(1) {
        let cancel = |terms: &[Term]| terms.iter().map(|term| term.divide_exact(&common)).collect();
        let (cancelled_dividend, cancelled_divisor): (Option<Vec<_>>, Option<Vec<_>>) =
            (cancel(&dividend_terms), cancel(&divisor_terms));
        return match (cancelled_dividend, cancelled_divisor) {
            (Some(x), Some(y)) => floor_div(&Expr::from_terms(x), &Expr::from_terms(y)),
            _ => Expr::Unknown,
        };
    }
    if let Some(quotient) = divide_exact(dividend, divisor) {
        return quotient;
    }
    if let [divisor_term] = divisor_terms.as_ref() {
        let quotient = whole_multiples(&dividend_terms, divisor_term);
        if quotient != Expr::Known(0) {
            let remainder = dividend.subtract(&quotient.multiply(divisor));
            return quotient.add(&floor_div(&remainder, divisor));
        }
    }
    floor_div_call(dividend, divisor)
}

/// The part of the quotient that needs no rounding: whole multiples of `divisor`, whose coefficient is positive.
fn whole_multiples(dividend: &[Term], divisor: &Term) -> Expr {
    let multiples = dividend.iter().filter_map(|term| {
        let coefficient = term.coefficient.div_euclid(divisor.coefficient);
        let monomial = monomial_quotient(&term.monomial, &divisor.monomial)?;
        (coefficient != 0).then_some(Term { coefficient, monomial })
    });
    Expr::from_terms(multiples.collect())
}

/// `dividend // divisor` where nothing cancels any more, unless the bounds of both leave one answer.
fn floor_div_call(dividend: &Expr, divisor: &Expr) -> Expr {
    if let Some(divisor_bound) = at_least(divisor).filter(|bound| *bound >= 0) {
        let divisor_bound = divisor_bound.max(1);
        match dividend {
            Expr::Known(value) if (0..divisor_bound).contains(value) => return Expr::Known(0),
            Expr::Known(value) if (-divisor_bound..0).contains(value) => return Expr::Known(-1),
            _ => {}
        }
        let is_positive = |expr: &Expr| at_least(expr).is_some_and(|bound| bound > 0);
        if at_least(dividend).is_some_and(|bound| bound >= 0) && is_positive(&divisor.subtract(dividend)) {
            return Expr::Known(0);
        }
    }
    Expr::call(Function::FloorDiv, vec![dividend.clone(), divisor.clone()])
}

/// The largest term, coefficient and atoms, that divides every one of `terms`.
fn common_factor<'a>(mut terms: impl Iterator<Item = &'a Term>) -> Term {
    let Some(first) = terms.next() else {
        return Term::constant(1);
    };
    let start = Term { coefficient: gcd(first.coefficient, 0), monomial: first.monomial.clone() };
    terms.fold(start, |common, term| Term {
        coefficient: gcd(common.coefficient, term.coefficient),
        monomial: common_atoms(&common.monomial, &term.monomial),
    })
}

fn common_atoms(a: &Monomial, b: &Monomial) -> Monomial {
    let mut rest: Vec<&Atom> = b.iter().collect();
    let is_shared = |atom: &&Atom| match rest.iter().position(|other| other == atom) {
        Some(index) => {
            rest.remove(index);
            true
        }
        None => false,
    };
    a.iter().filter(is_shared).cloned().collect()
}

/// Greatest common divisor, not negative. Coefficients are never `i64::MIN`, so that their magnitude fits.
fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

//! `min` and `max` of canonical expressions.
//!
//! Arguments that another one bounds are dropped, and what all arguments have in common is taken out of the call:
//! `min(past + seq, past + 5)` is `past + min(seq, 5)`.

use super::bounds::at_least;
use super::expr::{Expr, Function, Term};

/// Which end of the order a call picks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extremum {
    Min,
    Max,
}

impl Extremum {
    fn function(self) -> Function {
        match self {
            Self::Min => Function::Min,
            Self::Max => Function::Max,
        }
    }

    /// Whether `a` is the result whenever it is compared with `b`.
    fn always_picks(self, a: &Expr, b: &Expr) -> bool {
        let (low, high) = match self {
            Self::Min => (a, b),
            Self::Max => (b, a),
        };
        // ONNX writes "to the end" as the largest integer, which the difference below would overflow on.
        let is_extreme = *low == Expr::Known(i64::MIN) || *high == Expr::Known(i64::MAX);
        is_extreme || at_least(&high.subtract(low)).is_some_and(|bound| bound >= 0)
    }
}

/// The smallest or largest of `a` and `b`.
pub(super) fn extremum(which: Extremum, a: &Expr, b: &Expr) -> Expr {
    let mut arguments = Vec::new();
    collect_arguments(which, a, &mut arguments);
    collect_arguments(which, b, &mut arguments);
    if arguments.contains(&Expr::Unknown) {
        return Expr::Unknown;
    }
    arguments.sort();
    let mut kept: Vec<Expr> = Vec::new();
    for argument in arguments {
        if !kept.iter().any(|other| which.always_picks(other, &argument)) {
            kept.retain(|other| !which.always_picks(&argument, other));
            kept.push(argument);
        }
    }
    if let [only] = kept.as_slice() {
        return only.clone();
    }
    let common = common_terms(&kept);
    let mut arguments: Vec<Expr> = kept.iter().map(|argument| argument.subtract(&common)).collect();
    arguments.sort();
    common.add(&Expr::call(which.function(), arguments))
}

/// The arguments of nested calls to the same function, so that `min(min(a, b), c)` is `min(a, b, c)`.
fn collect_arguments(which: Extremum, expr: &Expr, arguments: &mut Vec<Expr>) {
    let Some(terms) = expr.terms() else {
        return arguments.push(Expr::Unknown);
    };
    let is_nested =
        |term: &&Term| term.coefficient == 1 && term.as_call().is_some_and(|call| call.function == which.function());
    let mut nested = terms.iter().filter(is_nested);
    match (nested.next(), nested.next()) {
        (Some(term), None) => {
            let others = expr.subtract(&Expr::from_terms(vec![term.clone()]));
            let inner = term.as_call().map_or(&[][..], |call| &call.arguments);
            arguments.extend(inner.iter().map(|argument| argument.add(&others)));
        }
        _ => arguments.push(expr.clone()),
    }
}

/// The sum of the terms that every argument has.
fn common_terms(arguments: &[Expr]) -> Expr {
    let Some(terms) = arguments.first().and_then(Expr::terms) else {
        return Expr::Known(0);
    };
    let is_shared =
        |term: &&Term| arguments.iter().all(|argument| argument.terms().is_some_and(|terms| terms.contains(term)));
    Expr::from_terms(terms.iter().filter(is_shared).cloned().collect())
}

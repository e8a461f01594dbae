//! Symbolic dimensions.
//!
//! A [`Dim`] is one dimension of a tensor, or one element of a small integer tensor, as an expression over named symbols:
//! `batch`, `past + seq`, `(h + 1)//2`. Unknown is a value, a contradiction is a [`Conflict`], and nothing aborts: overflow
//! and an expression that grows too large are unknown, so that a hostile model cannot make inference slow.
//!
//! Expressions are canonical polynomials. Two that follow from each other by the laws of addition and multiplication are
//! equal under `==`, print alike and hash alike; most identities of rounding division and of `min` and `max` hold too.
//! Symbols are never negative.

mod bounds;
mod divide;
mod expr;
mod extremum;
mod parse;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::iter::{Product, Sum};
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

use self::expr::{Atom, Call, Expr, Function};
use self::extremum::{Extremum, extremum};

/// A dimension or an integer element: a number, an expression over named symbols, or unknown.
///
/// ```
/// # use planish_ir::Dim;
/// let (past, seq) = (Dim::symbol("past"), Dim::symbol("seq"));
/// let total = &past + &seq;
/// assert_eq!(total.to_string(), "past + seq");
/// assert_eq!(&total - &past, seq);
/// assert_eq!((&total * 64).divide_exact(&total), Some(Dim::known(64)));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dim(Expr);

/// Two facts about one dimension that cannot both hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    left: Dim,
    right: Dim,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dimension {} does not agree with {}", self.left, self.right)
    }
}

impl std::error::Error for Conflict {}

impl Dim {
    /// An integer.
    pub fn known(value: i64) -> Self {
        Self(Expr::Known(value))
    }

    /// A symbol of any name; the empty name says nothing and is unknown.
    pub fn symbol(name: &str) -> Self {
        if name.is_empty() { Self::unknown() } else { Self(Expr::symbol(name)) }
    }

    /// Nothing is known.
    pub fn unknown() -> Self {
        Self(Expr::Unknown)
    }

    /// The integer, if it is one.
    pub fn as_known(&self) -> Option<i64> {
        match self.0 {
            Expr::Known(value) => Some(value),
            Expr::Sum(_) | Expr::Unknown => None,
        }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.0 == Expr::Unknown
    }

    /// The name, if this is one symbol and nothing else.
    pub fn as_symbol(&self) -> Option<&str> {
        match self.0.as_atom()? {
            Atom::Symbol(name) => Some(name),
            Atom::Call(_) => None,
        }
    }

    /// The names of all symbols in the expression.
    pub fn symbols(&self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        collect_symbols(&self.0, &mut names);
        names
    }

    /// The value when `bind` gives the value of each symbol; `None` if one is not bound, on division by zero and on overflow.
    pub fn eval(&self, bind: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        i64::try_from(eval(&self.0, bind)?).ok()
    }

    /// The expression with `value` in place of the symbol `name`.
    #[must_use]
    pub fn substitute(&self, name: &str, value: &Self) -> Self {
        Self(substitute(&self.0, name, &value.0))
    }

    /// The quotient rounded towards minus infinity; unknown for a zero divisor.
    #[must_use]
    pub fn floor_div(&self, by: impl Into<Self>) -> Self {
        Self(divide::floor_div(&self.0, &by.into().0))
    }

    /// The quotient rounded towards plus infinity; unknown for a zero divisor.
    #[must_use]
    pub fn ceil_div(&self, by: impl Into<Self>) -> Self {
        Self(divide::ceil_div(&self.0, &by.into().0))
    }

    /// The quotient rounded towards zero, as ONNX `Div` does on integers; unknown for a zero divisor.
    #[must_use]
    pub fn trunc_div(&self, by: impl Into<Self>) -> Self {
        Self(divide::trunc_div(&self.0, &by.into().0))
    }

    /// What [`floor_div`](Self::floor_div) leaves: the sign is the divisor's, as in ONNX `Mod` with `fmod = 0`.
    #[must_use]
    pub fn modulo(&self, by: impl Into<Self>) -> Self {
        let by = by.into();
        let quotient = self.floor_div(&by);
        if quotient.is_unknown() { quotient } else { self - quotient * by }
    }

    /// The smaller of the two.
    #[must_use]
    pub fn min(&self, other: impl Into<Self>) -> Self {
        Self(extremum(Extremum::Min, &self.0, &other.into().0))
    }

    /// The larger of the two.
    #[must_use]
    pub fn max(&self, other: impl Into<Self>) -> Self {
        Self(extremum(Extremum::Max, &self.0, &other.into().0))
    }

    /// The quotient, if the division is a polynomial with integer coefficients: `batch*seq*64` by `batch*64` is `seq`.
    ///
    /// Symbols in the divisor are taken to be different from zero, for without that there is no quotient.
    pub fn divide_exact(&self, by: &Self) -> Option<Self> {
        divide::divide_exact(&self.0, &by.0).map(Self)
    }

    /// A value that the dimension is never below, as far as can be proved from symbols not being negative.
    pub fn at_least(&self) -> Option<i64> {
        bounds::at_least(&self.0)
    }

    /// Whether both have the same value under every binding. Unknown is not provably equal to anything.
    pub fn provably_equal(a: &Self, b: &Self) -> bool {
        !a.is_unknown() && a == b
    }

    /// Whether they differ under every binding.
    pub fn provably_different(a: &Self, b: &Self) -> bool {
        let is_positive = |difference: Self| difference.at_least().is_some_and(|bound| bound > 0);
        match (a.as_known(), b.as_known()) {
            (Some(a), Some(b)) => a != b,
            // Most are compared with themselves.
            _ if a == b => false,
            _ => is_positive(a - b) || is_positive(b - a),
        }
    }

    /// ONNX multidirectional broadcasting of one dimension: equal dimensions stay, and 1 gives way to the other.
    ///
    /// A dimension that cannot be 1 decides against one that is not understood. Between two that could each be 1 the
    /// result is unknown.
    pub fn broadcast(a: &Self, b: &Self) -> Result<Self, Conflict> {
        let one = Self::known(1);
        if a == b || *b == one {
            return Ok(a.clone());
        }
        if *a == one {
            return Ok(b.clone());
        }
        let decides = |dim: &Self| Self::provably_different(dim, &one);
        match (decides(a), decides(b)) {
            (true, true) if Self::provably_different(a, b) => Err(Conflict::between(a, b)),
            (true, true) => Self::unify(a, b),
            (true, false) => Ok(a.clone()),
            (false, true) => Ok(b.clone()),
            (false, false) => Ok(Self::unknown()),
        }
    }

    /// Two facts about the same dimension: the more precise of the two, the shorter expression where both are expressions.
    pub fn unify(a: &Self, b: &Self) -> Result<Self, Conflict> {
        if Self::provably_different(a, b) {
            return Err(Conflict::between(a, b));
        }
        Ok(if b.0.size() < a.0.size() { b.clone() } else { a.clone() })
    }
}

impl Conflict {
    fn between(left: &Dim, right: &Dim) -> Self {
        Self { left: left.clone(), right: right.clone() }
    }
}

fn collect_symbols(expr: &Expr, names: &mut BTreeSet<Arc<str>>) {
    for atom in expr.terms().unwrap_or_default().iter().flat_map(|term| &term.monomial) {
        match atom {
            Atom::Symbol(name) => {
                names.insert(Arc::clone(name));
            }
            Atom::Call(call) => call.arguments.iter().for_each(|argument| collect_symbols(argument, names)),
        }
    }
}

fn eval(expr: &Expr, bind: &dyn Fn(&str) -> Option<i64>) -> Option<i128> {
    expr.terms()?.iter().try_fold(0_i128, |total, term| {
        let product = term.monomial.iter().try_fold(i128::from(term.coefficient), |product, atom| {
            product.checked_mul(match atom {
                Atom::Symbol(name) => bind(name)?.into(),
                Atom::Call(call) => eval_call(call, bind)?,
            })
        })?;
        total.checked_add(product)
    })
}

fn eval_call(call: &Call, bind: &dyn Fn(&str) -> Option<i64>) -> Option<i128> {
    let values = call.arguments.iter().map(|argument| eval(argument, bind)).collect::<Option<Vec<_>>>()?;
    match (call.function, values.as_slice()) {
        (Function::FloorDiv, [x, y]) => divide::checked_floor_div(*x, *y),
        (Function::TruncDiv, [x, y]) => x.checked_div(*y),
        (Function::Min, values) => values.iter().min().copied(),
        (Function::Max, values) => values.iter().max().copied(),
        (Function::FloorDiv | Function::TruncDiv, _) => None,
    }
}

fn substitute(expr: &Expr, name: &str, value: &Expr) -> Expr {
    let Some(terms) = expr.terms() else {
        return Expr::Unknown;
    };
    terms.iter().fold(Expr::Known(0), |total, term| {
        let product = term.monomial.iter().fold(Expr::Known(term.coefficient), |product, atom| {
            product.multiply(&match atom {
                Atom::Symbol(symbol) if **symbol == *name => value.clone(),
                Atom::Symbol(_) => Expr::from_atom(atom.clone()),
                Atom::Call(call) => substitute_in_call(call, name, value),
            })
        });
        total.add(&product)
    })
}

fn substitute_in_call(call: &Call, name: &str, value: &Expr) -> Expr {
    let mut arguments = call.arguments.iter().map(|argument| substitute(argument, name, value));
    let Some(first) = arguments.next() else {
        return Expr::Unknown;
    };
    arguments.fold(first, |left, right| match call.function {
        Function::FloorDiv => divide::floor_div(&left, &right),
        Function::TruncDiv => divide::trunc_div(&left, &right),
        Function::Min => extremum(Extremum::Min, &left, &right),
        Function::Max => extremum(Extremum::Max, &left, &right),
    })
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Self::known(value)
    }
}

impl From<&Dim> for Dim {
    fn from(dim: &Dim) -> Self {
        dim.clone()
    }
}

impl PartialEq<i64> for Dim {
    fn eq(&self, other: &i64) -> bool {
        self.as_known() == Some(*other)
    }
}

/// One operator between dimensions, references to them and integers, in every combination with a dimension in it.
macro_rules! operator {
    ($trait:ident, $method:ident, $expr_method:ident) => {
        impl<R: Into<Dim>> $trait<R> for &Dim {
            type Output = Dim;

            fn $method(self, right: R) -> Dim {
                Dim(self.0.$expr_method(&right.into().0))
            }
        }

        impl<R: Into<Dim>> $trait<R> for Dim {
            type Output = Dim;

            fn $method(self, right: R) -> Dim {
                (&self).$method(right)
            }
        }

        impl $trait<Dim> for i64 {
            type Output = Dim;

            fn $method(self, right: Dim) -> Dim {
                Dim::known(self).$method(right)
            }
        }

        impl $trait<&Dim> for i64 {
            type Output = Dim;

            fn $method(self, right: &Dim) -> Dim {
                Dim::known(self).$method(right)
            }
        }
    };
}

operator!(Add, add, add);
operator!(Sub, sub, subtract);
operator!(Mul, mul, multiply);

impl Neg for &Dim {
    type Output = Dim;

    fn neg(self) -> Dim {
        Dim(self.0.negate())
    }
}

impl Neg for Dim {
    type Output = Dim;

    fn neg(self) -> Dim {
        -&self
    }
}

impl<D: Into<Dim>> Sum<D> for Dim {
    fn sum<I: Iterator<Item = D>>(dims: I) -> Self {
        dims.fold(Self::known(0), |total, dim| total + dim)
    }
}

impl<D: Into<Dim>> Product<D> for Dim {
    fn product<I: Iterator<Item = D>>(dims: I) -> Self {
        dims.fold(Self::known(1), |total, dim| total * dim)
    }
}

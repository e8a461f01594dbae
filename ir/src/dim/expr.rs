//! Canonical expressions: sums of integer multiples of products of atoms.
//!
//! Everything here keeps one invariant: two expressions built from the same mathematical steps, in whatever order, are
//! structurally equal, because terms and factors are sorted, like terms merged and zero terms dropped. Arithmetic that
//! overflows, and an expression that grows past the caps below, becomes [`Expr::Unknown`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

/// Terms in one sum.
const MAX_TERMS: usize = 32;
/// Factors in one product.
const MAX_DEGREE: usize = 16;
/// Function calls within function calls.
const MAX_NESTING: usize = 6;
/// Atoms in a whole expression, those inside calls included.
const MAX_SIZE: usize = 256;
/// Atoms in one call. Less than in an expression, because what is proved about a call looks into it again and again.
const MAX_CALL_SIZE: usize = 32;
/// Arguments of one `min` or `max`.
const MAX_ARGUMENTS: usize = 4;

/// An integer, a canonical sum with at least one symbol in it, or unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Expr {
    Known(i64),
    Sum(Arc<Sum>),
    Unknown,
}

/// A non-constant polynomial: terms in descending graded lexicographic order, so that the constant comes last.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sum {
    terms: Vec<Term>,
    nesting: usize,
    size: usize,
}

/// `coefficient * monomial`; the coefficient is neither 0 nor `i64::MIN`, so that negation cannot overflow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Term {
    pub(super) monomial: Monomial,
    pub(super) coefficient: i64,
}

/// A sorted product of atoms, an atom repeated for each of its powers; empty for the constant term.
pub(super) type Monomial = SmallVec<[Atom; 2]>;

/// What a polynomial cannot look into: a symbol, or a function that is not a polynomial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Atom {
    Symbol(Arc<str>),
    Call(Arc<Call>),
}

/// A function applied to arguments of which at least one is not an integer.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Expr>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Function {
    FloorDiv,
    TruncDiv,
    Min,
    Max,
}

impl Term {
    pub(super) fn constant(value: i64) -> Self {
        Self { monomial: Monomial::new(), coefficient: value }
    }

    pub(super) fn is_constant(&self) -> bool {
        self.monomial.is_empty()
    }

    /// The one function call this term consists of, apart from its coefficient.
    pub(super) fn as_call(&self) -> Option<&Call> {
        match self.monomial.as_slice() {
            [Atom::Call(call)] => Some(call),
            _ => None,
        }
    }

    /// The quotient when both monomial and coefficient divide without remainder.
    pub(super) fn divide_exact(&self, by: &Self) -> Option<Self> {
        let monomial = monomial_quotient(&self.monomial, &by.monomial)?;
        (self.coefficient.checked_rem(by.coefficient)? == 0).then_some(())?;
        Some(Self { monomial, coefficient: self.coefficient.checked_div(by.coefficient)? })
    }
}

impl Expr {
    pub(super) fn symbol(name: &str) -> Self {
        Self::from_atom(Atom::Symbol(name.into()))
    }

    pub(super) fn from_atom(atom: Atom) -> Self {
        Self::from_terms(vec![Term { monomial: Monomial::from_iter([atom]), coefficient: 1 }])
    }

    /// A function call taken as it stands; the callers in `divide` and `extremum` simplify first.
    pub(super) fn call(function: Function, arguments: Vec<Self>) -> Self {
        let is_refused = |argument: &Self| matches!(argument, Self::Unknown | Self::Known(i64::MIN));
        let size = arguments.iter().map(Self::size).fold(0, usize::saturating_add);
        if arguments.len() > MAX_ARGUMENTS || size > MAX_CALL_SIZE || arguments.iter().any(is_refused) {
            return Self::Unknown;
        }
        Self::from_atom(Atom::Call(Arc::new(Call { function, arguments })))
    }

    /// The canonical sum of `terms`, which may be in any order and repeat monomials.
    pub(super) fn from_terms(mut terms: Vec<Term>) -> Self {
        terms.sort_by(|a, b| monomial_order(&a.monomial, &b.monomial));
        let mut merged = Vec::with_capacity(terms.len().min(MAX_TERMS));
        for group in terms.chunk_by(|a, b| a.monomial == b.monomial) {
            // Coefficients are i64, so that a sum of fewer than 2^63 of them fits.
            let total = group.iter().map(|term| i128::from(term.coefficient)).sum::<i128>();
            match (i64::try_from(total), group.first()) {
                (Ok(0), _) | (_, None) => {}
                (Ok(coefficient), Some(term)) => {
                    merged.push(Term { monomial: term.monomial.clone(), coefficient });
                }
                (Err(_), _) => return Self::Unknown,
            }
        }
        Self::from_merged(merged)
    }

    fn from_merged(terms: Vec<Term>) -> Self {
        match terms.as_slice() {
            [] => return Self::Known(0),
            [term] if term.is_constant() => return Self::Known(term.coefficient),
            _ => {}
        }
        let atoms = || terms.iter().flat_map(|term| &term.monomial);
        let size = atoms().map(Atom::size).sum();
        let nesting = atoms().map(Atom::nesting).max().unwrap_or(0);
        let too_large = terms.len() > MAX_TERMS
            || size > MAX_SIZE
            || nesting > MAX_NESTING
            || terms.iter().any(|term| term.monomial.len() > MAX_DEGREE || term.coefficient == i64::MIN);
        if too_large { Self::Unknown } else { Self::Sum(Arc::new(Sum { terms, nesting, size })) }
    }

    /// The terms of a sum, an integer as at most one constant term; `None` for unknown.
    pub(super) fn terms(&self) -> Option<Cow<'_, [Term]>> {
        match self {
            Self::Known(0) => Some(Cow::Borrowed(&[])),
            Self::Known(value) => Some(Cow::Owned(vec![Term::constant(*value)])),
            Self::Sum(sum) => Some(Cow::Borrowed(&sum.terms)),
            Self::Unknown => None,
        }
    }

    /// The atom this expression consists of, with coefficient 1.
    pub(super) fn as_atom(&self) -> Option<&Atom> {
        let Self::Sum(sum) = self else { return None };
        match sum.terms.as_slice() {
            [Term { monomial, coefficient: 1 }] => match monomial.as_slice() {
                [atom] => Some(atom),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Self::Known(_) => 0,
            Self::Sum(sum) => sum.size,
            Self::Unknown => usize::MAX,
        }
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        if let (Self::Known(a), Self::Known(b)) = (self, other) {
            return a.checked_add(*b).map_or(Self::Unknown, Self::Known);
        }
        match (self.terms(), other.terms()) {
            (Some(a), Some(b)) => Self::from_terms(a.iter().chain(b.iter()).cloned().collect()),
            _ => Self::Unknown,
        }
    }

    pub(super) fn negate(&self) -> Self {
        self.multiply(&Self::Known(-1))
    }

    pub(super) fn subtract(&self, other: &Self) -> Self {
        if let (Self::Known(a), Self::Known(b)) = (self, other) {
            return a.checked_sub(*b).map_or(Self::Unknown, Self::Known);
        }
        self.add(&other.negate())
    }

    /// Zero times anything, unknown included, is zero.
    pub(super) fn multiply(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(0), _) | (_, Self::Known(0)) => return Self::Known(0),
            (Self::Known(a), Self::Known(b)) => {
                return a.checked_mul(*b).map_or(Self::Unknown, Self::Known);
            }
            _ => {}
        }
        let (Some(a), Some(b)) = (self.terms(), other.terms()) else {
            return Self::Unknown;
        };
        let products = a.iter().flat_map(|x| b.iter().map(move |y| multiply_terms(x, y)));
        products.collect::<Option<Vec<_>>>().map_or(Self::Unknown, Self::from_terms)
    }
}

impl Atom {
    fn size(&self) -> usize {
        match self {
            Self::Symbol(_) => 1,
            Self::Call(call) => call.arguments.iter().map(Expr::size).fold(1, usize::saturating_add),
        }
    }

    fn nesting(&self) -> usize {
        let Self::Call(call) = self else { return 0 };
        let inner = call.arguments.iter().map(|argument| match argument {
            Expr::Sum(sum) => sum.nesting,
            Expr::Known(_) | Expr::Unknown => 0,
        });
        1 + inner.max().unwrap_or(0)
    }
}

/// Descending graded lexicographic order, which makes the first term of a sum the leading one for long division.
fn monomial_order(a: &Monomial, b: &Monomial) -> Ordering {
    b.len().cmp(&a.len()).then_with(|| a.cmp(b))
}

fn multiply_terms(a: &Term, b: &Term) -> Option<Term> {
    let coefficient = a.coefficient.checked_mul(b.coefficient)?;
    let mut monomial: Monomial = a.monomial.iter().chain(&b.monomial).cloned().collect();
    monomial.sort();
    Some(Term { monomial, coefficient })
}

/// `dividend / divisor` as products of atoms, if every factor of the divisor is there.
pub(super) fn monomial_quotient(dividend: &Monomial, divisor: &Monomial) -> Option<Monomial> {
    let mut wanted = divisor.iter().peekable();
    let quotient = dividend.iter().filter(|&atom| wanted.next_if_eq(&atom).is_none()).cloned().collect();
    wanted.peek().is_none().then_some(quotient)
}

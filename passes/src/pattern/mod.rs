//! Patterns: what a rewrite looks for, written as the formula it is.
//!
//! ```text
//! d = x - ReduceMean(x, ...)
//! v = ReduceMean(Pow(d, 2) | d * d, ...)
//! y = d / Sqrt(v + $epsilon) * scale + bias
//! ```
//!
//! Each line names the value of an expression; the last line is the value to be replaced. In expressions
//!
//! - `x` is any value, the same wherever it is named; a name that has a line of its own is that line's value;
//! - `$w` is a constant; `0.5` is a constant of one element that equals 0.5 within [`LITERAL_TOLERANCE`]; `_` is anything;
//! - `+ - * /` and a leading `-` are `Add`, `Sub`, `Mul`, `Div` and `Neg`. Sums and products match in any order and
//!   grouping: `0.5 * x * y` is also `(y * 0.5) * x`. Other commutative operators match with their two inputs swapped;
//! - `Op(a, b?, ...)` is an operator; `b?` may be absent, `...` stands for any further inputs. An operator of another domain
//!   is written `com.microsoft.FusedConv(…)`;
//! - `Cast?(x)` is `Cast(x)` or just `x`;
//! - `&Op(x)` may have readers outside the pattern; all others but the last line's may not, for else the rewrite would
//!   leave them to be computed a second time;
//! - `Split(x, ...)[1]` is the operator's second output;
//! - `(a | b)` is either; a line may offer alternatives without parentheses.

mod matcher;
mod parse;

pub use matcher::Match;
pub(crate) use matcher::Matcher;

/// How far a constant may be from the number in a pattern, relative to it. Exporters write √2 with anything from six
/// decimals on. For 16-bit floats the tolerance is that of their own precision.
pub const LITERAL_TOLERANCE: f64 = 1e-5;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    terms: Vec<Term>,
    /// The names of captured values, in the order of their slots.
    names: Vec<String>,
    root: TermId,
}

type TermId = usize;
type Slot = usize;

/// One expression of a pattern.
#[derive(Debug)]
struct Term {
    kind: TermKind,
    /// Where the value is kept under its name.
    slot: Option<Slot>,
}

#[derive(Debug)]
enum TermKind {
    Anything,
    /// Any value; its slot makes it the same everywhere.
    Value,
    Constant,
    Number(f64),
    Node(NodePattern),
    /// A sum or product of several terms.
    Chain {
        operator: &'static str,
        terms: Vec<TermId>,
    },
    Either(Vec<TermId>),
}

#[derive(Debug)]
struct NodePattern {
    domain: String,
    name: String,
    arguments: Vec<Argument>,
    /// Whether there may be more inputs than arguments.
    is_open: bool,
    /// Whether its first argument alone matches too.
    is_optional: bool,
    /// Whether it may have readers outside the pattern.
    may_be_shared: bool,
    output: usize,
}

#[derive(Clone, Copy, Debug)]
struct Argument {
    term: TermId,
    may_be_absent: bool,
}

/// Operators whose two inputs may be swapped.
const COMMUTATIVE: &[&str] =
    &["Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor"];

impl Pattern {
    /// The operators that the last line's value may come from.
    pub(crate) fn root_operators(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        let mut pending = vec![self.root];
        while let Some(id) = pending.pop() {
            match &self.terms[id].kind {
                TermKind::Node(node) => {
                    found.push((node.domain.as_str(), node.name.as_str()));
                    if node.is_optional {
                        pending.extend(node.arguments.first().map(|a| a.term));
                    }
                }
                TermKind::Chain { operator, .. } => found.push(("", *operator)),
                TermKind::Either(terms) => pending.extend(terms),
                _ => {}
            }
        }
        found
    }

    /// How many operators a match has, where it takes the first of all alternatives.
    fn num_operators(&self) -> usize {
        let mut is_counted = vec![false; self.terms.len()];
        let (mut pending, mut count) = (vec![self.root], 0);
        while let Some(id) = pending.pop() {
            if std::mem::replace(&mut is_counted[id], true) {
                continue;
            }
            match &self.terms[id].kind {
                TermKind::Node(node) => {
                    count += usize::from(!node.is_optional);
                    pending.extend(node.arguments.iter().map(|a| a.term));
                }
                TermKind::Chain { terms, .. } => {
                    count += terms.len() - 1;
                    pending.extend(terms);
                }
                TermKind::Either(terms) => pending.extend(terms.first()),
                _ => {}
            }
        }
        count
    }
}

#[cfg(test)]
mod tests;

//! Dimensions as text: the form that [`Dim::parse`] reads back, and costs for people.

use std::fmt::{self, Display, Formatter, Write};

use super::Dim;
use super::expr::{Atom, Call, Expr, Function, Term};
use super::parse::is_plain_name;

/// Costs below this are printed exactly, others in three significant digits.
const EXACT_COST_LIMIT: u64 = 10_000;

impl Display for Dim {
    /// ASCII but for the names of symbols: `batch`, `past + seq`, `2*a*b + 1`, `(h + 1)//2`, `min(a, 5)`, and `?` for unknown.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_expr(f, &self.0)
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Dim {
    /// A cost for people: `1.07e8·batch·seq + 12·seq`, an integer in full.
    pub fn fmt_si(&self) -> String {
        let Expr::Sum(_) = &self.0 else {
            return self.to_string();
        };
        let mut text = String::new();
        let written = write_sum(&mut text, &self.0, |out, term| {
            let coefficient = term.coefficient.unsigned_abs();
            let atoms = term.monomial.iter().map(|atom| Factor(atom).to_string());
            let number = (coefficient != 1 || term.is_constant()).then(|| three_digits(coefficient));
            out.write_str(&number.into_iter().chain(atoms).collect::<Vec<_>>().join("·"))
        });
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        text
    }
}

/// `107000000` as `1.07e8`.
fn three_digits(value: u64) -> String {
    if value < EXACT_COST_LIMIT {
        return value.to_string();
    }
    // Printing rounds to three digits in any case.
    #[expect(clippy::cast_precision_loss)]
    let value = value as f64;
    format!("{value:.2e}")
}

fn write_expr(out: &mut dyn Write, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Known(value) => write!(out, "{value}"),
        Expr::Unknown => out.write_str("?"),
        Expr::Sum(_) => write_sum(out, expr, write_magnitude),
    }
}

/// Writes the terms with their signs; a positive term goes first where there is one.
fn write_sum(
    out: &mut dyn Write,
    expr: &Expr,
    write_magnitude: fn(&mut dyn Write, &Term) -> fmt::Result,
) -> fmt::Result {
    let terms = expr.terms().unwrap_or_default();
    let first = terms.iter().position(|term| term.coefficient > 0).unwrap_or(0);
    let others = terms.iter().enumerate().filter(|(index, _)| *index != first);
    if let Some(term) = terms.get(first) {
        out.write_str(if term.coefficient < 0 { "-" } else { "" })?;
        write_magnitude(out, term)?;
    }
    for (_, term) in others {
        out.write_str(if term.coefficient < 0 { " - " } else { " + " })?;
        write_magnitude(out, term)?;
    }
    Ok(())
}

/// A term without its sign.
fn write_magnitude(out: &mut dyn Write, term: &Term) -> fmt::Result {
    let coefficient = term.coefficient.unsigned_abs();
    if let (1, Some(call)) = (term.coefficient, term.as_call()) {
        return write_call(out, call);
    }
    let mut separator = "";
    if coefficient != 1 || term.is_constant() {
        write!(out, "{coefficient}")?;
        separator = "*";
    }
    for power in term.monomial.chunk_by(|a, b| a == b) {
        let [atom, ..] = power else { continue };
        write!(out, "{separator}{}", Factor(atom))?;
        if power.len() > 1 {
            write!(out, "**{}", power.len())?;
        }
        separator = "*";
    }
    Ok(())
}

/// An atom as a factor of a product, in parentheses where it needs them.
struct Factor<'a>(&'a Atom);

impl Display for Factor<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Atom::Symbol(name) => write_symbol(f, name),
            Atom::Call(call) if call.function == Function::FloorDiv => {
                f.write_str("(")?;
                write_call(f, call)?;
                f.write_str(")")
            }
            Atom::Call(call) => write_call(f, call),
        }
    }
}

fn write_call(out: &mut dyn Write, call: &Call) -> fmt::Result {
    let name = match call.function {
        Function::FloorDiv => {
            return call.arguments.iter().enumerate().try_for_each(|(index, operand)| {
                out.write_str(if index == 0 { "" } else { "//" })?;
                write_operand(out, operand)
            });
        }
        Function::TruncDiv => "trunc_div",
        Function::Min => "min",
        Function::Max => "max",
    };
    write!(out, "{name}(")?;
    for (index, argument) in call.arguments.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { ", " })?;
        write_expr(out, argument)?;
    }
    out.write_str(")")
}

/// An operand of `//`: in parentheses unless it is one symbol or a plain number.
fn write_operand(out: &mut dyn Write, operand: &Expr) -> fmt::Result {
    match (operand, operand.as_atom()) {
        (_, Some(atom)) => write!(out, "{}", Factor(atom)),
        (Expr::Known(0..), None) => write_expr(out, operand),
        _ => {
            out.write_str("(")?;
            write_expr(out, operand)?;
            out.write_str(")")
        }
    }
}

/// A name that the parser would not read back as one symbol goes in quotes.
fn write_symbol(out: &mut dyn Write, name: &str) -> fmt::Result {
    if is_plain_name(name) {
        return out.write_str(name);
    }
    write!(out, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

//! Reads the arithmetic that exporters write into `dim_param`: `past_sequence_length + sequence_length`, `s0//2`,
//! `floor(h/2 + 1/2)`, `Max(1, u0)`.
//!
//! ```text
//! sum     := product (("+" | "-") product)*
//! product := unary (("*" | "/" | "//" | "%") unary)*
//! unary   := ("-" | "+")* power
//! power   := primary ("**" unary)?
//! primary := integer | name | quoted name | name "(" sum ("," sum)* ")" | "(" sum ")"
//! ```

use super::Dim;

/// Parentheses and signs within one another.
const MAX_DEPTH: usize = 48;
/// Numbers, names and parentheses in one text; more than the largest expression prints.
const MAX_PRIMARIES: usize = 2048;
const MAX_EXPONENT: i64 = 16;

impl Dim {
    /// Reads a dimension as exporters and [`Display`](std::fmt::Display) write it.
    ///
    /// The empty text and `?` are unknown. Text that is not arithmetic, or is too large, is one symbol of that name.
    ///
    /// ```
    /// # use planish_ir::Dim;
    /// assert_eq!(Dim::parse("past + seq") - Dim::symbol("past"), Dim::symbol("seq"));
    /// assert_eq!(Dim::parse("batch size"), Dim::symbol("batch size"));
    /// ```
    pub fn parse(text: &str) -> Self {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed == "?" {
            return Self::unknown();
        }
        if let Ok(value) = trimmed.parse::<i64>() {
            return Self::known(value);
        }
        let mut parser = Parser { rest: trimmed, depth: 0, primaries_left: MAX_PRIMARIES };
        let parsed = parser.sum().filter(|_| parser.rest.is_empty()).map(Ratio::settle);
        parsed.filter(|dim| !dim.is_unknown()).unwrap_or_else(|| Self::symbol(text))
    }
}

/// Whether the parser reads `name` as one symbol.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name_length(name) == name.len()
}

/// The length of the name that `text` starts with. A hyphen between letters belongs to the name (`batch-size`), because
/// every writer of arithmetic puts spaces around a minus.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let belongs = |index: usize, byte: u8| match byte {
        b'-' => bytes.get(index + 1).copied().is_some_and(is_start),
        b'.' | b':' | b'$' | b'#' => true,
        _ => is_start(byte) || byte.is_ascii_digit(),
    };
    if !bytes.first().copied().is_some_and(is_start) {
        return 0;
    }
    let end = bytes.iter().enumerate().position(|(index, byte)| !belongs(index, *byte));
    end.unwrap_or(bytes.len())
}

/// An exact quotient, so that `floor(h/2 + 1/2)` rounds once.
struct Ratio {
    numerator: Dim,
    denominator: Dim,
}

impl Ratio {
    fn whole(numerator: Dim) -> Self {
        Self { numerator, denominator: Dim::known(1) }
    }

    /// A dimension is an integer: where one is written as a quotient, rounding changes nothing.
    fn settle(self) -> Dim {
        self.numerator.floor_div(self.denominator)
    }

    fn add(self, other: Self) -> Self {
        Self {
            numerator: self.numerator * &other.denominator + other.numerator * &self.denominator,
            denominator: self.denominator * other.denominator,
        }
    }

    fn negate(self) -> Self {
        Self { numerator: -self.numerator, ..self }
    }

    fn multiply(self, other: Self) -> Self {
        Self { numerator: self.numerator * other.numerator, denominator: self.denominator * other.denominator }
    }

    fn invert(self) -> Self {
        Self { numerator: self.denominator, denominator: self.numerator }
    }

    fn remainder(self, by: Self) -> Self {
        let quotient = Self { numerator: self.numerator.clone(), denominator: self.denominator.clone() }
            .multiply(Self { numerator: by.numerator.clone(), denominator: by.denominator.clone() }.invert())
            .settle();
        self.add(by.multiply(Self::whole(quotient)).negate())
    }

    fn power(self, exponent: &Self) -> Option<Self> {
        let exponent = exponent.numerator.divide_exact(&exponent.denominator)?.as_known()?;
        if !(0..=MAX_EXPONENT).contains(&exponent) {
            return None;
        }
        let raise = |base: &Dim| (0..exponent).map(|_| base).product();
        Some(Self { numerator: raise(&self.numerator), denominator: raise(&self.denominator) })
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    primaries_left: usize,
}

impl<'a> Parser<'a> {
    /// Consumes `token` and the white space before it.
    fn accept(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> Option<Ratio> {
        let mut total = self.product()?;
        loop {
            if self.accept("+") {
                total = total.add(self.product()?);
            } else if self.accept("-") {
                total = total.add(self.product()?.negate());
            } else {
                return Some(total);
            }
        }
    }

    fn product(&mut self) -> Option<Ratio> {
        let mut total = self.unary()?;
        loop {
            if self.accept("*") {
                total = total.multiply(self.unary()?);
            } else if self.accept("//") {
                total = Ratio::whole(total.multiply(self.unary()?.invert()).settle());
            } else if self.accept("/") {
                total = total.multiply(self.unary()?.invert());
            } else if self.accept("%") {
                total = total.remainder(self.unary()?);
            } else {
                return Some(total);
            }
        }
    }

    fn unary(&mut self) -> Option<Ratio> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = if self.accept("-") {
            self.unary()?.negate()
        } else if self.accept("+") {
            self.unary()?
        } else {
            self.power()?
        };
        self.depth -= 1;
        Some(value)
    }

    fn power(&mut self) -> Option<Ratio> {
        let base = self.primary()?;
        if self.accept("**") { base.power(&self.unary()?) } else { Some(base) }
    }

    fn primary(&mut self) -> Option<Ratio> {
        self.primaries_left = self.primaries_left.checked_sub(1)?;
        if self.accept("(") {
            let value = self.sum()?;
            return self.accept(")").then_some(value);
        }
        if self.accept("\"") {
            return self.quoted_name().map(|name| Ratio::whole(Dim::symbol(&name)));
        }
        self.rest = self.rest.trim_start();
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let value = self.take(digits)?.parse().ok()?;
            // `2b` and `0.5` are not arithmetic over integers.
            let ends = !self.rest.starts_with(|next: char| next.is_alphanumeric() || "_.".contains(next));
            return ends.then(|| Ratio::whole(Dim::known(value)));
        }
        let name = self.take(name_length(self.rest))?;
        if self.accept("(") {
            let arguments = self.arguments()?;
            return call(name, arguments);
        }
        (!name.is_empty()).then(|| Ratio::whole(Dim::symbol(name)))
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// The rest of a quoted name, in which a backslash keeps the next character as it is.
    fn quoted_name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => name.push(characters.next()?),
                other => name.push(other),
            }
        }
        self.rest = characters.as_str();
        (!name.is_empty()).then_some(name)
    }

    fn arguments(&mut self) -> Option<Vec<Ratio>> {
        let mut arguments = vec![self.sum()?];
        while self.accept(",") {
            arguments.push(self.sum()?);
        }
        self.accept(")").then_some(arguments)
    }
}

/// The functions that PyTorch and SymPy print, and our own.
fn call(name: &str, arguments: Vec<Ratio>) -> Option<Ratio> {
    let value = match (name, <[Ratio; 1]>::try_from(arguments)) {
        ("floor" | "FloorToInt", Ok([x])) => x.settle(),
        ("ceil" | "ceiling" | "CeilToInt", Ok([x])) => x.numerator.ceil_div(x.denominator),
        ("trunc" | "TruncToInt", Ok([x])) => x.numerator.trunc_div(x.denominator),
        ("min" | "Min" | "max" | "Max", Ok([x])) => x.settle(),
        ("min" | "Min", Err(all)) => all.into_iter().map(Ratio::settle).reduce(|a, b| a.min(b))?,
        ("max" | "Max", Err(all)) => all.into_iter().map(Ratio::settle).reduce(|a, b| a.max(b))?,
        (_, Err(all)) => {
            let [x, y] = <[Ratio; 2]>::try_from(all).ok()?;
            let (x, y) = (x.settle(), y.settle());
            match name {
                "Mod" | "mod" | "PythonMod" => x.modulo(y),
                "FloorDiv" | "CleanDiv" | "floor_div" => x.floor_div(y),
                "CeilDiv" | "ceil_div" => x.ceil_div(y),
                "trunc_div" => x.trunc_div(y),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Ratio::whole(value))
}

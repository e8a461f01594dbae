//! From a pattern's text to its terms.

use super::{Argument, NodePattern, Pattern, Slot, Term, TermId, TermKind};
use std::collections::HashMap;

impl Pattern {
    /// Compiles the text of a pattern, or tells what is wrong with it and where.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        let mut parser = Parser { tokens: tokens(text)?, position: 0, ..Parser::default() };
        let mut root = None;
        while !parser.is_at_end() {
            if !parser.accept("\n") {
                root = Some(parser.line()?);
            }
        }
        let root = root.ok_or("the pattern is empty")?;
        Ok(Pattern { terms: parser.terms, names: parser.names, root })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(f64),
    Mark(&'static str),
}

const MARKS: &[&str] = &["...", "\n", "(", ")", "[", "]", ",", "=", "+", "-", "*", "/", "|", "?", "$", "&", "."];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let starts_number = first.is_ascii_digit();
        let length = if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            tokens.push(Token::Mark(mark));
            mark.len()
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_part = |(i, c): (usize, char)| {
                c.is_ascii_alphanumeric()
                    || c == '_'
                    || starts_number && (c == '.' || c == '-' && rest[..i].ends_with('e'))
            };
            let end = rest.char_indices().find(|&at| !is_part(at)).map_or(rest.len(), |(i, _)| i);
            let word = &rest[..end];
            tokens.push(match starts_number {
                true => Token::Number(word.parse().map_err(|_| format!("{word:?} is no number"))?),
                false => Token::Name(word.to_owned()),
            });
            end
        } else if first.is_whitespace() {
            first.len_utf8()
        } else {
            return Err(format!("unexpected {first:?}"));
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

#[derive(Default)]
struct Parser {
    tokens: Vec<Token>,
    position: usize,
    terms: Vec<Term>,
    names: Vec<String>,
    /// The term of each name.
    named: HashMap<String, TermId>,
}

impl Parser {
    fn is_at_end(&self) -> bool {
        self.position == self.tokens.len()
    }

    fn accept(&mut self, mark: &str) -> bool {
        let is_there = matches!(self.tokens.get(self.position), Some(Token::Mark(m)) if *m == mark);
        self.position += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        if self.accept(mark) { Ok(()) } else { Err(self.unexpected(&format!("{mark:?}"))) }
    }

    fn unexpected(&self, expected: &str) -> String {
        format!("expected {expected}, got {:?} (token {})", self.tokens.get(self.position), self.position)
    }

    fn name(&mut self) -> Option<String> {
        let Some(Token::Name(name)) = self.tokens.get(self.position) else { return None };
        self.position += 1;
        Some(name.clone())
    }

    fn add(&mut self, kind: TermKind) -> TermId {
        self.terms.push(Term { kind, slot: None });
        self.terms.len() - 1
    }

    fn slot(&mut self, name: &str) -> Slot {
        self.names.push(name.to_owned());
        self.names.len() - 1
    }

    /// `name = alternatives`, or alternatives alone.
    fn line(&mut self) -> Result<TermId, String> {
        let start = self.position;
        let name = self.name().filter(|_| self.accept("="));
        if name.is_none() {
            self.position = start;
        }
        let term = self.alternatives()?;
        if !self.is_at_end() {
            self.expect("\n")?;
        }
        if let Some(name) = name {
            if self.named.contains_key(&name) {
                return Err(format!("{name:?} is used before its line, or has two"));
            }
            let slot = self.slot(&name);
            self.terms[term].slot = Some(slot);
            self.named.insert(name, term);
        }
        Ok(term)
    }

    fn alternatives(&mut self) -> Result<TermId, String> {
        let mut terms = vec![self.sum()?];
        while self.accept("|") {
            terms.push(self.sum()?);
        }
        Ok(if terms.len() == 1 { terms[0] } else { self.add(TermKind::Either(terms)) })
    }

    fn sum(&mut self) -> Result<TermId, String> {
        let mut left = self.product()?;
        loop {
            if self.accept("+") {
                let right = self.product()?;
                left = self.chain("Add", left, right);
            } else if self.accept("-") {
                let right = self.product()?;
                left = self.binary("Sub", left, right);
            } else {
                return Ok(left);
            }
        }
    }

    fn product(&mut self) -> Result<TermId, String> {
        let mut left = self.factor()?;
        loop {
            if self.accept("*") {
                let right = self.factor()?;
                left = self.chain("Mul", left, right);
            } else if self.accept("/") {
                let right = self.factor()?;
                left = self.binary("Div", left, right);
            } else {
                return Ok(left);
            }
        }
    }

    /// `left` with one more term, or a sum or product of two.
    fn chain(&mut self, operator: &'static str, left: TermId, right: TermId) -> TermId {
        if let Term { kind: TermKind::Chain { operator: same, terms }, slot: None } = &mut self.terms[left]
            && *same == operator
        {
            terms.push(right);
            return left;
        }
        self.add(TermKind::Chain { operator, terms: vec![left, right] })
    }

    fn binary(&mut self, name: &str, left: TermId, right: TermId) -> TermId {
        self.operator(name, vec![left, right])
    }

    fn operator(&mut self, name: &str, arguments: Vec<TermId>) -> TermId {
        let arguments = arguments.into_iter().map(|term| Argument { term, may_be_absent: false }).collect();
        self.add(TermKind::Node(NodePattern {
            domain: String::new(),
            name: name.to_owned(),
            arguments,
            is_open: false,
            is_optional: false,
            may_be_shared: false,
            output: 0,
        }))
    }

    fn factor(&mut self) -> Result<TermId, String> {
        if self.accept("(") {
            let term = self.alternatives()?;
            self.expect(")")?;
            return Ok(term);
        }
        if self.accept("-") {
            if let Some(&Token::Number(number)) = self.tokens.get(self.position) {
                self.position += 1;
                return Ok(self.add(TermKind::Number(-number)));
            }
            let of = self.factor()?;
            return Ok(self.operator("Neg", vec![of]));
        }
        if let Some(&Token::Number(number)) = self.tokens.get(self.position) {
            self.position += 1;
            return Ok(self.add(TermKind::Number(number)));
        }
        let may_be_shared = self.accept("&");
        let is_constant = !may_be_shared && self.accept("$");
        let name = self.name().ok_or_else(|| self.unexpected("an expression"))?;
        let at =
            |offset: usize, mark| matches!(self.tokens.get(self.position + offset), Some(Token::Mark(m)) if *m == mark);
        if !is_constant && (at(0, "(") || at(0, ".") || at(0, "?") && at(1, "(")) {
            return self.node(name, may_be_shared);
        }
        Ok(self.value(&name, is_constant))
    }

    fn value(&mut self, name: &str, is_constant: bool) -> TermId {
        if name == "_" {
            return self.add(if is_constant { TermKind::Constant } else { TermKind::Anything });
        }
        if let Some(&term) = self.named.get(name) {
            return term;
        }
        let term = self.add(if is_constant { TermKind::Constant } else { TermKind::Value });
        let slot = self.slot(name);
        self.terms[term].slot = Some(slot);
        self.named.insert(name.to_owned(), term);
        term
    }

    /// What follows the first word of an operator.
    fn node(&mut self, first: String, may_be_shared: bool) -> Result<TermId, String> {
        let mut words = vec![first];
        while self.accept(".") {
            words.push(self.name().ok_or_else(|| self.unexpected("a name"))?);
        }
        let name = words.pop().unwrap_or_default();
        let is_optional = self.accept("?");
        self.expect("(")?;
        let (mut arguments, mut is_open) = (Vec::new(), false);
        while !self.accept(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            if self.accept("...") {
                is_open = true;
                self.expect(")")?;
                break;
            }
            let term = self.alternatives()?;
            arguments.push(Argument { term, may_be_absent: self.accept("?") });
        }
        let mut output = 0;
        if self.accept("[") {
            let Some(&Token::Number(number)) = self.tokens.get(self.position) else {
                return Err(self.unexpected("the number of an output"));
            };
            output = number as usize;
            self.position += 1;
            self.expect("]")?;
        }
        let domain = words.join(".");
        let node = NodePattern { domain, name, arguments, is_open, is_optional, may_be_shared, output };
        Ok(self.add(TermKind::Node(node)))
    }
}

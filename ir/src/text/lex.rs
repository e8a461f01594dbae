//! Text to tokens.

use super::ParseError;

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// An identifier.
    Name(String),
    /// A quoted string.
    Quoted(String),
    /// A number as written: decimal, or bits after `0x`.
    Number(String),
    /// Punctuation; `=>` is one token.
    Mark(&'static str),
    /// `#!`, which opens a remark.
    Remark,
    End,
}

/// Words that a value cannot be called by without quotes.
pub(super) fn is_reserved(word: &str) -> bool {
    matches!(word, "inf" | "nan" | "true" | "false")
}

const MARKS: &[&str] = &["=>", "(", ")", "[", "]", "{", "}", "<", ">", ",", "=", ":", ".", "?", "-", "@"];

/// All tokens of `text`, an end token last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { rest: text, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let (line, column) = (lexer.line, lexer.column);
        let kind = lexer.next()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, line, column });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl Lexer<'_> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, column: self.column, message: message.into() }
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if c == '#' && !self.rest.starts_with("#!") {
                while self.rest.chars().next().is_some_and(|c| c != '\n') {
                    self.advance();
                }
            } else if c.is_whitespace() {
                self.advance();
            } else {
                return;
            }
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while self.rest.chars().next().is_some_and(&accept) {
            taken.extend(self.advance());
        }
        taken
    }

    fn next(&mut self) -> Result<TokenKind, ParseError> {
        let Some(c) = self.rest.chars().next() else { return Ok(TokenKind::End) };
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(TokenKind::Name(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')));
        }
        if c == '"' {
            return self.quoted();
        }
        let negative_number = c == '-' && self.rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if c.is_ascii_digit() || negative_number {
            return Ok(TokenKind::Number(self.number()));
        }
        if self.rest.starts_with("#!") {
            self.advance();
            self.advance();
            return Ok(TokenKind::Remark);
        }
        match MARKS.iter().find(|mark| self.rest.starts_with(**mark)) {
            Some(mark) => {
                mark.chars().for_each(|_| {
                    self.advance();
                });
                Ok(TokenKind::Mark(mark))
            }
            None => Err(self.error(format!("unexpected character {c:?}"))),
        }
    }

    /// A sign, digits, a fraction, an exponent; or a hexadecimal number.
    fn number(&mut self) -> String {
        if self.rest.starts_with("0x") {
            return self.take_while(|c| c.is_ascii_alphanumeric());
        }
        let mut text: String = self.advance().into_iter().collect();
        text += &self.take_while(|c| c.is_ascii_digit());
        if self.rest.starts_with('.') {
            text.extend(self.advance());
            text += &self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest.starts_with(['e', 'E']) {
            text.extend(self.advance());
            if self.rest.starts_with(['+', '-']) {
                text.extend(self.advance());
            }
            text += &self.take_while(|c| c.is_ascii_digit());
        }
        text
    }

    fn quoted(&mut self) -> Result<TokenKind, ParseError> {
        self.advance();
        let mut text = String::new();
        loop {
            match self.advance() {
                None => return Err(self.error("a string has no end")),
                Some('"') => return Ok(TokenKind::Quoted(text)),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        match self.advance() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => {
                if self.advance() != Some('{') {
                    return Err(self.error("expected { after \\u"));
                }
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                let c = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                match (c, self.advance()) {
                    (Some(c), Some('}')) => Ok(c),
                    _ => Err(self.error("expected a character's number in hexadecimal and }")),
                }
            }
            Some(c @ ('"' | '\\' | '\'')) => Ok(c),
            _ => Err(self.error("unknown escape in a string")),
        }
    }
}

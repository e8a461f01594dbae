//! `Tokenizer` of `com.microsoft`: each string cut into tokens, padded to the most tokens of any.
//!
//! Tokens are what a regular expression finds, or what lies between the matches of others, or single characters.

use super::DOMAIN;
use crate::Define;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    STRING, Schema, arg, optional, required,
};
use planish_tensor::{DType, Shape, Tensor};
use regex::Regex;

/// Tokens that stand for the start and the end of a text, where `mark` asks for them.
const MARKS: [&str; 2] = ["\u{2}", "\u{3}"];

/// `Tokenizer`.
#[derive(Debug)]
pub struct Tokenizer {
    method: Method,
    /// Shorter tokens are left out.
    least_chars: usize,
    is_marked: bool,
    padding: String,
}

#[derive(Debug)]
enum Method {
    /// Each character.
    Chars,
    /// What the expression finds.
    Found(Regex),
    /// What is left after cutting at the matches of each expression in turn.
    Between(Vec<Regex>),
}

impl Define for Tokenizer {
    const SCHEMA: Schema = Schema::new("Tokenizer", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", STRING).var("T")])
        .outputs(&[arg("Y", STRING).var("T")])
        .attributes(&[
            required("mark", AttributeKind::Int),
            required("mincharnum", AttributeKind::Int),
            required("pad_value", AttributeKind::String),
            optional("separators", AttributeKind::Strings),
            optional("tokenexp", AttributeKind::String),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let least = node.int("mincharnum")?;
        let least_chars = usize::try_from(least).ok().filter(|&least| least > 0);
        let least_chars = least_chars
            .ok_or_else(|| AttributeError::invalid(format!("attribute \"mincharnum\": {least} is not positive")))?;
        let method = match (node.opt_strings("separators").unwrap_or_default(), node.opt_string("tokenexp")) {
            ([], Some(token)) => Method::Found(expression(token)?),
            ([one], None) if one.is_empty() => Method::Chars,
            (separators @ [_, ..], None) => {
                Method::Between(separators.iter().map(|s| expression(s)).collect::<Result<_, _>>()?)
            }
            _ => {
                let message = "expected one of the attributes \"separators\" and \"tokenexp\"";
                return Err(AttributeError::invalid(message));
            }
        };
        let padding = node.string("pad_value")?.to_owned();
        Ok(Tokenizer { method, least_chars, is_marked: node.flag("mark")?, padding })
    }
}

fn expression(text: &str) -> Result<Regex, AttributeError> {
    Regex::new(text).map_err(|e| AttributeError::unsupported(format!("the regular expression {text:?}: {e}")))
}

impl Tokenizer {
    fn tokens<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut tokens: Vec<&str> = match &self.method {
            Method::Chars => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
            Method::Found(token) => token.find_iter(text).map(|found| found.as_str()).collect(),
            Method::Between(separators) => separators.iter().fold(vec![text], |parts, separator| {
                parts.into_iter().flat_map(|part| separator.split(part).collect::<Vec<_>>()).collect()
            }),
        };
        tokens.retain(|token| token.chars().take(self.least_chars).count() == self.least_chars);
        tokens
    }
}

impl Op for Tokenizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(Some(DType::String))]) };
        let dims = shape.iter().cloned().chain([Dim::unknown()]).collect();
        Ok(vec![Fact::shaped(Some(DType::String), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let texts = x.as_strings()?;
        let bytes: usize = texts.iter().map(String::len).sum();
        // A token takes at least a byte of the text, and a slice while it is counted.
        let _charged = cx.memory.reserve(bytes.saturating_mul(size_of::<&str>()))?;
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            cx.check()?;
            rows.push(self.tokens(text));
        }
        let most = rows.iter().map(Vec::len).max().unwrap_or(0);
        // Where no text has any token, there are no marks either.
        let is_marked = self.is_marked && most > 0;
        let most = if is_marked { most + MARKS.len() } else { most };
        let shape = Shape::new(&[x.shape().dims(), &[most]].concat())?;
        let per_token = size_of::<String>().saturating_add(self.padding.len());
        let _tokens = cx.memory.reserve(shape.num_elements().saturating_mul(per_token).saturating_add(bytes))?;
        let mut tokens: Vec<String> = Vec::with_capacity(shape.num_elements());
        for (row, found) in rows.into_iter().enumerate() {
            let [start, end] = MARKS.map(|mark| is_marked.then_some(mark));
            tokens.extend(start.into_iter().chain(found).chain(end).map(str::to_owned));
            tokens.resize((row + 1) * most, self.padding.clone());
        }
        Ok(Tensor::from_strings(shape, tokens)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::eval_all;
    use planish_ir::{Attribute, Attributes, OpError};
    use planish_tensor::{Shape, Tensor};

    fn words(dims: &[usize], words: &[&str]) -> Tensor {
        Tensor::from_strings(Shape::new(dims).unwrap(), words.iter().map(|&w| w.to_owned()).collect()).unwrap()
    }

    fn run(attributes: Attributes, texts: &[&str]) -> Result<Tensor, OpError> {
        let attributes = attributes.with("pad_value", "#");
        let x = words(&[texts.len()], texts);
        Ok(eval_all("com.microsoft", "Tokenizer", attributes, &[Some(x)], 1)?.remove(0))
    }

    fn common(mark: i64, least: i64) -> Attributes {
        Attributes::new().with("mark", mark).with("mincharnum", least)
    }

    fn separators(list: &[&str]) -> Attribute {
        Attribute::Strings(list.iter().map(|&s| s.to_owned()).collect())
    }

    #[test]
    fn tokens_are_found_cut_out_or_single_characters() {
        let y = run(common(0, 1).with("tokenexp", "[a-z]+"), &["ab, c!", "é"]).unwrap();
        assert_eq!(y, words(&[2, 2], &["ab", "c", "#", "#"]));
        let y = run(common(1, 2).with("separators", separators(&[" ", ";"])), &["ab c;de"]).unwrap();
        assert_eq!(y, words(&[1, 4], &["\u{2}", "ab", "de", "\u{3}"]));
        let y = run(common(0, 1).with("separators", separators(&[""])), &["aé"]).unwrap();
        assert_eq!(y, words(&[1, 2], &["a", "é"]));
        let y = run(common(0, 1).with("tokenexp", "x"), &["", "a"]).unwrap();
        assert_eq!(y, words(&[2, 0], &[]));
        let y = run(common(1, 1).with("tokenexp", "x"), &["x", "a"]).unwrap();
        assert_eq!(y, words(&[2, 3], &["\u{2}", "x", "\u{3}", "\u{2}", "\u{3}", "#"]));
        let y = run(common(1, 1).with("tokenexp", "x"), &["", "a"]).unwrap();
        assert_eq!(y, words(&[2, 0], &[]));
    }

    #[test]
    fn one_method_is_needed() {
        assert!(run(common(0, 1), &["a"]).is_err());
        assert!(run(common(0, 0).with("tokenexp", "a"), &["a"]).is_err());
        let both = common(0, 1).with("tokenexp", "a").with("separators", separators(&[" "]));
        assert!(run(both, &["a"]).is_err());
    }
}

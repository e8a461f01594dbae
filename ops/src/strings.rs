//! `StringConcat`, `StringSplit`, `StringNormalizer`, `RegexFullMatch`: operators on text.
//!
//! Opsets: `StringNormalizer` 10; the others 20.

use crate::Define;
use crate::broadcast::Walk;
use crate::elementwise::infer_broadcast;
use planish_ir::{
    AttributeError, AttributeKind, BOOL, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, STRING, Schema, arg, int, optional, string,
};
use planish_tensor::{DType, Shape, Tensor};
use regex::Regex;
use std::collections::HashSet;

/// `StringConcat`: X followed by Y, with multidirectional broadcasting.
#[derive(Debug)]
pub struct StringConcat;

impl Define for StringConcat {
    const SCHEMA: Schema = Schema::new("StringConcat", 20)
        .inputs(&[arg("X", STRING).var("T"), arg("Y", STRING).var("T")])
        .outputs(&[arg("Z", STRING).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(StringConcat)
    }
}

impl Op for StringConcat {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, Some(DType::String), |_| Dim::unknown())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, y) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let walk = Walk::new([x.shape(), y.shape()])?;
        let (x, y) = (x.as_strings()?, y.as_strings()?);
        let shape = walk.shape().clone();
        let _charged = charge_text(cx, shape.num_elements(), longest(x).saturating_add(longest(y)))?;
        let mut joined = vec![String::new(); shape.num_elements()];
        walk.fill(cx, &mut joined, 50.0, |run, [at_x, at_y]| {
            for (i, joined) in run.iter_mut().enumerate() {
                *joined = [at_x.at(x, i).as_str(), at_y.at(y, i).as_str()].concat();
            }
        })?;
        Ok(Tensor::from_strings(shape, joined)?.into())
    }
}

fn longest(strings: &[String]) -> usize {
    strings.iter().map(String::len).max().unwrap_or(0)
}

/// Charges `count` strings of at most `longest` bytes while they are made.
fn charge_text(cx: &EvalCx<'_>, count: usize, longest: usize) -> Result<planish_tensor::Reservation, OpError> {
    Ok(cx.memory.reserve(count.saturating_mul(longest.saturating_add(size_of::<String>())))?)
}

/// `StringSplit`: the parts of each string between delimiters, padded with empty strings to the most parts of any, and how many
/// there are.
#[derive(Debug)]
pub struct StringSplit {
    /// Runs of whitespace separate where there is none.
    delimiter: Option<String>,
    /// The most splits.
    maxsplit: Option<usize>,
}

impl Define for StringSplit {
    const SCHEMA: Schema = Schema::new("StringSplit", 20)
        .inputs(&[arg("X", STRING).var("T1")])
        .outputs(&[arg("Y", STRING).var("T2"), arg("Z", INT64).var("T3")])
        .attributes(&[optional("delimiter", AttributeKind::String), optional("maxsplit", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let delimiter = node.opt_string("delimiter").filter(|d| !d.is_empty()).map(str::to_owned);
        let maxsplit = node.opt_int("maxsplit").map(|most| {
            let negative = || AttributeError::invalid(format!("attribute \"maxsplit\": {most} is negative"));
            usize::try_from(most).map_err(|_| negative())
        });
        Ok(StringSplit { delimiter, maxsplit: maxsplit.transpose()? })
    }
}

impl StringSplit {
    fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let most_parts = self.maxsplit.map_or(usize::MAX, |most| most.saturating_add(1));
        let Some(delimiter) = &self.delimiter else { return split_whitespace(text, most_parts) };
        text.splitn(most_parts, delimiter.as_str()).collect()
    }
}

/// The words of `text`, the last of `most_parts` with all that follows it.
fn split_whitespace(text: &str, most_parts: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).filter(|_| parts.len() + 1 < most_parts).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after.trim_start();
    }
    parts
}

impl Op for StringSplit {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else {
            return Ok(vec![Fact::tensor(Some(DType::String)), Fact::tensor(Some(DType::I64))]);
        };
        let parts = shape.iter().cloned().chain([Dim::unknown()]).collect();
        Ok(vec![Fact::shaped(Some(DType::String), parts), Fact::shaped(Some(DType::I64), shape.to_vec())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let strings = x.as_strings()?;
        let mut counts = cx.uninit::<i64>(x.shape().clone())?;
        for (count, text) in counts.iter_mut().zip(strings) {
            *count = self.split(text).len() as i64;
        }
        let most = counts.iter().max().map_or(0, |&most| most as usize);
        let dims: Vec<usize> = x.shape().iter().copied().chain([most]).collect();
        let shape = Shape::new(&dims)?;
        let text_bytes: usize = strings.iter().map(String::len).sum();
        let _charged =
            cx.memory.reserve(text_bytes.saturating_add(shape.num_elements().saturating_mul(size_of::<String>())))?;
        let mut parts = Vec::with_capacity(shape.num_elements());
        for (row, text) in strings.iter().enumerate() {
            cx.check()?;
            parts.extend(self.split(text).into_iter().map(str::to_owned));
            parts.resize((row + 1) * most, String::new());
        }
        Ok([Tensor::from_strings(shape, parts)?, counts.freeze()].into())
    }
}

/// `StringNormalizer`: the strings that are no stop words, in lower or upper case if asked for.
///
/// Case is that of Unicode whatever the locale, but that of ASCII in the locale "C".
#[derive(Debug)]
pub struct StringNormalizer {
    case: Case,
    is_ascii: bool,
    is_case_sensitive: bool,
    /// In lower case unless case matters.
    stopwords: HashSet<String>,
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Unchanged,
    Lower,
    Upper,
}

impl Define for StringNormalizer {
    const SCHEMA: Schema =
        Schema::new("StringNormalizer", 10).inputs(&[arg("X", STRING)]).outputs(&[arg("Y", STRING)]).attributes(&[
            string("case_change_action", "NONE"),
            int("is_case_sensitive", 0),
            optional("locale", AttributeKind::String),
            optional("stopwords", AttributeKind::Strings),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let actions = [("NONE", Case::Unchanged), ("LOWER", Case::Lower), ("UPPER", Case::Upper)];
        let is_case_sensitive = node.flag("is_case_sensitive")?;
        let is_ascii = matches!(node.opt_string("locale"), Some("C" | "POSIX"));
        let fold = |word: &String| if is_case_sensitive { word.clone() } else { lower(word, is_ascii) };
        let stopwords = node.opt_strings("stopwords").unwrap_or_default().iter().map(fold).collect();
        let case = node.choice("case_change_action", &actions)?;
        Ok(StringNormalizer { case, is_ascii, is_case_sensitive, stopwords })
    }
}

fn lower(word: &str, is_ascii: bool) -> String {
    if is_ascii { word.to_ascii_lowercase() } else { word.to_lowercase() }
}

impl StringNormalizer {
    fn is_kept(&self, word: &str) -> bool {
        if self.is_case_sensitive {
            !self.stopwords.contains(word)
        } else {
            self.stopwords.is_empty() || !self.stopwords.contains(&lower(word, self.is_ascii))
        }
    }

    fn change(&self, word: &str) -> String {
        match self.case {
            Case::Unchanged => word.to_owned(),
            Case::Lower => lower(word, self.is_ascii),
            Case::Upper if self.is_ascii => word.to_ascii_uppercase(),
            Case::Upper => word.to_uppercase(),
        }
    }
}

impl Op for StringNormalizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(Some(DType::String))]) };
        let may_drop = !self.stopwords.is_empty() || shape.last().is_none_or(|dim| dim.at_least() < Some(1));
        let mut shape = shape.to_vec();
        match shape.len() {
            1 | 2 if may_drop => *shape.last_mut().expect("rank 1 or 2") = Dim::unknown(),
            1 | 2 => {}
            rank => return Err(InferError(format!("expected rank 1 or 2, got rank {rank}"))),
        }
        Ok(vec![Fact::shaped(Some(DType::String), shape)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        if !matches!(x.shape().dims(), [_] | [1, _]) {
            return Err(OpError::invalid(format!("expected a shape of [C] or [1, C], got {}", x.shape())));
        }
        let strings = x.as_strings()?;
        // Changing case can make a character up to three times as long.
        let _charged = charge_text(cx, strings.len(), longest(strings).saturating_mul(3))?;
        let kept = strings.iter().filter(|word| self.is_kept(word));
        let mut words: Vec<String> = kept.map(|word| self.change(word)).collect();
        if words.is_empty() {
            words.push(String::new());
        }
        let shape = if x.rank() == 1 { Shape::new(&[words.len()])? } else { Shape::new(&[1, words.len()])? };
        Ok(Tensor::from_strings(shape, words)?.into())
    }
}

/// `RegexFullMatch`: whether the pattern matches all of each string. Matching takes time linear in the string.
#[derive(Debug)]
pub struct RegexFullMatch {
    pattern: Regex,
}

impl Define for RegexFullMatch {
    const SCHEMA: Schema = Schema::new("RegexFullMatch", 20)
        .inputs(&[arg("X", STRING).var("T1")])
        .outputs(&[arg("Y", BOOL).var("T2")])
        .attributes(&[optional("pattern", AttributeKind::String)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let pattern = node.opt_string("pattern").unwrap_or_default();
        let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
        let refused = |error| AttributeError::unsupported(format!("attribute \"pattern\": {error}"));
        Ok(RegexFullMatch { pattern: regex.map_err(refused)? })
    }
}

impl Op for RegexFullMatch {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![match x.shape(0) {
            Some(shape) => Fact::shaped(Some(DType::Bool), shape.to_vec()),
            None => Fact::tensor(Some(DType::Bool)),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let mut y = cx.uninit::<bool>(x.shape().clone())?;
        for (y, text) in y.iter_mut().zip(x.as_strings()?) {
            cx.check()?;
            *y = self.pattern.is_match(text);
        }
        Ok(y.freeze().into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::{Attribute, Attributes};
    use planish_tensor::{Shape, Tensor};

    fn words(dims: &[usize], words: &[&str]) -> Tensor {
        Tensor::from_strings(Shape::new(dims).unwrap(), words.iter().map(|&w| w.to_owned()).collect()).unwrap()
    }

    #[test]
    fn strings_join_with_broadcasting() {
        let y = eval("StringConcat", Attributes::new(), &[words(&[2], &["a", "é"]), words(&[2, 1], &["1", ""])]);
        assert_eq!(y.unwrap(), words(&[2, 2], &["a1", "é1", "a", "é"]));
    }

    #[test]
    fn strings_split_at_delimiters_or_whitespace() {
        struct Case {
            delimiter: &'static str,
            maxsplit: Option<i64>,
            text: &'static [&'static str],
            parts: &'static [&'static str],
            counts: &'static [i64],
        }
        for Case { delimiter, maxsplit, text, parts, counts } in [
            Case {
                delimiter: "-",
                maxsplit: None,
                text: &["o--x", "n"],
                parts: &["o", "", "x", "n", "", ""],
                counts: &[3, 1],
            },
            Case { delimiter: "", maxsplit: None, text: &["", " a  b "], parts: &["", "", "a", "b"], counts: &[0, 2] },
            Case { delimiter: "", maxsplit: Some(1), text: &["a b c"], parts: &["a", "b c"], counts: &[2] },
            Case { delimiter: ".", maxsplit: Some(1), text: &["a.b.c"], parts: &["a", "b.c"], counts: &[2] },
            Case { delimiter: "", maxsplit: None, text: &[], parts: &[], counts: &[] },
        ] {
            let mut attributes = Attributes::new().with("delimiter", delimiter);
            if let Some(most) = maxsplit {
                attributes.set("maxsplit", most);
            }
            let y = eval_all("", "StringSplit", attributes, &[Some(words(&[text.len()], text))], 2).unwrap();
            let width = parts.len() / text.len().max(1);
            assert_eq!(y, [words(&[text.len(), width], parts), tensor(&[text.len()], counts)]);
        }
    }

    #[test]
    fn stop_words_are_dropped() {
        let normalize = |action: &str, is_case_sensitive: i64, x: Tensor| {
            let mut attributes =
                Attributes::new().with("case_change_action", action).with("is_case_sensitive", is_case_sensitive);
            attributes.set("stopwords", Attribute::Strings(vec!["Monday".to_owned()]));
            eval("StringNormalizer", attributes, &[x]).unwrap()
        };
        let x = words(&[1, 3], &["monday", "Monday", "Tuesday"]);
        assert_eq!(normalize("UPPER", 1, x.clone()), words(&[1, 2], &["MONDAY", "TUESDAY"]));
        assert_eq!(normalize("LOWER", 0, x), words(&[1, 1], &["tuesday"]));
        assert_eq!(normalize("NONE", 0, words(&[1], &["MONDAY"])), words(&[1], &[""]));
    }

    #[test]
    fn case_is_that_of_ascii_in_the_locale_c() {
        let lower = |locale: &str| {
            let mut attributes = Attributes::new().with("case_change_action", "LOWER").with("locale", locale);
            attributes.set("stopwords", Attribute::Strings(vec!["É".to_owned()]));
            eval("StringNormalizer", attributes, &[words(&[3], &["ÉA", "é", "É"])]).unwrap()
        };
        assert_eq!(lower("C"), words(&[2], &["Éa", "é"]));
        assert_eq!(lower("en_US"), words(&[1], &["éa"]));
    }

    #[test]
    fn patterns_match_the_whole_string() {
        let matches = |pattern: &str, text: &str| {
            let y = eval("RegexFullMatch", Attributes::new().with("pattern", pattern), &[words(&[1], &[text])]);
            y.map(|y| y.as_slice::<bool>().unwrap()[0])
        };
        assert_eq!(matches(r"www\.[\w.-]+", "www.a.com"), Ok(true));
        assert_eq!(matches(r"a|ab", "ab"), Ok(true));
        assert_eq!(matches(r"a", "ab"), Ok(false));
    }
}

//! The inputs that a language model takes besides its tokens: an attention mask, positions, keys and values of the past.

use planish_ir::{Dim, Graph, Type};
use planish_tensor::{DType, Memory, PayloadError, Shape, Tensor, Value};
use std::fmt;

/// Why a model is not one that reads tokens.
#[derive(Debug)]
#[non_exhaustive]
pub enum LanguageError {
    /// No input takes tokens.
    NoTokens,
    /// No output gives a number for each token that may follow.
    NoLogits,
    /// An input that is nothing which a language model takes.
    Input {
        /// Its name and type.
        input: String,
        /// What stands in the way.
        why: String,
    },
    /// An input does not fit the memory there is.
    Memory(PayloadError),
}

impl fmt::Display for LanguageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LanguageError::NoTokens => {
                f.write_str("the model reads no tokens: it has no input of integers [batch, sequence]")
            }
            LanguageError::NoLogits => {
                f.write_str("the model guesses no tokens: it has no output [batch, sequence, vocabulary]")
            }
            LanguageError::Input { input, why } => write!(f, "input {input}: {why}"),
            LanguageError::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LanguageError {}

/// What a model's input is to a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Tokens,
    Mask,
    Positions,
    /// Keys or values of tokens read before, of which there are none; its extents but for the batch.
    Past(Vec<usize>),
    /// Whether there is a past.
    HasPast,
}

/// How to give a model a window of tokens with nothing before it.
#[derive(Clone, Debug)]
pub struct Feed {
    inputs: Vec<(String, DType, Role)>,
    logits: String,
}

/// Which input is what, by the names that exporters give.
const TOKENS: &[&str] = &["input_ids", "ids", "tokens", "decoder_input_ids"];
const MASKS: &[&str] = &["attention_mask", "mask"];
const POSITIONS: &[&str] = &["position_ids", "positions", "cache_position"];

fn is_integer(dtype: Option<DType>) -> bool {
    matches!(dtype, Some(DType::I64 | DType::I32))
}

impl Feed {
    /// Finds out what each input of a language model is.
    pub fn of(graph: &Graph) -> Result<Feed, LanguageError> {
        let named = |v| (graph.value_name(v), &graph.fact(v).ty);
        let inputs: Vec<(&str, &Type)> = graph.inputs().map(named).collect();
        let could_be_tokens = |ty: &Type| is_integer(ty.dtype()) && ty.shape().is_none_or(|shape| shape.len() == 2);
        let mut of_integers = inputs.iter().filter(|(_, ty)| could_be_tokens(ty));
        let tokens = match of_integers.clone().find(|(name, _)| TOKENS.contains(name)) {
            Some(found) => found,
            None => of_integers.next().ok_or(LanguageError::NoTokens)?,
        };
        let logits = logits(graph).ok_or(LanguageError::NoLogits)?;
        let mut found = Vec::new();
        for (name, ty) in &inputs {
            let wrong = |why: &str| LanguageError::Input { input: format!("{name:?} ({ty})"), why: why.to_owned() };
            let dtype = ty.dtype().ok_or_else(|| wrong("its dtype is not known"))?;
            let role = match ty.shape() {
                _ if *name == tokens.0 => Role::Tokens,
                _ if is_integer(Some(dtype)) && MASKS.contains(name) => Role::Mask,
                _ if is_integer(Some(dtype)) && POSITIONS.contains(name) => Role::Positions,
                Some([] | [_]) if dtype == DType::Bool => Role::HasPast,
                Some(shape) if shape.len() >= 3 && matches!(dtype, DType::F32 | DType::F16 | DType::BF16) => {
                    Role::Past(past_extents(graph, name, shape).map_err(|why| wrong(&why))?)
                }
                _ => return Err(wrong("it is nothing that a language model is given besides tokens")),
            };
            found.push(((*name).to_owned(), dtype, role));
        }
        Ok(Feed { inputs: found, logits })
    }

    /// The name of the output that says which token follows each.
    pub fn logits(&self) -> &str {
        &self.logits
    }

    /// A value for each input: these tokens, and nothing before them.
    pub fn values(&self, tokens: &[i64]) -> Result<Vec<(String, Value)>, LanguageError> {
        let row = [1, tokens.len()];
        let value = |dtype: DType, role: &Role| -> Result<Tensor, PayloadError> {
            match role {
                Role::Tokens => integers(dtype, &row, tokens),
                Role::Mask => integers(dtype, &row, &vec![1; tokens.len()]),
                Role::Positions => integers(dtype, &row, &(0..).take(tokens.len()).collect::<Vec<i64>>()),
                Role::Past(extents) => Tensor::zeros(Memory::global(), dtype, shape(&[&[1], &extents[..]].concat())?),
                Role::HasPast => Tensor::zeros(Memory::global(), dtype, shape(&[1])?),
            }
        };
        let made = |(name, dtype, role): &(String, DType, Role)| {
            let tensor = value(*dtype, role).map_err(LanguageError::Memory)?;
            Ok((name.clone(), Value::Tensor(tensor)))
        };
        self.inputs.iter().map(made).collect()
    }
}

fn shape(dims: &[usize]) -> Result<Shape, PayloadError> {
    let wrong = |_| PayloadError::Size { dtype: DType::I64, shape: Shape::scalar(), expected: usize::MAX, got: 0 };
    Shape::new(dims).map_err(wrong)
}

fn integers(dtype: DType, dims: &[usize], elements: &[i64]) -> Result<Tensor, PayloadError> {
    match dtype {
        // Tokens, masks and positions of any model fit.
        DType::I32 => Tensor::new(shape(dims)?, &elements.iter().map(|&e| e as i32).collect::<Vec<i32>>()),
        _ => Tensor::new(shape(dims)?, elements),
    }
}

/// The output of rank 3 called `logits`, or the first of rank 3 and floats.
fn logits(graph: &Graph) -> Option<String> {
    let fits = |output: &&planish_ir::GraphOutput| {
        let ty = &graph.fact(output.value).ty;
        let ty = if ty.shape().is_some() { ty } else { &output.declared };
        matches!(ty.dtype(), None | Some(DType::F32 | DType::F16 | DType::BF16))
            && ty.shape().is_none_or(|shape| shape.len() == 3)
    };
    let outputs = || graph.outputs().iter().filter(fits);
    let found = outputs().find(|o| o.name == "logits").or_else(|| outputs().next())?;
    Some(found.name.clone())
}

/// The extents of keys or values of no tokens, but for the batch: the axis before the last counts tokens, the others are
/// known of the input or of the output that hands it on.
fn past_extents(graph: &Graph, name: &str, dims: &[Dim]) -> Result<Vec<usize>, String> {
    let handed_on = handed_on(graph, name, dims.len());
    let length_axis = dims.len() - 2;
    let extent = |(axis, dim): (usize, &Dim)| {
        if axis == length_axis {
            return Ok(0);
        }
        let known = dim.as_known().or_else(|| handed_on.get(axis).and_then(Dim::as_known));
        known
            .and_then(|extent| usize::try_from(extent).ok())
            .ok_or_else(|| format!("the extent of its dimension {dim} is not known"))
    };
    dims.iter().enumerate().skip(1).map(extent).collect()
}

/// What inference knows of the output that an input of keys or values becomes: `present.0.key` of `past_key_values.0.key`.
fn handed_on(graph: &Graph, name: &str, rank: usize) -> Vec<Dim> {
    let end = |text: &str| text.rsplit('.').take(2).map(str::to_owned).collect::<Vec<String>>();
    let mut outputs = graph.outputs().iter().filter(|o| end(&o.name) == end(name));
    let known =
        |o: &planish_ir::GraphOutput| graph.fact(o.value).ty.unify(&o.declared).unwrap_or_else(|_| o.declared.clone());
    let found = outputs.find_map(|o| known(o).shape().filter(|shape| shape.len() == rank).map(<[Dim]>::to_vec));
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn feed(signature: &str, nodes: &str) -> Result<Feed, LanguageError> {
        let text = format!("g ({signature} {{ {nodes} }}");
        Feed::of(&Graph::from_text(&text, &planish_ops::StandardRegistry).unwrap())
    }

    const CACHED: &str = "int64[b, s] input_ids, int64[b, t] attention_mask, int32[b, s] position_ids, \
        float[b, 2, p, d] \"past_key_values.0.key\", bool[1] use_cache_branch) => \
        (float[b, s, 3] logits, float[b, 2, n, 4] \"present.0.key\")";

    #[test]
    fn every_input_of_a_cached_model_is_given() {
        let nodes = "x = Cast <to = 1> (input_ids) logits = Unsqueeze (x, axes) \
            \"present.0.key\" = Reshape (\"past_key_values.0.key\", shape)";
        let signature = CACHED
            .replace("present.0.key\")", "present.0.key\") <int64[1] axes = {2}, int64[4] shape = {0, 2, -1, 4}>");
        let feed = feed(&signature, nodes).unwrap();
        assert_eq!(feed.logits(), "logits");
        let values: HashMap<String, Value> = feed.values(&[5, 6, 7]).unwrap().into_iter().collect();
        let tensor = |name: &str| values[name].as_tensor().unwrap();
        assert_eq!(tensor("input_ids").as_slice::<i64>().unwrap(), [5, 6, 7]);
        assert_eq!(tensor("attention_mask").as_slice::<i64>().unwrap(), [1, 1, 1]);
        assert_eq!(tensor("position_ids").as_slice::<i32>().unwrap(), [0, 1, 2]);
        assert_eq!(tensor("past_key_values.0.key").shape().dims(), [1, 2, 0, 4]);
        assert_eq!(tensor("use_cache_branch").as_slice::<bool>().unwrap(), [false]);
    }

    #[test]
    fn other_models_are_told_apart() {
        let cases = [
            ("float[n, 3] x) => (float[n, 3] y)", "y = Relu (x)", "reads no tokens"),
            ("int64[b, s] ids) => (float[b, s] y)", "y = Cast <to = 1> (ids)", "guesses no tokens"),
            (
                "int64[b, s] ids, float[b, 8] image) => (float[b, s, c] y) <int64[1] a = {2}>",
                "x = Cast <to = 1> (ids) y = Unsqueeze (x, a)",
                "\"image\"",
            ),
            (
                "int64[b, s] ids, float[b, h, p, 4] past) => (float[b, s, c] y) <int64[1] a = {2}>",
                "x = Cast <to = 1> (ids) y = Unsqueeze (x, a)",
                "dimension h",
            ),
        ];
        for (signature, nodes, message) in cases {
            let got = feed(signature, nodes).unwrap_err().to_string();
            assert!(got.contains(message), "{got}");
        }
    }
}

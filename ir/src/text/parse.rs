//! Reading.

use super::MAX_DEPTH;
use super::lex::{Token, TokenKind, tokens};
use crate::{Attribute, Attributes, Dim, Graph, GraphError, Registry, Type, ValueId};
use planish_tensor::{DType, Memory, Shape, Tensor, bf16, f16};
use std::fmt;
use std::sync::Arc;

/// Text that is no graph: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What was wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads a graph in ONNX's textual syntax, its operators made by `registry`.
pub fn parse(text: &str, registry: &dyn Registry) -> Result<Graph, ParseError> {
    let mut parser = Parser { tokens: tokens(text)?, position: 0, registry };
    let (graph, _) = parser.graph(None, 0)?;
    match parser.peek() {
        TokenKind::End => Ok(graph),
        _ => Err(parser.error("expected the end after the graph")),
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    position: usize,
    registry: &'a dyn Registry,
}

/// The names that a body can see in the graphs around it.
struct Scope<'a> {
    names: &'a Graph,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn sees(&self, name: &str) -> bool {
        let mut scope = Some(self);
        while let Some(s) = scope {
            if s.names.value(name).is_some() {
                return true;
            }
            scope = s.outer;
        }
        false
    }
}

/// Remarks that stand before something.
#[derive(Default)]
struct Remarks {
    doc: String,
    metadata: Vec<(String, String)>,
}

type Result<T, E = ParseError> = std::result::Result<T, E>;

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.position].kind
    }

    fn next(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        // The end token stays, so that there is always one to look at.
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        kind
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let Token { line, column, .. } = self.tokens[self.position];
        ParseError { line, column, message: message.into() }
    }

    fn is_at(&self, mark: &str) -> bool {
        matches!(self.peek(), TokenKind::Mark(m) if *m == mark)
    }

    fn accept(&mut self, mark: &str) -> bool {
        let is_there = self.is_at(mark);
        if is_there {
            self.next();
        }
        is_there
    }

    fn expect(&mut self, mark: &str) -> Result<()> {
        if self.accept(mark) { Ok(()) } else { Err(self.error(format!("expected {mark:?}"))) }
    }

    /// A name, plain or quoted.
    fn name(&mut self) -> Result<String> {
        match self.peek() {
            TokenKind::Name(_) | TokenKind::Quoted(_) => match self.next() {
                TokenKind::Name(name) | TokenKind::Quoted(name) => Ok(name),
                _ => Ok(String::new()),
            },
            _ => Err(self.error("expected a name")),
        }
    }

    /// Items separated by commas up to `end`, which is taken.
    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn remarks(&mut self) -> Result<Remarks> {
        let mut remarks = Remarks::default();
        while *self.peek() == TokenKind::Remark {
            self.next();
            match self.name()?.as_str() {
                "doc" => remarks.doc = self.name()?,
                "meta" => {
                    let key = self.name()?;
                    remarks.metadata.push((key, self.name()?));
                }
                _ => return Err(self.error("expected doc or meta")),
            }
        }
        Ok(remarks)
    }

    /// A graph, and where it is a body the names that it captures.
    fn graph(&mut self, outer: Option<&Scope<'_>>, depth: usize) -> Result<(Graph, Vec<String>)> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("bodies are nested deeper than {MAX_DEPTH}")));
        }
        let Remarks { doc, metadata } = self.remarks()?;
        let mut graph = Graph::new(self.name()?);
        (graph.doc, graph.metadata) = (doc, metadata);
        self.expect("(")?;
        self.list(")", |p| {
            let remarks = p.remarks()?;
            let (ty, name) = (p.ty(0)?, p.name()?);
            let value = graph.add_input(&name, ty).map_err(|e| p.broken(&e))?;
            annotate(&mut graph, value, remarks);
            Ok(())
        })?;
        self.expect("=>")?;
        self.expect("(")?;
        let outputs = self.list(")", |p| Ok((p.ty(0)?, p.name()?)))?;
        if self.accept("<") {
            self.list(">", |p| p.constant(&mut graph))?;
        }
        let mut captured = Vec::new();
        self.expect("{")?;
        while !self.accept("}") {
            self.node(&mut graph, outer, &mut captured, depth)?;
        }
        for (ty, name) in outputs {
            let value = self.resolve(&mut graph, outer, &mut captured, &name)?;
            graph.add_output(&name, value, ty).map_err(|e| self.broken(&e))?;
        }
        Ok((graph, captured))
    }

    fn broken(&self, error: &GraphError) -> ParseError {
        self.error(error.to_string())
    }

    fn constant(&mut self, graph: &mut Graph) -> Result<()> {
        let remarks = self.remarks()?;
        let (dtype, shape) = self.tensor_type()?;
        let name = self.name()?;
        self.expect("=")?;
        let tensor = self.elements(dtype, shape)?;
        let value = graph.add_constant(&name, tensor).map_err(|e| self.broken(&e))?;
        annotate(graph, value, remarks);
        Ok(())
    }

    /// The value that `name` stands for: one of the graph, or one around it, which becomes a capture.
    fn resolve(
        &self,
        graph: &mut Graph,
        outer: Option<&Scope<'_>>,
        captured: &mut Vec<String>,
        name: &str,
    ) -> Result<ValueId> {
        if let Some(value) = graph.value(name) {
            return Ok(value);
        }
        if !outer.is_some_and(|scope| scope.sees(name)) {
            return Err(self.error(format!("nothing is named {name:?} here")));
        }
        captured.push(name.to_owned());
        graph.add_capture(name, Type::Unknown).map_err(|e| self.broken(&e))
    }

    fn node(
        &mut self,
        graph: &mut Graph,
        outer: Option<&Scope<'_>>,
        captured: &mut Vec<String>,
        depth: usize,
    ) -> Result<()> {
        let remarks = self.remarks()?;
        let mut node_name = String::new();
        if self.accept("[") {
            node_name = self.name()?;
            self.expect("]")?;
        }
        let mut outputs = vec![];
        if !self.is_at("=") {
            outputs.push(self.name()?);
        }
        while self.accept(",") {
            outputs.push(self.name()?);
        }
        self.expect("=")?;
        let mut path = vec![self.name()?];
        while self.accept(".") {
            path.push(self.name()?);
        }
        let operator_name = path.pop().unwrap_or_default();
        let domain = path.join(".");
        let mut attributes = Attributes::new();
        let mut bodies_capture = Vec::new();
        if self.is_at("<") {
            self.attributes(graph, outer, depth, &mut attributes, &mut bodies_capture)?;
        }
        self.expect("(")?;
        let inputs = self.list(")", Self::name)?;
        if self.is_at("<") {
            self.attributes(graph, outer, depth, &mut attributes, &mut bodies_capture)?;
        }
        let mut values = Vec::new();
        for input in &inputs {
            values.push(match input.as_str() {
                "" => None,
                name => Some(self.resolve(graph, outer, captured, name)?),
            });
        }
        // Captures follow the order of the attributes' names.
        bodies_capture.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut captures = Vec::new();
        for name in bodies_capture.iter().flat_map(|(_, names)| names) {
            captures.push(self.resolve(graph, outer, captured, name)?);
        }
        let operator = self
            .registry
            .operator(&domain, &operator_name, attributes, values.len(), outputs.len())
            .map_err(|e| self.error(format!("{operator_name}: {e}")))?;
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let id = graph.add_node(&node_name, operator, &values, &captures, &names).map_err(|e| self.broken(&e))?;
        let node = graph.node_mut(id);
        (node.doc, node.metadata) = (remarks.doc, remarks.metadata);
        Ok(())
    }

    /// Attributes, and for each that holds bodies what they capture.
    fn attributes(
        &mut self,
        graph: &Graph,
        outer: Option<&Scope<'_>>,
        depth: usize,
        attributes: &mut Attributes,
        bodies_capture: &mut Vec<(String, Vec<String>)>,
    ) -> Result<()> {
        self.expect("<")?;
        let scope = Scope { names: graph, outer };
        self.list(">", |p| {
            let name = p.name()?;
            let kind = if p.accept(":") { Some(p.name()?) } else { None };
            p.expect("=")?;
            let mut captured = Vec::new();
            let value = p.attribute(kind.as_deref(), &scope, depth, &mut captured)?;
            if !captured.is_empty() {
                bodies_capture.push((name.clone(), captured));
            }
            if attributes.get(&name).is_some() {
                return Err(p.error(format!("attribute {name:?} is there twice")));
            }
            attributes.set(&name, value);
            Ok(())
        })?;
        Ok(())
    }

    fn attribute(
        &mut self,
        kind: Option<&str>,
        scope: &Scope<'_>,
        depth: usize,
        captured: &mut Vec<String>,
    ) -> Result<Attribute> {
        let mut body = |p: &mut Self| -> Result<Arc<Graph>> {
            let (graph, names) = p.graph(Some(scope), depth + 1)?;
            captured.extend(names);
            Ok(Arc::new(graph))
        };
        let kind = match kind {
            Some(kind) => kind,
            None => self.guess_kind()?,
        };
        Ok(match kind {
            "int" => Attribute::Int(self.int()?),
            "float" => Attribute::Float(self.float()?),
            "string" => Attribute::String(self.name()?),
            "tensor" => Attribute::Tensor(self.tensor()?),
            "graph" => Attribute::Graph(body(self)?),
            "type_proto" => Attribute::Type(self.ty(0)?),
            "ints" => Attribute::Ints(self.bracketed(Self::int)?),
            "floats" => Attribute::Floats(self.bracketed(Self::float)?),
            "strings" => Attribute::Strings(self.bracketed(Self::name)?),
            "tensors" => Attribute::Tensors(self.bracketed(Self::tensor)?),
            "graphs" => Attribute::Graphs(self.bracketed(body)?),
            "type_protos" => Attribute::Types(self.bracketed(|p| p.ty(0))?),
            other => return Err(self.error(format!("{other:?} is not a kind of attribute"))),
        })
    }

    /// The kind of an attribute written without one, from its first token.
    fn guess_kind(&self) -> Result<&'static str> {
        let of = |token: &TokenKind, is_list: bool| match token {
            TokenKind::Number(text) if text.contains(['.', 'e', 'E']) && !text.starts_with("0x") => {
                Some(if is_list { "floats" } else { "float" })
            }
            TokenKind::Number(_) => Some(if is_list { "ints" } else { "int" }),
            TokenKind::Quoted(_) => Some(if is_list { "strings" } else { "string" }),
            TokenKind::Name(word) if matches!(word.as_str(), "inf" | "nan") => Some("float"),
            TokenKind::Name(word) if DType::from_name(word).is_some() => Some("tensor"),
            TokenKind::Name(_) => Some("graph"),
            _ => None,
        };
        let guess = match self.peek() {
            TokenKind::Mark("[") => {
                let rest = &self.tokens[self.position + 1..];
                // One number with a fraction makes a list of floats.
                let items = rest.iter().map(|t| &t.kind).take_while(|kind| **kind != TokenKind::Mark("]"));
                items.filter_map(|item| of(item, true)).max_by_key(|kind| *kind == "floats").or(Some("ints"))
            }
            token => of(token, false),
        };
        guess.ok_or_else(|| self.error("expected an attribute's value"))
    }

    fn bracketed<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("[")?;
        self.list("]", item)
    }

    /// A number as written, or a word that stands for one.
    fn number(&mut self) -> Result<String> {
        let sign = if self.accept("-") { "-" } else { "" };
        match self.next() {
            TokenKind::Number(text) => Ok(format!("{sign}{text}")),
            TokenKind::Name(word) if matches!(word.as_str(), "inf" | "nan" | "true" | "false") => {
                Ok(format!("{sign}{word}"))
            }
            _ => Err(self.error("expected a number")),
        }
    }

    fn int(&mut self) -> Result<i64> {
        let text = self.number()?;
        text.parse().map_err(|_| self.error(format!("{text} is not a 64-bit integer")))
    }

    fn float(&mut self) -> Result<f32> {
        let text = self.number()?;
        if let Some(bits) = bits(&text) {
            let bits = u32::try_from(bits).map_err(|_| self.error(format!("{text} is more than 32 bits")))?;
            return Ok(f32::from_bits(bits));
        }
        text.parse().map_err(|_| self.error(format!("{text} is not a number")))
    }

    fn tensor(&mut self) -> Result<Tensor> {
        let (dtype, shape) = self.tensor_type()?;
        self.elements(dtype, shape)
    }

    /// The dtype and shape of a tensor whose contents follow.
    fn tensor_type(&mut self) -> Result<(DType, Shape)> {
        let word = self.name()?;
        let dtype = DType::from_name(&word).ok_or_else(|| self.error(format!("{word:?} is not an element type")))?;
        let mut dims = Vec::new();
        if self.is_at("[") {
            dims = self.bracketed(Self::int)?;
        }
        let shape = Shape::from_i64(&dims).map_err(|e| self.error(e.to_string()))?;
        Ok((dtype, shape))
    }

    fn elements(&mut self, dtype: DType, shape: Shape) -> Result<Tensor> {
        self.expect("{")?;
        let made = if dtype == DType::String {
            Tensor::from_strings(shape, self.list("}", Self::name)?)
        } else {
            let mut bytes = Vec::new();
            let mut codes = Vec::new();
            self.list("}", |p| {
                let text = p.number()?;
                let bits =
                    element_bits(dtype, &text).ok_or_else(|| p.error(format!("{text} is not of type {dtype}")))?;
                if dtype.is_packed() {
                    codes.extend(bits.to_le_bytes().first());
                } else {
                    bytes.extend_from_slice(&bits.to_le_bytes()[..dtype.bits() / 8]);
                }
                Ok(())
            })?;
            if dtype.is_packed() {
                Tensor::from_codes(Memory::global(), dtype, shape, &codes)
            } else {
                Tensor::from_bytes(Memory::global(), dtype, shape, bytes.into())
            }
        };
        made.map_err(|e| self.error(e.to_string()))
    }

    fn ty(&mut self, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("a type is nested deeper than {MAX_DEPTH}")));
        }
        let word = self.name()?;
        match word.as_str() {
            "undefined" => return Ok(Type::Unknown),
            "seq" | "optional" => {
                self.expect("(")?;
                let element = Box::new(self.ty(depth + 1)?);
                self.expect(")")?;
                return Ok(if word == "seq" { Type::Sequence(element) } else { Type::Optional(element) });
            }
            "map" => {
                self.expect("(")?;
                let key = self.name()?;
                let key =
                    DType::from_name(&key).ok_or_else(|| self.error(format!("{key:?} is not an element type")))?;
                self.expect(",")?;
                let value = Box::new(self.ty(depth + 1)?);
                self.expect(")")?;
                return Ok(Type::Map(key, value));
            }
            _ => {}
        }
        let dtype = match word.as_str() {
            "tensor" => None,
            name => Some(DType::from_name(name).ok_or_else(|| self.error(format!("{name:?} is not a type")))?),
        };
        if !self.accept("[") {
            return Ok(Type::Tensor { dtype, shape: Some(Vec::new()) });
        }
        if self.accept("]") {
            return Ok(Type::Tensor { dtype, shape: None });
        }
        let dims = self.list("]", Self::dim)?;
        Ok(Type::Tensor { dtype, shape: Some(dims) })
    }

    fn dim(&mut self) -> Result<Dim> {
        match self.next() {
            TokenKind::Mark("?") => Ok(Dim::unknown()),
            TokenKind::Name(name) => Ok(Dim::symbol(&name)),
            TokenKind::Quoted(text) => Ok(Dim::parse(&text)),
            TokenKind::Number(text) => {
                text.parse().map(Dim::known).map_err(|_| self.error(format!("{text} is not a dimension")))
            }
            _ => Err(self.error("expected a dimension")),
        }
    }
}

fn annotate(graph: &mut Graph, value: ValueId, remarks: Remarks) {
    let node = graph.node_mut(value.node);
    (node.doc, node.metadata) = (remarks.doc, remarks.metadata);
}

/// The number after `0x`.
fn bits(text: &str) -> Option<u128> {
    u128::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// The bits of an element of `dtype` written as `text`.
fn element_bits(dtype: DType, text: &str) -> Option<u128> {
    if let Some(bits) = bits(text) {
        return (bits.checked_shr(u32::try_from(dtype.bits()).ok()?).unwrap_or(0) == 0).then_some(bits);
    }
    let integer = |least: i128, most: i128| {
        let value: i128 = text.parse().ok()?;
        (least..=most).contains(&value).then(|| value.cast_unsigned() & u128::MAX >> (128 - dtype.bits()))
    };
    match dtype {
        DType::Bool => match text {
            "true" | "1" => Some(1),
            "false" | "0" => Some(0),
            _ => None,
        },
        DType::F32 => text.parse().ok().map(|v: f32| u128::from(v.to_bits())),
        DType::F64 => text.parse().ok().map(|v: f64| u128::from(v.to_bits())),
        DType::F16 => text.parse().ok().map(|v: f32| u128::from(f16::from_f32(v).to_bits())),
        DType::BF16 => text.parse().ok().map(|v: f32| u128::from(bf16::from_f32(v).to_bits())),
        d if d.is_signed_integer() => integer(-(1 << (d.bits() - 1)), (1 << (d.bits() - 1)) - 1),
        d if d.is_unsigned_integer() => integer(0, (1 << d.bits()) - 1),
        _ => None,
    }
}

impl Graph {
    /// Reads a graph in ONNX's textual syntax. See [`crate::text`].
    pub fn from_text(text: &str, registry: &dyn Registry) -> Result<Graph> {
        parse(text, registry)
    }

    /// The graph in ONNX's textual syntax. See [`crate::text`].
    pub fn to_text(&self) -> String {
        super::print(self)
    }
}

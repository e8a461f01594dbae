//! Writing.

use crate::{Attribute, Dim, Graph, NodeId, NodeKind, Operator, Type, ValueId};
use planish_tensor::{DType, Tensor};
use std::collections::HashMap;
use std::fmt::Write;

/// The graph in ONNX's textual syntax. [`parse`](super::parse) gives it back.
pub fn print(graph: &Graph) -> String {
    let mut printer = Printer { text: String::new() };
    printer.graph(graph, &HashMap::new(), 0);
    printer.text.push('\n');
    printer.text
}

/// The text as a quoted string.
pub fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for c in text.chars() {
        match c {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(result, "\\u{{{:x}}}", u32::from(c));
            }
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

/// A name, quoted unless it is a plain identifier.
fn name(text: &str) -> String {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_plain = text.chars().next().is_some_and(is_start)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !super::lex::is_reserved(text);
    if is_plain { text.to_owned() } else { quoted(text) }
}

struct Printer {
    text: String,
}

/// Names of captured values, by the value inside the body.
type Captured = HashMap<ValueId, String>;

impl Printer {
    fn line(&mut self, depth: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("   ", depth));
    }

    fn remarks(&mut self, depth: usize, doc: &str, metadata: &[(String, String)]) {
        if !doc.is_empty() {
            let _ = write!(self.text, "#! doc {}", quoted(doc));
            self.line(depth);
        }
        for (key, value) in metadata {
            let _ = write!(self.text, "#! meta {} {}", quoted(key), quoted(value));
            self.line(depth);
        }
    }

    fn graph(&mut self, graph: &Graph, captured: &Captured, depth: usize) {
        self.remarks(depth, &graph.doc, &graph.metadata);
        let value_name = |v: ValueId| captured.get(&v).map_or_else(|| graph.value_name(v), String::as_str);
        self.text.push_str(&name(&graph.name));
        self.text.push_str(" (");
        for (i, input) in graph.inputs().enumerate() {
            self.separate(i, depth, graph, input.node);
            let _ = write!(self.text, "{} {}", type_text(&graph.fact(input).ty), name(value_name(input)));
        }
        self.text.push_str(") => (");
        for (i, output) in graph.outputs().iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            let _ = write!(self.text, "{separator}{} {}", type_text(&output.declared), name(&output.name));
        }
        self.text.push(')');
        let order = graph.topological_order().unwrap_or_default();
        let constants = order.iter().filter_map(|&id| Some((id, graph.node(id).constant()?)));
        for (i, (id, tensor)) in constants.enumerate() {
            if i == 0 {
                self.line(depth);
                self.text.push('<');
            }
            self.separate(i, depth, graph, id);
            let value = ValueId { node: id, output: 0 };
            let _ = write!(self.text, "{} {} = ", tensor_type(tensor), name(value_name(value)));
            self.elements(tensor);
        }
        if order.iter().any(|&id| graph.node(id).constant().is_some()) {
            self.text.push('>');
        }
        self.line(depth);
        self.text.push('{');
        for &id in &order {
            if let NodeKind::Operator(operator) = &graph.node(id).kind {
                self.line(depth + 1);
                self.node(graph, id, operator, &value_name, depth + 1);
            }
        }
        for output in graph.outputs().iter().filter(|o| value_name(o.value) != o.name) {
            self.line(depth + 1);
            let _ = write!(self.text, "{} = Identity ({})", name(&output.name), name(value_name(output.value)));
        }
        self.line(depth);
        self.text.push('}');
    }

    /// A comma before all but the first of a list, and the remarks of a source node.
    fn separate(&mut self, index: usize, depth: usize, graph: &Graph, id: NodeId) {
        if index > 0 {
            self.text.push_str(", ");
        }
        let node = graph.node(id);
        if !node.doc.is_empty() || !node.metadata.is_empty() {
            self.line(depth);
            self.remarks(depth, &node.doc, &node.metadata);
        }
    }

    fn node<'a>(
        &mut self,
        graph: &'a Graph,
        id: NodeId,
        operator: &Operator,
        value_name: &impl Fn(ValueId) -> &'a str,
        depth: usize,
    ) {
        let node = graph.node(id);
        self.remarks(depth, &node.doc, &node.metadata);
        if !node.name.is_empty() {
            let _ = write!(self.text, "[{}] ", name(&node.name));
        }
        let join = |names: Vec<String>| names.join(", ");
        let outputs = join(graph.node_outputs(id).map(|v| name(graph.value_name(v))).collect());
        let inputs = graph.node_inputs(id);
        let (own, captures) = inputs.split_at(inputs.len() - node.num_captures());
        let own = join(own.iter().map(|v| name(v.map_or("", value_name))).collect());
        let domain: String = if operator.domain.is_empty() { String::new() } else { domain_text(&operator.domain) };
        let _ = write!(self.text, "{outputs} = {domain}{} ({own})", name(&operator.name));
        let mut captures = captures.iter().flatten().map(|&v| value_name(v).to_owned());
        for (i, (key, value)) in operator.attributes.iter().enumerate() {
            self.text.push_str(if i == 0 { " <" } else { ", " });
            let _ = write!(self.text, "{}: ", name(key));
            self.attribute(value, &mut captures, depth);
        }
        if !operator.attributes.is_empty() {
            self.text.push('>');
        }
    }

    fn attribute(&mut self, value: &Attribute, captures: &mut dyn Iterator<Item = String>, depth: usize) {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let text = match value {
            Attribute::Int(v) => format!("int = {v}"),
            Attribute::Float(v) => format!("float = {}", f32_text(*v)),
            Attribute::String(v) => format!("string = {}", quoted(v)),
            Attribute::Type(v) => format!("type_proto = {}", type_text(v)),
            Attribute::Ints(v) => format!("ints = {}", list(v.iter().map(i64::to_string).collect())),
            Attribute::Floats(v) => format!("floats = {}", list(v.iter().map(|&v| f32_text(v)).collect())),
            Attribute::Strings(v) => format!("strings = {}", list(v.iter().map(|v| quoted(v)).collect())),
            Attribute::Types(v) => format!("type_protos = {}", list(v.iter().map(type_text).collect())),
            Attribute::Tensor(v) => {
                self.text.push_str("tensor = ");
                return self.tensor(v);
            }
            Attribute::Tensors(v) => {
                self.text.push_str("tensors = [");
                for (i, tensor) in v.iter().enumerate() {
                    self.text.push_str(if i > 0 { ", " } else { "" });
                    self.tensor(tensor);
                }
                "]".to_owned()
            }
            Attribute::Graph(v) => {
                self.text.push_str("graph = ");
                return self.body(v, captures, depth);
            }
            Attribute::Graphs(v) => {
                self.text.push_str("graphs = [");
                for (i, graph) in v.iter().enumerate() {
                    self.text.push_str(if i > 0 { ", " } else { "" });
                    self.body(graph, captures, depth);
                }
                "]".to_owned()
            }
        };
        self.text.push_str(&text);
    }

    fn body(&mut self, graph: &Graph, captures: &mut dyn Iterator<Item = String>, depth: usize) {
        if depth > super::MAX_DEPTH {
            self.text.push_str("too_deep () => () {}");
            return;
        }
        let captured: Captured = graph.captures().zip(captures).collect();
        self.graph(graph, &captured, depth);
    }

    fn tensor(&mut self, tensor: &Tensor) {
        let _ = write!(self.text, "{} ", tensor_type(tensor));
        self.elements(tensor);
    }

    fn elements(&mut self, tensor: &Tensor) {
        self.text.push('{');
        for (i, element) in element_texts(tensor).enumerate() {
            self.text.push_str(if i > 0 { ", " } else { "" });
            self.text.push_str(&element);
        }
        self.text.push('}');
    }
}

/// `com.microsoft.`, quoted where it holds more than identifiers and dots.
fn domain_text(domain: &str) -> String {
    if domain.split('.').all(|part| name(part) == part) { format!("{domain}.") } else { format!("{}.", quoted(domain)) }
}

fn tensor_type(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    if dims.is_empty() { tensor.dtype().to_string() } else { format!("{}[{}]", tensor.dtype(), dims.join(", ")) }
}

/// A type as the parser reads it: expressions of dimensions are quoted, what is unknown has a word of its own.
fn type_text(ty: &Type) -> String {
    match ty {
        Type::Unknown => "undefined".to_owned(),
        Type::Tensor { dtype, shape } => {
            let dtype = dtype.map_or("tensor", DType::name);
            match shape.as_deref() {
                None => format!("{dtype}[]"),
                Some([]) => dtype.to_owned(),
                Some(dims) => format!("{dtype}[{}]", dims.iter().map(dim_text).collect::<Vec<_>>().join(", ")),
            }
        }
        Type::Sequence(element) => format!("seq({})", type_text(element)),
        Type::Optional(element) => format!("optional({})", type_text(element)),
        Type::Map(key, value) => format!("map({key}, {})", type_text(value)),
    }
}

fn dim_text(dim: &Dim) -> String {
    match (dim.as_known(), dim.as_symbol()) {
        (Some(known), _) => known.to_string(),
        _ if dim.is_unknown() => "?".to_owned(),
        (_, Some(symbol)) if name(symbol) == symbol => symbol.to_owned(),
        _ => quoted(&dim.to_string()),
    }
}

/// Shortest decimal that reads back as the same number, `inf`, `-inf`, `nan`, else the bits.
pub(super) fn f32_text(value: f32) -> String {
    match value {
        v if v.is_nan() && v.to_bits() != f32::NAN.to_bits() => format!("{:#x}", v.to_bits()),
        v if v.is_nan() => "nan".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.to_owned(),
        v => format!("{v:?}"),
    }
}

fn f64_text(value: f64) -> String {
    match value {
        v if v.is_nan() && v.to_bits() != f64::NAN.to_bits() => format!("{:#x}", v.to_bits()),
        v if v.is_nan() => "nan".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.to_owned(),
        v => format!("{v:?}"),
    }
}

/// Every element as the parser reads it.
fn element_texts(tensor: &Tensor) -> Box<dyn Iterator<Item = String> + '_> {
    macro_rules! plain {
        ($rust:ty) => {
            Box::new(tensor.as_slice::<$rust>().unwrap_or_default().iter().map(|v| v.to_string()))
        };
    }
    match tensor.dtype() {
        DType::F32 => Box::new(tensor.as_slice().unwrap_or_default().iter().map(|&v| f32_text(v))),
        DType::F64 => Box::new(tensor.as_slice().unwrap_or_default().iter().map(|&v| f64_text(v))),
        DType::U8 => plain!(u8),
        DType::U16 => plain!(u16),
        DType::U32 => plain!(u32),
        DType::U64 => plain!(u64),
        DType::I8 => plain!(i8),
        DType::I16 => plain!(i16),
        DType::I32 => plain!(i32),
        DType::I64 => plain!(i64),
        DType::Bool => plain!(bool),
        DType::String => Box::new(tensor.as_strings().unwrap_or_default().iter().map(|s| quoted(s))),
        _ => bits_texts(tensor),
    }
}

/// Every element as its bits in hexadecimal.
fn bits_texts(tensor: &Tensor) -> Box<dyn Iterator<Item = String> + '_> {
    if let Some(codes) = tensor.unpacked_codes() {
        let mask = (1u8 << tensor.dtype().bits()) - 1;
        return Box::new(codes.into_iter().map(move |code| format!("{:#x}", code.cast_unsigned() & mask)));
    }
    let width = (tensor.dtype().bits() / 8).max(1);
    Box::new(tensor.bytes().chunks_exact(width).map(|bytes| {
        let bits = bytes.iter().rev().fold(0u128, |bits, &byte| bits << 8 | u128::from(byte));
        format!("{bits:#x}")
    }))
}

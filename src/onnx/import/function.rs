//! Model-local functions: a call is replaced by the function's body, unless it is how one of planish's own operators is
//! written.

use super::builder::{GraphBuilder, OperatorDraft};
use super::frame::{CallFrame, Frame, FrameKind, GraphFrame, Opsets};
use super::{Importer, MAX_CALL_DEPTH, canonical_domain, order};
use crate::onnx::error::ImportError;
use crate::onnx::proto::{AttributeProto, FunctionProto, NodeProto};
use crate::onnx::upgrade::Draft;
use planish_ir::{Attribute, Attributes, Graph, Type, ValueId};
use planish_ops::planish::DOMAIN;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// What a call costs for each name that its function declares, beside its nodes.
const ENTRY_BYTES: usize = 64;

/// Functions by domain, name and overload.
pub(super) type Index<'a> = HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>;

pub(super) fn index(functions: &[FunctionProto]) -> Result<Index<'_>, ImportError> {
    let mut index = Index::new();
    for function in functions {
        let key = (canonical_domain(&function.domain), function.name.as_str(), function.overload.as_str());
        if index.insert(key, function).is_some() {
            return Err(ImportError::invalid(format!("two functions are named {}", describe(function))));
        }
    }
    Ok(index)
}

fn describe(function: &FunctionProto) -> String {
    let overload = if function.overload.is_empty() { String::new() } else { format!(":{}", function.overload) };
    format!("{}::{}{overload}", function.domain, function.name)
}

impl<'a> Importer<'a> {
    /// The function that a node calls, if it calls one.
    pub(super) fn called(&self, node: &'a NodeProto) -> Option<&'a FunctionProto> {
        if self.functions.is_empty() {
            return None;
        }
        self.functions.get(&(canonical_domain(&node.domain), node.op_type.as_str(), node.overload.as_str())).copied()
    }

    /// Whether the call is how an operator of planish's own is written.
    pub(super) fn is_definition(&self, node: &NodeProto, function: &FunctionProto) -> bool {
        let is_plain =
            node.attribute.is_empty() && function.attribute.is_empty() && function.attribute_proto.is_empty();
        canonical_domain(&node.domain) == DOMAIN
            && self.registry.schema(DOMAIN, &node.op_type).is_some()
            && is_plain
            && node.input.len() == function.input.len()
            && node.output.len() == function.output.len()
            && !node.input.iter().any(String::is_empty)
    }

    /// Imports a call as an operator of planish's own that `function` defines.
    pub(super) fn defined_node(&mut self, node: &'a NodeProto, function: &'a FunctionProto) -> Result<(), ImportError> {
        let key = (function.name.as_str(), function.overload.as_str());
        let body = match self.definitions.get(&key) {
            Some(body) => Arc::clone(body),
            None => {
                let body =
                    self.definition(function).map_err(|e| e.at(format_args!("function {}", describe(function))))?;
                self.definitions.insert(key, Arc::clone(&body));
                body
            }
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        for (index, name) in node.input.iter().enumerate() {
            inputs.push(self.read(index, name)?);
        }
        let mut wanted: Vec<String> = Vec::with_capacity(node.output.len());
        for name in &node.output {
            wanted.push(if name.is_empty() { String::new() } else { self.value_name(name)? });
        }
        let attributes = Attributes::new().with("body", Attribute::Graph(body));
        let operator =
            OperatorDraft { domain: DOMAIN.to_owned(), name: node.op_type.clone(), attributes, unsupported: None };
        let draft = Draft { operator, inputs, captures: Vec::new(), outputs: wanted.clone() };
        self.finish_node(node, draft, &wanted)
    }

    /// A function as a graph. It sees nothing of what is around the call, and calls no other function.
    fn definition(&mut self, function: &'a FunctionProto) -> Result<Arc<Graph>, ImportError> {
        let opsets = Rc::new(Opsets::new(&function.opset_import)?);
        let (frames, functions) = (std::mem::take(&mut self.frames), std::mem::take(&mut self.functions));
        let body = self.definition_body(function, opsets);
        (self.frames, self.functions) = (frames, functions);
        Ok(Arc::new(body?))
    }

    fn definition_body(&mut self, function: &'a FunctionProto, opsets: Rc<Opsets<'a>>) -> Result<Graph, ImportError> {
        let made = function.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
        let defined = function.input.iter().chain(made).map(String::as_str).collect();
        let outputs = function.output.iter().map(String::as_str).collect();
        let builder = GraphBuilder::new(&function.name, self.registry, defined, outputs);
        let value_info = function.value_info.iter().map(|info| (info.name.as_str(), info)).collect();
        let kind = FrameKind::Graph(Box::new(GraphFrame { builder, captured: Vec::new() }));
        self.frames.push(Frame { names: HashMap::new(), value_info, opsets, kind });
        for name in &function.input {
            let ty = self.type_in_frame(name)?;
            let value = self.builder().graph.add_input(name, ty)?;
            self.define(name, Some(value))?;
        }
        let results = self.function_body(function)?;
        for (name, value) in function.output.iter().zip(results) {
            let ty = self.type_in_frame(name)?;
            self.builder().graph.add_output(name, value, ty)?;
        }
        match self.frames.pop().map(|frame| frame.kind) {
            Some(FrameKind::Graph(finished)) => Ok(finished.builder.finish().0),
            _ => unreachable!("every frame that is pushed after this graph's is popped before"),
        }
    }

    /// The type that the current frame declares for a value.
    fn type_in_frame(&mut self, name: &'a str) -> Result<Type, ImportError> {
        match self.frame().value_info.get(name).copied() {
            Some(info) => self.declared_type(info),
            None => Ok(Type::Unknown),
        }
    }

    /// Imports the body of `function` in place of `node`.
    pub(super) fn inline(&mut self, node: &'a NodeProto, function: &'a FunctionProto) -> Result<(), ImportError> {
        self.check_call(node, function)?;
        let entries = function.input.len() + function.output.len() + function.value_info.len();
        let entries = entries + function.attribute_proto.len() + function.opset_import.len();
        self.charge_copy(entries.saturating_mul(ENTRY_BYTES))?;
        let mut names = HashMap::new();
        for (index, parameter) in function.input.iter().enumerate() {
            let value = match node.input.get(index) {
                Some(name) if !name.is_empty() => self.read(index, name)?,
                _ => None,
            };
            if names.insert(parameter.as_str(), value).is_some() {
                let function = describe(function);
                return Err(ImportError::invalid(format!("two inputs of function {function} are named {parameter:?}")));
            }
        }
        let call = CallFrame {
            function,
            prefix: self.inlined_name(node)?,
            results: self.result_names(node, function)?,
            attributes: self.call_attributes(node, function),
        };
        let opsets = match function.opset_import.is_empty() {
            true => Rc::clone(&self.frame().opsets),
            false => Rc::new(Opsets::new(&function.opset_import)?),
        };
        let value_info = function.value_info.iter().map(|info| (info.name.as_str(), info)).collect();
        self.frames.push(Frame { names, value_info, opsets, kind: FrameKind::Call(Box::new(call)) });
        let results = self.function_body(function).map_err(|e| e.at(format_args!("function {}", describe(function))));
        self.frames.pop();
        for (name, value) in node.output.iter().zip(results?).filter(|(name, _)| !name.is_empty()) {
            self.define(name, Some(value))?;
        }
        Ok(())
    }

    /// Imports the nodes of a function; returns its results.
    fn function_body(&mut self, function: &'a FunctionProto) -> Result<Vec<ValueId>, ImportError> {
        let names = &self.frame().names;
        for index in order::topological_order(&function.node, |name| names.contains_key(name))? {
            self.node(&function.node[index])?;
        }
        let mut results = Vec::with_capacity(function.output.len());
        for name in &function.output {
            match self.resolve(name) {
                Some(Some(value)) => results.push(value),
                _ => return Err(ImportError::invalid(format!("no node makes the output {name:?}"))),
            }
        }
        Ok(results)
    }

    fn check_call(&self, node: &NodeProto, function: &'a FunctionProto) -> Result<(), ImportError> {
        let calls = self.frames.iter().filter_map(|frame| match &frame.kind {
            FrameKind::Call(call) => Some(call.function),
            FrameKind::Graph(_) => None,
        });
        let mut depth = 0;
        for caller in calls {
            depth += 1;
            if std::ptr::eq(caller, function) {
                return Err(ImportError::invalid("the function calls itself"));
            }
        }
        if depth >= MAX_CALL_DEPTH {
            return Err(ImportError::limit(format!("functions are nested deeper than {MAX_CALL_DEPTH}")));
        }
        for (what, least, got) in
            [("inputs", function.input.len(), node.input.len()), ("outputs", function.output.len(), node.output.len())]
        {
            if got > least {
                return Err(ImportError::invalid(format!("the function has {least} {what}, the call {got}")));
            }
        }
        Ok(())
    }

    /// What the caller calls the function's results; one that it does not want gets no name of its own.
    fn result_names(
        &mut self,
        node: &'a NodeProto,
        function: &'a FunctionProto,
    ) -> Result<HashMap<&'a str, String>, ImportError> {
        let mut names = HashMap::new();
        for (result, wanted) in function.output.iter().zip(&node.output).filter(|(_, wanted)| !wanted.is_empty()) {
            let name = self.value_name(wanted)?;
            names.entry(result.as_str()).or_insert(name);
        }
        Ok(names)
    }

    /// The values of the function's attributes: what the call gives, else the defaults.
    fn call_attributes(
        &self,
        node: &'a NodeProto,
        function: &'a FunctionProto,
    ) -> HashMap<&'a str, &'a AttributeProto> {
        let defaults = function.attribute_proto.iter().map(|default| (default.name.as_str(), default));
        let mut attributes: HashMap<&str, &AttributeProto> = defaults.collect();
        for given in &node.attribute {
            match self.referred(given) {
                Some(value) => attributes.insert(&given.name, value),
                None => None,
            };
        }
        attributes
    }

    /// The attribute itself, or that of the enclosing call which it refers to, if the call has it.
    pub(super) fn referred(&self, attribute: &'a AttributeProto) -> Option<&'a AttributeProto> {
        if attribute.ref_attr_name.is_empty() {
            return Some(attribute);
        }
        self.call()?.attributes.get(attribute.ref_attr_name.as_str()).copied()
    }

    /// The name of a node in the graph: within a call, its own after that of the call.
    pub(super) fn inlined_name(&mut self, node: &NodeProto) -> Result<String, ImportError> {
        let own = super::node_name(node);
        let name = match &self.frame().kind {
            FrameKind::Call(call) => format!("{}/{own}", call.prefix),
            FrameKind::Graph(_) => own.to_owned(),
        };
        self.charge_copy(name.len())?;
        Ok(name)
    }
}

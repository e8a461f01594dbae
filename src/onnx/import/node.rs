//! Nodes: names to values, attributes, upgrades.

use super::builder::OperatorDraft;
use super::frame::FrameKind;
use super::{Importer, canonical_domain, pairs};
use crate::onnx::error::{ImportError, ImportErrorKind};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::tensor::utf8;
use crate::onnx::types::type_from_proto;
use crate::onnx::upgrade::{self, Draft};
use planish_ir::{Attribute, Attributes, Formal, FormalKind, ValueId};
use planish_tensor::{Shape, Tensor};

impl<'a> Importer<'a> {
    /// Imports a node into the current frame.
    pub(super) fn node(&mut self, node: &'a NodeProto) -> Result<(), ImportError> {
        let domain = canonical_domain(&node.domain);
        let version = self.frame().opsets.version(domain);
        self.import_node(node, domain, version).map_err(|e| {
            let opset = version.map(|v| format!(", opset {v}")).unwrap_or_default();
            let name = super::node_name(node);
            e.at_node(name, format_args!("node {name:?} ({}{opset})", node.op_type))
        })
    }

    fn import_node(&mut self, node: &'a NodeProto, domain: &str, version: Option<i64>) -> Result<(), ImportError> {
        let Some(left) = self.nodes_left.checked_sub(1) else {
            return Err(ImportError::limit("with its functions inlined, the model has too many nodes"));
        };
        self.nodes_left = left;
        if let Some(function) = self.called(node) {
            return if self.is_definition(node, function) {
                self.defined_node(node, function)
            } else {
                self.inline(node, function)
            };
        }
        let version = match version {
            Some(version) => version,
            None if domain.is_empty() => {
                return Err(ImportError::invalid("the model imports no version of its operator set"));
            }
            None => 1,
        };
        if domain.is_empty() && node.op_type == "Constant" {
            return self.constant_node(node);
        }
        let mut captures = Vec::new();
        let attributes = self.attributes(node, &mut captures)?;
        let inputs = self.inputs(node)?;
        let mut wanted: Vec<String> = Vec::with_capacity(node.output.len());
        for name in &node.output {
            wanted.push(if name.is_empty() { String::new() } else { self.value_name(name)? });
        }
        let mut draft = Draft {
            operator: OperatorDraft {
                domain: domain.to_owned(),
                name: node.op_type.clone(),
                attributes,
                unsupported: None,
            },
            inputs,
            captures,
            outputs: wanted.clone(),
        };
        upgrade::upgrade(&mut draft, version, self.builder())?;
        self.finish_node(node, draft, &wanted)
    }

    /// Adds an upgraded node, and lets the names that the message gives to its outputs stand for the values that
    /// `wanted` names in the graph. Upgrades may have made some of these apart, or have left out what is gone.
    pub(super) fn finish_node(
        &mut self,
        node: &'a NodeProto,
        mut draft: Draft,
        wanted: &[String],
    ) -> Result<(), ImportError> {
        if let Some(value) = self.alias(&draft) {
            return node.output.iter().try_for_each(|name| self.define(name, Some(value)));
        }
        self.trim(&mut draft);
        let name = self.given_name(node)?;
        let outputs: Vec<&str> = draft.outputs.iter().map(String::as_str).collect();
        let values = self.builder().add(&name, draft.operator, &draft.inputs, &draft.captures, &outputs)?;
        if let Some(made) = values.first() {
            let added = self.builder().graph.node_mut(made.node);
            added.doc.clone_from(&node.doc_string);
            added.metadata = pairs(&node.metadata_props);
        }
        for (name, wanted) in node.output.iter().zip(wanted).filter(|(name, _)| !name.is_empty()) {
            let Some(value) = self.builder().graph.value(wanted) else { continue };
            self.define(name, Some(value))?;
            if let Some(info) = self.frame().value_info.get(name.as_str()).copied() {
                let declared = self.declared_type(info).map_err(|e| e.at(format_args!("value {name:?}")))?;
                self.builder().declare(value, declared);
            }
        }
        Ok(())
    }

    /// The value that an `Identity` node gives to the graph's caller under another name. A graph can give out any value
    /// under any name, so such a node says nothing; the exporter adds one where ONNX needs it.
    fn alias(&mut self, draft: &Draft) -> Option<ValueId> {
        let is_identity = draft.operator.domain.is_empty() && draft.operator.name == "Identity";
        match (&draft.inputs[..], &draft.outputs[..]) {
            ([Some(value)], [output]) if is_identity && self.builder().is_output_name(output) => Some(*value),
            _ => None,
        }
    }

    /// Leaves out absent inputs and unwanted outputs at the end, which mean the same there as not being listed; in a list
    /// of any length each counts.
    fn trim(&self, draft: &mut Draft) {
        let schema = self.registry.schema(&draft.operator.domain, &draft.operator.name);
        let counts = |last: Option<&Formal>| last.is_some_and(|f| matches!(f.kind, FormalKind::Variadic { .. }));
        if !schema.is_some_and(|s| counts(s.inputs.last())) {
            let used = draft.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            draft.inputs.truncate(used);
        }
        if !schema.is_none_or(|s| counts(s.outputs.last())) {
            let used = draft.outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
            draft.outputs.truncate(used.max(1));
        }
    }

    fn inputs(&self, node: &'a NodeProto) -> Result<Vec<Option<ValueId>>, ImportError> {
        let named = node.input.iter().enumerate();
        named.map(|(index, name)| if name.is_empty() { Ok(None) } else { self.read(index, name) }).collect()
    }

    /// The value that input `index` reads; `None` if it is a parameter that a call leaves out.
    pub(super) fn read(&self, index: usize, name: &'a str) -> Result<Option<ValueId>, ImportError> {
        let value = self.resolve(name);
        value.ok_or_else(|| ImportError::invalid(format!("input {index}: no value is named {name:?}")))
    }

    /// The node's own name in the graph; a node without one stays without, unless it comes from a function.
    fn given_name(&mut self, node: &NodeProto) -> Result<String, ImportError> {
        let is_in_call = matches!(self.frame().kind, FrameKind::Call(_));
        if is_in_call { self.inlined_name(node) } else { Ok(node.name.clone()) }
    }

    /// A `Constant` node becomes a constant.
    fn constant_node(&mut self, node: &'a NodeProto) -> Result<(), ImportError> {
        let [output] = &node.output[..] else {
            return Err(ImportError::invalid("expected one output"));
        };
        let [attribute] = &node.attribute[..] else {
            let got = node.attribute.len();
            return Err(ImportError::invalid(format!("expected one attribute, got {got}")));
        };
        if !node.input.is_empty() || output.is_empty() {
            return Err(ImportError::invalid("a constant has no inputs and one output"));
        }
        let tensor = match self.attribute(attribute, &mut Vec::new())? {
            Some(value) => constant_tensor(&attribute.name, value)?,
            None => return Err(ImportError::invalid("the call does not give the attribute that holds its value")),
        };
        let name = self.value_name(output)?;
        let value = self.builder().graph.add_constant(&name, tensor)?;
        let added = self.builder().graph.node_mut(value.node);
        added.doc.clone_from(&node.doc_string);
        added.metadata = pairs(&node.metadata_props);
        self.define(output, Some(value))
    }

    /// The node's attributes. The values that bodies capture go to `captures`, in the order of the attributes' names.
    fn attributes(&mut self, node: &'a NodeProto, captures: &mut Vec<ValueId>) -> Result<Attributes, ImportError> {
        let mut protos: Vec<&'a AttributeProto> = node.attribute.iter().collect();
        protos.sort_by(|a, b| a.name.cmp(&b.name));
        let mut attributes = Attributes::new();
        for proto in protos {
            let name = &proto.name;
            if attributes.get(name).is_some() {
                return Err(ImportError::invalid(format!("two attributes are named {name:?}")));
            }
            let value = self.attribute(proto, captures).map_err(|e| e.at(format_args!("attribute {name:?}")))?;
            if let Some(value) = value {
                attributes.set(name, value);
            }
        }
        Ok(attributes)
    }

    /// An attribute's value; nothing if it refers to an attribute that the enclosing call leaves out.
    fn attribute(
        &mut self,
        proto: &'a AttributeProto,
        captures: &mut Vec<ValueId>,
    ) -> Result<Option<Attribute>, ImportError> {
        if self.call().is_none() && !proto.ref_attr_name.is_empty() {
            return Err(ImportError::invalid(format!("refers to {:?}, but lies in no function", proto.ref_attr_name)));
        }
        let is_reference = !proto.ref_attr_name.is_empty();
        let Some(value) = self.referred(proto) else { return Ok(None) };
        let kind = attribute_kind(value)?;
        if is_reference && matches!(kind, AttributeType::Graph | AttributeType::Graphs) {
            return Err(ImportError::unsupported("graphs as attributes of functions"));
        }
        if self.call().is_some() {
            self.charge_copy(copied_bytes(value))?;
        }
        let absent = || ImportError::invalid("it has no value");
        Ok(Some(match kind {
            AttributeType::Undefined => return Err(absent()),
            AttributeType::Float => Attribute::Float(value.f.unwrap_or(0.0)),
            AttributeType::Int => Attribute::Int(value.i.unwrap_or(0)),
            AttributeType::String => Attribute::String(utf8(value.s.as_deref().unwrap_or_default())?),
            AttributeType::Tensor => Attribute::Tensor(self.tensor(value.t.as_deref().ok_or_else(absent)?)?),
            AttributeType::SparseTensor => {
                Attribute::Tensor(self.dense(value.sparse_tensor.as_deref().ok_or_else(absent)?)?)
            }
            AttributeType::TypeProto => Attribute::Type(type_from_proto(value.tp.as_deref().ok_or_else(absent)?)?),
            AttributeType::Graph => {
                let body = self.body(value.g.as_deref().ok_or_else(absent)?)?;
                captures.extend(body.captured);
                Attribute::Graph(body.graph)
            }
            AttributeType::Floats => Attribute::Floats(value.floats.clone()),
            AttributeType::Ints => Attribute::Ints(value.ints.clone()),
            AttributeType::Strings => {
                Attribute::Strings(value.strings.iter().map(|s| utf8(s)).collect::<Result<_, _>>()?)
            }
            AttributeType::Tensors => {
                Attribute::Tensors(value.tensors.iter().map(|t| self.tensor(t)).collect::<Result<_, _>>()?)
            }
            AttributeType::SparseTensors => {
                Attribute::Tensors(value.sparse_tensors.iter().map(|t| self.dense(t)).collect::<Result<_, _>>()?)
            }
            AttributeType::TypeProtos => {
                Attribute::Types(value.type_protos.iter().map(type_from_proto).collect::<Result<_, _>>()?)
            }
            AttributeType::Graphs => {
                let mut graphs = Vec::with_capacity(value.graphs.len());
                for graph in &value.graphs {
                    let body = self.body(graph)?;
                    captures.extend(body.captured);
                    graphs.push(body.graph);
                }
                Attribute::Graphs(graphs)
            }
        }))
    }

    /// Counts what inlining a function copies.
    pub(super) fn charge_copy(&mut self, bytes: usize) -> Result<(), ImportError> {
        match self.copied_bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.copied_bytes_left = left;
                Ok(())
            }
            None => {
                let most = super::MAX_COPIED_BYTES;
                Err(ImportError::limit(format!("inlining functions copies more than {most} bytes of names and lists")))
            }
        }
    }
}

/// What copying the value of an attribute takes, tensors and graphs left aside.
fn copied_bytes(value: &AttributeProto) -> usize {
    let strings: usize = value.strings.iter().chain(&value.s).map(|s| s.len() + size_of::<String>()).sum();
    strings + value.ints.len() * size_of::<i64>() + value.floats.len() * size_of::<f32>()
}

/// The field that holds an attribute's value. Where the message does not say, the only one that is filled.
fn attribute_kind(proto: &AttributeProto) -> Result<AttributeType, ImportError> {
    let said = AttributeType::try_from(proto.r#type)
        .map_err(|_| ImportError::invalid(format!("{} is not an attribute type", proto.r#type)))?;
    if said != AttributeType::Undefined {
        return Ok(said);
    }
    let filled = [
        (AttributeType::Float, proto.f.is_some()),
        (AttributeType::Int, proto.i.is_some()),
        (AttributeType::String, proto.s.is_some()),
        (AttributeType::Tensor, proto.t.is_some()),
        (AttributeType::Graph, proto.g.is_some()),
        (AttributeType::Floats, !proto.floats.is_empty()),
        (AttributeType::Ints, !proto.ints.is_empty()),
        (AttributeType::Strings, !proto.strings.is_empty()),
    ];
    let mut kinds = filled.into_iter().filter(|(_, is_filled)| *is_filled).map(|(kind, _)| kind);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        _ => Err(ImportError::invalid("it does not say its type")),
    }
}

/// The tensor that a `Constant` node's attribute stands for.
fn constant_tensor(name: &str, value: Attribute) -> Result<Tensor, ImportError> {
    let shape = |length: usize| Shape::new(&[length]).map_err(ImportError::from);
    Ok(match (name, value) {
        ("value" | "sparse_value", Attribute::Tensor(tensor)) => tensor,
        ("value_int", Attribute::Int(v)) => Tensor::scalar(v),
        ("value_ints", Attribute::Ints(v)) => Tensor::new(shape(v.len())?, &v)?,
        ("value_float", Attribute::Float(v)) => Tensor::scalar(v),
        ("value_floats", Attribute::Floats(v)) => Tensor::new(shape(v.len())?, &v)?,
        ("value_string", Attribute::String(v)) => Tensor::from_strings(Shape::scalar(), vec![v])?,
        ("value_strings", Attribute::Strings(v)) => Tensor::from_strings(shape(v.len())?, v)?,
        (name, value) => {
            let kind = value.kind();
            return Err(ImportError::new(
                ImportErrorKind::Invalid,
                format!("attribute {name:?} of kind {kind:?} is no value"),
            ));
        }
    })
}

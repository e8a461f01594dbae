//! The first `Scan` worked on batches.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::{GraphBuilder, OperatorDraft};
use planish_ir::{Attribute, Attributes, Graph, Type, ValueId};
use std::sync::Arc;

/// `Scan-8` took a batch axis before the scanned one. It is two nested scans: the outer over the batch, every input and
/// state being scanned and every result collected, the inner the scan itself.
pub(super) fn batched(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.input(0).is_some() {
        return draft.unsupported("the batched Scan of version 8 with sequences of different lengths");
    }
    let directions = draft.take_ints("directions")?;
    let Some(Attribute::Graph(body)) = draft.attributes().remove("body") else {
        return Err(ImportError::invalid("attribute \"body\" is required"));
    };
    let scanned = draft.take_int("num_scan_inputs")?;
    let scanned = scanned.ok_or_else(|| ImportError::invalid("attribute \"num_scan_inputs\" is required"))?;
    draft.inputs.drain(..draft.inputs.len().min(1));
    let mut attributes = Attributes::new().with("num_scan_inputs", scanned);
    if let Some(directions) = directions {
        attributes.set("scan_input_directions", directions);
    }
    let element = one_batch_element(graph, body, attributes)?;
    let all = i64::try_from(draft.inputs.len()).unwrap_or(i64::MAX);
    draft.attributes().set("body", Attribute::Graph(Arc::new(element)));
    draft.attributes().set("num_scan_inputs", all);
    Ok(())
}

/// The outer scan's body: one inner scan with what the outer takes and makes.
fn one_batch_element(
    around: &GraphBuilder<'_>,
    body: Arc<Graph>,
    mut attributes: Attributes,
) -> Result<Graph, ImportError> {
    let mut element = around.empty_body(&format!("{}_batch", body.name));
    let name_of = |value: ValueId| body.value_name(value).to_owned();
    let mut inputs = Vec::with_capacity(body.inputs().len());
    for input in body.inputs() {
        inputs.push(Some(element.graph.add_input(&name_of(input), Type::Unknown)?));
    }
    let mut captures = Vec::with_capacity(body.captures().len());
    for capture in body.captures() {
        captures.push(element.graph.add_capture(&name_of(capture), body.fact(capture).ty.clone())?);
    }
    let mut names: Vec<String> = Vec::with_capacity(body.outputs().len());
    for output in body.outputs() {
        let mut name = element.fresh(&output.name);
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    attributes.set("body", Attribute::Graph(body));
    let scan = OperatorDraft { name: "Scan".to_owned(), attributes, ..OperatorDraft::default() };
    let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = element.add("", scan, &inputs, &captures, &outputs)?;
    for (name, value) in names.iter().zip(results) {
        element.graph.add_output(name, value, Type::Unknown)?;
    }
    Ok(element.finish().0)
}

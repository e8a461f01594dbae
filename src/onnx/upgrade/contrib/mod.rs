//! Operators of `com.microsoft` that ONNX itself has by now, or that are a few of its own.

mod activation;
mod attention;
mod mask;
mod normalization;
mod rotary;

pub(super) use activation::{bias_gelu, bias_softmax, fast_gelu, quick_gelu};
pub(super) use attention::{attention, multi_head_attention, quantized_attention};
pub(super) use normalization::{
    embed_layer_normalization, simplified_layer_normalization, skip_layer_normalization,
    skip_simplified_layer_normalization,
};
pub(super) use rotary::rotary_embedding;

use super::{Draft, known_length};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::{GraphBuilder, OperatorDraft};
use planish_ir::{Attributes, ValueId};
use planish_tensor::Tensor;

/// The operator of the same name and form in ONNX's own domain.
pub(super) fn standard(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.operator.domain.clear();
    Ok(())
}

impl Draft {
    /// Adds a node of ONNX's own domain whose outputs have these names. Empty ones get new names.
    fn named(
        &self,
        graph: &mut GraphBuilder<'_>,
        operator: &str,
        attributes: Attributes,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Result<Vec<ValueId>, ImportError> {
        let base = format!("{}_{}", self.base(), operator.to_lowercase());
        let names: Vec<String> = outputs
            .iter()
            .enumerate()
            .map(|(i, name)| if name.is_empty() { graph.fresh(&format!("{base}_{i}")) } else { (*name).to_owned() })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let draft = OperatorDraft { name: operator.to_owned(), attributes, ..OperatorDraft::default() };
        graph.add("", draft, inputs, &[], &names)
    }

    /// The sum of two values.
    fn sum(&self, graph: &mut GraphBuilder<'_>, a: ValueId, b: ValueId) -> Result<ValueId, ImportError> {
        self.node(graph, "Add", Attributes::new(), &[Some(a), Some(b)])
    }

    /// Parts of these sizes along an axis.
    fn split(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
        axis: i64,
        sizes: &[i64],
    ) -> Result<Vec<ValueId>, ImportError> {
        let base = format!("{}_part", self.base());
        let mut names: Vec<String> = Vec::with_capacity(sizes.len());
        for index in 0..sizes.len() {
            names.push(graph.fresh(&format!("{base}_{index}")));
        }
        let sizes = self.ints(graph, "sizes", sizes)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.named(graph, "Split", Attributes::new().with("axis", axis), &[Some(x), Some(sizes)], &names)
    }

    /// A value in another shape, as `Reshape` writes it.
    fn reshape(&self, graph: &mut GraphBuilder<'_>, x: ValueId, shape: &[i64]) -> Result<ValueId, ImportError> {
        let shape = self.ints(graph, "shape", shape)?;
        self.node(graph, "Reshape", Attributes::new(), &[Some(x), Some(shape)])
    }

    /// A value with new axes.
    fn unsqueeze(&self, graph: &mut GraphBuilder<'_>, x: ValueId, axes: &[i64]) -> Result<ValueId, ImportError> {
        let axes = self.ints(graph, "axes", axes)?;
        self.node(graph, "Unsqueeze", Attributes::new(), &[Some(x), Some(axes)])
    }

    /// The length of an axis, as a vector of one number.
    fn length(&self, graph: &mut GraphBuilder<'_>, x: ValueId, axis: i64) -> Result<ValueId, ImportError> {
        let attributes = Attributes::new().with("start", axis).with("end", axis + 1);
        self.node(graph, "Shape", attributes, &[Some(x)])
    }

    /// The vector of 0 to `count` − 1, where `count` is a vector of one number.
    fn indices(&self, graph: &mut GraphBuilder<'_>, count: ValueId) -> Result<ValueId, ImportError> {
        let scalar = self.ints(graph, "scalar", &[])?;
        let end = self.node(graph, "Reshape", Attributes::new(), &[Some(count), Some(scalar)])?;
        let bounds = [0i64, 1].map(|v| graph.constant(&format!("{}_step", self.base()), Tensor::scalar(v)));
        let [start, step] = bounds;
        self.node(graph, "Range", Attributes::new(), &[Some(start?), Some(end), Some(step?)])
    }
}

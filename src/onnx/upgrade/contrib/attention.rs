//! Attention in the forms that ONNX Runtime writes.

use super::mask::{FILTER_VALUE, as_bias};
use super::{Draft, known_length};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::{GraphBuilder, OperatorDraft};
use planish_ir::{Attribute, Attributes, ValueId};

/// Queries, keys and values.
type Projections = [ValueId; 3];

/// `MultiHeadAttention` is `Attention` whose projections may share a tensor, may lack their bias, and whose mask is of
/// integers.
pub(in crate::onnx::upgrade) fn multi_head_attention(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    if draft.input(8).is_some() || draft.input(9).is_some() {
        return draft.unsupported("a shared cache buffer");
    }
    if draft.wants(3) {
        return draft.unsupported("scores as an output");
    }
    let heads = num_heads(draft)?;
    let Some(mut qkv) = projections(draft, graph)? else {
        return draft.unsupported("queries, keys and values of these or unknown ranks");
    };
    let is_mixed = graph.fact(qkv[0]).rank() == Some(3) && graph.fact(qkv[1]).rank() == Some(4);
    if let Some(bias) = draft.input(3) {
        let Some(biased) = with_bias(draft, graph, qkv, bias, is_mixed)? else {
            return draft.unsupported("a bias of parts of unknown size");
        };
        qkv = biased;
    }
    let key_axis = if graph.fact(qkv[1]).rank() == Some(4) { 2 } else { 1 };
    let past = draft.input(6).map(|past| (past, 2));
    let keys = num_keys(draft, graph, qkv[1], key_axis, past)?;
    let Some(mask) = mask(draft, graph, draft.input(4), draft.input(5), qkv[0], keys)? else {
        return draft.unsupported("a mask of this form");
    };
    if is_mixed {
        let query = draft.reshape(graph, qkv[0], &[0, 0, heads, -1])?;
        qkv[0] = draft.node(graph, "Transpose", Attributes::new().with("perm", vec![0, 2, 1, 3]), &[Some(query)])?;
    }
    let attributes = attributes(draft, if is_mixed { None } else { Some(heads) })?;
    let [q, k, v] = qkv.map(Some);
    draft.inputs = vec![q, k, v, mask, draft.input(6), draft.input(7)];
    draft.operator.attributes = attributes;
    draft.rename("Attention");
    if is_mixed { pack_heads(draft, graph) } else { Ok(()) }
}

/// `Attention` of ONNX Runtime: the projections are its own work, and keys and values share a cache.
pub(in crate::onnx::upgrade) fn attention(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.input(6).is_some() {
        return draft.unsupported("a shared cache buffer");
    }
    let (x, weights) = (draft.required_input(0)?, draft.required_input(1)?);
    let sizes = draft.take_ints("qkv_hidden_sizes")?;
    let thirds = || known_length(graph, weights, 1).map(|all| vec![all / 3; 3]);
    let Some(sizes) = sizes.filter(|sizes| !sizes.is_empty()).or_else(thirds) else {
        return draft.unsupported("weights of unknown size");
    };
    let mut product = draft.node(graph, "MatMul", Attributes::new(), &[Some(x), Some(weights)])?;
    if let Some(bias) = draft.input(2) {
        product = draft.sum(graph, product, bias)?;
    }
    let inputs = AttentionInputs { mask: draft.input(3), past: draft.input(4), bias: draft.input(5) };
    attend(draft, graph, product, &sizes, inputs)
}

/// `QAttention` is `Attention` whose projections are a product of codes.
pub(in crate::onnx::upgrade) fn quantized_attention(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    let Some(all) = known_length(graph, draft.required_input(1)?, 1) else {
        return draft.unsupported("weights of unknown size");
    };
    // The product takes the scales before the zero points, and the bias last.
    let inputs = [0, 1, 3, 4, 6, 7, 2].map(|index| draft.input(index));
    let operator = OperatorDraft {
        domain: "com.microsoft".to_owned(),
        name: "MatMulIntegerToFloat".to_owned(),
        ..OperatorDraft::default()
    };
    let name = graph.fresh(&format!("{}_qkv", draft.base()));
    let product = graph.add("", operator, &inputs, &[], &[&name])?.into_iter().next();
    let product = product.ok_or_else(|| ImportError::invalid("a node without outputs"))?;
    let inputs = AttentionInputs { mask: draft.input(5), past: draft.input(8), bias: None };
    attend(draft, graph, product, &[all / 3; 3], inputs)
}

/// What attention reads beside its projections.
struct AttentionInputs {
    mask: Option<ValueId>,
    past: Option<ValueId>,
    bias: Option<ValueId>,
}

/// Makes the draft the attention over projections that lie side by side, `sizes` features each.
fn attend(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
    projections: ValueId,
    sizes: &[i64],
    AttentionInputs { mask: mask_input, past, bias }: AttentionInputs,
) -> Result<(), ImportError> {
    let is_set = |name: &str| matches!(draft.operator.attributes.get(name), Some(Attribute::Int(v)) if *v != 0);
    if is_set("past_present_share_buffer") {
        return draft.unsupported("a shared cache buffer");
    }
    if is_set("do_rotary") {
        return draft.unsupported("rotary embedding inside");
    }
    let heads = num_heads(draft)?;
    let qkv = draft.split(graph, projections, 2, sizes)?;
    let &[q, k, v] = &qkv[..] else { return Err(ImportError::invalid("qkv_hidden_sizes: expected three sizes")) };
    let keys = num_keys(draft, graph, k, 1, past.map(|past| (past, 3)))?;
    let Some(mask) = mask(draft, graph, mask_input, bias, q, keys)? else {
        return draft.unsupported("a mask of this form");
    };
    let mut halves = [None, None];
    if let Some(past) = past {
        for (index, half) in (0i64..).zip(&mut halves) {
            let index = graph.constant("half", planish_tensor::Tensor::scalar(index))?;
            *half = Some(draft.node(graph, "Gather", Attributes::new(), &[Some(past), Some(index)])?);
        }
    }
    let attributes = attributes(draft, Some(heads))?;
    draft.inputs = [vec![Some(q), Some(k), Some(v), mask], halves.to_vec()].concat();
    draft.operator.attributes = attributes;
    draft.rename("Attention");
    if draft.wants(1) { join_present(draft, graph) } else { Ok(()) }
}

fn num_heads(draft: &Draft) -> Result<i64, ImportError> {
    match draft.operator.attributes.get("num_heads") {
        Some(Attribute::Int(heads)) if *heads > 0 => Ok(*heads),
        _ => Err(ImportError::invalid("attribute \"num_heads\": expected a positive integer")),
    }
}

/// The attributes of ONNX's `Attention`.
fn attributes(draft: &mut Draft, heads: Option<i64>) -> Result<Attributes, ImportError> {
    let mut attributes = Attributes::new();
    if let Some(heads) = heads {
        attributes.set("q_num_heads", heads);
        attributes.set("kv_num_heads", heads);
    }
    if let Some(scale) = draft.take_float("scale")?.filter(|&scale| scale != 0.0) {
        attributes.set("scale", scale);
    }
    if draft.take_int("unidirectional")?.is_some_and(|flag| flag != 0) {
        attributes.set("is_causal", 1i64);
    }
    Ok(attributes)
}

/// Queries, keys and values as `[batch, position, feature]`, or keys and values by head, out of the tensors that may hold
/// several. `None` for other ranks.
fn projections(draft: &Draft, graph: &mut GraphBuilder<'_>) -> Result<Option<Projections>, ImportError> {
    let query = draft.required_input(0)?;
    let parts = |graph: &mut GraphBuilder<'_>, x: ValueId, count: usize| -> Result<Vec<ValueId>, ImportError> {
        let parts = draft.split(graph, x, 3, &vec![1; count])?;
        parts.into_iter().map(|part| draft.reshape(graph, part, &[0, 0, -1])).collect()
    };
    let rank = |graph: &GraphBuilder<'_>, value: Option<ValueId>| value.and_then(|value| graph.fact(value).rank());
    let (key, value) = (draft.input(1), draft.input(2));
    let all = match (rank(graph, Some(query)), rank(graph, key), rank(graph, value)) {
        (Some(5), None, None) if key.is_none() && value.is_none() => parts(graph, query, 3)?,
        (Some(3), Some(5), None) => {
            let pair = parts(graph, draft.required_input(1)?, 2)?;
            [vec![query], pair].concat()
        }
        (Some(3), Some(3), Some(3)) | (Some(3), Some(4), Some(4)) => {
            vec![query, draft.required_input(1)?, draft.required_input(2)?]
        }
        _ => return Ok(None),
    };
    Ok(<Projections>::try_from(all).ok())
}

/// Projections with the parts of `bias` added; keys and values that come by head have theirs already.
fn with_bias(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    qkv: Projections,
    bias: ValueId,
    is_query_alone: bool,
) -> Result<Option<Projections>, ImportError> {
    let (Some(all), Some(hidden)) = (known_length(graph, bias, 0), known_length(graph, qkv[0], 2)) else {
        return Ok(None);
    };
    let Some(rest) = hidden.checked_mul(2).and_then(|both| all.checked_sub(both)) else { return Ok(None) };
    let parts = draft.split(graph, bias, 0, &[hidden, hidden, rest])?;
    let mut biased = qkv;
    let count = if is_query_alone { 1 } else { 3 };
    for (value, part) in biased.iter_mut().zip(parts).take(count) {
        *value = draft.sum(graph, *value, part)?;
    }
    Ok(Some(biased))
}

/// The number of keys, those of a past included, as a vector of one number.
fn num_keys(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    key: ValueId,
    axis: i64,
    past: Option<(ValueId, i64)>,
) -> Result<ValueId, ImportError> {
    let now = draft.length(graph, key, axis)?;
    match past {
        None => Ok(now),
        Some((past, axis)) => {
            let before = draft.length(graph, past, axis)?;
            draft.sum(graph, before, now)
        }
    }
}

/// What is added to scores, if anything; `None` where the mask is of an unknown form.
fn mask(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    mask: Option<ValueId>,
    bias: Option<ValueId>,
    query: ValueId,
    num_keys: ValueId,
) -> Result<Option<Option<ValueId>>, ImportError> {
    let Some(mask) = mask else { return Ok(Some(bias)) };
    let filter = match draft.operator.attributes.get("mask_filter_value") {
        Some(Attribute::Float(value)) => *value,
        _ => FILTER_VALUE,
    };
    let Some(added) = as_bias(draft, graph, mask, query, num_keys, filter)? else { return Ok(None) };
    match bias {
        None => Ok(Some(Some(added))),
        Some(bias) => Ok(Some(Some(draft.sum(graph, added, bias)?))),
    }
}

/// Adds the `Attention` that the draft is; the draft becomes what brings its result from `[batch, head, position, feature]`
/// to `[batch, position, head · feature]`.
fn pack_heads(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let mut names: Vec<&str> = draft.outputs.iter().map(String::as_str).collect();
    if let Some(name) = names.first_mut() {
        *name = "";
    }
    let attributes = draft.operator.attributes.clone();
    let y = draft.named(graph, "Attention", attributes, &draft.inputs, &names)?;
    let by_head = y.first().copied();
    let by_position = draft.node(graph, "Transpose", Attributes::new().with("perm", vec![0, 2, 1, 3]), &[by_head])?;
    let shape = draft.ints(graph, "packed", &[0, 0, -1])?;
    draft.inputs = vec![Some(by_position), Some(shape)];
    draft.outputs.truncate(1);
    draft.operator.attributes = Attributes::new();
    draft.rename("Reshape");
    Ok(())
}

/// Adds the `Attention` that the draft is; the draft becomes what joins its keys and values into one tensor.
fn join_present(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let name = draft.outputs[0].clone();
    let attributes = draft.operator.attributes.clone();
    let outputs = draft.named(graph, "Attention", attributes, &draft.inputs, &[&name, "", ""])?;
    let mut halves = Vec::with_capacity(2);
    for half in outputs.into_iter().skip(1) {
        halves.push(Some(draft.unsqueeze(graph, half, &[0])?));
    }
    draft.inputs = halves;
    draft.outputs.remove(0);
    draft.operator.attributes = Attributes::new().with("axis", 0i64);
    draft.rename("Concat");
    Ok(())
}

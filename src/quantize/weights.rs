//! Weights in fewer bits, one after the other, so that at most one is in memory twice.

use super::{LayerReport, QuantizeError, QuantizeOptions, QuantizeReport, Storage};
use planish_ir::Graph;
use planish_passes::Target;
use planish_passes::quantize::{Codes, Weight, elements, find_weights, put, put_short};
use planish_tensor::{DType, Tensor};

pub(super) fn quantize(
    graph: &mut Graph,
    options: &QuantizeOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<QuantizeReport, QuantizeError> {
    let (weights, left) = find_weights(graph);
    let mut layers = Vec::new();
    for (done, weight) in weights.iter().enumerate() {
        progress(done, weights.len());
        layers.push(quantize_one(graph, weight, options)?);
    }
    progress(weights.len(), weights.len());
    let untouched = left.into_iter().map(|left| LayerReport {
        name: left.name,
        readers: Vec::new(),
        elements: left.num_elements,
        storage: Storage::Float,
        error: 0.0,
        bytes_before: left.num_bytes,
        bytes_after: left.num_bytes,
        reason: Some(left.reason),
    });
    layers.extend(untouched);
    Ok(QuantizeReport { layers })
}

fn quantize_one(graph: &mut Graph, weight: &Weight, options: &QuantizeOptions) -> Result<LayerReport, QuantizeError> {
    let readers = weight.reader_names(graph);
    let bytes_before = graph.constant(weight.value).map_or(0, Tensor::num_bytes);
    let mut layer = LayerReport {
        name: weight.name.clone(),
        readers,
        elements: weight.num_elements(),
        storage: Storage::Float,
        error: 0.0,
        bytes_before,
        bytes_after: bytes_before,
        reason: None,
    };
    let is_excluded = |name: &String| *name == layer.name || layer.readers.contains(name);
    if options.exclude.iter().any(is_excluded) {
        layer.reason = Some("it is excluded".to_owned());
        return Ok(layer);
    }
    let Some(numbers) = elements(graph, weight) else {
        layer.reason = Some("some of its numbers are not finite".to_owned());
        return Ok(layer);
    };
    let storage = match options.embeddings {
        Some(storage) if weight.is_gathered() => storage,
        _ => options.storage,
    };
    let storage = storage.fitted_to(weight.depth);
    // ONNX Runtime makes one kernel of a product and what dequantizes its weights only if scales are `float`.
    let has_half_scales = options.target == Target::Planish;
    match storage.grid(has_half_scales) {
        Some((grid, block)) => {
            let codes = Codes::of(&numbers, weight.depth, grid, block, options.threads.max(1));
            drop(numbers);
            layer.bytes_after = put(graph, weight, &codes, options.target)?;
            layer.error = codes.relative_error();
        }
        None if storage == Storage::Float => {}
        None => {
            let dtype = if storage == Storage::Half { DType::F16 } else { DType::BF16 };
            match put_short(graph, weight, dtype)? {
                Some((bytes, error)) => (layer.bytes_after, layer.error) = (bytes, error),
                None => {
                    layer.reason = Some("some of its numbers are too large for 16 bits".to_owned());
                    return Ok(layer);
                }
            }
        }
    }
    layer.storage = storage;
    Ok(layer)
}

//! Weights in fewer bits, one after the other, so that at most one is in memory twice.

use super::{LayerReport, Mode, QuantizeError, QuantizeOptions, QuantizeReport, Storage};
use planish_ir::Graph;
use planish_passes::Target;
pub(super) use planish_passes::quantize::Quantized;
use planish_passes::quantize::{Codes, Weight, elements, find_weights, obstacle, put, put_dynamic, put_short};
use planish_tensor::{DType, Tensor};

pub(super) fn quantize(
    graph: &mut Graph,
    options: &QuantizeOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<QuantizeReport, QuantizeError> {
    let left = untouched(graph);
    let (weights, _) = find_weights(graph);
    let mut layers = Vec::new();
    let mut quantized = Quantized::default();
    for (done, weight) in weights.iter().enumerate() {
        progress(done, weights.len());
        layers.push(quantize_one(graph, weight, options, &mut quantized)?);
    }
    progress(weights.len(), weights.len());
    layers.extend(left);
    Ok(QuantizeReport { layers })
}

/// Constants of floats that are no weights, and why.
pub(super) fn untouched(graph: &Graph) -> Vec<LayerReport> {
    let report = |left: planish_passes::quantize::Left| LayerReport {
        elements: left.num_elements,
        bytes_before: left.num_bytes,
        bytes_after: left.num_bytes,
        reason: Some(left.reason),
        ..LayerReport::of(left.name)
    };
    find_weights(graph).1.into_iter().map(report).collect()
}

/// What is to be said of a weight that is as it came.
pub(super) fn report_of(graph: &Graph, weight: &Weight) -> LayerReport {
    let bytes = graph.constant(weight.value).map_or(0, Tensor::num_bytes);
    LayerReport {
        readers: weight.reader_names(graph),
        elements: weight.num_elements(),
        bytes_before: bytes,
        bytes_after: bytes,
        ..LayerReport::of(weight.name.clone())
    }
}

fn quantize_one(
    graph: &mut Graph,
    weight: &Weight,
    options: &QuantizeOptions,
    quantized: &mut Quantized,
) -> Result<LayerReport, QuantizeError> {
    let report = report_of(graph, weight);
    if options.excludes(&report) {
        return Ok(LayerReport { reason: Some("it is excluded".to_owned()), ..report });
    }
    let storage = match options.embeddings {
        Some(storage) if weight.is_gathered() => storage,
        _ => options.storage,
    };
    keep(graph, weight, storage.fitted_to(weight.depth), options, quantized)
}

/// Keeps a weight in this way, or as it came where that cannot be.
pub(super) fn keep(
    graph: &mut Graph,
    weight: &Weight,
    storage: Storage,
    options: &QuantizeOptions,
    quantized: &mut Quantized,
) -> Result<LayerReport, QuantizeError> {
    let mut layer = report_of(graph, weight);
    if storage == Storage::Float {
        return Ok(layer);
    }
    let Some(numbers) = elements(graph, weight) else {
        layer.reason = Some("some of its numbers are not finite".to_owned());
        return Ok(layer);
    };
    if options.mode == Mode::Dynamic {
        match obstacle(graph, weight) {
            None => {
                (layer.bytes_after, layer.error) = put_dynamic(graph, weight, &numbers, quantized)?;
                layer.storage = Storage::Integers;
                return Ok(layer);
            }
            Some(why) => layer.reason = Some(format!("its sums stay floats: {why}")),
        }
    }
    // ONNX Runtime makes one kernel of a product and what dequantizes its weights only if scales are `float`.
    let has_half_scales = options.target == Target::Planish;
    match storage.grid(has_half_scales) {
        Some((grid, block)) => {
            let codes = Codes::of(&numbers, weight.depth, grid, block, options.threads.max(1));
            drop(numbers);
            layer.bytes_after = put(graph, weight, &codes, options.target)?;
            layer.error = codes.relative_error();
        }
        None if storage == Storage::Integers => return Ok(layer),
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

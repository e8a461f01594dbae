//! Layers of integers between codes whose ranges were measured beforehand.

use super::budget::{Choice, Choices, Reference, choose, isolated};
use super::calibrate::{Calibration, CalibrationError, observe};
use super::{Held, LayerReport, QuantizeError, QuantizeOptions, QuantizeReport, Storage};
use crate::model::Model;
use planish_ir::{Graph, ValueId};
use planish_passes::quantize::{Affine, Layer, find_layers, put_static, quantized_values};
use planish_tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub(super) fn quantize(
    model: &mut Model,
    options: &QuantizeOptions,
    calibration: &mut Calibration<'_>,
    held: Option<Held<'_>>,
) -> Result<(QuantizeReport, Option<f64>), CalibrationError> {
    if calibration.session.optimize {
        model.optimize();
    }
    let graph = &mut model.graph;
    let mut reports: HashMap<ValueId, LayerReport> = HashMap::new();
    let mut layers = Vec::new();
    let mut order = Vec::new();
    for layer in find_layers(graph) {
        let report = report_of(graph, &layer);
        if options.excludes(&report) {
            reports.insert(layer.w, LayerReport { reason: Some("it is excluded".to_owned()), ..report });
        } else {
            reports.insert(layer.w, report);
            layers.push(layer.clone());
        }
        if !order.contains(&layer.w) {
            order.push(layer.w);
        }
    }
    let values = quantized_values(graph, &layers);
    let axis = |layer: &Layer| Some((layer.x, layer.channel_axis(graph.fact(layer.x).rank()?)));
    let axes: HashMap<ValueId, usize> = layers.iter().filter_map(axis).collect();
    let observed = observe(graph, &values, &axes, calibration)?;
    let range = |(&value, seen): (&ValueId, &super::observe::Observed)| {
        let [least, most] = seen.range(calibration.calibrator)?;
        Some((value, Affine::over(least, most)))
    };
    let ranges: HashMap<ValueId, Affine> = observed.iter().filter_map(range).collect();
    let means: HashMap<ValueId, Vec<f64>> = match calibration.corrects_biases {
        true => axes.keys().filter_map(|x| Some((*x, observed.get(x)?.means()))).collect(),
        false => HashMap::new(),
    };
    // A layer of which nothing was seen, say in a branch that no data takes, keeps its floats.
    let (seen, unseen): (Vec<Layer>, Vec<Layer>) = layers.into_iter().partition(|l| ranges.contains_key(&l.x));
    for layer in unseen {
        if let Some(report) = reports.get_mut(&layer.w) {
            report.reason = Some("no data reaches it".to_owned());
        }
    }
    let parts = Parts { layers: seen, ranges, means };
    let (kept, measured) = match held {
        Some(held) => {
            let (all, measured) = parts.choose(graph, held)?;
            for (layer, choices) in parts.layers.iter().zip(&all) {
                let Some(report) = reports.get_mut(&layer.w) else { continue };
                let way = choices.ways[choices.taken];
                report.reason = report.reason.take().or_else(|| choices.reason.clone());
                // Of what does not pay it is told what it would do.
                report.sensitivity = Some(choices.tried);
                (report.time_before, report.time_after) = (choices.ways[0].time, way.time);
            }
            (all.iter().map(|choices| choices.ways[choices.taken].storage != Storage::Float).collect(), Some(measured))
        }
        None => (vec![true; parts.layers.len()], None),
    };
    let chosen = parts.chosen(&kept);
    let placed = put_static(graph, &chosen, &parts.ranges, &parts.means)?;
    let mut counted: HashSet<ValueId> = HashSet::new();
    for (layer, placed) in chosen.iter().zip(placed) {
        let Some(report) = reports.get_mut(&layer.w) else { continue };
        (report.storage, report.error) = (Storage::Integers, placed.error);
        if counted.insert(layer.w) {
            report.bytes_after = placed.bytes;
        }
    }
    let mut layers: Vec<LayerReport> = order.iter().filter_map(|w| reports.remove(w)).collect();
    let told: HashSet<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    layers.extend(others(graph).into_iter().filter(|other| !told.contains(&other.name)));
    Ok((QuantizeReport { layers }, measured))
}

/// Layers that can be quantized, and what was measured for that.
struct Parts {
    layers: Vec<Layer>,
    ranges: HashMap<ValueId, Affine>,
    means: HashMap<ValueId, Vec<f64>>,
}

impl Parts {
    fn chosen(&self, kept: &[bool]) -> Vec<Layer> {
        self.layers.iter().zip(kept).filter(|(_, kept)| **kept).map(|(layer, _)| layer.clone()).collect()
    }

    fn placed(&self, graph: &Graph, layers: &[Layer]) -> Result<Graph, QuantizeError> {
        let mut graph = graph.clone();
        put_static(&mut graph, layers, &self.ranges, &self.means)?;
        Ok(graph)
    }

    /// Which layers become integers such that a budget is kept, and how far the outputs are then.
    fn choose(&self, graph: &Graph, held: Held<'_>) -> Result<(Vec<Choices>, f64), QuantizeError> {
        let reference = Reference::new(graph, held.sets, held.budget, held.session, held.run)?;
        let operands: Vec<ValueId> = self.layers.iter().map(|layer| layer.x).collect();
        let inputs = reference.values(graph, &operands)?;
        let mut all = Vec::new();
        for (done, layer) in self.layers.iter().enumerate() {
            (held.progress)(done, self.layers.len());
            let alone = self.placed(graph, std::slice::from_ref(layer))?;
            let sensitivity = reference.distance(alone)?;
            let times = inputs.get(&layer.x).map(|x| self.times(graph, layer, x, &reference)).transpose()?;
            let way = |storage, bytes, sensitivity, time| Choice { storage, bytes, sensitivity, time };
            let elements = graph.constant(layer.w).map_or(0, Tensor::num_elements);
            let ways = vec![
                way(Storage::Float, elements * size_of::<f32>(), 0.0, times.map(|t| t[0])),
                way(Storage::Integers, elements, sensitivity, times.map(|t| t[1])),
            ];
            let mut choices = Choices { ways, taken: 0, reason: None, tried: sensitivity };
            choices.drop_slow();
            all.push(choices);
        }
        let measured = choose(&mut all, held.budget.limit(), |all| {
            let kept: Vec<bool> = all.iter().map(|c| c.ways[c.taken].storage != Storage::Float).collect();
            reference.distance(self.placed(graph, &self.chosen(&kept))?)
        })?;
        Ok((all, measured))
    }

    /// The time of a layer alone, of floats and of integers between codes.
    fn times(
        &self,
        graph: &Graph,
        layer: &Layer,
        x: &Tensor,
        reference: &Reference,
    ) -> Result<[Duration; 2], QuantizeError> {
        let float = isolated(graph, layer.x, layer.y)?;
        let Some(input) = float.inputs().next() else {
            return Err(QuantizeError::Operator("a layer reads nothing".to_owned()));
        };
        let mut ranges = self.ranges.clone();
        if let Some(&range) = ranges.get(&layer.x) {
            ranges.insert(input, range);
        }
        let mut integers = float.clone();
        let mut layer = layer.clone();
        layer.x = input;
        put_static(&mut integers, &[layer], &ranges, &HashMap::new())?;
        Ok([reference.time(float, x)?, reference.time(integers, x)?])
    }
}

fn report_of(graph: &Graph, layer: &Layer) -> LayerReport {
    let weights = graph.constant(layer.w);
    let bytes =
        weights.map_or(0, Tensor::num_bytes) + layer.bias.and_then(|b| graph.constant(b)).map_or(0, Tensor::num_bytes);
    LayerReport {
        readers: graph.uses(layer.w).iter().map(|u| graph.describe(u.node)).collect(),
        elements: weights.map_or(0, Tensor::num_elements),
        bytes_before: bytes,
        bytes_after: bytes,
        ..LayerReport::of(graph.value_name(layer.w).to_owned())
    }
}

/// Constants of floats that belong to no layer.
fn others(graph: &Graph) -> Vec<LayerReport> {
    let (weights, left) = planish_passes::quantize::find_weights(graph);
    let of_weight = |name: String, elements: usize, bytes: usize, reason: String| LayerReport {
        elements,
        bytes_before: bytes,
        bytes_after: bytes,
        reason: Some(reason),
        ..LayerReport::of(name)
    };
    let layers: HashSet<ValueId> = find_layers(graph).iter().map(|layer| layer.w).collect();
    let weights = weights.into_iter().filter(|weight| !layers.contains(&weight.value));
    let gathered = weights.map(|w| {
        let (elements, bytes) = (w.num_elements(), w.num_elements() * size_of::<f32>());
        of_weight(w.name, elements, bytes, "no layer with a range of its own reads it".to_owned())
    });
    let names: HashSet<&str> = layers.iter().map(|&w| graph.value_name(w)).collect();
    let left = left.into_iter().filter(|left| !names.contains(left.name.as_str()));
    gathered.chain(left.map(|l| of_weight(l.name, l.num_elements, l.num_bytes, l.reason))).collect()
}

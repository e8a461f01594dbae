//! A storage for each weight such that the whole keeps to a budget.

use super::budget::{Budget, Choice, Choices, Reference, choose, isolated};
use super::weights::{keep, report_of};
use super::{QuantizeError, QuantizeOptions, QuantizeReport, Storage};
use crate::data::DataSet;
use crate::model::Model;
use planish_ir::{Graph, ValueId};
use planish_passes::quantize::{Role, Weight, find_weights};
use planish_runtime::{RunOptions, SessionOptions};
use planish_tensor::Tensor;
use std::collections::HashMap;
use std::time::Duration;

/// What outputs are held to, and on what.
pub struct Held<'a> {
    /// How far outputs may move.
    pub budget: Budget,
    /// The inputs that this is measured on.
    pub sets: Vec<DataSet>,
    /// How the model runs.
    pub session: SessionOptions,
    /// How each run goes.
    pub run: RunOptions,
    /// Told how many of how many measurements are done.
    pub progress: &'a mut dyn FnMut(usize, usize),
}

impl Model {
    /// Quantizes weights as far as a budget allows: each stays a float, or becomes 16, 8 or 4 bits, by what that does to the
    /// outputs and to the time of its layer on this machine.
    pub fn quantize_within(
        &mut self,
        options: &QuantizeOptions,
        held: Held<'_>,
    ) -> Result<(QuantizeReport, f64), QuantizeError> {
        let reference = Reference::new(&self.graph, held.sets, held.budget, held.session, held.run)?;
        let (weights, _) = find_weights(&self.graph);
        let operands: Vec<ValueId> =
            weights.iter().filter_map(|weight| product(&self.graph, weight).map(|p| p.0)).collect();
        let inputs = reference.values(&self.graph, &operands)?;
        let mut timed = Timed { graph: &self.graph, options, reference: &reference, inputs, known: HashMap::new() };
        let mut all: Vec<Choices> = Vec::new();
        for (done, weight) in weights.iter().enumerate() {
            (held.progress)(done, weights.len());
            all.push(timed.choices(weight)?);
        }
        let graph = &self.graph;
        let build = |all: &[Choices]| -> Result<(Graph, QuantizeReport), QuantizeError> {
            let mut graph = graph.clone();
            let mut quantized = super::weights::Quantized::default();
            let mut report = QuantizeReport::default();
            for (weight, choices) in weights.iter().zip(all) {
                let way = choices.ways[choices.taken];
                let mut layer = keep(&mut graph, weight, way.storage, options, &mut quantized)?;
                layer.reason = layer.reason.or_else(|| choices.reason.clone());
                layer.sensitivity = Some(choices.tried);
                layer.time_before = choices.ways[0].time;
                layer.time_after = way.time;
                report.layers.push(layer);
            }
            Ok((graph, report))
        };
        let measured = choose(&mut all, held.budget.limit(), |all| reference.distance(build(all)?.0))?;
        (held.progress)(weights.len(), weights.len());
        let (graph, mut report) = build(&all)?;
        report.layers.extend(super::weights::untouched(&self.graph));
        self.graph = graph;
        Ok((report, measured))
    }
}

/// What the first product that reads a weight is given, and what it gives.
fn product(graph: &Graph, weight: &Weight) -> Option<(ValueId, ValueId)> {
    let reader = weight.readers.iter().find(|reader| reader.role != Role::Gather)?;
    let x = graph.node_inputs(reader.node).first().copied().flatten()?;
    Some((x, ValueId { node: reader.node, output: 0 }))
}

/// Measures ways to keep weights, layers of one shape once.
struct Timed<'a> {
    graph: &'a Graph,
    options: &'a QuantizeOptions,
    reference: &'a Reference,
    /// What products are given.
    inputs: HashMap<ValueId, Tensor>,
    known: HashMap<(usize, usize, Vec<usize>, String), Duration>,
}

impl Timed<'_> {
    fn choices(&mut self, weight: &Weight) -> Result<Choices, QuantizeError> {
        let float = report_of(self.graph, weight);
        let time = self.time(weight, Storage::Float)?;
        let mut ways = vec![Choice { storage: Storage::Float, bytes: float.bytes_before, sensitivity: 0.0, time }];
        let is_excluded = self.options.excludes(&float);
        if is_excluded {
            return Ok(Choices { ways, taken: 0, reason: Some("it is excluded".to_owned()), tried: 0.0 });
        }
        let storages = [Storage::Half, Storage::blocks(8), Storage::blocks(4)].map(|s| s.fitted_to(weight.depth));
        let mut widest: Option<(f64, f64)> = None;
        // The shortest is measured; of the others it is known how much smaller their errors are.
        for storage in storages.into_iter().rev() {
            let mut graph = self.graph.clone();
            let kept = keep(&mut graph, weight, storage, self.options, &mut super::weights::Quantized::default())?;
            if kept.storage != storage {
                continue;
            }
            let sensitivity = match widest {
                Some((error, sensitivity)) if error > 0.0 => sensitivity * (kept.error / error).powi(2),
                Some(_) => 0.0,
                None => self.reference.distance(graph)?,
            };
            widest = widest.or(Some((kept.error, sensitivity)));
            ways.push(Choice { storage, bytes: kept.bytes_after, sensitivity, time: self.time(weight, storage)? });
        }
        let tried = widest.map_or(0.0, |(_, sensitivity)| sensitivity);
        let mut choices = Choices { ways, taken: 0, reason: None, tried };
        choices.drop_slow();
        Ok(choices)
    }

    /// The time of the first product that reads a weight, kept in this way.
    fn time(&mut self, weight: &Weight, storage: Storage) -> Result<Option<Duration>, QuantizeError> {
        let Some((x, y)) = product(self.graph, weight) else { return Ok(None) };
        let Some(input) = self.inputs.get(&x).cloned() else { return Ok(None) };
        let key = (weight.rows, weight.depth, input.shape().dims().to_vec(), storage.to_string());
        if let Some(&time) = self.known.get(&key) {
            return Ok(Some(time));
        }
        let mut alone = isolated(self.graph, x, y)?;
        let (weights, _) = find_weights(&alone);
        let Some(found) = weights.into_iter().find(|found| found.name == weight.name) else { return Ok(None) };
        keep(&mut alone, &found, storage, self.options, &mut super::weights::Quantized::default())?;
        let time = self.reference.time(alone, &input)?;
        self.known.insert(key, time);
        Ok(Some(time))
    }
}

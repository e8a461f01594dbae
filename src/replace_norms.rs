//! Puts layer normalization in the place of batch normalization.
//!
//! y = BatchNormalization(x, γ, β, μ, σ²)   ⇒   y = GroupNormalization(x, γ', β', num_groups = 1), or for matrices
//! y = LayerNormalization(x, γ', β', axis = 1): all features of one sample are normalized together, by what they are instead of
//! what they were in training.
//!
//! This changes what the model computes. Scale and bias of each channel are fitted by least squares to what the batch
//! normalization gave on calibration data; a norm whose replacement takes an output of the model too far from what it was
//! stays. What comes back says how far.

use crate::data::DataSet;
use planish_ir::{Attributes, Graph, NodeId, Operator, Registry, ValueId};
use planish_ops::StandardRegistry;
use planish_runtime::{RunOptions, Session, SessionOptions};
use planish_tensor::{DType, Tensor, Value};

/// A batch normalization that was replaced, or why it was not.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The node.
    pub node: String,
    /// How far the norm's own result is off after the fit: root mean square of the error over that of the result's
    /// deviation from its mean.
    pub norm_error: f64,
    /// How far the model's outputs are off with this and all earlier replacements: root mean square of the error over that
    /// of the output, of the worst output.
    pub output_error: f64,
    /// Why the norm stays as it was.
    pub left_for: Option<String>,
}

/// A graph with other norms.
#[derive(Debug)]
pub struct Replaced {
    /// The graph.
    pub graph: Graph,
    /// What was tried, in the order of the graph.
    pub attempts: Vec<Attempt>,
}

impl Replaced {
    /// How far the outputs of the model are off.
    pub fn output_error(&self) -> f64 {
        self.attempts.iter().rev().find(|a| a.left_for.is_none()).map_or(0.0, |a| a.output_error)
    }
}

/// What each norm adds to the variance before its root.
const EPSILON: f32 = 1e-5;

/// Replaces every batch normalization of `graph` that the model does without: fitted to `sets`, while the outputs on `held_out`
/// move by no more than `max_error`. One sample can be fitted exactly, whatever others look like: data that is not fitted to
/// tells more.
pub fn replace_batch_norms(
    graph: &Graph,
    sets: &[DataSet],
    held_out: &[DataSet],
    max_error: f64,
    limits: (&SessionOptions, &RunOptions),
) -> Result<Replaced, String> {
    if sets.is_empty() || held_out.is_empty() {
        return Err("there is no calibration data".to_owned());
    }
    let expected = run(graph, held_out, &[], limits)?;
    let mut current = graph.clone();
    let mut attempts = Vec::new();
    let order = graph.topological_order().map_err(|e| e.to_string())?;
    for id in order.into_iter().filter(|&id| graph.node(id).operator().is_some_and(|o| o.is("BatchNormalization"))) {
        let mut attempt = Attempt { node: graph.describe(id), norm_error: 0.0, output_error: 0.0, left_for: None };
        match replaced(graph, &current, id, sets, limits) {
            Ok((candidate, norm_error)) => {
                let got = run(&candidate, held_out, &[], limits)?;
                attempt.norm_error = norm_error;
                attempt.output_error = worst_error(&expected, &got);
                if attempt.output_error <= max_error {
                    current = candidate;
                } else {
                    let reason = format!("an output moves by {:.3}, {max_error} is allowed", attempt.output_error);
                    attempt.left_for = Some(reason);
                }
            }
            Err(reason) => attempt.left_for = Some(reason),
        }
        attempts.push(attempt);
    }
    current.remove_dead_nodes();
    Ok(Replaced { graph: current, attempts })
}

/// `current` with another norm in the place of one that `original` has too, and how far that is off.
fn replaced(
    original: &Graph,
    current: &Graph,
    id: NodeId,
    sets: &[DataSet],
    limits: (&SessionOptions, &RunOptions),
) -> Result<(Graph, f64), String> {
    let x = original.node_inputs(id).first().copied().flatten().ok_or("it has no input")?;
    let y = ValueId { node: id, output: 0 };
    if original.fact(x).dtype() != Some(DType::F32) {
        return Err("it is not of float".to_owned());
    }
    let rank = original.fact(x).rank().filter(|&rank| rank >= 2).ok_or("the rank is not known")?;
    let targets = run(original, sets, &[y], limits)?;
    let sources = run(current, sets, &[x], limits)?;
    let mut fit = Fit::default();
    for (source, target) in sources.iter().zip(&targets) {
        let last = |values: &Vec<Value>| values.last().and_then(Value::as_tensor).cloned();
        fit.add(&last(source).ok_or("no input")?, &last(target).ok_or("no result")?).ok_or("shapes differ")?;
    }
    let (scale, bias, error) = fit.solve();
    let mut candidate = current.clone();
    let constant = |graph: &mut Graph, name: &str, values: &[f32]| {
        let name = graph.fresh_name(&format!("{}_{name}", original.value_name(y)));
        graph.add_constant(&name, Tensor::vector(values)).map_err(|e| e.to_string())
    };
    let inputs =
        [Some(x), Some(constant(&mut candidate, "scale", &scale)?), Some(constant(&mut candidate, "bias", &bias)?)];
    let operator = norm(rank).map_err(|e| e.to_string())?;
    candidate.set_operator(id, operator, &inputs, &[]);
    let conflicts = candidate.infer().map_err(|e| e.to_string())?;
    if let Some(conflict) = conflicts.first() {
        return Err(conflict.message.clone());
    }
    Ok((candidate, error))
}

fn norm(rank: usize) -> Result<Operator, planish_ir::AttributeError> {
    let attributes = Attributes::new().with("epsilon", EPSILON);
    match rank {
        2 => StandardRegistry.operator("", "LayerNormalization", attributes.with("axis", 1), 3, 1),
        _ => StandardRegistry.operator("", "GroupNormalization", attributes.with("num_groups", 1), 3, 1),
    }
}

/// What the graph gives on each set: its outputs, then these values.
fn run(
    graph: &Graph,
    sets: &[DataSet],
    values: &[ValueId],
    (session_options, run_options): (&SessionOptions, &RunOptions),
) -> Result<Vec<Vec<Value>>, String> {
    let mut graph = graph.clone();
    for &value in values {
        let name = graph.fresh_name("calibrated");
        graph.add_output(&name, value, planish_ir::Type::Unknown).map_err(|e| e.to_string())?;
    }
    let session = Session::new(graph, session_options).map_err(|e| e.to_string())?;
    let of_set = |set: &DataSet| {
        let inputs = set.inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        session.run(inputs, run_options).map_err(|e| e.to_string())
    };
    sets.iter().map(of_set).collect()
}

/// The largest root mean square of an output's error over that of the output.
fn worst_error(expected: &[Vec<Value>], got: &[Vec<Value>]) -> f64 {
    let num_outputs = expected.first().map_or(0, Vec::len);
    let floats = |value: &Value| value.as_tensor().and_then(|t| t.as_slice::<f32>().ok().map(<[f32]>::to_vec));
    let of_output = |index: usize| {
        let (mut error, mut power) = (0f64, 0f64);
        for (expected, got) in expected.iter().zip(got) {
            let (Some(e), Some(g)) = (floats(&expected[index]), floats(&got[index])) else { continue };
            if e.len() != g.len() {
                return f64::INFINITY;
            }
            error += e.iter().zip(&g).map(|(e, g)| f64::from(e - g).powi(2)).sum::<f64>();
            power += e.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>();
        }
        if error == 0.0 { 0.0 } else { (error / power).sqrt() }
    };
    (0..num_outputs)
        .map(of_output)
        .fold(0.0, |worst, error| if error.is_nan() { f64::INFINITY } else { error.max(worst) })
}

/// Sums over the elements of each channel of z, the normalized input, and y, the result to come near.
#[derive(Default)]
struct Fit {
    channels: Vec<Sums>,
}

#[derive(Clone, Default)]
struct Sums {
    n: f64,
    z: f64,
    y: f64,
    zz: f64,
    zy: f64,
    yy: f64,
}

impl Fit {
    /// Takes in a batch, `[samples, channels, …]`.
    fn add(&mut self, x: &Tensor, y: &Tensor) -> Option<()> {
        let [samples, channels, ..] = *x.shape().dims() else { return None };
        let (x, y) = (x.as_slice::<f32>().ok()?, y.as_slice::<f32>().ok()?);
        if x.len() != y.len() || samples == 0 || channels == 0 {
            return None;
        }
        self.channels.resize(channels, Sums::default());
        let size = x.len() / samples;
        let inner = size / channels;
        for (x, y) in x.chunks(size.max(1)).zip(y.chunks(size.max(1))) {
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / size as f64;
            let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / size as f64;
            let factor = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            let rows = x.chunks(inner.max(1)).zip(y.chunks(inner.max(1)));
            for ((x, y), sums) in rows.zip(&mut self.channels) {
                for (&x, &y) in x.iter().zip(y) {
                    let (z, y) = ((f64::from(x) - mean) * factor, f64::from(y));
                    sums.n += 1.0;
                    sums.z += z;
                    sums.y += y;
                    sums.zz += z * z;
                    sums.zy += z * y;
                    sums.yy += y * y;
                }
            }
        }
        Some(())
    }

    /// Scale and bias of each channel, and the part of the result's deviation that they do not explain.
    fn solve(&self) -> (Vec<f32>, Vec<f32>, f64) {
        let (mut scales, mut biases) = (Vec::new(), Vec::new());
        let (mut error, mut power) = (0.0, 0.0);
        for Sums { n, z, y, zz, zy, yy } in &self.channels {
            let n = n.max(1.0);
            let (var_z, cov, var_y) = (zz - z * z / n, zy - z * y / n, yy - y * y / n);
            let scale = if var_z > 1e-9 * n { cov / var_z } else { 0.0 };
            scales.push(scale as f32);
            biases.push(((y - scale * z) / n) as f32);
            error += (var_y - scale * cov).max(0.0);
            power += var_y.max(0.0);
        }
        (scales, biases, if error == 0.0 { 0.0 } else { (error / power).sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_tensor::Shape;

    const TEXT: &str = "g (float[N, 2, 3] x) => (float[N, 2, 3] y) <float[2] s = {2, 1}, float[2] b = {0, 1}, float[2] m = {1, 0}, float[2] v = {1, 4}> \
                        { n = BatchNormalization (x, s, b, m, v) y = Relu (n) }";

    /// One sample whose features all scale alike: layer normalization can do what batch normalization does to it.
    fn one_sample() -> DataSet {
        let x = Tensor::new(Shape::new(&[1, 2, 3]).unwrap(), &[1f32, 2.0, -1.0, 0.5, 3.0, -2.0]).unwrap();
        DataSet { inputs: vec![("x".to_owned(), x.into())], outputs: Vec::new() }
    }

    fn replace(max_error: f64, sets: &[DataSet]) -> Result<Replaced, String> {
        let graph = Graph::from_text(TEXT, &StandardRegistry).unwrap();
        replace_batch_norms(&graph, sets, sets, max_error, (&SessionOptions::default(), &RunOptions::default()))
    }

    #[test]
    fn scale_and_bias_are_fitted_to_the_data() {
        let replaced = replace(1e-3, &[one_sample()]).unwrap();
        let names: Vec<&str> = replaced.graph.operators().map(|(_, o)| o.name.as_str()).collect();
        assert_eq!(names, ["GroupNormalization", "Relu"]);
        assert!(replaced.output_error() < 1e-5, "{:?}", replaced.attempts);
    }

    #[test]
    fn a_norm_that_costs_too_much_stays() {
        let x = Tensor::new(
            Shape::new(&[2, 2, 3]).unwrap(),
            &[1f32, 2.0, -1.0, 0.5, 3.0, -2.0, 9.0, 1.0, 0.0, 4.0, -7.0, 2.0],
        );
        let set = DataSet { inputs: vec![("x".to_owned(), x.unwrap().into())], outputs: Vec::new() };
        let replaced = replace(1e-3, &[set]).unwrap();
        assert!(replaced.attempts[0].left_for.as_ref().is_some_and(|reason| reason.contains("allowed")));
        assert!(replaced.graph.operators().any(|(_, o)| o.is("BatchNormalization")));
    }

    #[test]
    fn without_data_there_is_nothing_to_fit_to() {
        assert!(replace(1.0, &[]).is_err());
    }
}

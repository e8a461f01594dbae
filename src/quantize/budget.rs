//! What each weight may cost: the storage of each chosen by what it does to the outputs and to the time of its layer, both
//! measured.
//!
//! Every layer is quantized alone to see what it does to the outputs. Layers then take the shortest storage there is, and those
//! that gain most for their bytes go back, until the sum of what they do keeps to the budget; the whole is measured, and the
//! budget of the sum made smaller until the measured one is kept.

use super::{QuantizeError, Storage};
use crate::data::DataSet;
use crate::language::Logits;
use crate::model::Model;
use planish_ir::{Graph, Type, ValueId};
use planish_runtime::{RunOptions, Session, SessionOptions};
use planish_tensor::{Tensor, Value};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often the sum's budget is changed until the measured one is kept.
const MAX_ROUNDS: usize = 8;

/// What a layer's time may be of that of its float original before it does not pay.
const PAYS_BELOW: f64 = 1.02;

/// Runs of one layer, of which the fastest counts.
const REPEATS: usize = 20;

/// The longest that one layer is timed.
const TIMED: Duration = Duration::from_millis(200);

/// How far the outputs may move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// The cosine of each output with the original is at least this.
    Cosine(f64),
    /// ‖output − original‖ / ‖original‖ is at most this.
    Relative(f64),
    /// KL(original ‖ model) over the last axis of logits is at most this.
    Divergence(f64),
    /// The share of equal first choices along the last axis of logits is at least this.
    Agreement(f64),
}

impl Budget {
    /// How far outputs may move, as a number that is 0 for equal outputs.
    pub fn limit(self) -> f64 {
        match self {
            Budget::Cosine(cosine) => 1.0 - cosine,
            Budget::Relative(error) => error,
            Budget::Divergence(nats) => nats,
            Budget::Agreement(share) => 1.0 - share,
        }
    }

    /// How far `got` is from `expected` by this measure.
    fn distance(self, got: &[Value], expected: &[Value]) -> f64 {
        let floats = |value: &Value| value.as_tensor().and_then(|t| t.as_slice::<f32>().ok().map(<[f32]>::to_vec));
        let mut worst: f64 = 0.0;
        for (got, expected) in got.iter().zip(expected) {
            let last = expected.as_tensor().and_then(|t| t.shape().last().copied()).unwrap_or(0);
            let (Some(got), Some(expected)) = (floats(got), floats(expected)) else { continue };
            let is_lost = |(got, expected): (&f32, &f32)| got.is_nan() && !expected.is_nan();
            if got.len() != expected.len() || got.iter().zip(&expected).any(is_lost) {
                return f64::INFINITY;
            }
            let of_output = match self {
                Budget::Cosine(_) => 1.0 - cosine(&got, &expected),
                Budget::Relative(_) => relative(&got, &expected),
                Budget::Divergence(_) => Logits::compared(&got, &expected, last).0,
                Budget::Agreement(_) => 1.0 - Logits::compared(&got, &expected, last).1,
            };
            worst = if of_output.is_nan() { f64::INFINITY } else { worst.max(of_output) };
        }
        worst
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm == 0.0 { f64::from(u8::from(a == b)) } else { dot(a, b) / norm }
}

fn relative(got: &[f32], expected: &[f32]) -> f64 {
    let off: f64 = got.iter().zip(expected).map(|(&g, &e)| (f64::from(g) - f64::from(e)).powi(2)).sum();
    let size = dot(expected, expected);
    if off == 0.0 { 0.0 } else { (off / size).sqrt() }
}

/// Inputs, and what the original gives for them.
pub(super) struct Reference {
    pub budget: Budget,
    sets: Vec<DataSet>,
    pub session: SessionOptions,
    pub run: RunOptions,
}

/// A message where a model does not run.
pub(super) type Failed = QuantizeError;

fn failed(error: impl std::fmt::Display) -> Failed {
    QuantizeError::Operator(error.to_string())
}

impl Reference {
    /// Runs the original on the inputs of every set.
    pub(super) fn new(
        graph: &Graph,
        sets: Vec<DataSet>,
        budget: Budget,
        session: SessionOptions,
        run: RunOptions,
    ) -> Result<Reference, Failed> {
        let mut reference = Reference { budget, sets, session, run };
        let original = reference.load(graph.clone())?;
        for i in 0..reference.sets.len() {
            let outputs = reference.outputs(&original, &reference.sets[i])?;
            let names = original.outputs().iter().map(|o| o.name.clone());
            reference.sets[i].outputs = names.zip(outputs).collect();
        }
        Ok(reference)
    }

    fn load(&self, graph: Graph) -> Result<Session, Failed> {
        Model { graph, ..Model::default() }.into_session(&self.session).map_err(failed)
    }

    fn outputs(&self, session: &Session, set: &DataSet) -> Result<Vec<Value>, Failed> {
        let known = |name: &String| session.inputs().iter().any(|input| input.name == *name);
        let inputs = set.inputs.iter().filter(|(name, _)| known(name));
        session.run(inputs.map(|(name, value)| (name.as_str(), value.clone())), &self.run).map_err(failed)
    }

    /// How far the outputs of a graph are from the original's, the worst of all sets.
    pub(super) fn distance(&self, graph: Graph) -> Result<f64, Failed> {
        let session = self.load(graph)?;
        let mut worst: f64 = 0.0;
        for set in &self.sets {
            let got = self.outputs(&session, set)?;
            let expected: Vec<Value> = set.outputs.iter().map(|(_, value)| value.clone()).collect();
            worst = worst.max(self.budget.distance(&got, &expected));
        }
        Ok(worst)
    }

    /// Values of a graph on the first set, as far as there are any.
    pub(super) fn values(&self, graph: &Graph, values: &[ValueId]) -> Result<HashMap<ValueId, Tensor>, Failed> {
        let Some(set) = self.sets.first() else { return Ok(HashMap::new()) };
        let mut found = HashMap::new();
        let mut names: Vec<String> = Vec::new();
        for &value in values {
            let name = graph.value_name(value).to_owned();
            match set.inputs.iter().find(|(input, _)| *input == name) {
                Some((_, given)) => drop(given.as_tensor().map(|given| found.insert(value, given.clone()))),
                None if !names.contains(&name) => names.push(name),
                None => {}
            }
        }
        let options = SessionOptions { only_outputs: Some(names.clone()), ..self.session.clone() };
        let session = Model { graph: graph.clone(), ..Model::default() }.into_session(&options).map_err(failed)?;
        let outputs = self.outputs(&session, set)?;
        for (name, output) in names.iter().zip(outputs) {
            if let (Some(value), Some(tensor)) = (graph.value(name), output.into_tensor()) {
                found.insert(value, tensor);
            }
        }
        Ok(found)
    }

    /// The time that a graph takes from `x` to what it gives.
    pub(super) fn time(&self, graph: Graph, x: &Tensor) -> Result<Duration, Failed> {
        let session = self.load(graph)?;
        let mut fastest = Duration::MAX;
        let begin = Instant::now();
        for _ in 0..=REPEATS {
            let start = Instant::now();
            session.run([("x", Value::Tensor(x.clone()))], &self.run).map_err(failed)?;
            fastest = fastest.min(start.elapsed());
            if begin.elapsed() > TIMED {
                break;
            }
        }
        Ok(fastest)
    }
}

/// The graph from `x`, its only input then, to `y`.
pub(super) fn isolated(graph: &Graph, x: ValueId, y: ValueId) -> Result<Graph, Failed> {
    let mut alone = graph.clone();
    alone.clear_outputs();
    let ty: Type = alone.fact(x).ty.clone();
    if let Some(taken) = alone.value("x") {
        let spare = alone.fresh_name("not_x");
        alone.rename_value(taken, &spare).map_err(failed)?;
    }
    let input = alone.add_input("x", ty).map_err(failed)?;
    alone.replace_uses(x, input);
    alone.add_output("y", y, Type::Unknown).map_err(failed)?;
    alone.remove_dead_nodes();
    let others: Vec<ValueId> = alone.inputs().filter(|&other| other != input).collect();
    for other in others {
        // An input that something still needs is no layer of one operand.
        alone.remove_node(other.node).map_err(failed)?;
    }
    Ok(alone)
}

/// One way to keep a weight, and what was measured of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub storage: Storage,
    pub bytes: usize,
    /// What it does to the outputs, alone.
    pub sensitivity: f64,
    /// The time of its layer; nothing where rows are gathered.
    pub time: Option<Duration>,
}

/// The ways to keep a weight: the first is its float original.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    pub ways: Vec<Choice>,
    /// Which of them is taken.
    pub taken: usize,
    /// Why it is not the shortest.
    pub reason: Option<String>,
    /// What the shortest does to the outputs, alone.
    pub tried: f64,
}

impl Choices {
    /// Leaves out what is slower than the original.
    pub(super) fn drop_slow(&mut self) {
        let Some(float) = self.ways.first().and_then(|way| way.time) else { return };
        let pays = |way: &Choice| way.time.is_none_or(|time| time.as_secs_f64() <= PAYS_BELOW * float.as_secs_f64());
        let slow: Vec<String> =
            self.ways.iter().skip(1).filter(|way| !pays(way)).map(|way| way.storage.to_string()).collect();
        if !slow.is_empty() {
            self.reason = Some(format!("slower than float: {}", slow.join(", ")));
        }
        let mut index = 0;
        self.ways.retain(|way| {
            index += 1;
            index == 1 || pays(way)
        });
    }

    /// The way with the fewest bytes.
    fn shortest(&self) -> usize {
        (0..self.ways.len()).min_by_key(|&i| self.ways[i].bytes).unwrap_or(0)
    }

    /// The next way that does less to the outputs, and by how much for each byte.
    fn step(&self) -> Option<(usize, f64)> {
        let now = self.ways[self.taken];
        let better = |i: &usize| self.ways[*i].sensitivity < now.sensitivity;
        let gain = |i: usize| {
            let bytes = self.ways[i].bytes.saturating_sub(now.bytes).max(1) as f64;
            (i, (now.sensitivity - self.ways[i].sensitivity) / bytes)
        };
        (0..self.ways.len()).filter(better).map(gain).max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Takes a way for each weight such that the budget is kept by `measure`, which tells how far the outputs are.
pub(super) fn choose(
    all: &mut [Choices],
    limit: f64,
    mut measure: impl FnMut(&[Choices]) -> Result<f64, Failed>,
) -> Result<f64, Failed> {
    let mut sum_limit = limit;
    for _ in 0..MAX_ROUNDS {
        all.iter_mut().for_each(|choices| choices.taken = choices.shortest());
        keep_to(all, sum_limit);
        let measured = measure(all)?;
        if measured <= limit {
            return Ok(measured);
        }
        // What layers do together is not the sum of what each does alone.
        sum_limit *= (0.9 * limit / measured).clamp(0.1, 0.8);
    }
    all.iter_mut().for_each(|choices| choices.taken = 0);
    measure(all)
}

fn keep_to(all: &mut [Choices], limit: f64) {
    let sum = |all: &[Choices]| all.iter().map(|c| c.ways[c.taken].sensitivity).sum::<f64>();
    while sum(all) > limit {
        let steps = all.iter().enumerate().filter_map(|(i, choices)| Some((i, choices.step()?)));
        let Some((i, (way, _))) = steps.max_by(|a, b| a.1.1.total_cmp(&b.1.1)) else { return };
        all[i].taken = way;
        if way == 0 && all[i].reason.is_none() {
            all[i].reason = Some("the budget does not allow less".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(of_sensitivity: f64, slow: bool) -> Choices {
        let way = |storage, bytes, sensitivity, ms| Choice {
            storage,
            bytes,
            sensitivity,
            time: Some(Duration::from_millis(ms)),
        };
        let ways = vec![
            way(Storage::Float, 400, 0.0, 10),
            way(Storage::blocks(8), 100, of_sensitivity / 100.0, if slow { 20 } else { 5 }),
            way(Storage::blocks(4), 50, of_sensitivity, 5),
        ];
        Choices { ways, taken: 0, reason: None, tried: of_sensitivity }
    }

    #[test]
    fn the_most_sensitive_layers_go_back_first() {
        let mut all = [choices(0.001, false), choices(0.1, false), choices(10.0, false)];
        let measured = choose(&mut all, 0.01, |all| Ok(all.iter().map(|c| c.ways[c.taken].sensitivity).sum())).unwrap();
        assert!(measured <= 0.01);
        assert_eq!(all.each_ref().map(|c| c.taken), [2, 1, 0]);
        assert_eq!(all[2].reason.as_deref(), Some("the budget does not allow less"));
    }

    #[test]
    fn what_does_not_pay_is_left_out_and_said() {
        let mut slow = choices(0.0, true);
        slow.drop_slow();
        assert_eq!(slow.ways.iter().map(|w| w.bytes).collect::<Vec<_>>(), [400, 50]);
        assert!(slow.reason.unwrap().contains("slower than float: int8"));
    }

    #[test]
    fn layers_that_add_up_to_more_are_held_to_less() {
        let mut all = [choices(0.005, false), choices(0.004, false)];
        let worse = |all: &[Choices]| Ok(all.iter().map(|c| 4.0 * c.ways[c.taken].sensitivity).sum());
        assert!(choose(&mut all, 0.01, worse).unwrap() <= 0.01);
        let mut all = [choices(0.005, false)];
        assert_eq!(choose(&mut all, 0.01, |_| Ok(1.0)).unwrap(), 1.0);
        assert_eq!(all[0].taken, 0);
    }

    #[test]
    fn measures_are_zero_for_equal_outputs() {
        let value = |numbers: &[f32]| Value::Tensor(Tensor::vector(numbers));
        let (a, b) = (value(&[1.0, 2.0, 3.0]), value(&[3.0, 2.0, 1.0]));
        for budget in [Budget::Cosine(0.9), Budget::Relative(0.1), Budget::Divergence(0.1), Budget::Agreement(0.9)] {
            assert!(budget.distance(&[a.clone()], &[a.clone()]).abs() < 1e-9, "{budget:?}");
            assert!(budget.distance(&[b.clone()], &[a.clone()]) > 0.2, "{budget:?}");
            assert_eq!(budget.distance(&[value(&[f32::NAN; 3])], &[a.clone()]), f64::INFINITY, "{budget:?}");
        }
    }
}

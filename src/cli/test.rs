//! `planish test`: runs a model on data and compares with what is expected.

use super::args::{Common, print, print_json, run_once, signature};
use super::failure::Failure;
use super::format::{Align, Table, green, red};
use crate::data::{Comparison, DataSet, Tolerance, compare};
use clap::Args;
use planish_ir::{Graph, NodeId, Operator};
use planish_runtime::Session;
use planish_tensor::Value;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Run a model on a data set's inputs and compare with its outputs
#[derive(Args)]
#[command(after_help = "Examples:\n  planish test model.onnx test_data_set_0\n  \
    planish test model.onnx test_data_set_0 --rtol 1e-5 --atol 1e-6 --json\n\n\
    An element matches when abs(got - expected) <= atol + rtol * abs(expected). NaN matches NaN, infinities match in\n\
    sign; strings, bools and integers match exactly unless tolerances are given.")]
pub struct Test {
    model: PathBuf,
    /// Folder of input_0.pb, output_0.pb …, folder of .npy, or .npz
    data: PathBuf,
    #[command(flatten)]
    tolerance: ToleranceArgs,
    #[command(flatten)]
    common: Common,
}

/// When outputs are equal enough.
#[derive(Args, Clone, Debug)]
pub struct ToleranceArgs {
    /// Relative tolerance [default: 1e-3]
    #[arg(long)]
    rtol: Option<f64>,
    /// Absolute tolerance [default: 1e-4 x the largest finite magnitude of the expected output, at least 1e-6]
    #[arg(long)]
    atol: Option<f64>,
    /// Accept an output of at least this cosine similarity instead
    #[arg(long, value_name = "X")]
    cosine: Option<f64>,
}

impl ToleranceArgs {
    pub fn tolerance(&self) -> Tolerance {
        Tolerance { rtol: self.rtol, atol: self.atol, cosine: self.cosine }
    }
}

/// How each expected output compares, by name.
pub type Verdicts = Vec<(String, Comparison)>;

impl Test {
    pub fn run(&self) -> Result<(), Failure> {
        let verdicts = self.verdicts();
        if self.common.json {
            print_json(&document(&verdicts))?;
        }
        let verdicts = verdicts?;
        if !self.common.json {
            print(&render(&verdicts))?;
        }
        match first_mismatch(&verdicts) {
            None => Ok(()),
            Some(_) => Err(Failure::Reported),
        }
    }

    fn verdicts(&self) -> Result<Verdicts, Failure> {
        self.common.apply_isa()?;
        let model = self.common.load(&self.model)?;
        let (inputs, outputs) = signature(&model.graph);
        let set = DataSet::read(&self.data, &inputs, &outputs)?;
        if set.outputs.is_empty() && !outputs.is_empty() {
            return Err(Failure::bad(format!("{}: no expected outputs", self.data.display())));
        }
        let drawn = drawn_at_random(&model.graph);
        let session = model.into_session(&self.common.session_options())?;
        let got = run_once(&session, &set, &self.common.run_options())?;
        let verdicts = compare_outputs(&session, &got, &set, self.tolerance.tolerance());
        let differs_by_chance = |(name, verdict): &&(String, Comparison)| {
            verdict.dtype_ok && verdict.max_abs_err > 0.0 && !verdict.is_match() && drawn.contains_key(name)
        };
        match verdicts.iter().find(differs_by_chance) {
            None => Ok(verdicts),
            Some((name, _)) => Err(Failure::bad(format!(
                "unsupported: output {name:?} depends on the random numbers of {}, which the standard leaves to each runtime",
                drawn[name]
            ))),
        }
    }
}

/// Operators of ONNX's own domain whose results differ between runtimes, even for the same seed.
const RANDOM: [&str; 7] =
    ["Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// The outputs that depend on random numbers, by name, each with a node that draws them.
fn drawn_at_random(graph: &Graph) -> HashMap<String, String> {
    fn draws(operator: &Operator) -> bool {
        let body_draws = |body: &Arc<Graph>| body.operators().any(|(_, operator)| draws(operator));
        operator.domain.is_empty() && RANDOM.contains(&&operator.name[..]) || operator.subgraphs().any(body_draws)
    }
    let mut sources: HashMap<NodeId, String> = HashMap::new();
    for id in graph.topological_order().unwrap_or_default() {
        let own = graph.node(id).operator().filter(|operator| draws(operator));
        let inherited = || graph.node_inputs(id).iter().flatten().find_map(|value| sources.get(&value.node).cloned());
        if let Some(source) =
            own.map(|operator| format!("{} ({})", graph.describe(id), operator.name)).or_else(inherited)
        {
            sources.insert(id, source);
        }
    }
    let outputs = graph.outputs().iter();
    outputs.filter_map(|output| Some((output.name.clone(), sources.get(&output.value.node)?.clone()))).collect()
}

/// Compares every expected output of the data set.
pub fn compare_outputs(session: &Session, got: &[Value], set: &DataSet, tolerance: Tolerance) -> Verdicts {
    let by_name = |name: &str| session.outputs().iter().position(|o| o.name == name).and_then(|i| got.get(i));
    let verdict =
        |(name, expected): &(String, Value)| Some((name.clone(), compare(by_name(name)?, expected, tolerance)));
    set.outputs.iter().filter_map(verdict).collect()
}

/// The first output that does not match, as a message.
pub fn first_mismatch(verdicts: &Verdicts) -> Option<String> {
    verdicts
        .iter()
        .find_map(|(name, verdict)| Some(format!("mismatch: output {name:?}: {}", verdict.mismatch.as_ref()?)))
}

/// The worst figures of all outputs.
pub fn overall(verdicts: &Verdicts) -> Option<Comparison> {
    verdicts.iter().map(|(_, verdict)| verdict.clone()).reduce(Comparison::and)
}

fn document(verdicts: &Result<Verdicts, Failure>) -> serde_json::Value {
    match verdicts {
        Ok(verdicts) => {
            let mismatch = first_mismatch(verdicts);
            let worst = overall(verdicts);
            json!({
                "ok": mismatch.is_none(),
                "error": mismatch,
                "max_abs_err": worst.as_ref().map(|w| w.max_abs_err),
                "max_rel_err": worst.as_ref().map(|w| w.max_rel_err),
                "min_cosine": worst.as_ref().map(|w| w.cosine),
                "dtype_ok": worst.as_ref().is_none_or(|w| w.dtype_ok),
            })
        }
        Err(failure) => json!({
            "ok": false, "error": failure.text(), "max_abs_err": null, "max_rel_err": null, "min_cosine": null,
            "dtype_ok": true,
        }),
    }
}

fn render(verdicts: &Verdicts) -> String {
    let mut table = Table::new(&[
        ("output", Align::Left),
        ("", Align::Left),
        ("max abs err", Align::Right),
        ("max rel err", Align::Right),
        ("cosine", Align::Right),
    ]);
    for (name, verdict) in verdicts {
        let answer = if verdict.is_match() { "matches" } else { "DIFFERS" };
        table.row(vec![
            name.clone(),
            answer.to_owned(),
            format!("{:.3e}", verdict.max_abs_err),
            format!("{:.3e}", verdict.max_rel_err),
            format!("{:.7}", verdict.cosine),
        ]);
    }
    let verdict = match first_mismatch(verdicts) {
        None => format!("{}: all {} outputs match\n", green("ok"), verdicts.len()),
        Some(mismatch) => format!("{mismatch}\n").replacen("mismatch", &red("mismatch"), 1),
    };
    table.render() + &verdict
}

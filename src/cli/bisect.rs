//! `planish bisect`: which rewrite changes what a model computes.

use super::args::{Common, InputArgs, parse_bindings, print, print_json};
use super::failure::Failure;
use super::optimize::For;
use super::test::ToleranceArgs;
use crate::bisect::{Site, data_of, site};
use crate::data::{DataSet, save_values};
use crate::model::Model;
use crate::onnx::ExportOptions;
use crate::verify::{Culprit, Verifier};
use clap::Args;
use planish_passes::{OptimizeOptions, bind_symbols};
use serde_json::json;
use std::path::PathBuf;

/// Find the first rewrite that changes what a model computes, and save the part that it changed
#[derive(Args)]
#[command(after_help = "Examples:\n  planish bisect model.onnx --data test_data_set_0\n  \
    planish bisect model.onnx --data test_data_set_0 --rtol 0 --atol 0 -o first-rounding\n\n\
    Saves before.onnx, after.onnx and their data in the folder; `planish test FOLDER/after.onnx FOLDER/data` shows the\n\
    difference again.")]
pub struct Bisect {
    model: PathBuf,
    /// Folder to save the part in
    #[arg(long, short, value_name = "FOLDER", default_value = "bisect")]
    out: PathBuf,
    /// Who is to run the optimized model
    #[arg(long, value_name = "TARGET", default_value = "standard")]
    target: For,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    tolerance: ToleranceArgs,
    #[command(flatten)]
    common: Common,
}

impl Bisect {
    pub fn run(&self) -> Result<(), Failure> {
        self.common.apply_isa()?;
        let mut model = self.common.load(&self.model)?;
        let bindings = parse_bindings(&self.inputs.dim)?;
        if !bindings.is_empty() {
            bind_symbols(&mut model.graph, &bindings);
        }
        let set = self.inputs.gather(&model.graph, &self.common)?;
        let options = OptimizeOptions { target: self.target.into(), ..OptimizeOptions::default() };
        let spinner = self.common.spinner("looking for the rewrite".to_owned());
        let limits = (self.common.session_options(), self.common.run_options());
        let verifier = Verifier::new(&model.graph, vec![set.clone()], limits.0, limits.1)
            .map_err(Failure::bad)?
            .within(self.tolerance.tolerance());
        let culprit = verifier.culprit(&options);
        spinner.finish_and_clear();
        let saved = match &culprit {
            Some(culprit) => self.save(&model, &options, &set, culprit)?,
            None => Vec::new(),
        };
        self.report(culprit.as_ref(), &saved)?;
        if culprit.is_some() { Err(Failure::Reported) } else { Ok(()) }
    }

    /// Saves the part of the model that the rewrite changed, before and after, with what it reads and should give.
    fn save(
        &self,
        model: &Model,
        options: &OptimizeOptions,
        set: &DataSet,
        culprit: &Culprit,
    ) -> Result<Vec<PathBuf>, Failure> {
        let found = site(&model.graph, options, culprit.number).map_err(|e| Failure::bad(e.to_string()))?;
        let Some(found) = found else { return Ok(Vec::new()) };
        let data = data_of(&model.graph, &found, set, &self.common.run_options()).map_err(Failure::bad)?;
        let values: Vec<_> = data.inputs.into_iter().chain(data.outputs).collect();
        let mut saved = save_values(&self.out.join("data"), &values)?;
        let Site { before, after } = found;
        for (name, graph) in [("before.onnx", before), ("after.onnx", after)] {
            let path = self.out.join(name);
            let part = Model { graph, info: model.info.clone(), warnings: Vec::new() };
            part.save_with(&path, &ExportOptions { target: self.target.into(), ..ExportOptions::default() })?;
            saved.push(path);
        }
        Ok(saved)
    }

    fn report(&self, culprit: Option<&Culprit>, saved: &[PathBuf]) -> Result<(), Failure> {
        let files: Vec<String> = saved.iter().map(|path| path.display().to_string()).collect();
        if self.common.json {
            let found = culprit
                .map(|c| json!({"pass": c.rule, "node": c.node, "rewrite": c.number, "difference": c.difference}));
            return print_json(&json!({"ok": culprit.is_none(), "culprit": found, "saved": files}));
        }
        let Some(culprit) = culprit else {
            return print("no rewrite changes what the model computes on this data\n");
        };
        let Culprit { rule, node, number, difference } = culprit;
        let mut text = format!("rewrite {number}, {rule} at node {node:?}, changes the result\n  {difference}\n");
        for file in files {
            text.push_str(&format!("  saved {file}\n"));
        }
        print(&text)
    }
}

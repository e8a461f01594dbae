//! `planish ops`: what planish can run.

use super::args::{print, print_json};
use super::failure::Failure;
use super::format::{Align, Table};
use clap::Args;
use planish_ir::{FormalKind, Schema, Types};
use planish_ops::OPERATORS;
use serde_json::json;

/// List every supported operator
#[derive(Args)]
#[command(after_help = "Examples:\n  planish ops\n  planish ops --markdown > OPERATORS.md")]
pub struct Ops {
    /// Write the table of the documentation
    #[arg(long)]
    markdown: bool,
    /// One JSON document on standard output, nothing else there
    #[arg(long)]
    json: bool,
    /// No remarks
    #[arg(long, short)]
    quiet: bool,
}

impl Ops {
    pub fn run(&self) -> Result<(), Failure> {
        if self.json {
            return print_json(&json!(OPERATORS.iter().map(|e| document(e.schema)).collect::<Vec<_>>()));
        }
        if self.markdown {
            return print(&markdown());
        }
        let mut table = Table::new(&[
            ("domain", Align::Left),
            ("operator", Align::Left),
            ("since", Align::Right),
            ("types", Align::Left),
        ]);
        for entry in OPERATORS {
            let s = entry.schema;
            table.row(vec![domain(s).to_owned(), s.name.to_owned(), s.since.to_string(), types(main_types(s))]);
        }
        print(&format!("{}{} operators\n", table.render(), OPERATORS.len()))
    }
}

fn domain(schema: &Schema) -> &'static str {
    if schema.domain.is_empty() { "ai.onnx" } else { schema.domain }
}

/// The types of the first input, else of the first output.
fn main_types(schema: &Schema) -> Types {
    schema.inputs.first().or(schema.outputs.first()).map_or(Types::NONE, |formal| formal.types)
}

fn type_names(types: Types) -> Vec<&'static str> {
    let mut names: Vec<&str> = types.dtypes().map(|d| d.name()).collect();
    for (set, name) in [(Types::SEQUENCE, "sequence"), (Types::OPTIONAL, "optional"), (Types::MAP, "map")] {
        if types.includes(set) {
            names.push(name);
        }
    }
    names
}

fn types(types: Types) -> String {
    if types.includes(planish_ir::ALL_TENSORS) { "all".to_owned() } else { type_names(types).join(" ") }
}

fn document(schema: &Schema) -> serde_json::Value {
    let formals = |formals: &[planish_ir::Formal]| -> Vec<serde_json::Value> {
        let kind = |kind| match kind {
            FormalKind::Required => "required",
            FormalKind::Optional => "optional",
            FormalKind::Variadic { .. } => "variadic",
        };
        formals.iter().map(|f| json!({"name": f.name, "kind": kind(f.kind), "types": type_names(f.types)})).collect()
    };
    let attributes: Vec<&str> = schema.attributes.iter().map(|a| a.name).collect();
    json!({
        "domain": domain(schema), "name": schema.name, "since": schema.since, "inputs": formals(schema.inputs),
        "outputs": formals(schema.outputs), "attributes": attributes,
    })
}

fn markdown() -> String {
    let mut text = String::from(
        "# Operators\n\nWritten by `planish ops --markdown`. `since` is the opset of the form that graphs hold; older \
         forms, from opset 7 on, are brought up to it while a model is read.\n\n| domain | operator | since | types |\n\
         | --- | --- | --- | --- |\n",
    );
    for entry in OPERATORS {
        let s = entry.schema;
        text.push_str(&format!("| {} | {} | {} | {} |\n", domain(s), s.name, s.since, types(main_types(s))));
    }
    text
}

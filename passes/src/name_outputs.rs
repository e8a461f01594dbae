//! y = Identity(x), where y is what callers know x by   ⇒   x is called y
//!
//! when: an operator makes x, which is given out under one name only. Import takes such copies for names; a value that keeps
//! a name of its own is written with a copy again, for its name's sake alone.

use crate::driver::Editor;
use crate::pipeline::Pass;

/// Calls values what callers call them.
pub(crate) const PASS: Pass = Pass::Whole("name-outputs", run);

fn run(editor: &mut Editor<'_>) {
    let outputs: Vec<_> = editor.graph.outputs().iter().map(|o| (o.name.clone(), o.value)).collect();
    for (name, value) in &outputs {
        let is_alone = outputs.iter().filter(|(_, other)| other == value).count() == 1;
        let is_made = editor.graph.node(value.node).operator().is_some();
        if editor.state.is_spent() || !is_alone || !is_made || editor.graph.value_name(*value) == name {
            continue;
        }
        if editor.graph.rename_value(*value, name).is_ok() {
            let node = editor.graph.describe(value.node);
            editor.state.report.add("name-outputs", node);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{OptimizeOptions, optimize_with};
    use planish_ir::{Graph, Type};
    use planish_ops::StandardRegistry;

    fn outputs(names: &[&str]) -> Vec<String> {
        let text = "g (float[2] x) => () { a = Exp (x) b = Neg (a) }";
        let mut graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let value = graph.value("a").unwrap();
        for name in names {
            graph.add_output(name, value, Type::Unknown).unwrap();
        }
        let options = OptimizeOptions { only: vec!["name-outputs".to_owned()], ..OptimizeOptions::default() };
        let first = optimize_with(&mut graph, &options).rewrites.len();
        assert!(first <= 1 && optimize_with(&mut graph, &options).rewrites.is_empty());
        graph.verify().unwrap();
        vec![graph.value_name(value).to_owned()]
    }

    #[test]
    fn a_value_takes_the_name_that_callers_know() {
        assert_eq!(outputs(&["y"]), ["y"]);
        assert_eq!(outputs(&["a"]), ["a"]);
    }

    #[test]
    fn a_value_of_two_names_or_of_one_that_is_taken_keeps_its_own() {
        assert_eq!(outputs(&["y", "z"]), ["a"]);
        assert_eq!(outputs(&["b"]), ["a"]);
    }
}

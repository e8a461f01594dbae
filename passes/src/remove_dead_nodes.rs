//! Nodes and constants that no output depends on  ⇒  nothing.

use crate::driver::Editor;
use crate::pipeline::Pass;

/// Removes what no output depends on.
pub(crate) const PASS: Pass = Pass::Whole("remove-dead-nodes", run);

fn run(editor: &mut Editor<'_>) {
    let name = editor.graph.name.clone();
    if !editor.state.is_spent() && editor.graph.remove_dead_nodes() > 0 {
        editor.state.report.add("remove-dead-nodes", name);
    }
}

#[cfg(test)]
mod tests {
    use crate::{OptimizeOptions, optimize_with};
    use planish_ir::Graph;
    use planish_ops::StandardRegistry;

    #[test]
    fn only_what_outputs_depend_on_stays() {
        let text = "g (float[2] x) => (float[2] y) <float unused = {1}> { y = Relu (x) z = Neg (x) }";
        let mut graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let only = OptimizeOptions { only: vec!["remove-dead-nodes".to_owned()], ..OptimizeOptions::default() };
        assert_eq!(optimize_with(&mut graph, &only).rewrites.len(), 1);
        assert!(graph.value("z").is_none() && graph.value("unused").is_none());
        assert!(optimize_with(&mut graph, &only).rewrites.is_empty(), "a second run changes nothing");
        graph.verify().unwrap();
    }
}

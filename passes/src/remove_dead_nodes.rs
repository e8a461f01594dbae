//! Nodes and constants that no output depends on  ⇒  nothing.

use planish_ir::Graph;

/// Removes what no output depends on, and says how many nodes went.
pub fn remove_dead_nodes(graph: &mut Graph) -> usize {
    graph.remove_dead_nodes()
}

#[cfg(test)]
mod tests {
    use super::remove_dead_nodes;
    use planish_ir::{Attributes, Graph, Registry, Type};
    use planish_ops::StandardRegistry;
    use planish_tensor::{DType, Tensor};

    #[test]
    fn only_what_outputs_depend_on_stays() {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", Type::tensor(DType::F32)).unwrap();
        graph.add_constant("unused", Tensor::scalar(1f32)).unwrap();
        for (name, y) in [("live", "y"), ("dead", "z")] {
            let transpose = StandardRegistry.operator("", "Transpose", Attributes::new(), 1, 1).unwrap();
            graph.add_node(name, transpose, &[Some(x)], &[], &[y]).unwrap();
        }
        let y = graph.value("y").unwrap();
        graph.add_output("y", y, Type::Unknown).unwrap();
        assert_eq!(remove_dead_nodes(&mut graph), 2);
        assert!(graph.value("z").is_none() && graph.value("unused").is_none());
        assert_eq!(remove_dead_nodes(&mut graph), 0, "a second run changes nothing");
        graph.verify().unwrap();
    }
}

//! Nodes of an optimized file name the nodes of the original that they came from.

use planish::onnx::export;
use planish::{ExportOptions, Model, OptimizeOptions, Target};
use planish_passes::PROVENANCE_KEY;
use std::collections::HashSet;

/// The nodes of an optimized model, each with its operator and what its metadata names.
fn optimized(model: &Model, target: Target) -> Vec<(String, Vec<String>)> {
    let mut model = model.clone();
    model.optimize_with(&OptimizeOptions { target, ..OptimizeOptions::default() });
    let message = export(&model, &ExportOptions { target, ..ExportOptions::default() }).unwrap();
    let nodes = message.graph.unwrap().node;
    let named = nodes.iter().map(|node| {
        let of_node: Vec<_> = node.metadata_props.iter().filter(|entry| entry.key == PROVENANCE_KEY).collect();
        assert!(of_node.len() <= 1, "{} has its origins twice", node.name);
        let origins = of_node.iter().flat_map(|entry| entry.value.lines().map(str::to_owned)).collect();
        (node.op_type.clone(), origins)
    });
    named.collect()
}

#[test]
fn nodes_of_an_optimized_file_name_those_they_came_from() {
    for (name, fused, formula) in
        [("charlm", "Attention", &["MatMul", "Softmax"][..]), ("digits", "Conv", &["Conv", "BatchNormalization"])]
    {
        let model = Model::load(format!("{}/models/{name}/model.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let operators = |wanted: &str| {
            let graph = &model.graph;
            let of = graph.operators().filter(|(_, o)| wanted.is_empty() || o.is(wanted));
            of.map(|(id, _)| graph.describe(id)).collect::<HashSet<String>>()
        };
        let original = operators("");
        for target in [Target::Standard, Target::Ort, Target::Planish] {
            let nodes = optimized(&model, target);
            for (operator, origins) in &nodes {
                assert!(origins.iter().all(|o| original.contains(o)), "{name}: {operator} is from {origins:?}");
            }
            let shows = |origins: &[String]| {
                formula.iter().all(|part| origins.iter().any(|origin| operators(part).contains(origin)))
            };
            let has_it = nodes.iter().any(|(operator, origins)| operator.ends_with(fused) && shows(origins));
            assert!(has_it, "{name}: no {fused} is from {formula:?} in {nodes:?}");
        }
    }
}

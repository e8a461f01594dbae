//! What the importer makes of small models, and what it refuses.

use super::*;
use crate::onnx::error::ImportErrorKind;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, OperatorSetIdProto, SparseTensorProto, TensorProto, ValueInfoProto,
};
use crate::onnx::tensor::tensor_to_proto;
use crate::onnx::types::type_to_proto;
use planish_ir::{Attribute, Graph, NodeKind, Type};
use planish_tensor::{DType, Tensor};
use std::fmt::Write;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let (input, output) = (strings(inputs), strings(outputs));
    NodeProto { op_type: operator.to_owned(), input, output, ..NodeProto::default() }
}

impl NodeProto {
    fn named(self, name: &str) -> NodeProto {
        NodeProto { name: name.to_owned(), ..self }
    }

    fn domain(self, domain: &str) -> NodeProto {
        NodeProto { domain: domain.to_owned(), ..self }
    }

    fn with(mut self, attribute: AttributeProto) -> NodeProto {
        self.attribute.push(attribute);
        self
    }

    fn with_int(self, name: &str, value: i64) -> NodeProto {
        self.with(attribute(name, AttributeType::Int, |a| a.i = Some(value)))
    }

    fn with_ints(self, name: &str, values: &[i64]) -> NodeProto {
        self.with(attribute(name, AttributeType::Ints, |a| a.ints = values.to_vec()))
    }

    fn with_graph(self, name: &str, graph: GraphProto) -> NodeProto {
        self.with(attribute(name, AttributeType::Graph, |a| a.g = Some(Box::new(graph))))
    }

    fn with_reference(self, name: &str, to: &str, kind: AttributeType) -> NodeProto {
        self.with(attribute(name, kind, |a| a.ref_attr_name = to.to_owned()))
    }
}

fn attribute(name: &str, kind: AttributeType, fill: impl FnOnce(&mut AttributeProto)) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.to_owned(), r#type: kind.into(), ..AttributeProto::default() };
    fill(&mut attribute);
    attribute
}

fn value(name: &str) -> ValueInfoProto {
    let ty = type_to_proto(&Type::tensor(DType::F32));
    ValueInfoProto { name: name.to_owned(), r#type: Some(ty), ..ValueInfoProto::default() }
}

fn graph(inputs: &[&str], nodes: &[NodeProto], outputs: &[&str]) -> GraphProto {
    GraphProto {
        name: "g".to_owned(),
        input: inputs.iter().map(|name| value(name)).collect(),
        output: outputs.iter().map(|name| value(name)).collect(),
        node: nodes.to_vec(),
        ..GraphProto::default()
    }
}

fn opsets(versions: &[(&str, i64)]) -> Vec<OperatorSetIdProto> {
    versions.iter().map(|&(domain, version)| OperatorSetIdProto { domain: domain.to_owned(), version }).collect()
}

fn model(opset: i64, graph: GraphProto) -> ModelProto {
    let opset_import = opsets(&[("", opset), ("local", 1), ("com.microsoft", 1)]);
    ModelProto { ir_version: 10, opset_import, graph: Some(graph), ..ModelProto::default() }
}

fn function(name: &str, inputs: &[&str], nodes: &[NodeProto], outputs: &[&str]) -> FunctionProto {
    FunctionProto {
        name: name.to_owned(),
        domain: "local".to_owned(),
        input: strings(inputs),
        output: strings(outputs),
        node: nodes.to_vec(),
        opset_import: opsets(&[("", 21), ("local", 1)]),
        ..FunctionProto::default()
    }
}

fn import_model(model: ModelProto) -> Result<Model, ImportError> {
    import(model, &ExternalFiles::none(), &ImportOptions::default())
}

fn imported(opset: i64, graph: GraphProto) -> Graph {
    import_model(model(opset, graph)).unwrap_or_else(|e| panic!("{e}")).graph
}

fn refused(opset: i64, graph: GraphProto) -> ImportError {
    import_model(model(opset, graph)).expect_err("the model is wrong")
}

/// The operators of a graph as a text: `y = Add(x, two)`, constants as their contents, bodies in braces.
fn text(graph: &Graph) -> String {
    let mut text = String::new();
    let name = |value| match graph.constant(value) {
        Some(tensor) if tensor.dtype() == DType::I64 => format!("{:?}", tensor.as_slice::<i64>().unwrap()),
        Some(tensor) if tensor.dtype() == DType::F32 => format!("{:?}", tensor.as_slice::<f32>().unwrap()),
        _ => graph.value_name(value).to_owned(),
    };
    for id in graph.topological_order().unwrap() {
        let NodeKind::Operator(operator) = &graph.node(id).kind else { continue };
        let outputs: Vec<String> = graph.node_outputs(id).map(name).collect();
        let inputs: Vec<String> = graph.node_inputs(id).iter().map(|v| v.map_or("_".to_owned(), name)).collect();
        write!(text, "{} = {}", outputs.join(", "), operator.full_name()).unwrap();
        let attributes: Vec<String> = operator.attributes.iter().map(|(name, value)| describe(name, value)).collect();
        if !attributes.is_empty() {
            write!(text, "<{}>", attributes.join(", ")).unwrap();
        }
        writeln!(text, "({})", inputs.join(", ")).unwrap();
    }
    let outputs: Vec<String> = graph.outputs().iter().map(|o| format!("{}: {}", o.name, name(o.value))).collect();
    write!(text, "-> {}", outputs.join(", ")).unwrap();
    text
}

fn describe(name: &str, value: &Attribute) -> String {
    match value {
        Attribute::Int(v) => format!("{name}={v}"),
        Attribute::Float(v) => format!("{name}={v}"),
        Attribute::String(v) => format!("{name}={v}"),
        Attribute::Ints(v) => format!("{name}={v:?}"),
        Attribute::Graph(body) => format!("{name}={{{}}}", text(body).replace('\n', "; ")),
        other => format!("{name}={:?}", other.kind()),
    }
}

#[test]
fn constants_come_in_every_form() {
    let tensor = |t: &Tensor| Some(Box::new(tensor_to_proto("", t)));
    let sparse = SparseTensorProto {
        values: tensor(&Tensor::vector(&[5.0f32])),
        indices: tensor(&Tensor::vector(&[1i64])),
        dims: vec![2],
    };
    let cases = [
        (attribute("value", AttributeType::Tensor, |a| a.t = tensor(&Tensor::scalar(3u8))), Tensor::scalar(3u8)),
        (attribute("value_int", AttributeType::Int, |a| a.i = Some(-1)), Tensor::scalar(-1i64)),
        (attribute("value_ints", AttributeType::Ints, |a| a.ints = vec![1, 2]), Tensor::vector(&[1i64, 2])),
        (attribute("value_float", AttributeType::Float, |a| a.f = Some(0.5)), Tensor::scalar(0.5f32)),
        (attribute("value_floats", AttributeType::Floats, |a| a.floats = vec![0.5]), Tensor::vector(&[0.5f32])),
        (
            attribute("sparse_value", AttributeType::SparseTensor, |a| a.sparse_tensor = Some(Box::new(sparse))),
            Tensor::vector(&[0.0f32, 5.0]),
        ),
        (
            attribute("value_strings", AttributeType::Strings, |a| a.strings = vec!["a".into()]),
            Tensor::from_strings(planish_tensor::Shape::new(&[1]).unwrap(), strings(&["a"])).unwrap(),
        ),
    ];
    for (attribute, expected) in cases {
        let graph = imported(21, graph(&[], &[node("Constant", &[], &["c"]).with(attribute)], &["c"]));
        assert_eq!(graph.constant(graph.value("c").unwrap()), Some(&expected));
    }
}

#[test]
fn an_initializer_that_is_also_an_input_is_a_constant() {
    let mut proto = graph(&["x", "w"], &[node("Add", &["x", "w"], &["y"])], &["y"]);
    proto.initializer.push(tensor_to_proto("w", &Tensor::scalar(1.0f32)));
    let graph = imported(13, proto);
    assert_eq!(graph.inputs().len(), 1);
    assert!(graph.constant(graph.value("w").unwrap()).is_some());
}

#[test]
fn bodies_capture_what_they_read_from_outside() {
    let inner = graph(&[], &[node("Add", &["x", "t"], &["z"])], &["z"]);
    let outer = graph(
        &[],
        &[
            node("Neg", &["x"], &["t"]),
            node("If", &["c"], &["y"]).with_graph("then_branch", inner.clone()).with_graph("else_branch", inner),
        ],
        &["y"],
    );
    let main = graph(
        &["x", "c"],
        &[node("If", &["c"], &["out"]).with_graph("then_branch", outer.clone()).with_graph("else_branch", outer)],
        &["out"],
    );
    let graph = imported(21, main);
    let id = graph.operators().next().unwrap().0;
    let names: Vec<&str> = graph.node_inputs(id).iter().map(|v| graph.value_name(v.unwrap())).collect();
    assert_eq!(names, ["c", "c", "x", "c", "x"]);
    assert_eq!(graph.node(id).num_captures(), 4);
    let body = graph.bodies()[0].clone();
    assert_eq!(body.captures().map(|v| body.value_name(v).to_owned()).collect::<Vec<_>>(), ["c", "x"]);
    let inner = graph.bodies()[2].clone();
    assert_eq!(inner.captures().map(|v| inner.value_name(v).to_owned()).collect::<Vec<_>>(), ["t", "x"]);
}

#[test]
fn a_body_may_define_a_name_anew() {
    let body = graph(&[], &[node("Neg", &["t"], &["s"]), node("Abs", &["x"], &["t"])], &["s"]);
    let main = graph(
        &["x", "t", "c"],
        &[node("If", &["c"], &["y"]).with_graph("then_branch", body.clone()).with_graph("else_branch", body)],
        &["y"],
    );
    let graph = imported(21, main);
    assert_eq!(graph.bodies()[0].captures().len(), 1, "only x comes from outside");
}

#[test]
fn functions_are_inlined() {
    let inner = function(
        "Scaled",
        &["a", "b"],
        &[
            node("LeakyRelu", &["a"], &["t"]).with_reference("alpha", "slope", AttributeType::Float),
            node("Add", &["t", "b"], &["r"]),
        ],
        &["r"],
    );
    let mut inner = inner;
    inner.attribute_proto.push(attribute("slope", AttributeType::Float, |a| a.f = Some(0.5)));
    let mut outer = function(
        "Twice",
        &["x", "y"],
        &[
            node("Scaled", &["x", "y"], &["t"]).domain("local").named("first"),
            node("Scaled", &["t", "y"], &["r"]).domain("local").with_reference("slope", "s", AttributeType::Float),
        ],
        &["r", "x"],
    );
    outer.attribute = strings(&["s"]);
    let call = node("Twice", &["x", "w"], &["t", "same"]).domain("local").named("call");
    let call = call.with(attribute("s", AttributeType::Float, |a| a.f = Some(0.25)));
    let mut model = model(13, graph(&["x", "w"], &[node("Neg", &["t"], &["y"]), call], &["y", "same"]));
    model.functions = vec![inner, outer];
    let graph = import_model(model).unwrap().graph;
    assert_eq!(
        text(&graph),
        "call/first/t = LeakyRelu<alpha=0.5>(x)\n\
         call/t = Add(call/first/t, w)\n\
         call/r/t = LeakyRelu<alpha=0.25>(call/t)\n\
         t = Add(call/r/t, w)\n\
         y = Neg(t)\n\
         -> y: y, same: x"
    );
}

#[test]
fn optional_parameters_of_functions_stay_absent() {
    let clip = function("Limit", &["x", "low", "high"], &[node("Clip", &["x", "low", "high"], &["r"])], &["r"]);
    let call = node("Limit", &["x", "", "h"], &["y"]).domain("local");
    let mut model = model(21, graph(&["x", "h"], &[call], &["y"]));
    model.functions = vec![clip];
    assert_eq!(text(&import_model(model).unwrap().graph), "y = Clip(x, _, h)\n-> y: y");
}

#[test]
fn functions_do_not_call_themselves_or_multiply() {
    let twice = |name: &str, callee: &str| {
        let calls = [node(callee, &["x"], &["t"]).domain("local"), node(callee, &["t"], &["r"]).domain("local")];
        function(name, &["x"], &calls, &["r"])
    };
    let calling = |functions: Vec<FunctionProto>| {
        let mut model = model(21, graph(&["x"], &[node("f0", &["x"], &["y"]).domain("local")], &["y"]));
        model.functions = functions;
        import_model(model).unwrap_err()
    };
    let error = calling(vec![twice("f0", "f1"), twice("f1", "f0")]);
    assert_eq!(error.kind(), ImportErrorKind::Invalid, "{error}");
    let names: Vec<String> = (0..40).map(|i| format!("f{i}")).collect();
    let chain = |length: usize| names.windows(2).take(length).map(|pair| twice(&pair[0], &pair[1]));
    let last = |name: &str| function(name, &["x"], &[node("Neg", &["x"], &["r"])], &["r"]);
    let error = calling(chain(39).chain([last("f39")]).collect());
    assert_eq!(error.kind(), ImportErrorKind::Limit, "{error}");
    let error = calling(chain(25).chain([last("f25")]).collect());
    assert_eq!(error.kind(), ImportErrorKind::Limit, "{error}");
}

#[test]
fn nodes_may_come_in_any_order() {
    let body = graph(&[], &[node("Abs", &["t"], &["b"])], &["b"]);
    let proto = graph(
        &["x", "c"],
        &[
            node("If", &["c"], &["y"]).with_graph("then_branch", body.clone()).with_graph("else_branch", body),
            node("Exp", &["s"], &["t"]),
            node("Neg", &["x"], &["s"]),
        ],
        &["y"],
    );
    let graph = imported(21, proto);
    let order: Vec<&str> = graph.operators().map(|(_, operator)| operator.name.as_str()).collect();
    assert_eq!(order, ["Neg", "Exp", "If"]);
}

#[test]
fn an_identity_for_an_output_is_a_second_name() {
    let proto = graph(
        &["x"],
        &[node("Neg", &["x"], &["y"]), node("Identity", &["y"], &["z"]), node("Identity", &["x"], &["w"])],
        &["y", "z", "w"],
    );
    assert_eq!(text(&imported(21, proto)), "y = Neg(x)\n-> y: y, z: y, w: x");
}

#[test]
fn what_planish_lacks_is_kept() {
    let unknown = node("Frobnicate", &["x", ""], &["y", ""]).domain("com.example").with_int("level", 3);
    let graph = imported(21, graph(&["x"], &[unknown], &["y"]));
    assert_eq!(text(&graph), "y,  = com.example::Frobnicate<level=3>(x)\n-> y: y");
    assert!(graph.operators().all(|(_, operator)| operator.op().is_none()));
}

#[test]
fn wrong_models_are_refused_by_name() {
    let neg = |inputs: &[&str], outputs: &[&str]| node("Neg", inputs, outputs).named("n");
    let one = |n: NodeProto, output: &str| graph(&["x"], &[n], &[output]);
    let mut twice_initialized = one(neg(&["x"], &["y"]), "y");
    twice_initialized.initializer = vec![tensor_to_proto("w", &Tensor::scalar(1.0f32)); 2];
    let mut sized_wrongly = one(neg(&["x"], &["y"]), "y");
    sized_wrongly.initializer = vec![TensorProto { dims: vec![2], ..tensor_to_proto("w", &Tensor::scalar(1.0f32)) }];
    let cases = [
        (one(neg(&["nowhere"], &["y"]), "y"), r#"node "n" (Neg, opset 21): input 0: no value is named "nowhere""#),
        (one(neg(&["x"], &["x"]), "x"), r#"node "n" (Neg): two values are named "x""#),
        (one(neg(&["x"], &["y"]), "z"), r#"graph output "z": no node makes it"#),
        (graph(&["x", "x"], &[], &["x"]), r#"graph input "x": two values are named "x""#),
        (graph(&["x"], &[], &["x", "x"]), r#"graph output "x": two values are named "x""#),
        (graph(&[""], &[], &[]), r#"graph input "": a graph input or constant has no name"#),
        (twice_initialized, r#"initializer "w": two values are named "w""#),
        (sized_wrongly, r#"tensor "w": float tensor of shape [2] takes 8 bytes, got 4"#),
        (
            graph(&["x"], &[node("Neg", &["b"], &["a"]), node("Abs", &["a"], &["b"]).named("n")], &["a"]),
            r#"nodes ["a", "n"] wait for each other's outputs, or for such nodes"#,
        ),
        (
            one(node("Softmax", &["x"], &["y"]).named("n").with_ints("axis", &[1]), "y"),
            r#"node "n" (Softmax, opset 21): attribute "axis": expected Int, got Ints"#,
        ),
        (
            one(node("Softmax", &["x"], &["y"]).named("n").with_int("axis", 1).with_int("axis", 2), "y"),
            r#"node "n" (Softmax, opset 21): two attributes are named "axis""#,
        ),
        (
            one(node("Softmax", &["x"], &["y"]).named("n").with_reference("axis", "k", AttributeType::Int), "y"),
            r#"node "n" (Softmax, opset 21): attribute "axis": refers to "k", but lies in no function"#,
        ),
        (one(node("Constant", &[], &["y"]), "y"), r#"node "y" (Constant, opset 21): expected one attribute, got 0"#),
    ];
    for (graph, expected) in cases {
        let error = refused(21, graph);
        let got = error.to_string();
        assert!(got == expected || got.starts_with(expected), "expected {expected}\n     got {got}");
        assert_eq!(error.kind(), ImportErrorKind::Invalid);
        assert_eq!(error.node().is_some(), expected.starts_with("node "), "{expected}");
    }
}

#[test]
fn versions_outside_the_known_are_refused() {
    let plain = || graph(&["x"], &[node("Neg", &["x"], &["y"])], &["y"]);
    assert_eq!(refused(NEWEST_OPSET + 1, plain()).kind(), ImportErrorKind::Unsupported);
    assert_eq!(refused(0, plain()).kind(), ImportErrorKind::Invalid);
    let old = ModelProto { ir_version: 2, ..model(21, plain()) };
    assert_eq!(import_model(old).unwrap_err().kind(), ImportErrorKind::Unsupported);
    let contradicting = ModelProto { opset_import: opsets(&[("", 20), ("ai.onnx", 21)]), ..model(21, plain()) };
    assert_eq!(import_model(contradicting).unwrap_err().kind(), ImportErrorKind::Invalid);
    let none = ModelProto { opset_import: vec![], ..model(21, plain()) };
    assert_eq!(import_model(none).unwrap_err().kind(), ImportErrorKind::Invalid);
    let alias = ModelProto { opset_import: opsets(&[("ai.onnx", 21)]), ..model(21, plain()) };
    assert!(import_model(alias).is_ok());
    assert_eq!(
        import_model(ModelProto { graph: None, ..model(21, plain()) }).unwrap_err().kind(),
        ImportErrorKind::Invalid
    );
}

#[test]
fn nesting_is_limited_and_needs_little_stack() {
    let nested = |depth: usize| {
        let mut inner = graph(&[], &[node("Neg", &["x"], &["y"])], &["y"]);
        for _ in 0..depth {
            inner = graph(&[], &[node("If", &["c"], &["y"]).with_graph("then_branch", inner)], &["y"]);
        }
        GraphProto { input: vec![value("x"), value("c")], ..inner }
    };
    let run = move || (refused(21, nested(MAX_SUBGRAPH_DEPTH + 1)).kind(), import_model(model(21, nested(4))).err());
    let (kind, _) = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
    assert_eq!(kind, ImportErrorKind::Limit);
}

#[test]
fn a_batched_scan_becomes_two() {
    let body = graph(&["s", "e"], &[node("Add", &["s", "e"], &["t"]), node("Mul", &["t", "w"], &["o"])], &["t", "o"]);
    let scan = node("Scan", &["", "x", "y"], &["final", "all"]).with_graph("body", body).with_int("num_scan_inputs", 1);
    let scan = scan.with_ints("directions", &[1]);
    assert_eq!(
        text(&imported(8, graph(&["x", "y", "w"], &[scan], &["final", "all"]))),
        "final, all = Scan<body={\
            t, o = Scan<body={t = Add(s, e); o = Mul(t, w); -> t: t, o: o}, \
            num_scan_inputs=1, scan_input_directions=[1]>(s, e, w); -> t: t, o: o}, \
            num_scan_inputs=2>(x, y, w)\n\
         -> final: final, all: all"
    );
}

#[test]
fn older_forms_become_the_newest() {
    let x = |op: &str| node(op, &["x"], &["y"]);
    let cases = [
        (6, x("Clip").with(attribute("max", AttributeType::Float, |a| a.f = Some(6.0))), "y = Clip(x, _, [6.0])"),
        (10, x("Pad").with_ints("pads", &[0, 1]), "y = Pad(x, [0, 1])"),
        (9, x("Slice").with_ints("starts", &[1]).with_ints("ends", &[9]), "y = Slice(x, [1], [9])"),
        (12, x("Squeeze").with_ints("axes", &[0]), "y = Squeeze(x, [0])"),
        (12, x("Squeeze"), "y = Squeeze(x)"),
        (17, x("ReduceMax").with_ints("axes", &[-1]).with_int("keepdims", 0), "y = ReduceMax<keepdims=0>(x, [-1])"),
        (12, x("ReduceSum").with_ints("axes", &[1]), "y = ReduceSum(x, [1])"),
        (17, node("Split", &["x"], &["y", "z"]), "y, z = Split<num_outputs=2>(x)"),
        (12, node("Split", &["x"], &["y", "z"]).with_ints("split", &[1, 2]), "y, z = Split(x, [1, 2])"),
        (9, node("TopK", &["x"], &["y", "i"]).with_int("k", 3), "y, i = TopK(x, [3])"),
        (9, node("Scatter", &["x", "i", "u"], &["y"]), "y = ScatterElements(x, i, u)"),
        (19, node("DFT", &["x"], &["y"]).with_int("onesided", 1), "y = DFT<onesided=1>(x, _, [1])"),
        (
            12,
            x("Softmax"),
            "y_flatten = Flatten<axis=1>(x)\ny_softmax = Softmax<axis=-1>(y_flatten)\n\
             y_shape = Shape(x)\ny = Reshape<allowzero=1>(y_softmax, y_shape)",
        ),
        (
            8,
            x("Upsample").with(attribute("scales", AttributeType::Floats, |a| a.floats = vec![1.0, 2.0])),
            "y = Resize<coordinate_transformation_mode=asymmetric, nearest_mode=floor>(x, _, [1.0, 2.0])",
        ),
        (
            13,
            node("Resize", &["x", "", "s"], &["y"])
                .with(attribute("coordinate_transformation_mode", AttributeType::String, |a| {
                    a.s = Some("tf_half_pixel_for_nn".into());
                }))
                .with(attribute("nearest_mode", AttributeType::String, |a| a.s = Some("floor".into()))),
            "y = Resize<coordinate_transformation_mode=half_pixel, nearest_mode=round_prefer_ceil>(x, _, s)",
        ),
        (
            16,
            node("GridSample", &["x", "u"], &["y"])
                .with(attribute("mode", AttributeType::String, |a| a.s = Some("bicubic".into()))),
            "y = GridSample<mode=cubic>(x, u)",
        ),
        (11, x("Dropout"), "y = Dropout(x)"),
        (9, node("Dropout", &["x"], &["y", "m"]), "y, m_bool = Dropout(x)\nm = CastLike(m_bool, x)"),
        (
            10,
            node("RoiAlign", &["x", "u", "i"], &["y"]),
            "y = RoiAlign<coordinate_transformation_mode=output_half_pixel>(x, u, i)",
        ),
        (
            13,
            node("BatchNormalization", &["x", "s", "b", "m", "v"], &["y", "rm", "rv"]),
            "y, rm, rv = BatchNormalization<training_mode=1>(x, s, b, m, v)",
        ),
        (21, node("Gelu", &["x"], &["y"]).domain("com.microsoft"), "y = Gelu(x)"),
        (21, node("SimplifiedLayerNormalization", &["x", "s"], &["y"]), "y = RMSNormalization(x, s)"),
    ];
    for (opset, node, expected) in cases {
        let inputs = ["x", "s", "b", "m", "v", "i", "u"];
        let inputs: Vec<&str> = inputs.into_iter().filter(|name| !node.output.iter().any(|o| o == name)).collect();
        let place = format!("{} of opset {opset}", node.op_type);
        let got = text(&imported(opset, graph(&inputs, &[node], &["y"])));
        assert_eq!(got.strip_suffix("\n-> y: y"), Some(expected), "{place}");
    }
}

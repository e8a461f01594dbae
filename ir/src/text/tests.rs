use super::{parse, print};
use crate::{Attribute, AttributeError, Attributes, Dim, Graph, Implementation, Operator, Registry, Schema, Type};
use planish_tensor::{DType, Memory, Shape, Tensor};
use proptest::prelude::*;
use std::sync::Arc;

/// Takes any operator, runs none.
struct AnyOperator;

impl Registry for AnyOperator {
    fn schema(&self, _domain: &str, _name: &str) -> Option<&'static Schema> {
        None
    }

    fn operator(
        &self,
        domain: &str,
        name: &str,
        attributes: Attributes,
        _num_inputs: usize,
        _num_outputs: usize,
    ) -> Result<Operator, AttributeError> {
        let implementation = Implementation::Unsupported("not run in this test".to_owned());
        Ok(Operator { domain: domain.to_owned(), name: name.to_owned(), attributes, implementation })
    }
}

fn round_trip(graph: &Graph) {
    let text = print(graph);
    let again = parse(&text, &AnyOperator).unwrap_or_else(|e| panic!("{e}\n{text}"));
    again.verify().unwrap();
    assert!(*graph == again, "{text}\n{}", print(&again));
}

#[test]
fn a_graph_with_bodies_and_captures_reads_as_printed() {
    let text = r#"outer (bool cond, float[N, "past + seq"] x) => (float[] y)
<float[2] w = {1.5, -0.0}, int64 "odd name" = {-7}>
{
   [sum] a, "" = com.microsoft.Thing (x, "", w) <alpha: float = 0.5, ks: ints = [1, -2], s: string = "q\"\\"> 
   y = If (cond) <else_branch: graph = e () => (float[] z)
   {
      z = Neg (a)
   }, then_branch: graph = t () => (float[] z)
   {
      b = If (cond) <then_branch: graph = deep () => (float q) { q = Abs (x) }>
      z = Add (b, a)
   }>
}
"#;
    let graph = parse(text, &AnyOperator).unwrap();
    graph.verify().unwrap();
    let node = graph.value("y").unwrap().node;
    assert_eq!(graph.node(node).num_captures(), 4, "a for the else branch; cond, x and a for the other");
    round_trip(&graph);
}

#[test]
fn errors_name_line_and_column() {
    for (text, line, column, part) in [
        ("g (float x) => (float y) {\n  y = Relu (z)\n}", 3, 1, "\"z\""),
        ("g (floot x) => () {}", 1, 10, "floot"),
        ("g (float x", 1, 11, "expected"),
        ("g () => () <float[2] w = {1}> {}", 1, 29, "takes 8 bytes"),
        ("g (float x, float x) => () {}", 1, 20, "two values"),
        ("\"open", 1, 6, "no end"),
    ] {
        let error = parse(text, &AnyOperator).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{error}");
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn bodies_nested_too_deeply_are_refused() {
    let mut text = "g () => () {}".to_owned();
    for _ in 0..40 {
        text = format!("g () => () {{ x = If () <b: graph = {text}> }}");
    }
    assert!(parse(&text, &AnyOperator).unwrap_err().message.contains("deeper"));
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_][a-z0-9_]{0,6}", "\\PC{1,6}", Just("nan".to_owned()), Just("a.b/c:0".to_owned())]
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let dtypes: Vec<DType> = DType::ALL.into_iter().collect();
    (
        prop::sample::select(dtypes),
        prop::collection::vec(0usize..3, 0..3),
        prop::collection::vec(any::<u8>(), 256),
        any_name(),
    )
        .prop_map(|(dtype, dims, bytes, word)| {
            let shape = Shape::new(&dims).unwrap();
            let count = shape.num_elements();
            match dtype {
                DType::String => Tensor::from_strings(shape, vec![word; count]).unwrap(),
                d if d.is_packed() => Tensor::from_codes(Memory::global(), d, shape, &bytes[..count]).unwrap(),
                d => {
                    let bytes = bytes[..d.bytes_for(count).unwrap()].to_vec();
                    Tensor::from_bytes(Memory::global(), d, shape, bytes.into()).unwrap()
                }
            }
        })
}

fn any_dim() -> impl Strategy<Value = Dim> {
    prop_oneof![
        (0i64..100).prop_map(Dim::known),
        Just(Dim::unknown()),
        any_name().prop_map(|n| Dim::symbol(&n)),
        Just(Dim::parse("past + 2*seq")),
    ]
}

fn any_type() -> impl Strategy<Value = Type> {
    let dtype = prop::sample::select(DType::ALL.to_vec());
    let tensor = (prop::option::of(dtype.clone()), prop::option::of(prop::collection::vec(any_dim(), 0..4)))
        .prop_map(|(dtype, shape)| Type::Tensor { dtype, shape });
    prop_oneof![Just(Type::Unknown), tensor].prop_recursive(3, 6, 1, move |inner| {
        let boxed = inner.prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Type::Sequence),
            boxed.clone().prop_map(Type::Optional),
            (dtype.clone(), boxed).prop_map(|(key, value)| Type::Map(key, value)),
        ]
    })
}

fn any_attribute() -> impl Strategy<Value = Attribute> {
    let float = any::<u32>().prop_map(f32::from_bits);
    let body = any_name().prop_map(|name| Arc::new(Graph::new(name))).boxed();
    prop_oneof![
        any::<i64>().prop_map(Attribute::Int),
        float.clone().prop_map(Attribute::Float),
        ".{0,8}".prop_map(Attribute::String),
        any_tensor().prop_map(Attribute::Tensor),
        body.clone().prop_map(Attribute::Graph),
        any_type().prop_map(Attribute::Type),
        prop::collection::vec(any::<i64>(), 0..3).prop_map(Attribute::Ints),
        prop::collection::vec(float, 0..3).prop_map(Attribute::Floats),
        prop::collection::vec(".{0,8}", 0..3).prop_map(Attribute::Strings),
        prop::collection::vec(any_tensor(), 0..3).prop_map(Attribute::Tensors),
        prop::collection::vec(body, 0..3).prop_map(Attribute::Graphs),
        prop::collection::vec(any_type(), 0..3).prop_map(Attribute::Types),
    ]
}

prop_compose! {
    fn any_graph()(
        name in any_name(),
        doc in ".{0,8}",
        metadata in prop::collection::vec((any_name(), ".{0,8}"), 0..3),
        inputs in prop::collection::vec(any_type(), 0..3),
        constants in prop::collection::vec(any_tensor(), 0..3),
        nodes in prop::collection::vec(
            (any_name(), any_name(), any_name(), prop::collection::vec((any_name(), any_attribute()), 0..3),
             prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1usize..3),
            0..5),
        output in any_type(),
    ) -> Graph {
        let mut graph = Graph::new(name);
        (graph.doc, graph.metadata) = (doc, metadata);
        let mut values = vec![None];
        for (i, ty) in inputs.into_iter().enumerate() {
            values.push(Some(graph.add_input(&format!("in {i}"), ty).unwrap()));
        }
        for (i, tensor) in constants.into_iter().enumerate() {
            values.push(Some(graph.add_constant(&format!("c{i}"), tensor).unwrap()));
        }
        for (i, (node, domain, op, attributes, reads, outputs)) in nodes.into_iter().enumerate() {
            let bag = attributes.into_iter().fold(Attributes::new(), |bag, (name, value)| bag.with(&name, value));
            let operator = AnyOperator.operator(&domain, &op, bag, 0, 0).unwrap();
            let reads: Vec<_> = reads.iter().map(|r| *r.get(&values)).collect();
            let names: Vec<String> = (0..outputs).map(|o| format!("v{i}.{o}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let id = graph.add_node(&node, operator, &reads, &[], &names).unwrap();
            values.extend(graph.node_outputs(id).map(Some));
        }
        if let Some(last) = values.pop().flatten() {
            let name = graph.value_name(last).to_owned();
            graph.add_output(&name, last, output).unwrap();
        }
        graph
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same_graph(graph in any_graph()) {
        round_trip(&graph);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = parse(&text, &AnyOperator);
    }

    #[test]
    fn no_damaged_graph_panics(graph in any_graph(), cut in any::<prop::sample::Index>(), c in any::<char>()) {
        let mut text: Vec<char> = print(&graph).chars().collect();
        let at = cut.index(text.len());
        text[at] = c;
        let _ = parse(&text.into_iter().collect::<String>(), &AnyOperator);
    }
}

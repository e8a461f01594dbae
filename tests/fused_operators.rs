//! Operators of planish's own in files: as functions that any runtime can call, or as what they are by definition.

use planish::onnx::external::ExternalFiles;
use planish::onnx::{ImportOptions, export, import};
use planish::{ExportOptions, Graph, Model, OptimizeOptions, RunOptions, SessionOptions, Shape, Target, Tensor, Value};
use planish_ops::StandardRegistry;

const TEXT: &str = "g (float[N, 2, 4, 4] x, bool[1] c) => (float[N, 2, 4, 4] y, float[2] z)
<float[2, 2, 1, 1] w = {1, -1, 0.5, 2}, float[2] b = {0.1, -0.2}, float half = {0.5}, float[2] v = {1, 2}>
{
   a = Conv (x, w, b)
   p = Relu (a)
   d = Conv (p, w, b)
   e = Add (d, x)
   f = Relu (e)
   g = Conv (f, w, b)
   h = Relu (g)
   s = Mul (h, half)
   t = Tanh (s)
   y = Sub (t, x)
   z = If (c) <
      then_branch: graph = then_g () => (float[2] i) { j = Exp (v) i = Neg (j) },
      else_branch: graph = else_g () => (float[2] k) { k = Sqrt (v) }>
}";

fn fused() -> Model {
    let graph = Graph::from_text(TEXT, &StandardRegistry).unwrap();
    let mut model = Model { graph, ..Model::default() };
    model.graph.infer().unwrap();
    let only = ["fuse-conv-epilogue", "fuse-elementwise"].map(str::to_owned).to_vec();
    model.optimize_with(&OptimizeOptions { target: Target::Planish, only, ..OptimizeOptions::default() });
    model
}

fn run(model: &Model) -> Vec<Value> {
    let session = model.session(&SessionOptions { optimize: false, ..SessionOptions::default() }).unwrap();
    let image: Vec<f32> = (0..32).map(|i| (i * 7 % 13) as f32 / 6.0 - 1.0).collect();
    let x = Tensor::new(Shape::new(&[1, 2, 4, 4]).unwrap(), &image).unwrap();
    let c = Tensor::vector(&[true]);
    session.run([("x", x.into()), ("c", c.into())], &RunOptions::default()).unwrap()
}

/// The model written for a target and read again.
fn again(model: &Model, target: Target) -> Model {
    let message = export(model, &ExportOptions { target, ..ExportOptions::default() }).unwrap();
    let mut functions: Vec<String> =
        message.functions.iter().map(|f| format!("{}::{}:{}", f.domain, f.name, f.overload)).collect();
    match target {
        Target::Planish => {
            let mut expected =
                ["planish::FusedConv:1", "planish::FusedConv:2", "planish::Elementwise:1", "planish::Elementwise:2"]
                    .map(str::to_owned)
                    .to_vec();
            functions.sort();
            expected.sort();
            assert_eq!(functions, expected);
        }
        _ => assert!(functions.is_empty(), "{functions:?}"),
    }
    import(message, &ExternalFiles::none(), &ImportOptions::default()).unwrap()
}

#[test]
fn functions_come_back_as_the_operators_they_were() {
    let model = fused();
    let read = again(&model, Target::Planish);
    assert_eq!(read.graph.to_text(), model.graph.to_text());
    assert!(read.graph == model.graph);
    assert_eq!(run(&read), run(&model));
}

#[test]
fn standard_files_hold_the_definitions() {
    let model = fused();
    let read = again(&model, Target::Standard);
    assert!(read.graph.operators().all(|(_, operator)| operator.domain.is_empty()), "{}", read.graph.to_text());
    let (got, expected) = (run(&read), run(&model));
    for (got, expected) in got.iter().zip(&expected) {
        let numbers = |v: &Value| v.as_tensor().unwrap().as_slice::<f32>().unwrap().to_vec();
        for (got, expected) in numbers(got).iter().zip(numbers(expected)) {
            assert!((got - expected).abs() < 1e-5, "{got} is not {expected}");
        }
    }
}

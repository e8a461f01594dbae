//! Small files that ask for large tensors.

use super::Answer::{Import, Run};
use super::build::{Net, Node, floats, op};
use super::{Case, case, if_known};
use planish::DType::F32;
use planish::ImportErrorKind;
use planish::RunErrorKind::{self, Memory};

pub fn cases() -> Vec<Case> {
    const G: i64 = 1 << 30;
    let on =
        |inputs: fn(Net) -> Net, node: Node| inputs(Net::new().input("x", F32, &[2])).node(node).outputs("y").bytes();
    let bomb = |name: &str, inputs: fn(Net) -> Net, node: Node| {
        let expected = if_known(&node.0.op_type, Run(Memory));
        case(format!("bomb_{name}"), expected, on(inputs, node))
    };
    let mut cases = vec![
        bomb("constant_of_shape", |n| n.ints("s", &[1], &[G]), op("ConstantOfShape", "s", "y")),
        bomb("constant_of_shape_of_2_to_62", |n| n.ints("s", &[2], &[1 << 31; 2]), op("ConstantOfShape", "s", "y")),
        bomb("expand", |n| n.ints("s", &[2], &[G, 2]), op("Expand", "x s", "y")),
        bomb("tile", |n| n.ints("s", &[1], &[G]), op("Tile", "x s", "y")),
        bomb("range", |n| range(n, 0, G, 1), op("Range", "a b c", "y")),
        bomb(
            "one_hot",
            |n| n.ints("i", &[1], &[0]).ints("d", &[], &[G]).floats("v", &[2], &[0.0, 1.0]),
            op("OneHot", "i d v", "y"),
        ),
        bomb("pad", |n| n.ints("p", &[2], &[G, G]), op("Pad", "x p", "y")),
        bomb("resize_by_factor", |n| n.floats("s", &[1], &[1e9]), op("Resize", "x _ s", "y")),
        bomb("resize_to_size", |n| n.ints("s", &[1], &[G]), op("Resize", "x _ _ s", "y")),
        bomb(
            "outer_sum",
            |n| n.floats("a", &[10_000, 1], &[0.0; 10_000]).floats("b", &[10_000], &[0.0; 10_000]),
            op("Add", "a b", "y"),
        ),
        bomb(
            "outer_product",
            |n| n.floats("a", &[10_000, 1], &[0.0; 10_000]).floats("b", &[1, 10_000], &[0.0; 10_000]),
            op("MatMul", "a b", "y"),
        ),
        bomb(
            "einsum",
            |n| n.floats("a", &[1_000], &[0.0; 1_000]),
            op("Einsum", "a a a", "y").string("equation", "i,j,k->ijk"),
        ),
        bomb("random_normal", |n| n, op("RandomNormal", "", "y").ints("shape", &[G, G])),
        bomb("random_uniform", |n| n, op("RandomUniform", "", "y").ints("shape", &[G])),
        bomb("multinomial", |n| n.floats("p", &[1, 2], &[0.0; 2]), op("Multinomial", "p", "y").int("sample_size", G)),
        bomb("hann_window", |n| n.ints("s", &[], &[G]), op("HannWindow", "s", "y")),
        bomb(
            "affine_grid",
            |n| n.floats("t", &[1, 2, 3], &[0.0; 6]).ints("s", &[4], &[1, 1, 1 << 20, 1 << 20]),
            op("AffineGrid", "t s", "y"),
        ),
        bomb("roi_align", roi, op("RoiAlign", "m r i", "y").int("output_height", 1 << 20).int("output_width", 1 << 20)),
        bomb(
            "max_unpool",
            |n| n.floats("v", &[1, 1, 1], &[0.0]).ints("i", &[1, 1, 1], &[0]).ints("s", &[3], &[1, 1, G]),
            op("MaxUnpool", "v i s", "y").ints("kernel_shape", &[1]),
        ),
        bomb(
            "col2im",
            |n| n.floats("c", &[1, 1, 1], &[0.0]).ints("s", &[2], &[1 << 20; 2]).ints("b", &[2], &[1, 1]),
            op("Col2Im", "c s b", "y").ints("strides", &[1 << 20; 2]),
        ),
        bomb("dft", |n| n.floats("f", &[1, 2, 1], &[0.0; 2]).ints("l", &[], &[G]), op("DFT", "f l", "y")),
        bomb("mel_weights", mel, op("MelWeightMatrix", "n d r l u", "y")),
    ];
    cases.extend([
        case("bomb_range_of_tiny_steps", Run(RunErrorKind::Invalid), {
            let net = Net::new().floats("a", &[], &[0.0]).floats("b", &[], &[1.0]).floats("c", &[], &[1e-20]);
            net.node(op("Range", "a b c", "y")).outputs("y").bytes()
        }),
        case("bomb_concat_doubling", Run(Memory), doubling("Concat").bytes()),
        case("bomb_add_doubling_rank", Run(Memory), doubling_by_expansion().bytes()),
        case("bomb_loop_outputs", Run(Memory), endless_scan_output().bytes()),
        case("bomb_string_tensor", Import(ImportErrorKind::Invalid), {
            let mut texts = super::build::tensor("w", planish::DType::String, &[G]);
            texts.string_data.push("a".into());
            Net::new().initializer(texts).node(op("Shape", "w", "y")).outputs("y").bytes()
        }),
        case("bomb_initializer_without_elements", Import(ImportErrorKind::Invalid), {
            Net::new().initializer(floats("w", &[G], &[])).node(op("Shape", "w", "y")).outputs("y").bytes()
        }),
    ]);
    cases
}

fn range(net: Net, start: i64, limit: i64, delta: i64) -> Net {
    net.ints("a", &[], &[start]).ints("b", &[], &[limit]).ints("c", &[], &[delta])
}

fn roi(net: Net) -> Net {
    net.floats("m", &[1, 1, 2, 2], &[0.0; 4]).floats("r", &[1, 4], &[0.0, 0.0, 1.0, 1.0]).ints("i", &[1], &[0])
}

fn mel(net: Net) -> Net {
    let net = net.ints("n", &[], &[1 << 20]).ints("d", &[], &[1 << 20]).ints("r", &[], &[16_000]);
    net.floats("l", &[], &[0.0]).floats("u", &[], &[8_000.0])
}

/// Each of forty nodes gives out twice what it is given.
fn doubling(operator: &str) -> Net {
    let names: Vec<String> = (0..=40).map(|i| if i == 0 { "x".into() } else { format!("v{i}") }).collect();
    let twice = |pair: &[String]| op(operator, &format!("{0} {0}", pair[0]), &pair[1]).int("axis", 0);
    let net = Net::new().input("x", F32, &[2]).outputs(&names[40]);
    names.windows(2).map(twice).fold(net, Net::node)
}

/// Twenty times `x[…, None] + x`, each of a rank higher than the last.
fn doubling_by_expansion() -> Net {
    let mut net = Net::new().floats("x", &[64], &[1.0; 64]).ints("last", &[1], &[-1]).floats("v0", &[64], &[1.0; 64]);
    for i in 0..20 {
        net = net.node(op("Unsqueeze", &format!("v{i} last"), &format!("u{i}")));
        net = net.node(op("Add", &format!("u{i} x"), &format!("v{}", i + 1)));
    }
    net.outputs("v20")
}

/// A loop without end whose iterations each keep a tensor.
fn endless_scan_output() -> Net {
    let nodes = vec![op("Identity", "c", "d"), op("ConstantOfShape", "s", "k")];
    let body = super::build::body("i c", nodes, "d k");
    let net = Net::new().ints("m", &[], &[i64::MAX]).ints("s", &[1], &[500_000]);
    net.node(op("Loop", "m _", "y").body("body", body)).outputs("y")
}

//! Attributes that make no sense.

use super::Answer::{self, Import, Run, Session};
use super::Refusal;
use super::build::{Net, Node, attribute, op};
use super::{Case, case, if_known};
use planish::DType::F32;
use planish::ImportErrorKind::Invalid;
use planish::RunErrorKind;
use planish::onnx::proto::AttributeProto;
use planish::onnx::proto::attribute_proto::AttributeType;

const BAD: Answer = Import(Invalid);

pub fn cases() -> Vec<Case> {
    let mut cases = windows();
    cases.extend(axes());
    cases.extend(kinds());
    cases
}

/// Runs `node` on `x`, an image of one channel of 8 × 8; `w` is a kernel of 3 × 3, `i` an index, `s` four factors.
fn image(name: &str, expected: Answer, node: Node) -> Case {
    let net = Net::new().input("x", F32, &[1, 1, 8, 8]).floats("w", &[1, 1, 3, 3], &[1.0; 9]);
    let net = net.ints("i", &[], &[0]).floats("s", &[4], &[1.0; 4]);
    case(format!("attribute_{name}"), expected, net.node(node).outputs("y").bytes())
}

/// Strides, pads and the like.
fn windows() -> Vec<Case> {
    let conv = || op("Conv", "x w", "y");
    let pool = |kernel: &[i64]| op("MaxPool", "x", "y").ints("kernel_shape", kernel);
    vec![
        image("conv_stride_zero", BAD, conv().ints("strides", &[0, 1])),
        image("conv_stride_negative", BAD, conv().ints("strides", &[-1, 1])),
        image("conv_strides_short", Run(RunErrorKind::Invalid), conv().ints("strides", &[1])),
        image("conv_stride_huge", BAD, conv().ints("strides", &[i64::MAX, i64::MAX])),
        image("conv_dilation_zero", BAD, conv().ints("dilations", &[0, 0])),
        image("conv_dilation_huge", BAD, conv().ints("dilations", &[i64::MAX, 1])),
        image("conv_dilations_long", Run(RunErrorKind::Invalid), conv().ints("dilations", &[1, 1, 1])),
        image("conv_pads_of_odd_length", BAD, conv().ints("pads", &[1, 1, 1])),
        image("conv_pads_short", Run(RunErrorKind::Invalid), conv().ints("pads", &[1, 1])),
        image("conv_pads_huge", Run(RunErrorKind::Memory), conv().ints("pads", &[1 << 20; 4])),
        image("conv_pads_overflowing", BAD, conv().ints("pads", &[i64::MAX; 4])),
        image("conv_pads_beneath_the_image", BAD, conv().ints("pads", &[-9, -9, -9, -9])),
        image("conv_group_zero", BAD, conv().int("group", 0)),
        image("conv_group_negative", BAD, conv().int("group", -1)),
        image("conv_group_not_a_divisor", Run(RunErrorKind::Invalid), conv().int("group", 3)),
        image("conv_group_huge", Run(RunErrorKind::Invalid), conv().int("group", i64::MAX)),
        image("conv_kernel_of_another_shape", Run(RunErrorKind::Invalid), conv().ints("kernel_shape", &[5, 5])),
        image("conv_auto_pad_unknown", BAD, conv().string("auto_pad", "SOMEHOW")),
        image(
            "transposed_conv_output_shape_huge",
            Run(RunErrorKind::Memory),
            op("ConvTranspose", "x w", "y").ints("output_shape", &[1 << 30, 1 << 30]),
        ),
        image(
            "transposed_conv_output_padding_negative",
            BAD,
            op("ConvTranspose", "x w", "y").ints("output_padding", &[-1, -1]),
        ),
        image("pool_kernel_absent", BAD, op("MaxPool", "x", "y")),
        image("pool_kernel_zero", BAD, pool(&[0, 0])),
        image("pool_kernel_negative", BAD, pool(&[-3, 3])),
        image("pool_kernel_beyond_the_image", Run(RunErrorKind::Invalid), pool(&[9, 9])),
        image("pool_kernel_huge", BAD, pool(&[i64::MAX, i64::MAX])),
        image("pool_kernel_short", Run(RunErrorKind::Invalid), pool(&[2])),
        image("pool_stride_zero", BAD, pool(&[2, 2]).ints("strides", &[1, 0])),
        image("pool_pads_beyond_the_kernel", Answer::Runs, pool(&[2, 2]).ints("pads", &[5, 5, 5, 5])),
        image("lp_pool_of_p_zero", BAD, op("LpPool", "x", "y").ints("kernel_shape", &[2, 2]).int("p", 0)),
        image("lrn_size_zero", BAD, op("LRN", "x", "y").int("size", 0)),
        image("depth_to_space_block_zero", BAD, op("DepthToSpace", "x", "y").int("blocksize", 0)),
        image("space_to_depth_block_zero", BAD, op("SpaceToDepth", "x", "y").int("blocksize", 0)),
        image("space_to_depth_block_negative", BAD, op("SpaceToDepth", "x", "y").int("blocksize", -2)),
        image(
            "depth_to_space_mode_unknown",
            BAD,
            op("DepthToSpace", "x", "y").int("blocksize", 2).string("mode", "SIDEWAYS"),
        ),
    ]
}

/// Axes that do not exist.
fn axes() -> Vec<Case> {
    let bad_run = Run(RunErrorKind::Invalid);
    vec![
        image("softmax_axis_beyond_rank", bad_run, op("Softmax", "x", "y").int("axis", 4)),
        image("softmax_axis_least", bad_run, op("Softmax", "x", "y").int("axis", i64::MIN)),
        image("concat_axis_beyond_rank", bad_run, op("Concat", "x x", "y").int("axis", 4)),
        image("concat_axis_absent", BAD, op("Concat", "x x", "y")),
        image("flatten_axis_beyond_rank", bad_run, op("Flatten", "x", "y").int("axis", 5)),
        image("gather_axis_beyond_rank", bad_run, op("Gather", "x i", "y").int("axis", i64::MAX)),
        image("transpose_same_axis_twice", BAD, op("Transpose", "x", "y").ints("perm", &[0, 1, 1, 3])),
        image("transpose_axis_negative", BAD, op("Transpose", "x", "y").ints("perm", &[0, 1, -1, 2])),
        image("transpose_of_another_rank", bad_run, op("Transpose", "x", "y").ints("perm", &[1, 0])),
        image("layer_norm_axis_beyond_rank", bad_run, op("LayerNormalization", "x w", "y").int("axis", 9)),
        image("arg_max_axis_beyond_rank", bad_run, op("ArgMax", "x", "y").int("axis", -5)),
        image("split_into_zero_parts", BAD, op("Split", "x", "y").int("num_outputs", 0)),
        image("split_into_more_parts_than_outputs", BAD, op("Split", "x", "y").int("num_outputs", i64::MAX)),
        image(
            "instance_norm_epsilon_nan",
            bad_run,
            op("InstanceNormalization", "x w w", "y").float("epsilon", f32::NAN),
        ),
        image("group_norm_groups_zero", BAD, op("GroupNormalization", "x w w", "y").int("num_groups", 0)),
        image("einsum_equation_nonsense", if_known("Einsum", BAD), op("Einsum", "x", "y").string("equation", "i→→;j")),
        image(
            "einsum_of_other_ranks",
            if_known("Einsum", bad_run),
            op("Einsum", "x x", "y").string("equation", "ij,jk->ik"),
        ),
        image("cast_to_nothing", BAD, op("Cast", "x", "y").int("to", 0)),
        image("cast_to_unknown_dtype", BAD, op("Cast", "x", "y").int("to", 999)),
        image("cast_beyond_32_bits", BAD, op("Cast", "x", "y").int("to", (1 << 32) + 1)),
        image("resize_mode_unknown", BAD, op("Resize", "x _ s", "y").string("mode", "wavy")),
        image("hidden_size_negative", BAD, op("LSTM", "x w w", "y").int("hidden_size", -4)),
        image("hidden_size_huge", BAD, op("GRU", "x w w", "y").int("hidden_size", 1 << 60)),
    ]
}

/// Attributes of another kind than the operator's.
fn kinds() -> Vec<Case> {
    let softmax = |attribute: AttributeProto| op("Softmax", "x", "y").attribute(attribute);
    vec![
        image("float_for_an_int", BAD, op("Softmax", "x", "y").float("axis", 1.0)),
        image("int_for_ints", BAD, op("Transpose", "x", "y").int("perm", 0)),
        image("ints_for_a_string", BAD, op("Conv", "x w", "y").ints("auto_pad", &[1])),
        image("int_for_a_graph", BAD, op("If", "x", "y").int("then_branch", 1).int("else_branch", 1)),
        image("of_unknown_name", BAD, op("Softmax", "x", "y").int("axle", 1)),
        image("of_unknown_kind", BAD, softmax(AttributeProto { r#type: 77, ..attribute("axis", AttributeType::Int) })),
        image("without_kind_and_value", BAD, softmax(attribute("axis", AttributeType::Undefined))),
        image("without_its_graph", BAD, op("If", "x", "y").attribute(attribute("then_branch", AttributeType::Graph))),
        image("string_not_utf8", BAD, {
            let text = Some(vec![0xffu8].into());
            op("Conv", "x w", "y").attribute(AttributeProto { s: text, ..attribute("auto_pad", AttributeType::String) })
        }),
        image("without_kind_of_two_values", BAD, {
            softmax(AttributeProto { i: Some(1), f: Some(1.0), ..attribute("axis", AttributeType::Undefined) })
        }),
        image("unknown_operator_takes_any", Session(Refusal::Unsupported), op("Frobnicate", "x", "y").int("any", 1)),
    ]
}

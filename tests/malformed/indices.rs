//! Values that are out of range where they are used: indices, counts, shapes, divisors.

use super::Answer::{self, Run, Runs};
use super::build::{Net, Node, op, tensor};
use super::{Case, case};
use planish::DType::{Bool, F32, I32, I64};
use planish::RunErrorKind::Invalid;
use planish::onnx::proto::TensorProto;

const BAD: Answer = Run(Invalid);

/// Runs `node` on `x` of 2 × 3 numbers and what `inputs` adds.
fn on(name: &str, expected: Answer, inputs: impl Fn(Net) -> Net, node: Node) -> Case {
    let net = Net::new().input("x", F32, &[2, 3]);
    case(name, expected, inputs(net).node(node).outputs("y").bytes())
}

pub fn cases() -> Vec<Case> {
    [positions(), counts(), shapes(), integers()].into_iter().flatten().collect()
}

/// Which element to take or to change.
fn positions() -> Vec<Case> {
    let at = |index: i64| move |n: Net| n.ints("i", &[1], &[index]);
    let at_pair = |pair: [i64; 2]| move |n: Net| n.ints("i", &[1, 2], &pair).floats("u", &[1], &[1.0]);
    let cell = |index: i64| move |n: Net| n.ints("i", &[1, 1], &[index]).floats("u", &[1, 1], &[1.0]);
    vec![
        on("index_gather_beyond_end", BAD, at(2), op("Gather", "x i", "y")),
        on("index_gather_before_start", BAD, at(-3), op("Gather", "x i", "y")),
        on("index_gather_least", BAD, at(i64::MIN), op("Gather", "x i", "y")),
        on("index_gather_elements_beyond_end", BAD, cell(2), op("GatherElements", "x i", "y")),
        on("index_gather_elements_before_start", BAD, cell(-3), op("GatherElements", "x i", "y")),
        on("index_gather_nd_beyond_end", BAD, at_pair([1, 3]), op("GatherND", "x i", "y")),
        on("index_gather_nd_before_start", BAD, at_pair([-3, 0]), op("GatherND", "x i", "y")),
        on("index_gather_nd_of_too_many_axes", BAD, |n| n.ints("i", &[1, 3], &[0; 3]), op("GatherND", "x i", "y")),
        on("index_scatter_nd_beyond_end", BAD, at_pair([2, 0]), op("ScatterND", "x i u", "y")),
        on("index_scatter_nd_before_start", BAD, at_pair([0, -4]), op("ScatterND", "x i u", "y")),
        on(
            "index_scatter_nd_of_another_shape",
            BAD,
            |n| n.ints("i", &[1, 2], &[0; 2]).floats("u", &[2], &[0.0; 2]),
            op("ScatterND", "x i u", "y"),
        ),
        on("index_scatter_elements_beyond_end", BAD, cell(2), op("ScatterElements", "x i u", "y")),
        on("index_scatter_elements_before_start", BAD, cell(i64::MIN), op("ScatterElements", "x i u", "y")),
        on(
            "index_scatter_elements_of_another_shape",
            BAD,
            |n| n.ints("i", &[1, 1], &[0]).floats("u", &[2, 2], &[0.0; 4]),
            op("ScatterElements", "x i u", "y"),
        ),
        on(
            "index_max_unpool_beyond_end",
            BAD,
            |n| n.floats("v", &[1, 1, 2], &[0.0; 2]).ints("i", &[1, 1, 2], &[0, 99]),
            op("MaxUnpool", "v i", "y").ints("kernel_shape", &[2]).ints("strides", &[2]),
        ),
        on(
            "index_max_unpool_negative",
            BAD,
            |n| n.floats("v", &[1, 1, 1], &[0.0]).ints("i", &[1, 1, 1], &[-1]),
            op("MaxUnpool", "v i", "y").ints("kernel_shape", &[2]),
        ),
        on(
            "index_one_hot_is_clipped",
            Runs,
            |n| n.ints("i", &[1], &[99]).ints("d", &[], &[3]).floats("v", &[2], &[0.0, 1.0]),
            op("OneHot", "i d v", "y"),
        ),
        on(
            "index_sequence_at_beyond_end",
            BAD,
            |n| n.node(op("SequenceConstruct", "x", "q")).ints("i", &[], &[1]),
            op("SequenceAt", "q i", "y"),
        ),
        on(
            "index_sequence_erase_of_empty",
            BAD,
            |n| n.node(op("SequenceEmpty", "", "q")),
            op("SequenceErase", "q", "y"),
        ),
        on(
            "index_sequence_insert_beyond_end",
            BAD,
            |n| n.node(op("SequenceEmpty", "", "q")).ints("i", &[], &[1]),
            op("SequenceInsert", "q x i", "y"),
        ),
        on(
            "index_roi_of_no_image",
            BAD,
            |n| n.floats("m", &[1, 1, 2, 2], &[0.0; 4]).floats("r", &[1, 4], &[0.0; 4]).ints("i", &[1], &[7]),
            op("RoiAlign", "m r i", "y"),
        ),
    ]
}

/// How many, how large, how far.
fn counts() -> Vec<Case> {
    let one = |value: i64| move |n: Net| n.ints("k", &[1], &[value]);
    let two = |values: [i64; 2]| move |n: Net| n.ints("k", &[2], &values);
    vec![
        on("count_top_k_beyond_length", BAD, one(4), op("TopK", "x k", "y i")),
        on("count_top_k_negative", BAD, one(-1), op("TopK", "x k", "y i")),
        on("count_split_sum_too_large", BAD, two([2, 2]), op("Split", "x k", "y z").int("axis", 1)),
        on("count_split_negative", BAD, two([4, -1]), op("Split", "x k", "y z").int("axis", 1)),
        on("count_split_sum_overflowing", BAD, two([i64::MAX, i64::MAX]), op("Split", "x k", "y z").int("axis", 1)),
        on("count_split_in_fewer_than_outputs", BAD, one(3), op("Split", "x k", "y z").int("axis", 1)),
        on("count_tile_negative", BAD, two([1, -1]), op("Tile", "x k", "y")),
        on("count_tile_of_another_rank", BAD, one(1), op("Tile", "x k", "y")),
        on(
            "count_one_hot_negative",
            BAD,
            |n| n.ints("i", &[1], &[0]).ints("d", &[], &[-1]).floats("v", &[2], &[0.0, 1.0]),
            op("OneHot", "i d v", "y"),
        ),
        on("count_pad_removes_all_and_more", BAD, |n| n.ints("k", &[4], &[-9, 0, 0, 0]), op("Pad", "x k", "y")),
        on("count_pads_of_another_rank", BAD, two([1, 1]), op("Pad", "x k", "y")),
        on("count_pads_overflowing", BAD, |n| n.ints("k", &[4], &[i64::MAX; 4]), op("Pad", "x k", "y")),
        on(
            "count_reflect_pad_of_empty",
            BAD,
            |n| n.floats("e", &[0], &[]).ints("k", &[2], &[1, 1]),
            op("Pad", "e k", "y").string("mode", "reflect"),
        ),
        on(
            "count_slice_step_zero",
            BAD,
            |n| n.ints("s", &[1], &[0]).ints("e", &[1], &[2]).ints("t", &[1], &[0]),
            op("Slice", "x s e s t", "y"),
        ),
        on(
            "count_slice_step_least",
            Runs,
            |n| n.ints("s", &[1], &[9]).ints("e", &[1], &[i64::MIN]).ints("t", &[1], &[i64::MIN]).ints("a", &[1], &[0]),
            op("Slice", "x s e a t", "y"),
        ),
        on(
            "count_slice_axis_beyond_rank",
            BAD,
            |n| n.ints("s", &[1], &[0]).ints("a", &[1], &[2]),
            op("Slice", "x s s a", "y"),
        ),
        on(
            "count_slice_of_unequal_lists",
            BAD,
            |n| n.ints("s", &[1], &[0]).ints("e", &[2], &[1, 1]),
            op("Slice", "x s e", "y"),
        ),
        on(
            "count_range_step_zero",
            BAD,
            |n| n.ints("a", &[], &[0]).ints("b", &[], &[9]).ints("c", &[], &[0]),
            op("Range", "a b c", "y"),
        ),
        on(
            "count_range_step_nan",
            BAD,
            |n| n.floats("a", &[], &[0.0]).floats("b", &[], &[9.0]).floats("c", &[], &[f32::NAN]),
            op("Range", "a b c", "y"),
        ),
        on("count_resize_scale_zero", BAD, |n| n.floats("s", &[2], &[0.0, 1.0]), op("Resize", "x _ s", "y")),
        on("count_resize_scale_negative", BAD, |n| n.floats("s", &[2], &[-1.0, 1.0]), op("Resize", "x _ s", "y")),
        on("count_resize_scale_nan", BAD, |n| n.floats("s", &[2], &[f32::NAN, 1.0]), op("Resize", "x _ s", "y")),
        on("count_resize_size_negative", BAD, two([-1, 2]), op("Resize", "x _ _ k", "y")),
        on(
            "count_reverse_sequence_beyond_length",
            BAD,
            |n| n.ints("k", &[3], &[9, 9, 9]),
            op("ReverseSequence", "x k", "y"),
        ),
        on("count_cum_sum_axis_beyond_rank", BAD, |n| n.ints("k", &[], &[2]), op("CumSum", "x k", "y")),
    ]
}

/// Shapes that do not go with what they are for.
fn shapes() -> Vec<Case> {
    let shape = |dims: &'static [i64]| move |n: Net| n.ints("s", &[dims.len().try_into().expect("short")], dims);
    vec![
        on("shape_reshape_to_more", BAD, shape(&[7]), op("Reshape", "x s", "y")),
        on("shape_reshape_to_two_unknowns", BAD, shape(&[-1, -1]), op("Reshape", "x s", "y")),
        on("shape_reshape_to_negative", BAD, shape(&[-2, 3]), op("Reshape", "x s", "y")),
        on("shape_reshape_to_overflow", BAD, shape(&[i64::MAX, i64::MAX, -1]), op("Reshape", "x s", "y")),
        on("shape_reshape_copies_an_axis_that_is_not", BAD, shape(&[2, 3, 0]), op("Reshape", "x s", "y")),
        on("shape_expand_to_another_length", BAD, shape(&[2, 4]), op("Expand", "x s", "y")),
        on("shape_expand_to_negative", BAD, shape(&[-2, 3]), op("Expand", "x s", "y")),
        on("shape_constant_of_negative", BAD, shape(&[-1]), op("ConstantOfShape", "s", "y")),
        on("shape_constant_overflowing", BAD, shape(&[i64::MAX, i64::MAX]), op("ConstantOfShape", "s", "y")),
        on("shape_squeeze_of_a_long_axis", BAD, shape(&[0]), op("Squeeze", "x s", "y")),
        on("shape_squeeze_of_no_axis", BAD, shape(&[5]), op("Squeeze", "x s", "y")),
        on("shape_unsqueeze_twice_at_one_place", BAD, shape(&[0, 0]), op("Unsqueeze", "x s", "y")),
        on("shape_unsqueeze_far_out", BAD, shape(&[9]), op("Unsqueeze", "x s", "y")),
        on(
            "shape_unsqueeze_to_rank_100",
            BAD,
            |n| n.ints("s", &[98], &(0..98).collect::<Vec<_>>()),
            op("Unsqueeze", "x s", "y"),
        ),
        on("shape_reduce_of_no_axis", BAD, shape(&[2]), op("ReduceSum", "x s", "y")),
        on("shape_reduce_of_one_axis_twice", BAD, shape(&[0, -2]), op("ReduceSum", "x s", "y")),
        on("shape_reduce_max_of_nothing", Runs, |n| n.initializer(tensor("e", I64, &[0])), op("ReduceMax", "e", "y")),
        on("shape_arg_max_of_nothing", BAD, |n| n.floats("e", &[0], &[]), op("ArgMax", "e", "y")),
        on(
            "shape_concat_of_other_ranks",
            BAD,
            |n| n.floats("z", &[3], &[0.0; 3]),
            op("Concat", "x z", "y").int("axis", 0),
        ),
        on(
            "shape_concat_of_other_lengths",
            BAD,
            |n| n.floats("z", &[1, 4], &[0.0; 4]),
            op("Concat", "x z", "y").int("axis", 0),
        ),
        on(
            "shape_bias_longer_than_channels",
            BAD,
            |n| n.floats("b", &[4], &[0.0; 4]),
            op("Gemm", "x x b", "y").int("transB", 1),
        ),
        on(
            "shape_compress_by_a_matrix",
            BAD,
            |n| n.initializer(TensorProto { int32_data: vec![1, 1], ..tensor("k", Bool, &[1, 2]) }),
            op("Compress", "x k", "y"),
        ),
        on(
            "shape_where_does_not_broadcast",
            BAD,
            |n| n.initializer(TensorProto { int32_data: vec![1; 4], ..tensor("k", Bool, &[4]) }),
            op("Where", "k x x", "y"),
        ),
    ]
}

/// Integer arithmetic that has no answer in the integers.
fn integers() -> Vec<Case> {
    let pair = |a: i64, b: i64| move |n: Net| n.ints("a", &[1], &[a]).ints("b", &[1], &[b]);
    let small = |name: &str, value: i32| TensorProto { int32_data: vec![value], ..tensor(name, I32, &[1]) };
    vec![
        on("integer_division_by_zero", BAD, pair(7, 0), op("Div", "a b", "y")),
        on("integer_remainder_by_zero", BAD, pair(7, 0), op("Mod", "a b", "y")),
        on("integer_least_by_minus_one", Runs, pair(i64::MIN, -1), op("Div", "a b", "y")),
        on("integer_remainder_of_least_by_minus_one", Runs, pair(i64::MIN, -1), op("Mod", "a b", "y")),
        on(
            "integer_division_by_zero_of_32_bits",
            BAD,
            |n| n.initializer(small("a", 7)).initializer(small("b", 0)),
            op("Div", "a b", "y"),
        ),
        on("integer_sum_overflowing", Runs, pair(i64::MAX, i64::MAX), op("Add", "a b", "y")),
        on("integer_product_overflowing", Runs, pair(i64::MAX, i64::MIN), op("Mul", "a b", "y")),
        on("integer_negation_of_least", Runs, pair(i64::MIN, 0), op("Neg", "a", "y")),
        on("integer_magnitude_of_least", Runs, pair(i64::MIN, 0), op("Abs", "a", "y")),
        on("integer_power_negative", BAD, pair(0, -1), op("Pow", "a b", "y")),
        on("integer_power_overflowing", Runs, pair(i64::MAX, i64::MAX), op("Pow", "a b", "y")),
        on(
            "integer_shift_by_more_than_the_width",
            Runs,
            |n| {
                let unsigned = |name: &str, value: u64| TensorProto {
                    uint64_data: vec![value],
                    ..tensor(name, planish::DType::U64, &[1])
                };
                n.initializer(unsigned("a", 1)).initializer(unsigned("b", 200))
            },
            op("BitShift", "a b", "y").string("direction", "LEFT"),
        ),
        on(
            "integer_cast_of_nan_and_infinity",
            Runs,
            |n| n.floats("a", &[3], &[f32::NAN, f32::INFINITY, -1e30]),
            op("Cast", "a", "y").int("to", I64.to_onnx().into()),
        ),
    ]
}

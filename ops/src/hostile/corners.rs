//! Corners that random tries hardly ever reach, by name: what integers do where they overflow, indices and counts that come
//! as data, attributes that contradict each other. Each has one answer.

use super::limited;
use crate::StandardRegistry;
use crate::testing::tensor;
use planish_ir::{Attribute, Attributes, Inputs, OpError, Registry};
use planish_tensor::{Element, Tensor, Value};
use std::time::Instant;

/// What must come of a corner.
enum Answer {
    /// An error that says so, at load or when run.
    Refused(&'static str),
    /// These tensors.
    Gives(Vec<Tensor>),
    /// A result of these shapes.
    Shaped(Vec<&'static [usize]>),
}

use Answer::{Gives, Refused, Shaped};

struct Corner {
    op: &'static str,
    attributes: Attributes,
    inputs: Vec<Option<Tensor>>,
    answer: Answer,
}

fn corner<const N: usize>(op: &'static str, attributes: Attributes, inputs: [Tensor; N], answer: Answer) -> Corner {
    Corner { op, attributes, inputs: inputs.map(Some).into(), answer }
}

fn none() -> Attributes {
    Attributes::new()
}

fn of<T: Element>(data: &[T]) -> Tensor {
    tensor(&[data.len()], data)
}

fn one<T: Element>(value: T) -> Tensor {
    tensor(&[], &[value])
}

/// Two rows of three.
fn matrix() -> Tensor {
    tensor(&[2, 3], &[1f32, 2., 3., 4., 5., 6.])
}

fn image() -> Tensor {
    tensor(&[1, 1, 2, 2], &[1f32, 2., 3., 4.])
}

const HUGE: i64 = 1 << 40;

/// Whether memory is refused, or the shape before that.
const TOO_LARGE: &str = "memory|elements|large";

fn integers() -> Vec<Corner> {
    let to = |dtype: i64| none().with("to", dtype);
    let shift = |direction: &str| none().with("direction", direction);
    vec![
        corner("Div", none(), [of(&[i64::MIN]), of(&[-1i64])], Gives(vec![of(&[i64::MIN])])),
        corner("Div", none(), [of(&[i32::MIN, 7]), of(&[-1i32, -2])], Gives(vec![of(&[i32::MIN, -3])])),
        corner("Div", none(), [of(&[i8::MIN]), of(&[-1i8])], Gives(vec![of(&[i8::MIN])])),
        corner("Div", none(), [of(&[1i64, 2]), of(&[1i64, 0])], Refused("zero|by 0")),
        corner("Div", none(), [of(&[1u8]), of(&[0u8])], Refused("zero|by 0")),
        corner("Mod", none(), [of(&[i64::MIN]), of(&[-1i64])], Gives(vec![of(&[0i64])])),
        corner("Mod", none(), [of(&[5i32]), of(&[0i32])], Refused("zero|by 0")),
        corner("Mod", none().with("fmod", 1), [of(&[i64::MIN, -7]), of(&[-1i64, 4])], Gives(vec![of(&[0i64, -3])])),
        corner("Mod", none().with("fmod", 1), [of(&[5i32]), of(&[0i32])], Refused("zero|by 0")),
        corner("Neg", none(), [of(&[i64::MIN])], Gives(vec![of(&[i64::MIN])])),
        corner("Abs", none(), [of(&[i32::MIN])], Gives(vec![of(&[i32::MIN])])),
        corner("Mul", none(), [of(&[i64::MAX]), of(&[2i64])], Gives(vec![of(&[-2i64])])),
        corner("Add", none(), [of(&[i8::MAX]), of(&[1i8])], Gives(vec![of(&[i8::MIN])])),
        corner("Sub", none(), [of(&[0u8]), of(&[1u8])], Gives(vec![of(&[255u8])])),
        corner("Pow", none(), [of(&[2i64]), of(&[64i64])], Gives(vec![of(&[0i64])])),
        corner("CumSum", none(), [of(&[i64::MAX, 1]), one(0i64)], Gives(vec![of(&[i64::MAX, i64::MIN])])),
        corner("ReduceSum", none(), [of(&[i64::MAX, 1])], Gives(vec![of(&[i64::MIN])])),
        corner("ReduceProd", none(), [of(&[i32::MAX, 2])], Gives(vec![of(&[-2i32])])),
        corner("BitShift", shift("LEFT"), [of(&[1u8, 1]), of(&[8u8, 255])], Gives(vec![of(&[0u8, 0])])),
        corner("BitShift", shift("RIGHT"), [of(&[u64::MAX]), of(&[64u64])], Gives(vec![of(&[0u64])])),
        corner("BitShift", shift("RIGHT"), [of(&[-8i64, -8]), of(&[64i64, -1])], Gives(vec![of(&[-1i64, -1])])),
        corner("BitShift", shift("UP"), [of(&[1u8]), of(&[1u8])], Refused("direction")),
        corner("Cast", to(3), [of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30])], Shaped(vec![&[4]])),
        corner("Cast", to(7), [of(&[f64::NAN, f64::INFINITY, -1e300])], Shaped(vec![&[3]])),
        corner("Cast", to(12), [of(&[f32::NEG_INFINITY, -1.0])], Shaped(vec![&[2]])),
        corner("QuantizeLinear", none(), [of(&[f32::NAN, f32::INFINITY]), one(0.0f32)], Shaped(vec![&[2]])),
        corner("QuantizeLinear", none(), [of(&[1f32, -1.0]), one(f32::NAN)], Shaped(vec![&[2]])),
        corner("DynamicQuantizeLinear", none(), [of(&[f32::NAN, f32::INFINITY])], Shaped(vec![&[2], &[], &[]])),
        corner("ReduceMean", none(), [tensor::<i32>(&[0], &[])], Gives(vec![of(&[0i32])])),
    ]
}

fn indices() -> Vec<Corner> {
    let bad = || Refused("index|indices|range|beyond|between");
    let axis = |axis: i64| none().with("axis", axis);
    let add = || none().with("reduction", "add");
    let update = || tensor(&[1, 1], &[9f32]);
    vec![
        corner("Gather", none(), [matrix(), of(&[2i64])], bad()),
        corner("Gather", none(), [matrix(), of(&[i64::MIN])], bad()),
        corner("Gather", axis(1), [matrix(), of(&[i32::MIN])], bad()),
        corner("Gather", none(), [tensor::<f32>(&[0, 3], &[]), of(&[0i64])], bad()),
        corner("GatherElements", axis(1), [matrix(), tensor(&[1, 1], &[3i64])], bad()),
        corner("GatherElements", axis(1), [matrix(), tensor(&[1, 1], &[i64::MAX])], bad()),
        corner("GatherND", none(), [matrix(), tensor(&[1, 2], &[0i64, -4])], bad()),
        corner("GatherND", none().with("batch_dims", 2), [matrix(), tensor(&[1, 1], &[0i64])], Refused("")),
        corner("GatherND", none().with("batch_dims", -1), [matrix(), tensor(&[1, 1], &[0i64])], Refused("batch_dims")),
        corner("ScatterElements", none(), [matrix(), tensor(&[1, 1], &[2i64]), update()], bad()),
        corner("ScatterElements", add(), [matrix(), tensor(&[1, 1], &[i64::MIN]), update()], bad()),
        corner("ScatterND", none(), [matrix(), tensor(&[1, 2], &[0i64, 3]), of(&[9f32])], bad()),
        corner("ScatterND", add(), [matrix(), tensor(&[1, 2], &[-3i64, 0]), of(&[9f32])], bad()),
        corner("ScatterND", none(), [matrix(), tensor(&[1, 3], &[0i64; 3]), of(&[9f32])], Refused("")),
        corner("OneHot", none(), [of(&[i64::MIN, i64::MAX]), one(2i64), of(&[0f32, 1.])], Shaped(vec![&[2, 2]])),
        corner("OneHot", none(), [of(&[0i64]), one(-1i64), of(&[0f32, 1.])], Refused("depth")),
        corner("OneHot", none(), [of(&[0i64]), one(0i64), of(&[0f32, 1.])], Shaped(vec![&[1, 0]])),
        corner("OneHot", none(), [of(&[0i64]), one(f32::NAN), of(&[0f32, 1.])], Shaped(vec![&[1, 0]])),
        corner("OneHot", none(), [of(&[0i64]), one(HUGE), of(&[0f32, 1.])], Refused(TOO_LARGE)),
        corner("OneHot", none(), [of(&[0i64]), one(2i64), of(&[0f32])], Refused("on-value")),
        corner("ReverseSequence", none(), [matrix(), of(&[3i64, 1, 1])], Refused("")),
        corner("ReverseSequence", none(), [matrix(), of(&[-1i64, 1, 1])], Refused("")),
        corner("CumSum", none(), [matrix(), one(i64::MIN)], Refused("axis")),
        corner("Trilu", none(), [matrix(), one(i64::MAX)], Gives(vec![tensor(&[2, 3], &[0f32; 6])])),
        corner("Trilu", none(), [matrix(), one(i64::MIN)], Gives(vec![matrix()])),
        corner("EyeLike", none().with("k", i64::MIN), [matrix()], Gives(vec![tensor(&[2, 3], &[0f32; 6])])),
        corner(
            "MaxUnpool",
            none().with("kernel_shape", ints(&[2, 2])),
            [image(), tensor(&[1, 1, 2, 2], &[0i64, 1, 2, 16])],
            bad(),
        ),
        corner("NegativeLogLikelihoodLoss", none(), [matrix(), of(&[0i64, 3])], Refused("")),
        corner("SoftmaxCrossEntropyLoss", none(), [matrix(), of(&[0i64, i64::MIN])], Refused("")),
    ]
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn counts() -> Vec<Corner> {
    let boxes = || tensor(&[1, 2, 4], &[0f32, 0., 1., 1., 0., f32::NAN, 1., f32::INFINITY]);
    let scores = || tensor(&[1, 1, 2], &[f32::NAN, f32::INFINITY]);
    let axis1 = || none().with("axis", 1);
    let resize = |sizes: Option<&[i64]>, scales: Option<&[f32]>, answer| Corner {
        op: "Resize",
        attributes: none(),
        inputs: vec![Some(image()), None, scales.map(of), sizes.map(of)],
        answer,
    };
    vec![
        corner("TopK", none(), [matrix(), of(&[4i64])], Refused("k|4")),
        corner("TopK", none(), [matrix(), of(&[i64::MIN])], Refused("k")),
        corner("TopK", none(), [matrix(), of(&[0i64])], Shaped(vec![&[2, 0], &[2, 0]])),
        corner("TopK", none(), [of(&[f32::NAN, 1., f32::NAN]), of(&[3i64])], Shaped(vec![&[3], &[3]])),
        corner("Split", axis1(), [matrix(), of(&[2i64, 2])], Refused("")),
        corner("Split", axis1(), [matrix(), of(&[4i64, -1])], Refused("")),
        corner("Split", axis1(), [matrix(), of(&[i64::MAX, i64::MAX])], Refused("")),
        corner("Split", axis1(), [matrix(), of(&[3i64, 0])], Shaped(vec![&[2, 3], &[2, 0]])),
        corner("Slice", none(), [matrix(), of(&[i64::MIN]), of(&[i64::MAX]), of(&[1i64])], Shaped(vec![&[2, 3]])),
        corner(
            "Slice",
            none(),
            [matrix(), of(&[i64::MAX]), of(&[i64::MIN]), of(&[1i64]), of(&[i64::MIN])],
            Shaped(vec![&[2, 1]]),
        ),
        corner("Slice", none(), [matrix(), of(&[0i64]), of(&[1i64]), of(&[0i64]), of(&[0i64])], Refused("step")),
        corner("Slice", none(), [matrix(), of(&[0i64]), of(&[1i64]), of(&[i64::MAX])], Refused("ax")),
        corner("Slice", none(), [matrix(), of(&[0i64, 0]), of(&[1i64, 1]), of(&[0i64, 0])], Refused("ax")),
        corner("Pad", none(), [matrix(), of(&[0i64, -2, 0, -2])], Refused("")),
        corner("Pad", none(), [matrix(), of(&[0i64, -1, 0, -2])], Shaped(vec![&[2, 0]])),
        corner("Pad", none(), [matrix(), of(&[i64::MIN, 0, 0, 0])], Refused("")),
        corner("Pad", none(), [matrix(), of(&[HUGE, 0, 0, 0])], Refused(TOO_LARGE)),
        corner("Pad", none(), [matrix(), of(&[i64::MAX, i64::MAX, i64::MAX, i64::MAX])], Refused("")),
        corner("Pad", none().with("mode", "reflect"), [matrix(), of(&[0i64, HUGE, 0, 0])], Refused(TOO_LARGE)),
        corner("Pad", none().with("mode", "wrap"), [matrix(), of(&[0i64, HUGE, 0, 0])], Refused(TOO_LARGE)),
        corner(
            "Pad",
            none().with("mode", "reflect"),
            [tensor::<f32>(&[0, 2], &[]), of(&[0i64, HUGE, 0, 0])],
            Shaped(vec![&[0, 2 + (1 << 40)]]),
        ),
        corner("Pad", none().with("mode", "wrap"), [tensor::<f32>(&[0], &[]), of(&[1i64, 0])], Refused("")),
        corner("Pad", none().with("mode", "edge"), [tensor::<f32>(&[0], &[]), of(&[1i64, 0])], Refused("")),
        corner("Tile", none(), [matrix(), of(&[HUGE, 1])], Refused(TOO_LARGE)),
        corner("Tile", none(), [matrix(), of(&[i64::MAX, i64::MAX])], Refused("")),
        corner("Tile", none(), [matrix(), of(&[HUGE, 0])], Refused(TOO_LARGE)),
        corner("Expand", none(), [matrix(), of(&[HUGE, 1, 1])], Refused(TOO_LARGE)),
        corner("Expand", none(), [matrix(), of(&[-1i64, 1])], Refused("")),
        corner("Expand", none(), [matrix(), of(&[i64::MAX, i64::MAX, 1, 1])], Refused("")),
        corner("ConstantOfShape", none(), [of(&[HUGE])], Refused(TOO_LARGE)),
        corner("ConstantOfShape", none(), [of(&[-1i64])], Refused("")),
        corner("ConstantOfShape", none(), [of(&[i64::MAX, 4])], Refused("")),
        corner("ConstantOfShape", none(), [of(&[i64::MAX, 0])], Shaped(vec![&[i64::MAX as usize, 0]])),
        corner("Range", none(), [one(0f32), one(1f32), one(1e-30f32)], Refused("")),
        corner("Range", none(), [one(0f64), one(f64::INFINITY), one(1f64)], Refused("")),
        corner("Range", none(), [one(0f32), one(f32::NAN), one(1f32)], Refused("")),
        corner("Range", none(), [one(0i64), one(1i64), one(0i64)], Refused("delta")),
        corner("Range", none(), [one(i64::MIN), one(i64::MAX), one(1i64)], Refused("")),
        corner("Range", none(), [one(i64::MAX - 1), one(i64::MAX), one(i64::MAX)], Gives(vec![of(&[i64::MAX - 1])])),
        corner("Range", none(), [one(i64::MIN), one(i64::MAX), one(i64::MIN)], Shaped(vec![&[0]])),
        corner("Reshape", none(), [matrix(), of(&[-1i64, 0, 0])], Refused("")),
        corner("Reshape", none(), [matrix(), of(&[i64::MIN, 6])], Refused("")),
        corner("Reshape", none(), [matrix(), of(&[i64::MAX, i64::MAX])], Refused("")),
        corner("Reshape", none().with("allowzero", 1), [matrix(), of(&[0i64, -1])], Refused("")),
        corner("Unsqueeze", none(), [matrix(), of(&[i64::MIN])], Refused("ax")),
        corner("Squeeze", none(), [matrix(), of(&[i64::MAX])], Refused("ax")),
        resize(None, Some(&[1., 1., 0., 1.]), Refused("scale")),
        resize(None, Some(&[1., 1., f32::NAN, 1.]), Refused("scale")),
        resize(None, Some(&[1., 1., f32::INFINITY, 1.]), Refused("")),
        resize(None, Some(&[1., 1., -1., 1.]), Refused("scale")),
        resize(None, Some(&[1., 1., 1e12, 1.]), Refused("")),
        resize(Some(&[1, 1, -1, 1]), None, Refused("")),
        resize(Some(&[1, 1, HUGE, HUGE]), None, Refused("")),
        resize(Some(&[1, 1, i64::MAX, 2]), None, Refused("")),
        resize(Some(&[1, 1]), None, Refused("")),
        resize(None, None, Refused("")),
        corner("NonMaxSuppression", none(), [boxes(), scores(), one(i64::MAX)], Shaped(vec![])),
        corner("NonMaxSuppression", none(), [boxes(), scores(), one(i64::MIN)], Shaped(vec![&[0, 3]])),
        corner("NonMaxSuppression", none(), [boxes(), scores(), one(0i64)], Shaped(vec![&[0, 3]])),
        corner("NonMaxSuppression", none(), [boxes(), tensor(&[1, 1, 3], &[0f32; 3]), one(1i64)], Refused("")),
        corner("HannWindow", none(), [one(-1i64)], Refused("")),
        corner("HannWindow", none(), [one(HUGE)], Refused(TOO_LARGE)),
        corner("BlackmanWindow", none(), [one(0i64)], Shaped(vec![&[0]])),
        corner(
            "MelWeightMatrix",
            none(),
            [one(i64::MAX), one(8i64), one(8000i64), one(0f32), one(f32::NAN)],
            Refused(""),
        ),
        corner("DFT", none(), [tensor(&[1, 2, 1], &[1f32, 2.]), one(HUGE)], Refused("")),
        corner("DFT", none(), [tensor(&[1, 2, 1], &[1f32, 2.]), one(i64::MIN)], Refused("")),
        corner("CenterCropPad", none(), [matrix(), of(&[HUGE, HUGE])], Refused("")),
        corner("CenterCropPad", none(), [matrix(), of(&[-1i64, 1])], Refused("")),
        corner("Multinomial", none().with("sample_size", HUGE), [matrix()], Refused("")),
        corner(
            "TensorScatter",
            none(),
            [tensor(&[1, 1, 2, 1], &[0f32; 2]), tensor(&[1, 1, 1, 1], &[1f32]), of(&[i64::MAX])],
            Refused(""),
        ),
    ]
}

fn attributes() -> Vec<Corner> {
    let kernel = |k: &[i64]| none().with("kernel_shape", ints(k));
    let block = |size: i64| none().with("blocksize", size);
    let filter = || tensor(&[1, 1, 1, 1], &[1f32]);
    vec![
        corner("MaxPool", kernel(&[0, 1]), [image()], Refused("kernel_shape")),
        corner("MaxPool", kernel(&[i64::MAX, 1]), [image()], Refused("")),
        corner("MaxPool", kernel(&[1, 1]).with("strides", ints(&[0, 1])), [image()], Refused("strides")),
        corner("MaxPool", kernel(&[1, 1]).with("dilations", ints(&[-1, 1])), [image()], Refused("dilations")),
        corner("MaxPool", kernel(&[1, 1]).with("pads", ints(&[i64::MAX; 4])), [image()], Refused("")),
        corner("AveragePool", kernel(&[1]), [image()], Refused("")),
        corner("LpPool", kernel(&[1, 1]).with("p", 0), [image()], Refused("p")),
        corner("Conv", none().with("group", 0), [image(), filter()], Refused("group")),
        corner("Conv", none().with("group", i64::MAX), [image(), filter()], Refused("group|channels")),
        corner("Conv", none().with("dilations", ints(&[1])), [image(), filter()], Refused("")),
        corner("Conv", none().with("strides", ints(&[i64::MAX, i64::MAX])), [image(), filter()], Refused("strides")),
        corner("ConvTranspose", none().with("output_shape", ints(&[HUGE, HUGE])), [image(), filter()], Refused("")),
        corner("ConvTranspose", none().with("output_padding", ints(&[-1, 0])), [image(), filter()], Refused("")),
        corner("DepthToSpace", block(0), [image()], Refused("blocksize")),
        corner("DepthToSpace", block(i64::MAX), [image()], Refused("")),
        corner("SpaceToDepth", block(i64::MIN), [image()], Refused("blocksize")),
        corner("Transpose", none().with("perm", ints(&[0, 0])), [matrix()], Refused("perm")),
        corner("Transpose", none().with("perm", ints(&[0, i64::MIN])), [matrix()], Refused("perm")),
        corner("Softmax", none().with("axis", i64::MIN), [matrix()], Refused("axis")),
        corner("Flatten", none().with("axis", 3), [matrix()], Refused("axis")),
        corner("Concat", none().with("axis", i64::MAX), [matrix(), matrix()], Refused("axis")),
        corner("LRN", none().with("size", 0), [image()], Refused("size")),
        corner("LRN", none().with("size", i64::MAX), [image()], Refused("size")),
        corner("GroupNormalization", none().with("num_groups", 0), [image(), of(&[1f32]), of(&[0f32])], Refused("")),
        corner("LayerNormalization", none().with("axis", 9), [matrix(), of(&[1f32; 3])], Refused("axis")),
        corner("Split", none().with("num_outputs", i64::MAX), [matrix()], Refused("")),
        corner("Shape", none().with("start", i64::MIN).with("end", i64::MAX), [matrix()], Gives(vec![of(&[2i64, 3])])),
        corner("Einsum", none().with("equation", "ij,jk->ij"), [matrix(), tensor(&[4, 1], &[0f32; 4])], Refused("")),
        corner("Einsum", none().with("equation", "...i->i..."), [one(1f32)], Refused("")),
        corner("RandomUniform", none().with("shape", ints(&[HUGE])), [], Refused(TOO_LARGE)),
        corner("Hardmax", none().with("axis", 2), [matrix()], Refused("axis")),
        corner("Cast", none().with("to", 99), [matrix()], Refused("to")),
        corner("EyeLike", none().with("dtype", -1), [matrix()], Refused("dtype")),
    ]
}

/// The outputs of a corner, within limits.
fn ran(corner: &Corner) -> Result<Vec<Tensor>, OpError> {
    let values: Vec<Option<Value>> = corner.inputs.iter().map(|t| t.clone().map(Value::Tensor)).collect();
    let num_outputs = match &corner.answer {
        Gives(tensors) => tensors.len(),
        Shaped(shapes) => shapes.len().max(1),
        Refused(_) if matches!(corner.op, "TopK" | "Split") => 2,
        Refused(_) => 1,
    };
    let made = StandardRegistry.operator("", corner.op, corner.attributes.clone(), values.len(), num_outputs);
    let operator = made.map_err(|e| OpError::invalid(e.to_string()))?;
    let op = operator.op().expect("an operator").clone();
    let mut cx = limited(num_outputs, Instant::now());
    let outputs = op.eval(&mut cx, Inputs::new(values))?.into_values();
    Ok(outputs.into_iter().take(num_outputs).flatten().filter_map(Value::into_tensor).collect())
}

#[test]
fn corners_have_their_answers() {
    let mut wrong = Vec::new();
    for corner in [integers(), indices(), counts(), attributes()].into_iter().flatten() {
        let start = Instant::now();
        let ran = ran(&corner);
        let is_right = match (&corner.answer, &ran) {
            (Refused(words), Err(error)) => {
                let message = error.to_string().to_lowercase();
                words.split('|').any(|word| message.contains(&word.to_lowercase()))
            }
            (Gives(expected), Ok(outputs)) => outputs == expected,
            (Shaped(shapes), Ok(outputs)) => shapes.iter().zip(outputs).all(|(shape, y)| y.shape().dims() == *shape),
            _ => false,
        };
        if !is_right || start.elapsed().as_secs() >= 1 {
            let Corner { op, attributes, inputs, .. } = &corner;
            let took = start.elapsed();
            wrong.push(format!("{op} {attributes:?} {inputs:?}: {ran:?} in {took:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

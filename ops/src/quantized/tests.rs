use crate::StandardRegistry;
use crate::testing::{eval, eval_all, prepare, tensor};
use planish_ir::{Attributes, EvalCx, Inputs, Interpreter, Registry};
use planish_tensor::{DType, Memory, Shape, Tensor, Value, f16};

fn codes(dtype: DType, dims: &[usize], codes: &[u8]) -> Tensor {
    Tensor::from_codes(Memory::global(), dtype, Shape::new(dims).unwrap(), codes).unwrap()
}

fn block(axis: i64, size: i64) -> Attributes {
    Attributes::new().with("axis", axis).with("block_size", size)
}

#[test]
fn scales_are_for_all_an_axis_or_a_block() {
    struct Case {
        attributes: Attributes,
        x: &'static [usize],
        scale: (&'static [usize], &'static [f32]),
        zero: &'static [i8],
        expected: &'static [i8],
    }
    for Case { attributes, x, scale, zero, expected } in [
        Case { attributes: Attributes::new(), x: &[4], scale: (&[], &[2.]), zero: &[1], expected: &[1, 1, 2, 3] },
        Case { attributes: Attributes::new(), x: &[4], scale: (&[1], &[0.5]), zero: &[-1], expected: &[-1, 1, 3, 5] },
        Case {
            attributes: Attributes::new(),
            x: &[2, 3],
            scale: (&[3], &[1., 2., 0.01]),
            zero: &[0, 3, 0],
            expected: &[0, 3, 127, 3, 5, 127],
        },
        Case {
            attributes: Attributes::new().with("axis", -2i64),
            x: &[2, 3],
            scale: (&[2], &[1., 2.]),
            zero: &[0, 0],
            expected: &[0, 1, 2, 2, 2, 2],
        },
        Case {
            attributes: block(1, 2),
            x: &[1, 4],
            scale: (&[1, 2], &[1., 2.]),
            zero: &[0, 1],
            expected: &[0, 1, 2, 3],
        },
        Case { attributes: block(0, 2), x: &[3, 1], scale: (&[2, 1], &[1., 2.]), zero: &[0, 1], expected: &[0, 1, 2] },
        Case {
            attributes: block(0, 2),
            x: &[3, 2],
            scale: (&[2, 2], &[1., 2., 4., 8.]),
            zero: &[0; 4],
            expected: &[0, 0, 2, 2, 1, 1],
        },
    ] {
        let values: Vec<f32> = (0..x.iter().product()).map(|i: usize| i as f32).collect();
        let inputs = [tensor(x, &values), tensor(scale.0, scale.1), tensor(scale.0, zero)];
        let y = eval("QuantizeLinear", attributes.clone(), &inputs).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), expected, "{attributes:?} {scale:?}");
        let back = eval("DequantizeLinear", attributes, &[y, inputs[1].clone(), inputs[2].clone()]).unwrap();
        let largest = scale.1.iter().copied().fold(0., f32::max);
        for (back, &value) in back.as_slice::<f32>().unwrap().iter().zip(&values) {
            assert!((back - value).abs() <= largest / 2. || value > 1., "{value} came back as {back}");
        }
    }
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    let x = tensor(&[2, 3], &[0f32; 6]);
    for (scale, attributes) in [
        (tensor(&[2], &[1f32; 2]), Attributes::new()),
        (tensor(&[2, 1], &[1f32; 2]), Attributes::new()),
        (tensor(&[2, 3], &[1f32; 6]), block(1, 2)),
        (tensor(&[2], &[1f32; 2]), block(1, 2)),
        (tensor(&[3], &[1f32; 3]), Attributes::new().with("axis", 2i64)),
        (tensor(&[3], &[1f32; 3]), block(1, -2)),
    ] {
        assert!(eval("QuantizeLinear", attributes, &[x.clone(), scale.clone()]).is_err(), "{scale:?}");
    }
    let zero = tensor(&[1], &[0u8]);
    assert!(eval("QuantizeLinear", Attributes::new(), &[x, tensor(&[3], &[1f32; 3]), zero]).is_err());
}

#[test]
fn packed_types_and_narrow_scales() {
    let attributes = Attributes::new().with("output_dtype", i64::from(DType::I4.to_onnx()));
    let y = eval("QuantizeLinear", attributes, &[tensor(&[3], &[-9f32, -1., 30.]), Tensor::scalar(1f32)]).unwrap();
    assert_eq!(y, codes(DType::I4, &[3], &[0x8, 0xf, 0x7]));
    let scale = Tensor::scalar(f16::from_f32(0.5));
    let x = eval("DequantizeLinear", Attributes::new(), &[y, scale.clone()]).unwrap();
    assert_eq!(x, tensor(&[3], &[-4., -0.5, 3.5].map(f16::from_f32)));
    let zero = codes(DType::U2, &[], &[1]);
    let y = eval("QuantizeLinear", Attributes::new(), &[x, scale, zero.clone()]).unwrap();
    assert_eq!(y, codes(DType::U2, &[3], &[0, 0, 3]));
    let y = eval("DequantizeLinear", Attributes::new(), &[y, Tensor::scalar(2f32), zero]).unwrap();
    assert_eq!(y, tensor(&[3], &[-2f32, -2., 4.]));
}

#[test]
fn narrow_floats_quantize_and_come_back() {
    let x = tensor(&[4], &[0f32, 1., 1e6, -3.]);
    let scale = tensor(&[], &[2f32]);
    let quantize = |dtype: DType, saturate: i64| {
        let attributes = Attributes::new().with("output_dtype", i64::from(dtype.to_onnx())).with("saturate", saturate);
        eval("QuantizeLinear", attributes, &[x.clone(), scale.clone()]).unwrap()
    };
    for (dtype, greatest) in [
        (DType::F8E4M3FN, 448f32),
        (DType::F8E4M3FNUZ, 240.),
        (DType::F8E5M2, 57344.),
        (DType::F8E5M2FNUZ, 57344.),
        (DType::F6E2M3, 7.5),
        (DType::F6E3M2, 28.),
        (DType::F4E2M1, 6.),
    ] {
        let back = eval("DequantizeLinear", Attributes::new(), &[quantize(dtype, 1), scale.clone()]).unwrap();
        assert_eq!(back, tensor(&[4], &[0f32, 1., greatest * 2., -3.]), "{dtype}");
    }
    let loose = eval("DequantizeLinear", Attributes::new(), &[quantize(DType::F8E4M3FN, 0), scale.clone()]).unwrap();
    assert!(loose.as_slice::<f32>().unwrap()[2].is_nan());
}

#[test]
fn precision_rounds_the_quotient() {
    let inputs = [tensor(&[1], &[1001f32]), Tensor::scalar(1f32)];
    let precise = Attributes::new().with("output_dtype", i64::from(DType::U16.to_onnx()));
    for (attributes, expected) in
        [(precise.clone(), 1001u16), (precise.with("precision", i64::from(DType::BF16.to_onnx())), 1000)]
    {
        assert_eq!(eval("QuantizeLinear", attributes, &inputs).unwrap(), tensor(&[1], &[expected]));
    }
}

#[test]
fn dynamic_scales_hold_zero_exactly() {
    struct Case {
        x: &'static [f32],
        expected: &'static [u8],
        scale: f32,
        zero: u8,
    }
    for Case { x, expected, scale, zero } in [
        Case {
            x: &[0., 2., -3., -2.5, 1.34, 0.5],
            expected: &[153, 255, 0, 26, 221, 179],
            scale: 5. / 255.,
            zero: 153,
        },
        Case { x: &[1., 2.55], expected: &[100, 255], scale: 0.01, zero: 0 },
        Case { x: &[-2.55, -1.], expected: &[0, 155], scale: 0.01, zero: 255 },
        Case { x: &[0., 0.], expected: &[0, 0], scale: 1., zero: 0 },
        Case { x: &[], expected: &[], scale: 1., zero: 0 },
    ] {
        let input = [Some(tensor(&[x.len()], x))];
        let y = eval_all("", "DynamicQuantizeLinear", Attributes::new(), &input, 3).unwrap();
        assert_eq!(y, [tensor(&[x.len()], expected), Tensor::scalar(scale), Tensor::scalar(zero)], "{x:?}");
    }
}

#[test]
fn integer_products_take_zero_points_of_rows_and_columns() {
    struct Case {
        a: (&'static [usize], &'static [u8]),
        b: (&'static [usize], &'static [i8]),
        a_zero: Option<(&'static [usize], &'static [u8])>,
        b_zero: Option<(&'static [usize], &'static [i8])>,
        expected: (&'static [usize], &'static [i32]),
    }
    let (a, b): ((&[usize], &[u8]), (&[usize], &[i8])) = ((&[2, 2], &[1, 2, 3, 255]), (&[2, 2], &[1, -128, 0, 127]));
    for Case { a, b, a_zero, b_zero, expected } in [
        Case { a, b, a_zero: None, b_zero: None, expected: (&[2, 2], &[1, 126, 3, 32001]) },
        Case { a, b, a_zero: Some((&[], &[1])), b_zero: None, expected: (&[2, 2], &[0, 127, 2, 32002]) },
        Case { a, b, a_zero: Some((&[2], &[1, 3])), b_zero: None, expected: (&[2, 2], &[0, 127, 0, 32004]) },
        Case { a, b, a_zero: Some((&[2, 1], &[1, 3])), b_zero: None, expected: (&[2, 2], &[0, 127, 0, 32004]) },
        Case { a, b, a_zero: None, b_zero: Some((&[2], &[0, 1])), expected: (&[2, 2], &[1, 123, 3, 31743]) },
        Case { a, b, a_zero: None, b_zero: Some((&[1, 2], &[0, 1])), expected: (&[2, 2], &[1, 123, 3, 31743]) },
        Case {
            a: (&[2, 2, 1], &[1, 2, 3, 4]),
            b: (&[1, 1], &[2]),
            a_zero: Some((&[2], &[0, 1])),
            b_zero: None,
            expected: (&[2, 2, 1], &[2, 2, 6, 6]),
        },
        Case {
            a: (&[1, 1], &[3]),
            b: (&[2, 1, 2], &[1, 2, 3, 4]),
            a_zero: None,
            b_zero: Some((&[2, 1, 2], &[0, 1, 2, 3])),
            expected: (&[2, 1, 2], &[3, 3, 3, 3]),
        },
        Case { a: (&[2], &[1, 2]), b: (&[2], &[3, 4]), a_zero: None, b_zero: None, expected: (&[], &[11]) },
        Case { a: (&[0, 2], &[]), b, a_zero: None, b_zero: None, expected: (&[0, 2], &[]) },
    ] {
        let inputs = [
            Some(tensor(a.0, a.1)),
            Some(tensor(b.0, b.1)),
            a_zero.map(|z| tensor(z.0, z.1)),
            b_zero.map(|z| tensor(z.0, z.1)),
        ];
        let y = eval_all("", "MatMulInteger", Attributes::new(), &inputs, 1).unwrap();
        assert_eq!(y, [tensor(expected.0, expected.1)], "{inputs:?}");
        assert_eq!(eval_prepared("MatMulInteger", Attributes::new(), &inputs), y, "{inputs:?} packed");
    }
    let zero = Some(tensor(&[3], &[0u8; 3]));
    let inputs = [Some(tensor(a.0, a.1)), Some(tensor(b.0, b.1)), zero];
    assert!(eval_all("", "MatMulInteger", Attributes::new(), &inputs, 1).is_err());
}

/// The outputs where all inputs but the first are constants that the operator may pack.
fn eval_prepared(name: &str, attributes: Attributes, inputs: &[Option<Tensor>]) -> Vec<Tensor> {
    let operator = StandardRegistry.operator("", name, attributes, inputs.len(), 1).unwrap();
    let mut cx = EvalCx::unlimited(&Interpreter);
    let prepared = prepare(&**operator.op().unwrap(), &cx, inputs, |index| index > 0).unwrap();
    let (op, dropped) = prepared.map_or((operator.op().unwrap().clone(), vec![]), |p| (p.op, p.dropped));
    let kept = inputs.iter().enumerate().map(|(i, t)| t.clone().filter(|_| !dropped.contains(&i)).map(Value::Tensor));
    let outputs = op.eval(&mut cx, Inputs::new(kept)).unwrap();
    outputs.into_values().into_iter().filter_map(|v| v?.into_tensor()).collect()
}

#[test]
fn quantized_products_round_and_saturate() {
    let (one, zero) = (Tensor::scalar(1f32), Tensor::scalar(0i8));
    let inputs = |a_scale: Tensor, b_scale: Tensor, y_scale: Tensor, y_zero: Tensor| {
        let (a, b) = (tensor(&[2, 2], &[1i8, 2, 3, 4]), tensor(&[2, 2], &[1i8, 2, 3, 100]));
        [a, a_scale, zero.clone(), b, b_scale, zero.clone(), y_scale, y_zero].map(Some)
    };
    for (inputs, expected) in [
        (inputs(one.clone(), one.clone(), one.clone(), zero.clone()), [7i8, 127, 15, 127]),
        (inputs(one.clone(), one.clone(), Tensor::scalar(2f32), Tensor::scalar(-1i8)), [3, 100, 7, 127]),
        (inputs(one.clone(), tensor(&[2], &[1f32, 0.125]), one.clone(), zero.clone()), [7, 25, 15, 51]),
        (inputs(tensor(&[2], &[1f32, 0.5]), one.clone(), one.clone(), zero.clone()), [7, 127, 8, 127]),
    ] {
        let y = eval_all("", "QLinearMatMul", Attributes::new(), &inputs, 1).unwrap();
        assert_eq!(y, [tensor(&[2, 2], &expected)]);
        assert_eq!(eval_prepared("QLinearMatMul", Attributes::new(), &inputs), y);
    }
    let wrong = inputs(tensor(&[3], &[1f32; 3]), one.clone(), one, zero.clone());
    assert!(eval_all("", "QLinearMatMul", Attributes::new(), &wrong, 1).is_err());
}

#[test]
fn quantized_convolutions_pad_with_the_zero_point() {
    let x = tensor(&[1, 1, 3], &[10u8, 20, 30]);
    let w = tensor(&[2, 1, 3], &[1i8, 1, 1, 1, 0, -1]);
    let pads = Attributes::new().with("pads", vec![1, 1]);
    let x_zero = Tensor::scalar(10u8);
    let inputs = [Some(x.clone()), Some(w.clone()), Some(x_zero.clone())];
    let y = eval_all("", "ConvInteger", pads.clone(), &inputs, 1).unwrap();
    assert_eq!(y, [tensor(&[1, 2, 3], &[10i32, 30, 30, -10, -20, 10])]);
    assert_eq!(eval_prepared("ConvInteger", pads.clone(), &inputs), y);
    let scales = tensor(&[2], &[1f32, 2.]);
    let one = Tensor::scalar(1f32);
    let inputs = [
        x,
        one.clone(),
        x_zero,
        w,
        scales,
        tensor(&[2], &[0i8, 0]),
        one,
        Tensor::scalar(5u8),
        tensor(&[2], &[1i32, 100]),
    ]
    .map(Some);
    let y = eval_all("", "QLinearConv", pads.clone(), &inputs, 1).unwrap();
    assert_eq!(y, [tensor(&[1, 2, 3], &[16u8, 36, 36, 185, 165, 225])]);
    assert_eq!(eval_prepared("QLinearConv", pads, &inputs), y);
}

#[test]
fn products_of_eight_bit_floats_are_computed_as_floats() {
    use planish_tensor::F8E4M3FN;
    let float8 = |dims: &[usize], values: &[f32]| {
        let to = Attributes::new().with("to", i64::from(DType::F8E4M3FN.to_onnx()));
        eval("Cast", to, &[tensor(dims, values)]).unwrap()
    };
    let zero = || tensor(&[], &[F8E4M3FN(0)]);
    let y = eval(
        "QLinearMatMul",
        Attributes::new(),
        &[
            float8(&[2, 2], &[1., 2., 3., 4.]),
            tensor(&[2], &[1f32, 0.5]),
            tensor(&[2], &[F8E4M3FN(0); 2]),
            float8(&[2, 1], &[2., 1.]),
            tensor(&[], &[2f32]),
            zero(),
            tensor(&[], &[0.5f32]),
            zero(),
        ],
    );
    assert_eq!(y.unwrap(), float8(&[2, 1], &[16., 20.]));
    let one = Tensor::scalar(1f32);
    let inputs = [
        tensor(&[1, 2], &[3u8, 5]),
        one.clone(),
        Tensor::scalar(1u8),
        tensor(&[2, 1], &[2i8, 1]),
        Tensor::scalar(0.5f32),
        Tensor::scalar(0i8),
        one,
        zero(),
    ]
    .map(Some);
    let y = eval_all("", "QLinearMatMul", Attributes::new(), &inputs, 1).unwrap();
    assert_eq!(y, [float8(&[1, 1], &[4.])]);
    assert_eq!(eval_prepared("QLinearMatMul", Attributes::new(), &inputs), y);
}

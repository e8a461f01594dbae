use crate::testing::{eval, eval_all, tensor};
use planish_ir::Attributes;
use planish_tensor::{DType, Memory, Shape, Tensor, f16};

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

//! What ONNX Runtime gives is replayed in the project's own `tests/`; here is what must be refused.

use crate::testing::{eval_all, tensor};
use planish_ir::Attributes;
use planish_tensor::Tensor;

fn error(name: &str, attributes: Attributes, inputs: &[Option<Tensor>]) -> String {
    eval_all("com.microsoft", name, attributes, inputs, 1).expect_err("nonsense").to_string()
}

/// A product of one row with two rows of 32 weights of 4 bits.
struct Product {
    attributes: Attributes,
    inputs: Vec<Option<Tensor>>,
}

impl Product {
    fn new() -> Product {
        let attributes = Attributes::new().with("K", 32).with("N", 2).with("block_size", 16);
        let (codes, scales) = (tensor(&[2, 2, 8], &[0x21u8; 32]), tensor(&[2, 2], &[1f32; 4]));
        Product { attributes, inputs: vec![Some(tensor(&[1, 32], &[1f32; 32])), Some(codes), Some(scales)] }
    }

    fn with(mut self, index: usize, input: Tensor) -> Product {
        self.inputs.resize(self.inputs.len().max(index + 1), None);
        self.inputs[index] = Some(input);
        self
    }

    fn error(self) -> String {
        error("MatMulNBits", self.attributes, &self.inputs)
    }
}

#[test]
fn attributes_of_matmul_nbits_are_checked() {
    for (name, value) in [("K", 0), ("K", -1), ("N", i64::MAX), ("bits", 16), ("bits", 0), ("accuracy_level", 5)] {
        let Product { attributes, inputs } = Product::new();
        let message = error("MatMulNBits", attributes.with(name, value), &inputs);
        assert!(message.contains(name), "{name} = {value}: {message}");
    }
    for block in [0, -16, 8, 24, i64::MIN] {
        let Product { attributes, inputs } = Product::new();
        let message = error("MatMulNBits", attributes.with("block_size", block), &inputs);
        assert!(message.contains("block_size"), "{block}: {message}");
    }
}

#[test]
fn inputs_of_matmul_nbits_are_checked() {
    for (index, input, expected) in [
        (0, tensor(&[1, 31], &[1f32; 31]), "A:"),
        (1, tensor(&[2, 2, 7], &[0u8; 28]), "B:"),
        (2, tensor(&[2, 1], &[1f32; 2]), "scales:"),
        (3, tensor(&[2, 2], &[0u8; 4]), "zero_points:"),
        (4, tensor(&[32], &[2i32; 32]), "g_idx: index 2"),
        (4, tensor(&[32], &[-1i32; 32]), "g_idx: index -1"),
        (4, tensor(&[3], &[0i32; 3]), "g_idx:"),
        (5, tensor(&[1], &[0f32]), "bias:"),
    ] {
        let message = Product::new().with(index, input).error();
        assert!(message.contains(expected), "{expected} {message}");
    }
    let Product { attributes, mut inputs } = Product::new().with(5, tensor(&[2], &[3f32, 4.0]));
    inputs[1] = Some(tensor(&[2, 0, 8], &[0u8; 0]));
    let y = eval_all("com.microsoft", "MatMulNBits", attributes, &inputs, 1).unwrap();
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [3.0, 4.0]);
}

#[test]
fn what_is_gathered_from_blocks_is_checked() {
    let data = |shape: &[usize]| Some(tensor(shape, &vec![0x98u8; shape.iter().product()]));
    let scales = |shape: &[usize]| Some(tensor(shape, &vec![1f32; shape.iter().product()]));
    let indices = Some(tensor(&[3], &[1i64, 2, i64::MIN]));
    let plain = || Attributes::new().with("block_size", 16);
    for (attributes, data, scales, expected) in [
        (plain().with("block_size", 0), data(&[2, 8]), scales(&[2, 1]), "block_size"),
        (plain().with("bits", 3), data(&[2, 8]), scales(&[2, 1]), "bits"),
        (plain().with("gather_axis", 2), data(&[2, 8]), scales(&[2, 1]), "axis 2"),
        (plain().with("gather_axis", 1), data(&[2, 8]), scales(&[2, 1]), "last axis"),
        (plain().with("quantize_axis", -3), data(&[2, 8]), scales(&[2, 1]), "axis -3"),
        (plain(), data(&[2, 8]), scales(&[2, 2]), "scales:"),
    ] {
        let message = error("GatherBlockQuantized", attributes, &[data, indices.clone(), scales]);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let inputs = [data(&[2, 1]), indices, scales(&[2, 1])];
    let y = eval_all("com.microsoft", "GatherBlockQuantized", plain(), &inputs, 1).unwrap();
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn scales_and_biases_of_products_are_counted() {
    let byte = |shape: &[usize]| Some(tensor(shape, &vec![1u8; shape.iter().product()]));
    let real = |shape: &[usize]| Some(tensor(shape, &vec![1f32; shape.iter().product()]));
    let (a, b, zero) = (byte(&[2, 3]), byte(&[3, 4]), byte(&[]));
    let none = Attributes::new;
    let dynamic = [real(&[2, 3]), b.clone(), real(&[3]), None, None];
    assert!(error("DynamicQuantizeMatMul", none(), &dynamic).contains("3 scales"));
    let dynamic = [real(&[2, 3]), b.clone(), real(&[4]), None, real(&[3])];
    assert!(error("DynamicQuantizeMatMul", none(), &dynamic).contains("a bias of 4"));
    let to_float = [a.clone(), b.clone(), real(&[2]), real(&[1])];
    assert!(error("MatMulIntegerToFloat", none(), &to_float).contains("2 scales"));
    let gemm = |c: &[usize], scales: usize| {
        let c = Some(tensor(c, &vec![1i32; c.iter().product()]));
        vec![a.clone(), real(&[]), zero.clone(), b.clone(), real(&[scales]), zero.clone(), c]
    };
    assert!(error("QGemm", none(), &gemm(&[3], 1)).contains("shapes"));
    assert!(error("QGemm", none(), &gemm(&[4], 3)).contains("3 scales"));
    assert!(error("QGemm", none().with("transB", 1), &gemm(&[4], 1)).contains("matrix product"));
}

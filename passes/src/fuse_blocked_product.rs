//! y = MatMul(x, DequantizeLinear(w, s, z))   ⇒   y = com.microsoft.MatMulNBits(x, w, s, z)
//! y = MatMul(x, Transpose(DequantizeLinear(w, s, z)))   ⇒   the same
//!
//! when: w is a constant matrix of 2, 4 or 8 bits, s is constant, and scales are those of blocks along the depth whose length is a power of 2
//! of at least 16; everything else is `float`. Weights then stay as small as they came, and become numbers in registers.

use crate::merge_transposes::permutation;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, NodeId, ValueId};
use planish_tensor::{DType, Shape, Tensor};

/// Weights whose columns are outputs.
pub static PLAIN: Rule = Rule::matching(
    "fuse-blocked-product",
    "d = &DequantizeLinear($w, $s, $z?)
     y = MatMul(x, d)",
    |cx, found| rewrite(cx, found, false),
);

/// Weights whose rows are outputs.
pub static TRANSPOSED: Rule = Rule::matching(
    "fuse-blocked-product-transposed",
    "d = &DequantizeLinear($w, $s, $z?)
     t = &Transpose(d)
     y = MatMul(x, t)",
    |cx, found| {
        must(permutation(cx, found.node("t"), 2)? == [1, 0], "the matrix is not transposed")?;
        rewrite(cx, found, true)
    },
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, are_rows_outputs: bool) -> Outcome {
    let (x, y) = (found["x"], cx.output(found.root()));
    must(cx.dtype(x) == Some(DType::F32) && cx.dtype(y) == Some(DType::F32), "not all is float")?;
    let weights = Weights::of(cx, found.node("d"), [found["w"], found["s"]], found.get("z"), are_rows_outputs)?;
    let mut patch = Patch::new();
    let attributes = Attributes::new()
        .with("K", weights.depth as i64)
        .with("N", weights.outputs as i64)
        .with("bits", weights.bits as i64)
        .with("block_size", weights.block as i64);
    let mut inputs: Vec<Operand> = vec![x.into(), patch.constant(weights.codes), patch.constant(weights.scales)];
    inputs.extend(weights.zeros.map(|zeros| patch.constant(zeros)));
    let made = patch.domain_operators("com.microsoft", "MatMulNBits", attributes, &inputs, 1);
    Ok(patch.replace(y, made[0]))
}

/// Weights in the form of `MatMulNBits`.
struct Weights {
    depth: usize,
    outputs: usize,
    bits: usize,
    block: usize,
    codes: Tensor,
    scales: Tensor,
    zeros: Option<Tensor>,
}

impl Weights {
    fn of(
        cx: &Cx<'_>,
        node: NodeId,
        [w, s]: [ValueId; 2],
        z: Option<ValueId>,
        are_rows_outputs: bool,
    ) -> Result<Weights, No> {
        let constant = |value: ValueId| cx.constant(value).ok_or("the weights are not constant");
        let (codes, scales) = (constant(w)?, constant(s)?);
        let bits = match codes.dtype() {
            DType::I8 | DType::U8 => 8,
            DType::I4 | DType::U4 => 4,
            DType::I2 | DType::U2 => 2,
            _ => return Err("the weights are no integers of 2, 4 or 8 bits".into()),
        };
        let &[rows, columns] = codes.shape().dims() else { return Err("the weights are no matrix".into()) };
        let (outputs, depth) = if are_rows_outputs { (rows, columns) } else { (columns, rows) };
        let depth_axis = usize::from(are_rows_outputs);
        let block = usize::try_from(cx.int(node, "block_size").unwrap_or(0)).unwrap_or(0);
        must(block.is_power_of_two() && block >= 16, "scales are not those of blocks of a power of 2 of at least 16")?;
        must(cx.axis(node, "axis", 2) == Some(depth_axis), "blocks do not lie along the depth")?;
        must(scales.dtype() == DType::F32, "the scales are not float")?;
        let blocks = depth.div_ceil(block);
        let expected = if are_rows_outputs { [outputs, blocks] } else { [blocks, outputs] };
        must(scales.shape().dims() == expected && depth > 0, "there is not a scale for each block")?;
        let values = integers(codes)?;
        let at = |row: usize, k: usize, len: usize| if are_rows_outputs { row * len + k } else { k * outputs + row };
        let shift = if codes.dtype().is_signed_integer() { 1i16 << (bits - 1) } else { 0 };
        let row_bytes = blocks * block * bits / 8;
        let mut bytes = vec![0u8; outputs * row_bytes];
        for (row, bytes) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            for k in 0..depth {
                let code = (values[at(row, k, depth)] + shift) as u8;
                bytes[k * bits / 8] |= code << (k * bits % 8);
            }
        }
        let by_output = |values: &dyn Fn(usize) -> f32| -> Vec<f32> {
            (0..outputs * blocks).map(|i| values(at(i / blocks, i % blocks, blocks))).collect()
        };
        let scale_values = scales.as_slice::<f32>().map_err(|_| No::SILENT)?;
        let zeros = match z {
            Some(z) => {
                let zeros = constant(z)?;
                must(zeros.shape() == scales.shape(), "there is not a zero point for each scale")?;
                let zeros = integers(zeros)?;
                Some(by_output(&|i| f32::from(zeros[i] + shift)))
            }
            // Without a zero point, codes of MatMulNBits are around the middle, as shifted ones are.
            None if shift == 0 => Some(vec![0.0; outputs * blocks]),
            None => None,
        };
        let is_middle = |zeros: &Vec<f32>| zeros.iter().all(|&zero| zero == f32::from(1u8 << (bits - 1)));
        let zeros = zeros.filter(|zeros| !is_middle(zeros));
        let tensor = |dims: &[usize], values: &[f32]| -> Result<Tensor, No> {
            Tensor::new(Shape::new(dims).map_err(|_| No::SILENT)?, values).map_err(|_| No::SILENT)
        };
        let shape = Shape::new(&[outputs, blocks, block * bits / 8]).map_err(|_| No::SILENT)?;
        Ok(Weights {
            depth,
            outputs,
            bits,
            block,
            codes: Tensor::new(shape, &bytes).map_err(|_| No::SILENT)?,
            scales: tensor(&[outputs, blocks], &by_output(&|i| scale_values[i]))?,
            zeros: zeros.map(|zeros| tensor(&[outputs, blocks], &zeros)).transpose()?,
        })
    }
}

/// The integers of a tensor of at most 8 bits.
fn integers(tensor: &Tensor) -> Result<Vec<i16>, No> {
    let is_signed = tensor.dtype().is_signed_integer();
    if let Some(codes) = tensor.unpacked_codes() {
        let value = |code: i8| if is_signed { i16::from(code) } else { i16::from(code.cast_unsigned()) };
        return Ok(codes.into_iter().map(value).collect());
    }
    let widened = if is_signed {
        tensor.as_slice::<i8>().map(|codes| codes.iter().map(|&code| code.into()).collect())
    } else {
        tensor.as_slice::<u8>().map(|codes| codes.iter().map(|&code| code.into()).collect())
    };
    widened.map_err(|_| "the zero points are of another type".into())
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3, 40] x, int4[40, 5] w, int8[5, 40] r, float[3, 5] s, float[5, 3] t, int4[3, 5] z) => (float[] y) {{ {nodes} }}"
        )
    }

    const WEIGHTS: [&str; 5] = ["w", "r", "s", "t", "z"];

    #[test]
    fn weights_in_blocks_stay_small() {
        for (rule, nodes, after) in [
            (
                "fuse-blocked-product",
                "d = DequantizeLinear <axis = 0, block_size = 16> (w, s) y = MatMul (x, d)",
                "y = com.microsoft.MatMulNBits (x, y_constant, y_constant_1) <K: int = 40, N: int = 5, bits: int = 4, block_size: int = 16>",
            ),
            (
                "fuse-blocked-product",
                "d = DequantizeLinear <axis = 0, block_size = 16> (w, s, z) y = MatMul (x, d)",
                "y = com.microsoft.MatMulNBits (x, y_constant, y_constant_1, y_constant_2) \
                 <K: int = 40, N: int = 5, bits: int = 4, block_size: int = 16>",
            ),
            (
                "fuse-blocked-product-transposed",
                "d = DequantizeLinear <axis = 1, block_size = 16> (r, t) m = Transpose (d) y = MatMul (x, m)",
                "y = com.microsoft.MatMulNBits (x, y_constant, y_constant_1) <K: int = 40, N: int = 5, bits: int = 8, block_size: int = 16>",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&WEIGHTS).after(after).within(1e-5);
        }
    }

    #[test]
    fn other_blocks_stay() {
        let rule = || Proof::of("fuse-blocked-product");
        let nodes = "d = DequantizeLinear <axis = 1> (w, half) y = MatMul (x, d)";
        let text = text(nodes).replace("{ d", "<float[5] half = {1, 1, 1, 1, 1}> { d");
        rule().before(&text).weights(&WEIGHTS).does_not_fire("not those of blocks");
    }
}

//! y = MatMul(x, DequantizeLinear(w, s, z))   ⇒   y = com.microsoft.MatMulNBits(x, w', s', z'), w' being wᵀ
//! y = Gather(DequantizeLinear(w, s, z), i)   ⇒   y = com.microsoft.GatherBlockQuantized(w', i, s', z')
//!
//! the same for a Gemm, with a bias that is added afterwards, and for numbers that are cast to `float` or transposed on the
//! way. Weights that several nodes read are packed once.
//!
//! when: w, s and z are constant, w is a matrix of 4 or 8 bits in blocks along the sums of the product, or with one scale a
//! column or for all; where it is no blocks, x is not dequantized itself, for then the codes of both can be multiplied.

use crate::driver::Editor;
use crate::patch::{Operand, Patch};
use crate::pipeline::Pass;
use crate::rule::{Cx, No, must};
use planish_ir::{Attributes, NodeId, ValueId};
use planish_tensor::{DType, Memory, Shape, Tensor, bf16, f16};

/// Keeps weights in codes where they are multiplied.
pub(crate) const PASS: Pass = Pass::Whole(NAME, run);

const NAME: &str = "fuse-block-weights";

/// Blocks that stand for a scale a column or one for all are no shorter than this, and no longer than that.
const BLOCKS: [usize; 2] = [16, 128];

fn run(editor: &mut Editor<'_>) {
    let found: Vec<NodeId> =
        editor.graph.operators().filter(|(_, operator)| operator.is("DequantizeLinear")).map(|(id, _)| id).collect();
    for id in found {
        if let Err(No(reason)) = rewrite(editor, id)
            && !reason.is_empty()
            && editor.state.wants_explanation
        {
            let name = editor.graph.describe(id);
            editor.state.report.note(NAME, name, reason.into_owned());
        }
    }
}

/// A node that reads the numbers of a weight.
struct Reader {
    node: NodeId,
    is_gather: bool,
    /// Whether it reads them transposed by a node on the way.
    is_turned: bool,
    /// Nodes between the codes and the reader.
    path: Vec<NodeId>,
}

fn rewrite(editor: &mut Editor<'_>, dequantize: NodeId) -> Result<(), No> {
    let cx = Cx { graph: editor.graph, growth_left_bytes: 0 };
    let parts = Parts::of(&cx, dequantize)?;
    let mut readers = Vec::new();
    collect_readers(&cx, cx.output(dequantize), false, vec![dequantize], &mut readers);
    // W holds a row for each output: a MatMul's right operand is Wᵀ.
    let (transposed, plain): (Vec<Reader>, Vec<Reader>) = readers
        .into_iter()
        .filter(|reader| parts.allows(&cx, reader))
        .partition(|reader| is_read_transposed(&cx, reader));
    for (readers, is_transposed) in [(plain, false), (transposed, true)] {
        if !readers.is_empty() && parts.along_depth(is_transposed) {
            let packed = parts.packed(is_transposed).ok_or("the codes and scales do not fit together")?;
            packed.put(editor, dequantize, &readers)?;
        }
    }
    Ok(())
}

fn cx_of<'a>(editor: &'a Editor<'_>) -> Cx<'a> {
    Cx { graph: editor.graph, growth_left_bytes: 0 }
}

/// Everyone who reads a value, through casts to `float` and transpositions.
fn collect_readers(cx: &Cx<'_>, value: ValueId, is_turned: bool, path: Vec<NodeId>, readers: &mut Vec<Reader>) {
    if path.len() > 4 {
        return;
    }
    for reader in cx.graph.uses(value) {
        let Some(operator) = cx.operator(reader.node) else { continue };
        let next = || [&path[..], &[reader.node]].concat();
        match (operator.full_name().as_str(), reader.input) {
            ("Cast", 0) if cx.dtype(cx.output(reader.node)) == Some(DType::F32) => {
                collect_readers(cx, cx.output(reader.node), is_turned, next(), readers);
            }
            ("Transpose", 0) if cx.int_list(reader.node, "perm").is_none_or(|perm| perm == [1, 0]) => {
                collect_readers(cx, cx.output(reader.node), !is_turned, next(), readers);
            }
            ("MatMul" | "Gemm", 1) => {
                readers.push(Reader { node: reader.node, is_gather: false, is_turned, path: path.clone() });
            }
            ("Gather", 0) if cx.int(reader.node, "axis") == Some(0) => {
                readers.push(Reader { node: reader.node, is_gather: true, is_turned, path: path.clone() });
            }
            _ => {}
        }
    }
}

/// Whether the codes of the constant are W transposed to this reader.
fn is_read_transposed(cx: &Cx<'_>, reader: &Reader) -> bool {
    let is_turned =
        cx.operator(reader.node).is_some_and(|o| o.is("Gemm")) && cx.int(reader.node, "transB").unwrap_or(0) != 0;
    let reads_transposed = !reader.is_gather && !is_turned;
    reads_transposed != reader.is_turned
}

/// The constants of a `DequantizeLinear`.
struct Parts {
    codes: Tensor,
    scales: Tensor,
    zeros: Option<Tensor>,
    /// The axis along which scales change, and how many codes share one; 0 for one scale for each place on the axis.
    axis: usize,
    block: usize,
}

impl Parts {
    fn of(cx: &Cx<'_>, id: NodeId) -> Result<Parts, No> {
        let constant = |index: usize| cx.input(id, index).and_then(|value| cx.constant(value)).cloned();
        let codes = constant(0).ok_or(No::SILENT)?;
        let scales = constant(1).ok_or("the scales are not constant")?;
        let zeros = cx.input(id, 2).map(|value| cx.constant(value).cloned().ok_or("the zeros are not constant"));
        must(codes.rank() == 2, "the codes are no matrix")?;
        let is_narrow = matches!(codes.dtype(), DType::U4 | DType::I4 | DType::U8 | DType::I8);
        must(is_narrow, "the codes are not of 4 or 8 bits")?;
        let block = cx.int(id, "block_size").and_then(|block| usize::try_from(block).ok()).unwrap_or(0);
        let is_kernels = block == 0 || block.is_power_of_two() && block >= BLOCKS[0];
        must(is_kernels, "its blocks are no power of 2 of at least 16")?;
        let axis = cx.axis(id, "axis", 2).ok_or(No::SILENT)?;
        Ok(Parts { codes, scales, zeros: zeros.transpose()?, axis, block })
    }

    /// Whether a reader is better off with these codes.
    fn allows(&self, cx: &Cx<'_>, reader: &Reader) -> bool {
        let x = cx.input(reader.node, 0);
        let is_quantized = x.is_some_and(|x| cx.operator(x.node).is_some_and(|o| o.is("DequantizeLinear")));
        let last = reader.path.last().map(|&id| cx.output(id));
        let is_float = last.is_some_and(|last| cx.dtype(last) == Some(DType::F32));
        is_float && (reader.is_gather || (self.block > 0 || !is_quantized) && reader_is_plain(cx, reader.node))
    }

    /// Whether all codes of a block belong to one row of W.
    fn along_depth(&self, is_transposed: bool) -> bool {
        let depth_axis = usize::from(!is_transposed);
        match self.block {
            0 => self.scales.num_elements() == 1 || self.axis != depth_axis,
            _ => self.axis == depth_axis,
        }
    }

    /// The same as rows of W.
    fn packed(&self, is_transposed: bool) -> Option<Packed> {
        let &[first, second] = self.codes.shape().dims() else { return None };
        let (rows, depth) = if is_transposed { (second, first) } else { (first, second) };
        let bits = if self.codes.dtype().is_packed() { 4 } else { 8 };
        let block = match self.block {
            0 => (1usize << depth.trailing_zeros().min(31)).clamp(BLOCKS[0], BLOCKS[1]),
            block => block,
        };
        let blocks = depth.div_ceil(block);
        // Scales as rows of blocks.
        let spread = |values: Vec<f32>| -> Option<Vec<f32>> {
            let at: &dyn Fn(usize, usize) -> usize = match (self.block, values.len()) {
                (_, 1) => &|_, _| 0,
                (0, _) => &|row, _| row,
                _ if is_transposed => &|row, block| block * rows + row,
                _ => &|row, block| row * blocks + block,
            };
            (0..rows)
                .flat_map(|row| (0..blocks).map(move |block| (row, block)))
                .map(|(r, b)| values.get(at(r, b)).copied())
                .collect()
        };
        let scales = spread(floats(&self.scales)?)?;
        let middle = 1 << (bits - 1);
        let is_signed = self.codes.dtype().is_signed_integer();
        let zeros = match &self.zeros {
            Some(zeros) => Some(codes_from_zero(zeros)?.into_iter().map(f32::from).collect()),
            None if is_signed => None,
            None => Some(vec![0.0]),
        };
        let zeros = zeros.map(spread).map_or(Some(None), |spread| spread.map(Some))?;
        let zeros = zeros.filter(|zeros| zeros.iter().any(|&zero| zero != middle as f32));
        let zeros = zeros.map(|zeros| zeros.iter().map(|&zero| zero as u8).collect::<Vec<u8>>());
        let bytes = block * bits / 8;
        let is_in_place = !is_transposed && depth.is_multiple_of(block);
        let codes = if is_in_place {
            let flip = if !is_signed {
                0
            } else if bits == 4 {
                0x88
            } else {
                0x80
            };
            self.codes.bytes().iter().map(|byte| byte ^ flip).collect()
        } else {
            let codes = codes_from_zero(&self.codes)?;
            let mut packed = vec![0u8; rows * blocks * bytes];
            for row in 0..rows {
                let packed = &mut packed[row * blocks * bytes..][..blocks * bytes];
                for k in 0..depth {
                    let code = codes[if is_transposed { k * rows + row } else { row * depth + k }];
                    packed[k * bits / 8] |= code << (k * bits % 8);
                }
            }
            packed
        };
        let tensor = |dims: &[usize], bytes: Vec<u8>| {
            Tensor::from_bytes(Memory::global(), DType::U8, Shape::new(dims).ok()?, bytes.into()).ok()
        };
        let zero_bytes = (blocks * bits).div_ceil(8);
        let packed_zeros = |zeros: Vec<u8>| {
            let mut packed = vec![0u8; rows * zero_bytes];
            for (i, zero) in zeros.iter().enumerate() {
                packed[i / blocks * zero_bytes + i % blocks * bits / 8] |= zero << (i % blocks * bits % 8);
            }
            tensor(&[rows, zero_bytes], packed)
        };
        Some(Packed {
            codes: tensor(&[rows, blocks, bytes], codes)?,
            scales: Tensor::new(Shape::new(&[rows, blocks]).ok()?, &scales).ok()?,
            zeros: zeros.map(packed_zeros).map_or(Some(None), |zeros| zeros.map(Some))?,
            rows,
            depth,
            bits,
            block,
        })
    }
}

/// Codes counted from the lowest there is.
fn codes_from_zero(tensor: &Tensor) -> Option<Vec<u8>> {
    let is_signed = tensor.dtype().is_signed_integer();
    if let Some(codes) = tensor.unpacked_codes() {
        let lowest = if is_signed { 8 } else { 0 };
        return Some(codes.into_iter().map(|code| (code + lowest) as u8).collect());
    }
    let flip = if is_signed { 0x80 } else { 0 };
    matches!(tensor.dtype(), DType::U8 | DType::I8).then(|| tensor.bytes().iter().map(|byte| byte ^ flip).collect())
}

fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    Some(match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().ok()?.to_vec(),
        DType::F16 => tensor.as_slice::<f16>().ok()?.iter().map(|s| s.to_f32()).collect(),
        DType::BF16 => tensor.as_slice::<bf16>().ok()?.iter().map(|s| s.to_f32()).collect(),
        _ => return None,
    })
}

/// Whether a product is x · w, or a `Gemm` that scales and transposes nothing but w.
fn reader_is_plain(cx: &Cx<'_>, node: NodeId) -> bool {
    let Some(operator) = cx.operator(node) else { return false };
    if cx.dtype(cx.output(node)) != Some(DType::F32) {
        return false;
    }
    if operator.is("MatMul") {
        return cx.input(node, 0).is_some_and(|x| cx.rank(x).is_some_and(|rank| rank >= 1));
    }
    let is_vector = cx.input(node, 2).is_none_or(|c| {
        let shape = cx.known_shape(c);
        shape.is_some() && shape == cx.shape(cx.output(node)).and_then(|y| Some(vec![y.get(1)?.as_known()?]))
    });
    cx.float(node, "alpha") == Some(1.0)
        && cx.float(node, "beta") == Some(1.0)
        && cx.int(node, "transA") == Some(0)
        && is_vector
}

/// Weights as `MatMulNBits` reads them.
struct Packed {
    codes: Tensor,
    scales: Tensor,
    zeros: Option<Tensor>,
    rows: usize,
    depth: usize,
    bits: usize,
    block: usize,
}

impl Packed {
    /// Makes the readers read the codes.
    fn put(self, editor: &mut Editor<'_>, dequantize: NodeId, readers: &[Reader]) -> Result<(), No> {
        let stem = editor.graph.describe(dequantize);
        let mut constant = |what: &str, tensor: Tensor| {
            let name = editor.graph.fresh_name(&format!("{stem}_{what}"));
            editor.graph.add_constant(&name, tensor).map_err(|e| No(e.to_string().into()))
        };
        let mut added = Vec::new();
        let is_whole = self.depth.is_multiple_of(self.block);
        let table = Shape::new(&[self.rows, self.depth * self.bits / 8]).ok().filter(|_| is_whole);
        let table = table.and_then(|shape| self.codes.reshaped(shape).ok());
        let codes = constant("codes", self.codes)?;
        let scales = constant("scales", self.scales)?;
        let zeros = self.zeros.map(|zeros| constant("zeros", zeros)).transpose()?;
        let table = table.map(|table| constant("table", table)).transpose()?;
        added.extend([Some(codes), Some(scales), zeros, table].into_iter().flatten().map(|v| v.node));
        let sizes =
            |block_name: &str| Attributes::new().with("bits", self.bits as i64).with(block_name, self.block as i64);
        let mut refused = None;
        for reader in readers {
            let cx = cx_of(editor);
            let (input, output) = (|i| Operand::from(cx.input(reader.node, i)), cx.output(reader.node));
            let mut patch = Patch::new();
            let (patch, mut from) = if reader.is_gather {
                let Some(table) = table else { continue };
                let attributes = sizes("block_size").with("gather_axis", 0i64).with("quantize_axis", 1i64);
                let inputs = [table.into(), input(1), scales.into(), zeros.into()];
                let made = patch.domain_operators("com.microsoft", "GatherBlockQuantized", attributes, &inputs, 1);
                (patch.replace(output, made[0]), reader.path.clone())
            } else {
                let attributes = sizes("block_size").with("K", self.depth as i64).with("N", self.rows as i64);
                let (bias, replaced, adder) = bias_of(&cx, reader.node, self.rows);
                let inputs = [input(0), codes.into(), scales.into(), zeros.into(), Operand::Absent, bias.into()];
                let made = patch.domain_operators("com.microsoft", "MatMulNBits", attributes, &inputs, 1);
                (patch.replace(replaced, made[0]), [&reader.path[..], &adder[..]].concat())
            };
            from.push(reader.node);
            let root = patch.replaced.first().map_or(reader.node, |(old, _)| old.node);
            if let Err(no) = editor.apply(NAME, root, &from, patch) {
                refused = Some(no);
            }
        }
        editor.sweep(added);
        refused.map_or(Ok(()), Err)
    }
}

/// What is added to each row of a product, the value that holds the sum, and the node that adds.
fn bias_of(cx: &Cx<'_>, product: NodeId, rows: usize) -> (Option<ValueId>, ValueId, Vec<NodeId>) {
    let output = cx.output(product);
    if let Some(bias) = cx.input(product, 2) {
        return (Some(bias), output, Vec::new());
    }
    let alone = (None, output, Vec::new());
    let Some(reader) = cx.graph.readers(output).next().filter(|_| cx.is_read_once(output)) else { return alone };
    if !cx.operator(reader.node).is_some_and(|o| o.is("Add")) {
        return alone;
    }
    let other = cx.input(reader.node, 1 - reader.input.min(1));
    let fits = |&c: &ValueId| cx.constant(c).is_some() && cx.known_shape(c) == Some(vec![rows as i64]);
    match other.filter(fits) {
        Some(bias) => (Some(bias), cx.output(reader.node), vec![reader.node]),
        None => alone,
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[2, N, 32] x, float[M, 32] u, uint8[2, N, 32] q, int64[N] i, int4[32, 3] w, uint4[40, 32] v, uint4[40, 2] vz, float[40, 2] vs, float[4, 3] w8, \
             uint8[32, 3] e, int8[40, 32] b, float[40] c, float[3] d) => (float[] y) \
             <float[2, 3] ws = {{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}}, float16[2, 3] wh = {{0.25, 0.5, 1, 2, 0.125, 4}}, float[3] es = {{0.1, 0.2, 0.3}}, \
             uint8[3] ez = {{128, 7, 0}}, float s = {{0.5}}, uint8 z = {{3}}> {{ {nodes} }}"
        )
    }

    fn proof(nodes: &str) -> Proof {
        Proof::of("fuse-block-weights").before(&text(nodes)).weights(&["w", "v", "vz", "vs", "w8", "e", "b", "c", "d"])
    }

    #[test]
    fn codes_stay_codes_where_they_are_multiplied() {
        for (nodes, after) in [
            (
                "n = DequantizeLinear <axis = 0, block_size = 16> (w, ws) y = MatMul (x, n)",
                "y = com.microsoft.MatMulNBits (x, n_codes, n_scales) <K: int = 32, N: int = 3, bits: int = 4, block_size: int = 16>",
            ),
            (
                "n = DequantizeLinear <axis = 0, block_size = 16> (w, wh) f = Cast <to = 1> (n) p = MatMul (x, f) y = Add (d, p)",
                "y = com.microsoft.MatMulNBits (x, n_codes, n_scales, \"\", \"\", d) <K: int = 32, N: int = 3, bits: int = 4, block_size: int = 16>",
            ),
            (
                "n = DequantizeLinear <axis = 1> (e, es, ez) y = MatMul (u, n)",
                "y = com.microsoft.MatMulNBits (u, n_codes, n_scales, n_zeros) <K: int = 32, N: int = 3, bits: int = 8, block_size: int = 32>",
            ),
            (
                "n = DequantizeLinear (b, s) y = Gemm <transB = 1> (u, n, c)",
                "y = com.microsoft.MatMulNBits (u, n_codes, n_scales, \"\", \"\", c) <K: int = 32, N: int = 40, bits: int = 8, block_size: int = 32>",
            ),
            (
                "n = DequantizeLinear <axis = 1, block_size = 16> (v, vs, vz) g = Gather (n, i) t = Transpose <perm = [1, 0]> (n) y = MatMul (g, t)",
                "g = com.microsoft.GatherBlockQuantized (n_table, i, n_scales, n_zeros) <bits: int = 4, block_size: int = 16, gather_axis: int = 0, quantize_axis: int = 1> \
                 y = com.microsoft.MatMulNBits (g, n_codes, n_scales, n_zeros) <K: int = 32, N: int = 40, bits: int = 4, block_size: int = 16>",
            ),
        ] {
            proof(nodes).after(after).within(1e-5);
        }
    }

    #[test]
    fn products_of_codes_and_other_readers_stay() {
        for nodes in [
            "n = DequantizeLinear <axis = 1> (e, es, ez) a = DequantizeLinear (q, s, z) y = MatMul (a, n)",
            "n = DequantizeLinear <axis = 0, block_size = 16> (w, ws) y = Relu (n)",
            "n = DequantizeLinear <axis = 0, block_size = 16> (w, wh) f = Cast <to = 10> (x) y = MatMul (f, n)",
            "n = DequantizeLinear (b, s) y = Gemm <transB = 1, alpha = 0.5> (u, n, c)",
        ] {
            proof(nodes).does_not_fire("");
        }
        proof("n = DequantizeLinear <axis = 0, block_size = 8> (w, w8) y = Relu (n)").does_not_fire("power of 2");
    }
}

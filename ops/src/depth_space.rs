//! `DepthToSpace` and `SpaceToDepth`: channels spread over blocks of pixels, and back.
//!
//! In mode `DCR` the channels are ordered (block row, block column, channel), in `CRD` (channel, block row, block column).
//!
//! Opsets: 1; `DepthToSpace` 11 adds `mode`; 13 adds dtypes; `SpaceToDepth` 28 adds `mode`.

use crate::Define;
use crate::symbolic::expect_rank;
use crate::transpose::permute;
use planish_ir::{
    AttributeError, AttributeKind, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, required, string,
};
use planish_tensor::{Shape, Tensor};

/// `DepthToSpace`.
#[derive(Debug)]
pub struct DepthToSpace(Blocks);

/// `SpaceToDepth`.
#[derive(Debug)]
pub struct SpaceToDepth(Blocks);

#[derive(Debug)]
struct Blocks {
    size: usize,
    order: Order,
}

/// How channels of blocks are ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// Depth (the block's row and column) before the channel.
    BlockFirst,
    /// The channel before the block's row and column.
    ChannelFirst,
}

impl Blocks {
    fn parse(node: &NodeView<'_>) -> Result<Blocks, AttributeError> {
        let size = node.int("blocksize")?;
        let order = node.choice("mode", &[("DCR", Order::BlockFirst), ("CRD", Order::ChannelFirst)])?;
        match usize::try_from(size) {
            Ok(size) if size > 0 && size.checked_mul(size).is_some() => Ok(Blocks { size, order }),
            _ => Err(AttributeError::invalid(format!("attribute \"blocksize\": {size} is not a size"))),
        }
    }
}

/// `dim / by`, or an error where there is a remainder.
fn divided(dim: &Dim, by: i64, what: &str) -> Result<Dim, InferError> {
    match (dim.as_known(), dim.divide_exact(&Dim::known(by))) {
        (_, Some(quotient)) => Ok(quotient),
        (Some(dim), None) => Err(InferError(format!("{what} {dim} is not a multiple of {by}"))),
        (None, None) => Ok(dim.floor_div(by)),
    }
}

/// `x` seen under `split` axes, these in the order `perm`, seen under `merged` axes.
fn rearranged(
    cx: &EvalCx<'_>,
    x: &Tensor,
    split: &[usize],
    perm: &[usize],
    merged: &[usize],
) -> Result<Tensor, OpError> {
    let split = x.reshaped(Shape::new(split)?)?;
    Ok(permute(cx, &split, perm)?.reshaped(Shape::new(merged)?)?)
}

fn image_shape(x: &Tensor) -> Result<[usize; 4], OpError> {
    <[usize; 4]>::try_from(x.shape().dims())
        .map_err(|_| OpError::invalid(format!("expected rank 4, got shape {}", x.shape())))
}

const IMAGE: Schema = Schema::new("", 28)
    .inputs(&[arg("input", CLASSIC_TENSORS).var("T")])
    .outputs(&[arg("output", CLASSIC_TENSORS).var("T")])
    .attributes(&[required("blocksize", AttributeKind::Int), string("mode", "DCR")]);

impl Define for DepthToSpace {
    const SCHEMA: Schema = Schema { name: "DepthToSpace", ..IMAGE };

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Blocks::parse(node).map(DepthToSpace)
    }
}

impl Op for DepthToSpace {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        expect_rank(x, 0, 4)?;
        let size = self.0.size as i64;
        let dims = match x.shape(0) {
            Some([n, c, h, w]) => vec![n.clone(), divided(c, size * size, "depth")?, h * size, w * size],
            _ => vec![Dim::unknown(); 4],
        };
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let [n, c, h, w] = image_shape(x)?;
        let b = self.0.size;
        if !c.is_multiple_of(b * b) {
            return Err(OpError::invalid(format!("depth {c} is not a multiple of {}", b * b)));
        }
        let (c, merged) = (c / (b * b), [n, c / (b * b), h.saturating_mul(b), w.saturating_mul(b)]);
        let y = match self.0.order {
            Order::BlockFirst => rearranged(cx, x, &[n, b, b, c, h, w], &[0, 3, 4, 1, 5, 2], &merged),
            Order::ChannelFirst => rearranged(cx, x, &[n, c, b, b, h, w], &[0, 1, 4, 2, 5, 3], &merged),
        };
        Ok(y?.into())
    }
}

impl Define for SpaceToDepth {
    const SCHEMA: Schema = Schema { name: "SpaceToDepth", ..IMAGE };

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Blocks::parse(node).map(SpaceToDepth)
    }
}

impl Op for SpaceToDepth {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        expect_rank(x, 0, 4)?;
        let size = self.0.size as i64;
        let dims = match x.shape(0) {
            Some([n, c, h, w]) => {
                vec![n.clone(), c * (size * size), divided(h, size, "height")?, divided(w, size, "width")?]
            }
            _ => vec![Dim::unknown(); 4],
        };
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let [n, c, h, w] = image_shape(x)?;
        let b = self.0.size;
        if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
            return Err(OpError::invalid(format!("{h} by {w} pixels are not whole blocks of {b} by {b}")));
        }
        let (split, merged) = ([n, c, h / b, b, w / b, b], [n, c.saturating_mul(b * b), h / b, w / b]);
        let perm = match self.0.order {
            Order::BlockFirst => [0, 3, 5, 1, 2, 4],
            Order::ChannelFirst => [0, 1, 3, 5, 2, 4],
        };
        Ok(rearranged(cx, x, &split, &perm, &merged)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    fn attributes(size: i64, mode: &str) -> Attributes {
        Attributes::new().with("blocksize", size).with("mode", mode)
    }

    #[test]
    fn depth_becomes_space_and_back() {
        let x = tensor(&[1, 8, 1, 1], &(0..8).collect::<Vec<i32>>());
        for (mode, expected) in [("DCR", [0, 2, 4, 6, 1, 3, 5, 7]), ("CRD", [0, 1, 2, 3, 4, 5, 6, 7])] {
            let y = eval("DepthToSpace", attributes(2, mode), &[x.clone()]).unwrap();
            assert_eq!(y, tensor(&[1, 2, 2, 2], &expected), "{mode}");
            assert_eq!(eval("SpaceToDepth", attributes(2, mode), &[y]).unwrap(), x, "{mode}");
        }
    }

    #[test]
    fn blocks_must_be_whole() {
        let x = tensor(&[1, 3, 3, 3], &[0f32; 27]);
        for name in ["DepthToSpace", "SpaceToDepth"] {
            for size in [2, 0, -1, i64::MAX] {
                assert!(eval(name, attributes(size, "DCR"), &[x.clone()]).is_err(), "{name} {size}");
            }
        }
    }

    #[test]
    fn symbols_are_scaled() {
        let y = infer("DepthToSpace", attributes(2, "DCR"), &[shaped(DType::F32, "n, 12, h, w")]).unwrap();
        assert_eq!(y, shaped(DType::F32, "n, 3, 2*h, 2*w"));
    }
}

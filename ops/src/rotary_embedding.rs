//! `RotaryEmbedding`: each pair of features of a head turns by an angle that its position in the sequence gives.
//!
//! Opsets: 23.

use crate::Define;
use crate::half::widened;
use crate::parallel;
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int, opt, optional,
};
use planish_tensor::{DType, Shape, Tensor};

/// `RotaryEmbedding`.
#[derive(Debug)]
pub struct RotaryEmbedding {
    /// Heads of a rank-3 input.
    heads: Option<usize>,
    /// Features that turn, if not all.
    rotary_dim: usize,
    /// Whether pairs are neighbours instead of halves.
    is_interleaved: bool,
}

const TYPES: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

impl Define for RotaryEmbedding {
    const SCHEMA: Schema = Schema::new("RotaryEmbedding", 23)
        .inputs(&[
            arg("X", TYPES).var("T"),
            arg("cos_cache", TYPES).var("T"),
            arg("sin_cache", TYPES).var("T"),
            opt("position_ids", INT64).var("M"),
        ])
        .outputs(&[arg("Y", TYPES).var("T")])
        .attributes(&[
            int("interleaved", 0),
            optional("num_heads", AttributeKind::Int),
            int("rotary_embedding_dim", 0),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let size = |name: &str, value: i64| {
            u32::try_from(value).map(|v| v as usize).map_err(|_| {
                AttributeError::invalid(format!("attribute {name:?}: expected a number of at least 0, got {value}"))
            })
        };
        let heads = node.opt_int("num_heads").map(|heads| size("num_heads", heads)).transpose()?;
        let rotary_dim = size("rotary_embedding_dim", node.int("rotary_embedding_dim")?)?;
        if rotary_dim % 2 == 1 {
            return Err(AttributeError::invalid(format!("attribute \"rotary_embedding_dim\": {rotary_dim} is odd")));
        }
        let heads = heads.filter(|&heads| heads > 0);
        Ok(RotaryEmbedding { heads, rotary_dim, is_interleaved: node.flag("interleaved")? })
    }
}

impl Op for RotaryEmbedding {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0)
            && !(3..=4).contains(&rank)
        {
            return Err(InferError(format!("expected an input of rank 3 or 4, got {rank}")));
        }
        Ok(vec![x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default()])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            let extents = self.extents(x.shape())?;
            let angles = Angles::new(&extents, &inputs)?;
            Ok(self.rotate(cx, x, &extents, &angles)?.into())
        })
    }
}

/// Extents of the input, and how its heads lie.
struct Extents {
    batch: usize,
    heads: usize,
    sequence: usize,
    head_size: usize,
    /// Features that turn.
    rotary: usize,
    /// Whether heads lie within positions (rank 3) and not positions within heads.
    is_packed: bool,
}

impl Extents {
    /// Batch and position of head vector `i`.
    fn place(&self, i: usize) -> (usize, usize) {
        if self.is_packed {
            (i / (self.sequence * self.heads), i / self.heads % self.sequence)
        } else {
            (i / (self.heads * self.sequence), i % self.sequence)
        }
    }
}

impl RotaryEmbedding {
    fn extents(&self, x: &Shape) -> Result<Extents, OpError> {
        let (batch, heads, sequence, head_size, is_packed) = match *x.dims() {
            [batch, heads, sequence, head_size] => (batch, heads, sequence, head_size, false),
            [batch, sequence, hidden] => {
                let heads = self.heads.ok_or_else(|| OpError::invalid("an input of rank 3 needs num_heads"))?;
                if hidden % heads != 0 {
                    return Err(OpError::invalid(format!("{hidden} features do not divide into {heads} heads")));
                }
                (batch, heads, sequence, hidden / heads, true)
            }
            _ => return Err(OpError::invalid(format!("expected an input of rank 3 or 4, got shape {x}"))),
        };
        let rotary = if self.rotary_dim == 0 { head_size } else { self.rotary_dim };
        if rotary > head_size || rotary % 2 == 1 {
            return Err(OpError::invalid(format!("{rotary} of {head_size} features cannot turn")));
        }
        Ok(Extents { batch, heads, sequence, head_size, rotary, is_packed })
    }

    fn rotate(&self, cx: &EvalCx<'_>, x: &Tensor, e: &Extents, angles: &Angles<'_>) -> Result<Tensor, OpError> {
        let values = x.as_slice::<f32>()?;
        let mut y = cx.uninit::<f32>(x.shape().clone())?;
        parallel::fill_units(cx, &mut y, e.head_size.max(1), 1.0, |start, piece| {
            for (i, y) in (start / e.head_size..).zip(piece.chunks_exact_mut(e.head_size)) {
                let (b, position) = e.place(i);
                let (cos, sin) = angles.at(b, position);
                turn(&values[i * e.head_size..][..e.head_size], cos, sin, self.is_interleaved, y);
            }
        })?;
        Ok(y.freeze())
    }
}

/// Turns the first `2 · cos.len()` features of `x`.
pub fn turn(x: &[f32], cos: &[f32], sin: &[f32], is_interleaved: bool, y: &mut [f32]) {
    let half = cos.len();
    let (turned, kept) = y.split_at_mut(2 * half);
    kept.copy_from_slice(&x[2 * half..]);
    if is_interleaved {
        for (((y, x), cos), sin) in turned.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(cos).zip(sin) {
            y[0] = cos * x[0] - sin * x[1];
            y[1] = sin * x[0] + cos * x[1];
        }
        return;
    }
    let (real, imaginary) = turned.split_at_mut(half);
    let (a, b) = x[..2 * half].split_at(half);
    for (i, (re, im)) in real.iter_mut().zip(imaginary).enumerate() {
        *re = cos[i] * a[i] - sin[i] * b[i];
        *im = sin[i] * a[i] + cos[i] * b[i];
    }
}

/// The cosines and sines of each position.
struct Angles<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    /// Rows of the caches by batch and position, if not in order.
    rows: Option<Vec<usize>>,
    sequence: usize,
    half: usize,
}

impl<'a> Angles<'a> {
    fn new(e: &Extents, inputs: &'a Inputs) -> Result<Angles<'a>, OpError> {
        let (cos, sin) = (inputs.tensor(1)?, inputs.tensor(2)?);
        let half = e.rotary / 2;
        let misfit = || {
            let shapes = format!("caches of shapes {} and {}", cos.shape(), sin.shape());
            OpError::invalid(format!("{shapes} do not fit {} positions of {half} angles", e.sequence))
        };
        if cos.shape() != sin.shape() {
            return Err(misfit());
        }
        let rows = match (inputs.opt_tensor(3)?, cos.shape().dims()) {
            (None, &[batch, sequence, width]) if (batch, sequence, width) == (e.batch, e.sequence, half) => None,
            (Some(ids), &[rows, width]) if ids.shape().dims() == [e.batch, e.sequence] && width == half => {
                let row = |&id: &i64| usize::try_from(id).ok().filter(|&id| id < rows);
                let checked: Option<Vec<usize>> = ids.as_slice::<i64>()?.iter().map(row).collect();
                Some(checked.ok_or_else(|| OpError::invalid(format!("position_ids beyond a cache of {rows} rows")))?)
            }
            _ => return Err(misfit()),
        };
        Ok(Angles { cos: cos.as_slice()?, sin: sin.as_slice()?, rows, sequence: e.sequence, half })
    }

    fn at(&self, b: usize, position: usize) -> (&'a [f32], &'a [f32]) {
        let place = b * self.sequence + position;
        let start = self.rows.as_ref().map_or(place, |rows| rows[place]) * self.half;
        (&self.cos[start..start + self.half], &self.sin[start..start + self.half])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn pairs_turn_by_the_angle_of_their_position() {
        struct Case {
            attributes: Attributes,
            dims: &'static [usize],
            expected: [f32; 8],
        }
        let plain = Attributes::new();
        for Case { attributes, dims, expected } in [
            Case { attributes: plain.clone(), dims: &[1, 1, 2, 4], expected: [1., 2., 3., 4., -7., -8., 5., 6.] },
            Case {
                attributes: plain.clone().with("interleaved", 1),
                dims: &[1, 1, 2, 4],
                expected: [1., 2., 3., 4., -6., 5., -8., 7.],
            },
            Case {
                attributes: plain.with("num_heads", 1),
                dims: &[1, 2, 4],
                expected: [1., 2., 3., 4., -7., -8., 5., 6.],
            },
        ] {
            let x = tensor(dims, &[1f32, 2., 3., 4., 5., 6., 7., 8.]);
            let (cos, sin) = ([0f32, 0., 1., 1.], [1f32, 1., 0., 0.]);
            let ids = tensor(&[1, 2], &[1i64, 0]);
            let inputs = [x.clone(), tensor(&[2, 2], &cos), tensor(&[2, 2], &sin), ids];
            assert_eq!(eval("RotaryEmbedding", attributes.clone(), &inputs).unwrap(), tensor(dims, &expected));
            let beyond = tensor(&[1, 2], &[1i64, 2]);
            let inputs = [x, tensor(&[2, 2], &cos), tensor(&[2, 2], &sin), beyond];
            assert!(eval("RotaryEmbedding", attributes, &inputs).is_err());
        }
    }
}

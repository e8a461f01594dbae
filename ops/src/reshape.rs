//! `Reshape`: the same elements under another shape, in which one dimension may be left to be inferred.
//!
//! Opsets: 1 has the shape as an attribute; 5 as an input; 13 adds dtypes; 14 adds `allowzero`; 19, 21, 23, 24, 25 add
//! dtypes.

use crate::Define;
use crate::symbolic::{elements, known_dims, regrouped};
use planish_ir::{
    ALL_TENSORS, AttributeError, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::Shape;

/// `Reshape`.
#[derive(Debug)]
pub struct Reshape {
    /// Whether a 0 in the requested shape stands for an empty axis; else it copies the input's dimension.
    allow_zero: bool,
}

impl Define for Reshape {
    const SCHEMA: Schema = Schema::new("Reshape", 25)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("shape", INT64)])
        .outputs(&[arg("reshaped", ALL_TENSORS).var("T")])
        .attributes(&[int("allowzero", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Reshape { allow_zero: node.flag("allowzero")? })
    }
}

impl Op for Reshape {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(requested) = elements(x, 1) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        Ok(vec![regrouped(x.get(0), self.dims(x.shape(0), &requested)?)])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let requested: Vec<Dim> = inputs.slice::<i64>(1)?.iter().map(|&d| Dim::known(d)).collect();
        let x = inputs.take_tensor(0)?;
        let dims = self.dims(Some(&known_dims(x.shape())), &requested)?;
        let dims: Option<Vec<i64>> = dims.iter().map(Dim::as_known).collect();
        let dims = dims.ok_or_else(|| {
            OpError::invalid(format!("shape {requested:?} cannot be inferred from an input of shape {}", x.shape()))
        })?;
        Ok(x.reshaped(Shape::from_i64(&dims)?)?.into())
    }
}

impl Reshape {
    /// The output's dimensions for an input of dimensions `input`, if its rank is known.
    fn dims(&self, input: Option<&[Dim]>, requested: &[Dim]) -> Result<Vec<Dim>, InferError> {
        let mut dims = requested.to_vec();
        let mut is_copied = vec![false; requested.len()];
        let mut to_infer = None;
        for (i, dim) in dims.iter_mut().enumerate() {
            match dim.as_known() {
                Some(0) if !self.allow_zero => {
                    is_copied[i] = true;
                    *dim = copied_dim(input, i, requested)?;
                }
                Some(-1) if to_infer.replace(i).is_some() => {
                    return Err(InferError(format!("shape {requested:?} leaves more than one dimension to infer")));
                }
                Some(..-1) => return Err(InferError(format!("shape {requested:?} has a negative dimension"))),
                _ => {}
            }
        }
        let unknown = || (0..dims.len()).filter(|&i| !is_copied[i] && requested[i].is_unknown());
        let to_infer = to_infer.or_else(|| unknown().next().filter(|_| unknown().count() == 1));
        let Some(input) = input else {
            if let Some(i) = to_infer {
                dims[i] = Dim::unknown();
            }
            return Ok(dims);
        };
        let not_copied = |i: &usize| !is_copied.get(*i).copied().unwrap_or(false);
        let whole: Vec<&Dim> = (0..input.len()).filter(not_copied).map(|i| &input[i]).collect();
        let parts: Vec<&Dim> =
            (0..dims.len()).filter(not_copied).filter(|&i| to_infer != Some(i)).map(|i| &dims[i]).collect();
        let mismatch = || InferError(format!("shape {requested:?} does not fit an input of shape {input:?}"));
        match to_infer {
            Some(_) if self.allow_zero && parts.iter().any(|&part| *part == 0) => return Err(mismatch()),
            Some(i) => dims[i] = quotient(whole, parts).ok_or_else(mismatch)?,
            None if (0..dims.len()).any(|i| is_copied[i] && dims[i] == 0) => {}
            None if Dim::provably_different(&product(&whole), &product(&parts)) => return Err(mismatch()),
            None => {}
        }
        Ok(dims)
    }
}

fn copied_dim(input: Option<&[Dim]>, axis: usize, requested: &[Dim]) -> Result<Dim, InferError> {
    let Some(input) = input else { return Ok(Dim::unknown()) };
    input.get(axis).cloned().ok_or_else(|| {
        InferError(format!("shape {requested:?} copies dimension {axis} of an input of rank {}", input.len()))
    })
}

fn product(dims: &[&Dim]) -> Dim {
    dims.iter().copied().product()
}

/// The product of `whole` by that of `parts`, dimensions that occur in both left aside; `None` where there is a
/// remainder.
fn quotient(mut whole: Vec<&Dim>, mut parts: Vec<&Dim>) -> Option<Dim> {
    parts.retain(|part| match whole.iter().position(|dim| Dim::provably_equal(dim, part)) {
        Some(i) => {
            whole.remove(i);
            false
        }
        None => true,
    });
    let (whole, parts) = (product(&whole), product(&parts));
    match (whole.divide_exact(&parts), whole.as_known(), parts.as_known()) {
        (Some(exact), ..) => Some(exact),
        (None, Some(_), Some(1..)) => None,
        _ => Some(whole.floor_div(parts)),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    #[test]
    fn shapes_are_completed() {
        struct Case {
            from: &'static [usize],
            shape: &'static [i64],
            allow_zero: i64,
            to: Option<&'static [usize]>,
        }
        for Case { from, shape, allow_zero, to } in [
            Case { from: &[2, 3, 4], shape: &[4, -1], allow_zero: 0, to: Some(&[4, 6]) },
            Case { from: &[2, 3, 4], shape: &[0, 0, 2, 2], allow_zero: 0, to: Some(&[2, 3, 2, 2]) },
            Case { from: &[2, 3, 4], shape: &[0, -1], allow_zero: 0, to: Some(&[2, 12]) },
            Case { from: &[2, 0], shape: &[0, 5], allow_zero: 1, to: Some(&[0, 5]) },
            Case { from: &[0, 3], shape: &[0, -1], allow_zero: 0, to: Some(&[0, 3]) },
            Case { from: &[0, 0, 1], shape: &[5, 0, 1], allow_zero: 0, to: Some(&[5, 0, 1]) },
            Case { from: &[1], shape: &[], allow_zero: 0, to: Some(&[]) },
            Case { from: &[2, 0], shape: &[0, -1], allow_zero: 1, to: None },
            Case { from: &[2, 3], shape: &[4, -1], allow_zero: 0, to: None },
            Case { from: &[2, 3], shape: &[-1, -1], allow_zero: 0, to: None },
            Case { from: &[2, 3], shape: &[-2, -3], allow_zero: 0, to: None },
            Case { from: &[2, 3], shape: &[3, 3], allow_zero: 0, to: None },
            Case { from: &[2], shape: &[1, 0], allow_zero: 0, to: None },
            Case { from: &[4], shape: &[1 << 62, 1 << 62], allow_zero: 0, to: None },
        ] {
            let x = tensor(from, &vec![1u8; from.iter().product()]);
            let attributes = Attributes::new().with("allowzero", allow_zero);
            let y = eval("Reshape", attributes, &[x, tensor(&[shape.len()], shape)]);
            assert_eq!(y.ok().map(|y| y.shape().dims().to_vec()), to.map(<[usize]>::to_vec), "{shape:?}");
        }
    }

    #[test]
    fn symbolic_shapes_are_completed() {
        for (from, shape, to) in [
            ("batch, seq, 768", "0, 0, 12, -1", "batch, seq, 12, 64"),
            ("batch, seq, 768", "batch, seq, 12, 64", "batch, seq, 12, 64"),
            ("batch, 12, seq, 64", "batch, -1, 768", "batch, seq, 768"),
            ("batch, ?, 768", "0, 0, 12, -1", "batch, ?, 12, 64"),
            ("batch, ?, 768", "batch, -1, 12, 64", "batch, ?, 12, 64"),
            ("batch, past + seq", "-1", "batch*past + batch*seq"),
            ("2, 12", "?, 3", "8, 3"),
            ("2, 12", "?, ?", "?, ?"),
            ("2, 5*s", "2, 2, -1", "2, 2, 5*s//2"),
        ] {
            let y = infer("Reshape", Attributes::new(), &[shaped(DType::F32, from), elements(shape)]).unwrap();
            assert_eq!(y, shaped(DType::F32, to), "{from} as {shape}");
        }
        assert!(infer("Reshape", Attributes::new(), &[shaped(DType::F32, "s, 3"), elements("s, 4")]).is_ok());
        assert!(infer("Reshape", Attributes::new(), &[shaped(DType::F32, "2, 3"), elements("4, -1")]).is_err());
    }

    #[test]
    fn elements_are_passed_on() {
        let y = infer("Reshape", Attributes::new(), &[elements("s"), elements("")]).unwrap();
        assert_eq!(y.elements(), elements("s").elements());
        assert_eq!(y.rank(), Some(0));
    }
}

//! `Einsum`: sums of products over axes that are named by letters, `bij,bjk->bik`.
//!
//! An axis that every operand's term may name is kept if the output's term names it and summed over otherwise. A letter
//! twice in a term takes the diagonal; `...` stands for axes that broadcast. Without `->` the output has the axes of `...`,
//! then every letter that occurs once, in order. Operands are taken from left to right, each joined to what came before by
//! one stack of matrix products.
//!
//! Opsets: 12; 28 adds bfloat16.

use crate::Define;
use crate::cast::{Rounding, cast};
use crate::dtypes::for_dtypes;
use crate::fold::{Fold, fold_axes};
use crate::half::is_half;
use crate::matmul::matmul;
use crate::transpose::{permute, strided};
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, Schema, arg, required, variadic,
};
use planish_tensor::{DType, Shape, Tensor};
use std::collections::BTreeMap;

/// `Einsum`.
#[derive(Debug)]
pub struct Einsum {
    terms: Vec<Term>,
    output: Term,
}

/// An axis by its letter, or by its distance from the last of those that `...` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// The letters of one operand or of the output, before and after `...`.
#[derive(Debug, Default)]
struct Term {
    before: Vec<char>,
    /// What follows `...`, where that occurs.
    after: Option<Vec<char>>,
}

impl Term {
    fn parse(text: &str) -> Result<Term, AttributeError> {
        let letters = |text: &str| match text.chars().find(|c| !c.is_ascii_alphabetic()) {
            None => Ok(text.chars().collect::<Vec<char>>()),
            Some(other) => Err(invalid(&format!("{other:?} is no letter"))),
        };
        match text.split_once("...") {
            None => Ok(Term { before: letters(text)?, after: None }),
            Some((before, after)) => Ok(Term { before: letters(before)?, after: Some(letters(after)?) }),
        }
    }

    fn letters(&self) -> impl Iterator<Item = char> {
        self.before.iter().chain(self.after.iter().flatten()).copied()
    }

    /// The axes with `...` standing for `ellipsis` of them.
    fn labels(&self, ellipsis: usize) -> Vec<Label> {
        let letters = |letters: &[char]| letters.iter().map(|&c| Label::Letter(c)).collect::<Vec<_>>();
        let mut labels = letters(&self.before);
        if let Some(after) = &self.after {
            labels.extend((0..ellipsis).rev().map(Label::Ellipsis));
            labels.extend(letters(after));
        }
        labels
    }

    /// The axes of an operand of this rank.
    fn labels_of_rank(&self, rank: usize) -> Result<Vec<Label>, InferError> {
        let named = self.letters().count();
        match (&self.after, rank.checked_sub(named)) {
            (None, Some(0)) => Ok(self.labels(0)),
            (Some(_), Some(ellipsis)) => Ok(self.labels(ellipsis)),
            _ => Err(InferError(format!("an operand of rank {rank} does not fit a term of {named} letters"))),
        }
    }
}

fn invalid(what: &str) -> AttributeError {
    AttributeError::invalid(format!("attribute \"equation\": {what}"))
}

impl Define for Einsum {
    const SCHEMA: Schema = Schema::new("Einsum", 28)
        .inputs(&[variadic("Inputs", NUMERIC, 1).var("T")])
        .outputs(&[arg("Output", NUMERIC).var("T")])
        .attributes(&[required("equation", AttributeKind::String)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let equation = node.string("equation")?.replace(' ', "");
        let (terms, output) = match equation.split_once("->") {
            Some((terms, output)) => (terms, Some(output)),
            None => (&equation[..], None),
        };
        let terms = terms.split(',').map(Term::parse).collect::<Result<Vec<_>, _>>()?;
        if terms.len() != node.num_inputs {
            return Err(invalid(&format!("{} terms for {} operands", terms.len(), node.num_inputs)));
        }
        let output = match output {
            Some(output) => Term::parse(output)?,
            None => implied_output(&terms),
        };
        for (i, letter) in output.letters().enumerate() {
            if output.letters().take(i).any(|other| other == letter) {
                return Err(invalid(&format!("{letter:?} is twice in the output")));
            }
            if !terms.iter().any(|term| term.letters().any(|other| other == letter)) {
                return Err(invalid(&format!("{letter:?} of the output is in no operand")));
            }
        }
        Ok(Einsum { terms, output })
    }
}

fn implied_output(terms: &[Term]) -> Term {
    let mut letters: Vec<char> = terms.iter().flat_map(Term::letters).collect();
    letters.sort_unstable();
    let once: Vec<char> = letters
        .chunk_by(|a, b| a == b)
        .filter_map(|group| group.first().filter(|_| group.len() == 1))
        .copied()
        .collect();
    match terms.iter().any(|term| term.after.is_some()) {
        true => Term { before: Vec::new(), after: Some(once) },
        false => Term { before: once, after: None },
    }
}

impl Einsum {
    /// The axes of operands of these ranks, and of the output.
    fn labels(&self, ranks: &[usize]) -> Result<(Vec<Vec<Label>>, Vec<Label>), InferError> {
        let terms = self.terms.iter().zip(ranks);
        let labels = terms.map(|(term, &rank)| term.labels_of_rank(rank)).collect::<Result<Vec<_>, _>>()?;
        let ellipsis = labels.iter().map(|l| l.iter().filter(|l| matches!(l, Label::Ellipsis(_))).count()).max();
        Ok((labels, self.output.labels(ellipsis.unwrap_or(0))))
    }

    /// The extent of each axis that operands of these shapes name, and the axes of the output.
    fn extents(&self, shapes: &[&[Dim]]) -> Result<(BTreeMap<Label, Dim>, Vec<Label>), InferError> {
        let ranks: Vec<usize> = shapes.iter().map(|shape| shape.len()).collect();
        let (labels, output) = self.labels(&ranks)?;
        let mut extents: BTreeMap<Label, Dim> = BTreeMap::new();
        for (labels, shape) in labels.iter().zip(shapes) {
            for (&label, dim) in labels.iter().zip(*shape) {
                let known = extents.get(&label).unwrap_or(dim);
                let joined =
                    Dim::broadcast(known, dim).map_err(|conflict| InferError(format!("{label:?}: {conflict}")))?;
                extents.insert(label, joined);
            }
        }
        Ok((extents, output))
    }
}

impl Op for Einsum {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shapes) = (0..self.terms.len()).map(|i| x.shape(i)).collect::<Option<Vec<_>>>() else {
            return Ok(vec![Fact::tensor(x.dtype(0))]);
        };
        let (extents, output) = self.extents(&shapes)?;
        let dims = output.iter().map(|label| extents.get(label).cloned().unwrap_or_else(Dim::unknown)).collect();
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let operands = (0..self.terms.len()).map(|i| inputs.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        let ranks: Vec<usize> = operands.iter().map(|x| x.rank()).collect();
        let (labels, output) = self.labels(&ranks)?;
        let sizes = sizes(&operands, &labels)?;
        let dtype = inputs.tensor(0)?.dtype();
        let mut joined: Option<Operand> = None;
        for (i, (x, axes)) in operands.iter().zip(&labels).enumerate() {
            let x = cast(cx, (*x).clone(), working_dtype(dtype), Rounding::new(true))?;
            let next = Operand::new(cx, &x, axes, &sizes)?;
            let is_kept = |label: &Label| output.contains(label) || labels[i + 1..].iter().any(|l| l.contains(label));
            joined = Some(match joined {
                None => next.summed(cx, is_kept)?,
                Some(before) => Operand::join(cx, before, next, is_kept)?,
            });
        }
        let joined = joined.ok_or_else(|| OpError::invalid("there is no operand"))?;
        let y = joined.ordered(cx, &output)?;
        Ok(cast(cx, y, dtype, Rounding::new(true))?.into())
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        let shapes = (0..self.terms.len()).map(|i| x.shape(i)).collect::<Option<Vec<_>>>();
        match shapes.map(|shapes| self.extents(&shapes)) {
            Some(Ok((extents, _))) => extents.into_values().product(),
            _ => Dim::unknown(),
        }
    }
}

/// The extent of each axis; operands that have one element along it broadcast.
fn sizes(operands: &[&Tensor], labels: &[Vec<Label>]) -> Result<BTreeMap<Label, usize>, OpError> {
    let mut sizes = BTreeMap::new();
    for (x, labels) in operands.iter().zip(labels) {
        for (&label, &dim) in labels.iter().zip(x.shape().iter()) {
            let size = sizes.entry(label).or_insert(dim);
            match (*size, dim) {
                (1, _) => *size = dim,
                (size, dim) if dim != 1 && dim != size => {
                    return Err(OpError::invalid(format!("{label:?} stands for axes of {size} and of {dim} elements")));
                }
                _ => {}
            }
        }
    }
    Ok(sizes)
}

/// What sums are computed in: halves as `float`, narrow integers as `int32`, whose low bits are theirs.
fn working_dtype(dtype: DType) -> DType {
    match dtype {
        half if is_half(half) => DType::F32,
        DType::I8 | DType::I16 | DType::U8 | DType::U16 => DType::I32,
        other => other,
    }
}

/// A tensor whose axes have names, each once.
struct Operand {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Operand {
    /// `x` with its diagonals taken, without axes of one element that broadcast to those of `sizes`.
    fn new(cx: &EvalCx<'_>, x: &Tensor, labels: &[Label], sizes: &BTreeMap<Label, usize>) -> Result<Operand, OpError> {
        let mut axes: BTreeMap<Label, (usize, usize)> = BTreeMap::new();
        for ((&label, &dim), &stride) in labels.iter().zip(x.shape().iter()).zip(&x.shape().strides()) {
            let (extent, step) = axes.entry(label).or_insert((dim, 0));
            if *extent != dim {
                return Err(OpError::invalid(format!("a diagonal of axes of {extent} and {dim} elements")));
            }
            *step += stride;
        }
        axes.retain(|label, &mut (dim, _)| dim != 1 || sizes.get(label) == Some(&1));
        let (dims, steps): (Vec<usize>, Vec<usize>) = axes.values().copied().unzip();
        Ok(Operand { tensor: strided(cx, x, &dims, &steps)?, labels: axes.into_keys().collect() })
    }

    /// Summed over the axes that need not be kept.
    fn summed(self, cx: &EvalCx<'_>, is_kept: impl Fn(&Label) -> bool) -> Result<Operand, OpError> {
        let Operand { tensor, labels } = self;
        let is_folded: Vec<bool> = labels.iter().map(|label| !is_kept(label)).collect();
        if !is_folded.contains(&true) {
            return Ok(Operand { tensor, labels });
        }
        let sums = for_dtypes!(tensor.dtype(), T => fold_axes::<T>(cx, Fold::Sum, &tensor, &is_folded), [
            F32 = f32, F64 = f64, I32 = i32, I64 = i64, U32 = u32, U64 = u64,
        ])?;
        let kept = sums.shape().iter().zip(&is_folded).filter(|&(_, is_folded)| !is_folded);
        let dims: Vec<usize> = kept.map(|(&dim, _)| dim).collect();
        let labels = labels.into_iter().filter(|label| is_kept(label)).collect();
        Ok(Operand { tensor: sums.reshaped(Shape::new(&dims)?)?, labels })
    }

    /// The tensor with its axes in this order.
    fn ordered(&self, cx: &EvalCx<'_>, order: &[Label]) -> Result<Tensor, OpError> {
        let axis = |label: &Label| self.labels.iter().position(|own| own == label);
        let perm: Option<Vec<usize>> = order.iter().map(axis).collect();
        permute(cx, &self.tensor, &perm.ok_or_else(|| OpError::invalid("an axis of the output is in no operand"))?)
    }

    /// The axes that are only here, those that `other` has too and the output needs, and those summed over in the product.
    fn split(&self, other: &Operand, is_kept: impl Fn(&Label) -> bool) -> [Vec<Label>; 3] {
        let (shared, own): (Vec<Label>, Vec<Label>) =
            self.labels.iter().copied().partition(|l| other.labels.contains(l));
        let (batch, inner) = shared.into_iter().partition(is_kept);
        [own, batch, inner]
    }

    fn extent(&self, labels: &[Label]) -> usize {
        let named = self.labels.iter().zip(self.tensor.shape().iter()).filter(|(label, _)| labels.contains(label));
        named.map(|(_, &dim)| dim).product()
    }

    fn dims(&self, labels: &[Label]) -> impl Iterator<Item = usize> {
        labels.iter().map(|label| self.extent(&[*label]))
    }

    /// The products of `a` and `b`, summed over the axes that need not be kept.
    fn join(
        cx: &EvalCx<'_>,
        a: Operand,
        b: Operand,
        is_kept: impl Fn(&Label) -> bool + Copy,
    ) -> Result<Operand, OpError> {
        let only_in = |x: &Operand, label: &Label| !x.labels.contains(label);
        let a = a.summed(cx, |label| is_kept(label) || !only_in(&b, label))?;
        let b = b.summed(cx, |label| is_kept(label) || !only_in(&a, label))?;
        let [rows, batch, inner] = a.split(&b, is_kept);
        let [columns, ..] = b.split(&a, is_kept);
        let (count, depth) = (a.extent(&batch), a.extent(&inner));
        let left = a.ordered(cx, &[&batch[..], &rows, &inner].concat())?;
        let left = left.reshaped(Shape::new(&[count, a.extent(&rows), depth])?)?;
        let right = b.ordered(cx, &[&batch[..], &inner, &columns].concat())?;
        let right = right.reshaped(Shape::new(&[count, depth, b.extent(&columns)])?)?;
        let product = matmul(cx, &left, &right)?;
        let dims: Vec<usize> = a.dims(&batch).chain(a.dims(&rows)).chain(b.dims(&columns)).collect();
        let labels = [batch, rows, columns].concat();
        Ok(Operand { tensor: product.reshaped(Shape::new(&dims)?)?, labels })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, infer, shaped, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::{DType, Tensor};
    use proptest::prelude::*;

    fn einsum(equation: &str, inputs: &[Tensor]) -> Result<Tensor, OpError> {
        eval("Einsum", Attributes::new().with("equation", equation), inputs)
    }

    #[test]
    fn letters_sum_transpose_and_take_diagonals() {
        let x = tensor(&[2, 2], &[1f32, 2., 3., 4.]);
        let v = tensor(&[2], &[10f32, 100.]);
        for (equation, inputs, expected) in [
            ("ij->ji", vec![&x], tensor(&[2, 2], &[1f32, 3., 2., 4.])),
            ("ij->", vec![&x], tensor(&[], &[10f32])),
            ("ii", vec![&x], tensor(&[], &[5f32])),
            (" i i -> i", vec![&x], tensor(&[2], &[1f32, 4.])),
            ("ij,j->i", vec![&x, &v], tensor(&[2], &[210f32, 430.])),
            ("ba,a", vec![&x, &v], tensor(&[2], &[210f32, 430.])),
            ("i,j", vec![&v, &v], tensor(&[2, 2], &[100f32, 1000., 1000., 10000.])),
            ("i,i->i", vec![&v, &v], tensor(&[2], &[100f32, 10000.])),
            ("...i,...->...i", vec![&x, &v], tensor(&[2, 2], &[10f32, 20., 300., 400.])),
            ("ij,jk,kl->il", vec![&x, &x, &x], tensor(&[2, 2], &[37f32, 54., 81., 118.])),
            ("ij,jk,l->i", vec![&x, &x, &v], tensor(&[2], &[110. * 17f32, 110. * 37.])),
        ] {
            let inputs: Vec<Tensor> = inputs.into_iter().cloned().collect();
            assert_eq!(einsum(equation, &inputs).unwrap(), expected, "{equation}");
        }
    }

    #[test]
    fn integers_wrap_to_their_width() {
        let x = tensor(&[2], &[100i8, 100]);
        assert_eq!(einsum("i,i", &[x.clone(), x]).unwrap(), tensor(&[], &[20000u16 as i8]));
        let y = einsum("i,i", &[tensor(&[0], &[0u64; 0]), tensor(&[0], &[0u64; 0])]).unwrap();
        assert_eq!(y, tensor(&[], &[0u64]));
    }

    proptest! {
        #[test]
        fn axes_of_one_element_broadcast(b in 1usize..3, i in 1usize..4, j in 0usize..4, k in 1usize..3) {
            let count = |dims: &[usize]| dims.iter().product::<usize>();
            let data = |n: usize| (0..n as i64).map(|v| v % 7 - 3).collect::<Vec<_>>();
            let (x, y) = (data(count(&[b, i, j])), data(count(&[1, j, k])));
            let z = einsum("bij,bjk->kbi", &[tensor(&[b, i, j], &x), tensor(&[1, j, k], &y)]).unwrap();
            let mut expected = Vec::new();
            for k0 in 0..k {
                for b0 in 0..b {
                    for i0 in 0..i {
                        expected.push((0..j).map(|j0| x[(b0 * i + i0) * j + j0] * y[j0 * k + k0]).sum::<i64>());
                    }
                }
            }
            prop_assert_eq!(z, tensor(&[k, b, i], &expected));
        }
    }

    #[test]
    fn shapes_follow_symbols() {
        let attributes = Attributes::new().with("equation", "...ij,...jk->...ik");
        let y = infer("Einsum", attributes, &[shaped(DType::F32, "b, h, s, 8"), shaped(DType::F32, "b, h, 8, t")]);
        assert_eq!(y.unwrap(), shaped(DType::F32, "b, h, s, t"));
    }

    #[test]
    fn nonsense_is_refused() {
        let x = tensor(&[2, 3], &[0f32; 6]);
        for equation in ["ij,jk", "i", "ij->ii", "ij->k", "i1", "ii", "...ijk", "i...j...", "ij->i->j"] {
            assert!(einsum(equation, &[x.clone()]).is_err(), "{equation}");
        }
        assert!(einsum("ij,ij->ij", &[x, tensor(&[3, 2], &[0f32; 6])]).is_err());
    }
}

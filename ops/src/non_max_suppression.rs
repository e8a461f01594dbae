//! `NonMaxSuppression`: for each batch entry and class, boxes in descending order of their scores, those left out that
//! overlap a chosen one too much.
//!
//! Overlap is the area of the intersection by that of the union.
//!
//! Opsets: 10; 11 says how many results there are where nothing is chosen.

use crate::Define;
use crate::symbolic::{expect_rank, unify};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
    arg, int, opt,
};
use planish_tensor::{DType, Shape};

/// `NonMaxSuppression`.
#[derive(Debug)]
pub struct NonMaxSuppression {
    /// Whether boxes are given by center, width and height; else by two opposite corners.
    is_centered: bool,
}

impl Define for NonMaxSuppression {
    const SCHEMA: Schema = Schema::new("NonMaxSuppression", 11)
        .inputs(&[
            arg("boxes", FLOAT),
            arg("scores", FLOAT),
            opt("max_output_boxes_per_class", INT64),
            opt("iou_threshold", FLOAT),
            opt("score_threshold", FLOAT),
        ])
        .outputs(&[arg("selected_indices", INT64)])
        .attributes(&[int("center_point_box", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        match node.int("center_point_box")? {
            0 => Ok(NonMaxSuppression { is_centered: false }),
            1 => Ok(NonMaxSuppression { is_centered: true }),
            other => {
                Err(AttributeError::invalid(format!("attribute \"center_point_box\": expected 0 or 1, got {other}")))
            }
        }
    }
}

impl Op for NonMaxSuppression {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        expect_rank(x, 0, 3)?;
        expect_rank(x, 1, 3)?;
        if let (Some([batch, count, four]), Some([scores_batch, _, scores])) = (x.shape(0), x.shape(1)) {
            unify(batch, scores_batch, "batch")?;
            unify(count, scores, "number of boxes")?;
            unify(four, &Dim::known(4), "last axis of boxes")?;
        }
        Ok(vec![Fact::shaped(Some(DType::I64), vec![Dim::unknown(), Dim::known(3)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (boxes, scores) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let (&[batch, count, 4], &[scores_batch, classes, scores_count]) =
            (boxes.shape().dims(), scores.shape().dims())
        else {
            return Err(mismatch(boxes.shape(), scores.shape()));
        };
        if (batch, count) != (scores_batch, scores_count) {
            return Err(mismatch(boxes.shape(), scores.shape()));
        }
        let limits = Limits {
            count: if inputs.has(2) { usize::try_from(inputs.int(2)?).unwrap_or(0).min(count) } else { 0 },
            overlap: if inputs.has(3) { inputs.scalar::<f32>(3)? } else { 0.0 },
            score: if inputs.has(4) { Some(inputs.scalar::<f32>(4)?) } else { None },
        };
        let most = batch.saturating_mul(classes).saturating_mul(limits.count);
        let _charged = cx.memory.reserve(most.saturating_mul(size_of::<[i64; 3]>()).saturating_add(count * 40))?;
        let (boxes, scores) = (boxes.as_slice::<f32>()?, scores.as_slice::<f32>()?);
        let mut selected: Vec<i64> = Vec::new();
        for entry in 0..if limits.count == 0 { 0 } else { batch } {
            let corners: Vec<Rectangle> = boxes[entry * count * 4..(entry + 1) * count * 4]
                .as_chunks()
                .0
                .iter()
                .map(|b| self.rectangle(b))
                .collect();
            for class in 0..classes {
                let start = (entry * classes + class) * count;
                for index in choose(cx, &corners, &scores[start..start + count], &limits)? {
                    selected.extend([entry as i64, class as i64, index as i64]);
                }
            }
        }
        Ok(cx.tensor(Shape::new(&[selected.len() / 3, 3])?, &selected)?.into())
    }
}

fn mismatch(boxes: &Shape, scores: &Shape) -> OpError {
    OpError::invalid(format!("expected boxes [batch, n, 4] and scores [batch, classes, n], got {boxes} and {scores}"))
}

/// What limits the boxes of one class.
struct Limits {
    count: usize,
    overlap: f32,
    /// Scores must be greater than this.
    score: Option<f32>,
}

/// A box by its least and greatest coordinates.
#[derive(Clone, Copy)]
struct Rectangle {
    low: [f32; 2],
    high: [f32; 2],
}

impl Rectangle {
    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    fn overlaps(&self, other: &Rectangle, threshold: f32) -> bool {
        let side = |i: usize| (self.high[i].min(other.high[i]) - self.low[i].max(other.low[i])).max(0.0);
        let intersection = side(0) * side(1);
        let union = self.area() + other.area() - intersection;
        intersection > 0.0 && union > 0.0 && intersection / union > threshold
    }
}

impl NonMaxSuppression {
    fn rectangle(&self, &[a, b, c, d]: &[f32; 4]) -> Rectangle {
        if self.is_centered {
            return Rectangle { low: [a - c / 2.0, b - d / 2.0], high: [a + c / 2.0, b + d / 2.0] };
        }
        Rectangle { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] }
    }
}

/// The boxes chosen for one class, best first.
fn choose(cx: &EvalCx<'_>, boxes: &[Rectangle], scores: &[f32], limits: &Limits) -> Result<Vec<usize>, OpError> {
    let is_candidate = |&i: &usize| limits.score.is_none_or(|least| scores[i] > least);
    let mut candidates: Vec<usize> = (0..scores.len()).filter(is_candidate).collect();
    // Adding 0 makes -0 equal to 0.
    candidates.sort_by(|&a, &b| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)));
    let mut chosen: Vec<usize> = Vec::new();
    for (step, candidate) in candidates.into_iter().enumerate() {
        if step % 256 == 0 {
            cx.check()?;
        }
        if chosen.len() == limits.count {
            break;
        }
        if !chosen.iter().any(|&better| boxes[candidate].overlaps(&boxes[better], limits.overlap)) {
            chosen.push(candidate);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    #[test]
    fn overlapping_boxes_are_left_out() {
        let corners = [[0f32, 0.0, 1.0, 1.0], [0.0, 0.1, 1.0, 1.1], [1.0, 0.9, 0.0, -0.1], [0.0, 10.0, 1.0, 11.0]];
        let boxes = tensor(&[1, 4, 4], corners.as_flattened());
        let scores = tensor(&[1, 1, 4], &[0.9f32, 0.75, 0.6, 0.95]);
        let run = |count: i64, overlap: f32, score: f32| {
            let given =
                [boxes.clone(), scores.clone(), Tensor::scalar(count), Tensor::scalar(overlap), Tensor::scalar(score)];
            let y = eval("NonMaxSuppression", Attributes::new(), &given).unwrap();
            y.as_slice::<i64>().unwrap().chunks(3).map(|c| c[2]).collect::<Vec<_>>()
        };
        assert_eq!(run(3, 0.5, 0.0), [3, 0]);
        assert_eq!(run(3, 0.99, 0.7), [3, 0, 1]);
        assert_eq!(run(1, 0.5, 0.0), [3]);
        assert_eq!(run(0, 0.5, 0.0), []);
        assert_eq!(run(i64::MIN, 0.5, f32::NAN), []);
        assert!(eval("NonMaxSuppression", Attributes::new(), &[scores.clone(), boxes.clone()]).is_err());
        assert_eq!(eval("NonMaxSuppression", Attributes::new(), &[boxes, scores]).unwrap().shape().dims(), [0, 3]);
    }
}

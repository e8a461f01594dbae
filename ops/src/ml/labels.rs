//! What classifiers call their classes.

use super::rows::Rows;
use planish_ir::{AttributeError, Dim, EvalCx, Fact, NodeView, OpError};
use planish_tensor::{DType, Shape, Tensor};

/// The names of the classes, of one dtype.
#[derive(Debug)]
pub enum ClassLabels {
    /// Numbers.
    Ints(Vec<i64>),
    /// Text.
    Strings(Vec<String>),
}

impl ClassLabels {
    /// The labels that one of two attributes holds.
    pub fn parse(node: &NodeView<'_>, ints: &str, strings: &str) -> Result<ClassLabels, AttributeError> {
        let given = (
            node.opt_ints(ints).filter(|labels| !labels.is_empty()),
            node.opt_strings(strings).filter(|labels| !labels.is_empty()),
        );
        match given {
            (Some(labels), None) => Ok(ClassLabels::Ints(labels.to_vec())),
            (None, Some(labels)) => Ok(ClassLabels::Strings(labels.to_vec())),
            _ => Err(AttributeError::invalid(format!("expected one of the attributes {ints:?} and {strings:?}"))),
        }
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        match self {
            ClassLabels::Ints(labels) => labels.len(),
            ClassLabels::Strings(labels) => labels.len(),
        }
    }

    /// The labels' dtype.
    pub fn dtype(&self) -> DType {
        match self {
            ClassLabels::Ints(_) => DType::I64,
            ClassLabels::Strings(_) => DType::String,
        }
    }

    /// The labels of these classes, each below [`len`](Self::len), as a vector.
    pub fn pick(&self, cx: &EvalCx<'_>, classes: &[u32]) -> Result<Tensor, OpError> {
        let shape = Shape::new(&[classes.len()])?;
        match self {
            ClassLabels::Ints(labels) => {
                let mut picked = cx.uninit::<i64>(shape)?;
                picked.iter_mut().zip(classes).for_each(|(label, &class)| *label = labels[class as usize]);
                Ok(picked.freeze())
            }
            ClassLabels::Strings(labels) => {
                let _charged = cx.memory.reserve(classes.len().saturating_mul(size_of::<String>()))?;
                let picked = classes.iter().map(|&class| labels[class as usize].clone()).collect();
                Ok(Tensor::from_strings(shape, picked)?)
            }
        }
    }

    /// What is known of a classifier's outputs: a label and `num_scores` scores for each row.
    pub fn infer(&self, rows: &Rows<Dim>, num_scores: usize) -> Vec<Fact> {
        let scores = vec![rows.count.clone(), Dim::known(num_scores as i64)];
        vec![Fact::shaped(Some(self.dtype()), vec![rows.count.clone()]), Fact::shaped(Some(DType::F32), scores)]
    }
}

//! How alike two vectors are.

use crate::ml::rows::{dot, squared_distance};
use planish_ir::{AttributeDef, AttributeError, AttributeKind, NodeView, OpError, optional, string};

/// The attributes that choose a kernel.
pub const KERNEL: [AttributeDef; 2] =
    [optional("kernel_params", AttributeKind::Floats), string("kernel_type", "LINEAR")];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// A kernel function and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    kind: Kind,
    gamma: f32,
    coef0: f32,
    degree: f32,
}

impl Kernel {
    /// a·b.
    pub const LINEAR: Kernel = Kernel { kind: Kind::Linear, gamma: 0.0, coef0: 0.0, degree: 0.0 };

    /// The kernel that the attributes name.
    pub fn parse(node: &NodeView<'_>) -> Result<Kernel, AttributeError> {
        let kinds = [("LINEAR", Kind::Linear), ("POLY", Kind::Poly), ("RBF", Kind::Rbf), ("SIGMOID", Kind::Sigmoid)];
        let kind = node.choice("kernel_type", &kinds)?;
        match node.opt_floats("kernel_params").unwrap_or_default() {
            [] => Ok(Kernel { kind, ..Kernel::LINEAR }),
            &[gamma, coef0, degree] => Ok(Kernel { kind, gamma, coef0, degree }),
            other => {
                let message = format!("attribute \"kernel_params\": expected 3 numbers, got {}", other.len());
                Err(AttributeError::invalid(message))
            }
        }
    }

    fn of(self, a: &[f32], b: &[f32]) -> f64 {
        let scaled = || f64::from(self.gamma * dot(a, b) + self.coef0);
        match self.kind {
            Kind::Linear => f64::from(dot(a, b)),
            Kind::Poly => scaled().powf(f64::from(self.degree)),
            Kind::Rbf => f64::from(-self.gamma * squared_distance(a, b)).exp(),
            Kind::Sigmoid => scaled().tanh(),
        }
    }
}

/// Support vectors, all of one length, and the kernel that compares them.
#[derive(Debug)]
pub struct Vectors {
    kernel: Kernel,
    elements: Vec<f32>,
    width: usize,
}

impl Vectors {
    /// `count` vectors, at least one, out of all their elements.
    pub fn new(kernel: Kernel, elements: &[f32], count: usize) -> Result<Vectors, AttributeError> {
        let width = elements.len().checked_div(count).unwrap_or(0);
        if width == 0 || width * count != elements.len() {
            let message = format!("{} numbers do not make {count} support vectors", elements.len());
            return Err(AttributeError::invalid(message));
        }
        Ok(Vectors { kernel, elements: elements.to_vec(), width })
    }

    /// The number of elements of all vectors.
    pub fn num_elements(&self) -> usize {
        self.elements.len()
    }

    /// An error unless rows of `width` features can be compared.
    pub fn check_width(&self, width: usize) -> Result<(), OpError> {
        if width == self.width {
            return Ok(());
        }
        Err(OpError::invalid(format!("input 0: expected {} features, got {width}", self.width)))
    }

    /// How alike `row` and each vector are.
    pub fn compare<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.elements.chunks_exact(self.width).map(|vector| self.kernel.of(row, vector))
    }
}

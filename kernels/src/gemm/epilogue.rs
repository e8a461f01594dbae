//! What happens to a product's element on its way to memory: a bias and an activation.

/// The bias that a product or a convolution adds to each element.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Bias<'a> {
    /// Nothing is added.
    #[default]
    None,
    /// `bias[column]`.
    PerColumn(&'a [f32]),
    /// `bias[row]`.
    PerRow(&'a [f32]),
    /// The same number everywhere.
    Scalar(f32),
}

impl<'a> Bias<'a> {
    /// The bias of the element at `row`, `column`.
    #[inline]
    pub fn at(self, row: usize, column: usize) -> f32 {
        match self {
            Bias::None => 0.0,
            Bias::PerColumn(bias) => bias[column],
            Bias::PerRow(bias) => bias[row],
            Bias::Scalar(bias) => bias,
        }
    }

    /// The bias of the block of `rows` × `columns` elements whose first is at `row`, `column`.
    #[inline]
    pub(crate) fn block(self, row: usize, rows: usize, column: usize, columns: usize) -> Bias<'a> {
        match self {
            Bias::PerColumn(bias) => Bias::PerColumn(&bias[column..column + columns]),
            Bias::PerRow(bias) => Bias::PerRow(&bias[row..row + rows]),
            other => other,
        }
    }

    /// Whether there is a number for each of `rows` × `columns` elements.
    pub(crate) fn fits(self, rows: usize, columns: usize) -> bool {
        match self {
            Bias::PerColumn(bias) => bias.len() == columns,
            Bias::PerRow(bias) => bias.len() == rows,
            Bias::None | Bias::Scalar(_) => true,
        }
    }
}

/// The function of one variable that a product's elements pass through last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, min), max)`
    Clip {
        /// The lower bound.
        min: f32,
        /// The upper bound; it wins where the two cross.
        max: f32,
    },
    /// `x` where it is positive, else `x` times this.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `max(0, min(1, alpha · x + beta))`
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at zero.
        beta: f32,
    },
    /// `x · max(0, min(1, x / 6 + 1/2))`
    HardSwish,
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x · Φ(x)`, with Φ the distribution function of the standard normal.
    Gelu,
    /// [`Activation::Gelu`] by its `tanh` approximation.
    GeluTanh,
}

impl Activation {
    /// The bounds, where the activation is nothing but bounds.
    pub(crate) fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Activation::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Clip { min, max } => Some((min, max)),
            _ => None,
        }
    }

    /// Replaces each `x` by its activation.
    pub fn apply(self, x: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => map(x, |x| clamp(x, 0.0, f32::INFINITY)),
            Activation::Clip { min, max } => map(x, |x| clamp(x, min, max)),
            Activation::LeakyRelu(alpha) => map(x, |x| if x < 0.0 { alpha * x } else { x }),
            Activation::Sigmoid => map(x, sigmoid),
            Activation::Tanh => map(x, f32::tanh),
            Activation::HardSigmoid { alpha, beta } => {
                map(x, |x| clamp(alpha * x + beta, 0.0, 1.0));
            }
            Activation::HardSwish => map(x, |x| x * clamp(x / 6.0 + 0.5, 0.0, 1.0)),
            Activation::Silu => map(x, |x| x * sigmoid(x)),
            Activation::Gelu | Activation::GeluTanh => map(x, gelu_tanh),
        }
    }
}

#[inline]
fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    for x in x {
        *x = f(*x);
    }
}

/// Bounds `x`; NaN stays NaN.
#[inline]
pub(crate) fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// A product's bias and activation, applied while its elements are still in registers or cache:
/// `activation(alpha · (a · b) + beta · c + bias)`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Epilogue<'a> {
    /// Added to each element.
    pub bias: Bias<'a>,
    /// Applied to the sum.
    pub activation: Activation,
}

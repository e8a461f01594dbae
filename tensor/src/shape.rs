//! Checked shapes.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Deref;

/// The highest rank a tensor may have.
pub const MAX_RANK: usize = 64;

/// The extent of a tensor along each axis, outermost first.
///
/// Always true: rank ≤ [`MAX_RANK`]; the product of the extents, zeros counted as ones, is at most `isize::MAX`, so element
/// counts and strides of any tensor can be computed without overflow. A scalar has rank 0.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 6]>);

/// Why a list of numbers is not a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// The element count does not fit the address space.
    TooManyElements(Vec<i128>),
    /// A negative extent.
    NegativeDim(Vec<i128>),
    /// More than [`MAX_RANK`] axes.
    RankTooHigh(usize),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeError::TooManyElements(dims) => {
                write!(f, "shape {dims:?} has more elements than memory can hold")
            }
            ShapeError::NegativeDim(dims) => write!(f, "shape {dims:?} has a negative dimension"),
            ShapeError::RankTooHigh(rank) => {
                write!(f, "rank {rank} exceeds the limit of {MAX_RANK}")
            }
        }
    }
}

impl std::error::Error for ShapeError {}

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape(SmallVec::new())
    }

    /// A shape of the given extents.
    pub fn new(dims: &[usize]) -> Result<Shape, ShapeError> {
        if dims.len() > MAX_RANK {
            return Err(ShapeError::RankTooHigh(dims.len()));
        }
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        match count {
            Some(n) if isize::try_from(n).is_ok() => Ok(Shape(SmallVec::from_slice(dims))),
            _ => Err(ShapeError::TooManyElements(dims.iter().map(|&d| d as i128).collect())),
        }
    }

    /// A shape of extents computed as ONNX's own `int64`.
    pub fn from_i64(dims: &[i64]) -> Result<Shape, ShapeError> {
        let checked: Option<SmallVec<[usize; 6]>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        match checked {
            Some(dims) => Shape::new(&dims),
            None => Err(ShapeError::NegativeDim(dims.iter().map(|&d| i128::from(d)).collect())),
        }
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The extents as `int64`, as the `Shape` operator gives them.
    pub fn to_i64(&self) -> Vec<i64> {
        self.0.iter().map(|&d| d as i64).collect()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The product of the extents: 1 for a scalar, 0 where any extent is 0.
    pub fn num_elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Elements to step for one step along each axis of a contiguous row-major tensor.
    pub fn strides(&self) -> SmallVec<[usize; 6]> {
        let mut strides: SmallVec<[usize; 6]> = SmallVec::from_elem(1, self.rank());
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis].max(1);
        }
        strides
    }

    /// The shape split at `axis`: products of the extents before it and from it on. `axis` is at most the rank.
    pub fn split_at(&self, axis: usize) -> (usize, usize) {
        let (outer, inner) = self.0.split_at(axis);
        (outer.iter().product(), inner.iter().product())
    }

    /// The result shape of ONNX's multidirectional broadcasting, or `None` where the shapes do not fit.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let at = |s: &Shape, axis: usize| (axis + s.rank()).checked_sub(rank).map_or(1, |i| s.0[i]);
        let dims: Option<SmallVec<[usize; 6]>> = (0..rank)
            .map(|axis| match (at(self, axis), at(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect();
        Shape::new(&dims?).ok()
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflowing_products_are_refused() {
        assert!(Shape::new(&[usize::MAX, 2]).is_err());
        assert!(Shape::new(&[usize::MAX, 0]).is_err(), "strides must not overflow either");
        assert!(Shape::from_i64(&[2, -1]).is_err());
        assert!(Shape::new(&[1; MAX_RANK + 1]).is_err());
    }

    #[test]
    fn scalars_hold_one_element() {
        assert_eq!(Shape::scalar().num_elements(), 1);
        assert_eq!(Shape::new(&[3, 0]).unwrap().num_elements(), 0);
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(Shape::new(&[2, 3, 4]).unwrap().strides().as_slice(), &[12, 4, 1]);
    }

    #[test]
    fn broadcasting_follows_onnx() {
        let s = |d: &[usize]| Shape::new(d).unwrap();
        assert_eq!(s(&[2, 1, 4]).broadcast(&s(&[3, 1])), Some(s(&[2, 3, 4])));
        assert_eq!(s(&[0]).broadcast(&s(&[1])), Some(s(&[0])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
    }
}

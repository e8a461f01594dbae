//! Tensors from and to [`ndarray`] arrays.

use ndarray::{ArrayBase, ArrayViewD, Data, Dimension, IxDyn};
use planish_tensor::{DTypeMismatch, Element, PayloadError, Shape, Tensor};

/// A tensor of an array's elements, in the array's logical order.
///
/// # Errors
/// If the array has more axes than a tensor may have.
///
/// ```
/// let array = ndarray::arr2(&[[1f32, 2.0], [3.0, 4.0]]);
/// let tensor = planish::array::tensor_from(&array.t())?;
/// assert_eq!(tensor.as_slice::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
/// assert_eq!(planish::array::view::<f32>(&tensor)?, array.t().into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tensor_from<T, S, D>(array: &ArrayBase<S, D>) -> Result<Tensor, PayloadError>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    let wrong = |_| PayloadError::Size { dtype: T::DTYPE, shape: Shape::scalar(), expected: 0, got: array.len() };
    let shape = Shape::new(array.shape()).map_err(wrong)?;
    match array.as_slice() {
        Some(elements) => Tensor::new(shape, elements),
        None => Tensor::new(shape, &array.iter().copied().collect::<Vec<T>>()),
    }
}

/// A tensor's elements as an array, nothing copied.
///
/// # Errors
/// If the tensor's dtype is not `T`.
pub fn view<T: Element>(tensor: &Tensor) -> Result<ArrayViewD<'_, T>, DTypeMismatch> {
    let elements = tensor.as_slice::<T>()?;
    let view = ArrayViewD::from_shape(IxDyn(tensor.shape()), elements);
    Ok(view.expect("a tensor holds as many elements as its shape says"))
}

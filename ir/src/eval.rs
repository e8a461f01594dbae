//! What an operator is given to evaluate with: its inputs, the session's memory, threads, deadline and cancel token.

use crate::Graph;
use planish_kernels::Threads;
use planish_tensor::{
    DType, DTypeMismatch, Element, Memory, MemoryError, PayloadError, Shape, ShapeError, Tensor, TensorMut, Value,
};
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// Why an operator could not compute its outputs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OpError {
    /// The inputs' values or shapes are wrong for the operator.
    Invalid(String),
    /// The inputs are right, but planish cannot compute this.
    Unsupported(String),
    /// The memory budget is spent.
    Memory(MemoryError),
    /// The deadline passed.
    DeadlineExceeded,
    /// The run was cancelled.
    Cancelled,
    /// An error in a node of a subgraph.
    InBody {
        /// The node's name.
        node: String,
        /// What happened there.
        source: Box<OpError>,
    },
    /// A broken promise of planish itself.
    Internal(String),
}

impl OpError {
    /// An error of the inputs.
    pub fn invalid(message: impl Into<String>) -> OpError {
        OpError::Invalid(message.into())
    }

    /// A feature that planish lacks.
    pub fn unsupported(message: impl Into<String>) -> OpError {
        OpError::Unsupported(message.into())
    }

    /// The error itself, out of the bodies that it happened in.
    pub fn root(&self) -> &OpError {
        let mut error = self;
        while let OpError::InBody { source, .. } = error {
            error = source;
        }
        error
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpError::Invalid(message) => f.write_str(message),
            OpError::Unsupported(message) => write!(f, "unsupported: {message}"),
            OpError::Memory(error) => error.fmt(f),
            OpError::DeadlineExceeded => f.write_str("the time limit passed"),
            OpError::Cancelled => f.write_str("the run was cancelled"),
            OpError::InBody { node, source } => write!(f, "in node {node:?}: {source}"),
            OpError::Internal(message) => write!(f, "internal error: {message}"),
        }
    }
}

impl std::error::Error for OpError {}

impl From<MemoryError> for OpError {
    fn from(error: MemoryError) -> Self {
        OpError::Memory(error)
    }
}

impl From<PayloadError> for OpError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Memory(error) => OpError::Memory(error),
            other => OpError::Invalid(other.to_string()),
        }
    }
}

impl From<ShapeError> for OpError {
    fn from(error: ShapeError) -> Self {
        OpError::Invalid(error.to_string())
    }
}

impl From<DTypeMismatch> for OpError {
    fn from(error: DTypeMismatch) -> Self {
        OpError::Invalid(error.to_string())
    }
}

impl From<crate::InferError> for OpError {
    fn from(error: crate::InferError) -> Self {
        OpError::Invalid(error.0)
    }
}

/// Asks a run to stop, from any thread. Cloning gives another handle to the same request.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has used yet.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks runs that hold this token to stop at their next check.
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Runs the body of a control-flow operator; the executor implements it.
pub trait RunBody: Sync {
    /// Runs `body` on its inputs, then its captured values, in order.
    fn run_body(
        &self,
        body: &Arc<Graph>,
        inputs: Vec<Option<Value>>,
        cx: &mut EvalCx<'_>,
    ) -> Result<Vec<Value>, OpError>;
}

/// The means of evaluation, the same from the first node of a run to its last.
pub struct EvalCx<'a> {
    /// What tensor-sized allocations are charged to.
    pub memory: Memory,
    /// The session's threads.
    pub threads: Threads,
    /// When the run must have ended.
    pub deadline: Option<Instant>,
    /// A request to stop early.
    pub cancel: CancelToken,
    /// What runs the bodies of control-flow operators.
    pub bodies: &'a dyn RunBody,
    /// Which of the node's outputs somebody reads. Outputs beyond its end are not read.
    pub wanted: SmallVec<[bool; 4]>,
}

impl<'a> EvalCx<'a> {
    /// A context without limits, on the calling thread alone.
    pub fn unlimited(bodies: &'a dyn RunBody) -> EvalCx<'a> {
        EvalCx {
            memory: Memory::global().clone(),
            threads: Threads::single(),
            deadline: None,
            cancel: CancelToken::new(),
            bodies,
            wanted: smallvec![true],
        }
    }

    /// An error if the run must stop. Called between nodes, and by long kernels between tiles.
    pub fn check(&self) -> Result<(), OpError> {
        if self.cancel.is_cancelled() {
            return Err(OpError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(OpError::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Whether somebody reads output `index` of the node being evaluated.
    pub fn wants(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(false)
    }

    /// A tensor to fill: its elements are valid but unspecified.
    pub fn uninit<T: Element>(&self, shape: Shape) -> Result<TensorMut<T>, OpError> {
        Ok(TensorMut::uninit(&self.memory, shape)?)
    }

    /// A tensor of zeros.
    pub fn zeros<T: Element>(&self, shape: Shape) -> Result<TensorMut<T>, OpError> {
        Ok(TensorMut::zeros(&self.memory, shape)?)
    }

    /// A tensor of these elements.
    pub fn tensor<T: Element>(&self, shape: Shape, data: &[T]) -> Result<Tensor, OpError> {
        Ok(Tensor::new_in(&self.memory, shape, data)?)
    }

    /// Runs the body of a control-flow operator on its inputs, then its captured values.
    pub fn run_body(&mut self, body: &Arc<Graph>, inputs: Vec<Option<Value>>) -> Result<Vec<Value>, OpError> {
        let bodies = self.bodies;
        let wanted = std::mem::take(&mut self.wanted);
        let outputs = bodies.run_body(body, inputs, self);
        self.wanted = wanted;
        outputs
    }
}

/// The values a node is evaluated on; `None` for an absent optional input.
///
/// A value that nobody reads later is given away, so that an operator may find itself its only owner and write in
/// place ([`Tensor::try_into_mut`]).
#[derive(Debug, Default)]
pub struct Inputs(SmallVec<[Option<Value>; 4]>);

impl Inputs {
    /// Inputs of these values.
    pub fn new(values: impl IntoIterator<Item = Option<Value>>) -> Inputs {
        Inputs(values.into_iter().collect())
    }

    /// The number of inputs, absent ones included, captured values too.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether input `index` is there.
    pub fn has(&self, index: usize) -> bool {
        self.get(index).is_some()
    }

    /// Input `index`, where it is there.
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index)?.as_ref()
    }

    /// Input `index`.
    pub fn value(&self, index: usize) -> Result<&Value, OpError> {
        self.get(index).ok_or_else(|| absent(index))
    }

    /// Takes input `index` out.
    pub fn take(&mut self, index: usize) -> Result<Value, OpError> {
        self.0.get_mut(index).and_then(Option::take).ok_or_else(|| absent(index))
    }

    /// The tensor of input `index`.
    pub fn tensor(&self, index: usize) -> Result<&Tensor, OpError> {
        self.value(index)?.as_tensor().ok_or_else(|| not_a_tensor(index))
    }

    /// The tensor of an optional input.
    pub fn opt_tensor(&self, index: usize) -> Result<Option<&Tensor>, OpError> {
        match self.get(index) {
            None => Ok(None),
            Some(value) => value.as_tensor().map(Some).ok_or_else(|| not_a_tensor(index)),
        }
    }

    /// Takes the tensor of input `index` out.
    pub fn take_tensor(&mut self, index: usize) -> Result<Tensor, OpError> {
        self.take(index)?.into_tensor().ok_or_else(|| not_a_tensor(index))
    }

    /// The elements of input `index`, of dtype `T`.
    pub fn slice<T: Element>(&self, index: usize) -> Result<&[T], OpError> {
        Ok(self.tensor(index)?.as_slice::<T>()?)
    }

    /// The elements of an optional input, of dtype `T`.
    pub fn opt_slice<T: Element>(&self, index: usize) -> Result<Option<&[T]>, OpError> {
        Ok(self.opt_tensor(index)?.map(|t| t.as_slice::<T>()).transpose()?)
    }

    /// The elements of an `int64` or `int32` input, widened.
    pub fn ints(&self, index: usize) -> Result<Vec<i64>, OpError> {
        let tensor = self.tensor(index)?;
        match tensor.dtype() {
            DType::I32 => Ok(tensor.as_slice::<i32>()?.iter().map(|&v| i64::from(v)).collect()),
            _ => Ok(tensor.as_slice::<i64>()?.to_vec()),
        }
    }

    /// The elements of an optional `int64` or `int32` input, widened.
    pub fn opt_ints(&self, index: usize) -> Result<Option<Vec<i64>>, OpError> {
        if self.has(index) { self.ints(index).map(Some) } else { Ok(None) }
    }

    /// The only element of input `index`, of dtype `T`.
    pub fn scalar<T: Element>(&self, index: usize) -> Result<T, OpError> {
        match self.slice::<T>(index)? {
            [value] => Ok(*value),
            other => Err(OpError::invalid(format!("input {index}: expected one element, got {}", other.len()))),
        }
    }

    /// The only element of an `int64` or `int32` input, widened.
    pub fn int(&self, index: usize) -> Result<i64, OpError> {
        match self.ints(index)?[..] {
            [value] => Ok(value),
            ref other => Err(OpError::invalid(format!("input {index}: expected one element, got {}", other.len()))),
        }
    }

    /// All values, in order.
    pub fn into_values(self) -> SmallVec<[Option<Value>; 4]> {
        self.0
    }
}

fn absent(index: usize) -> OpError {
    OpError::Invalid(format!("input {index} is missing"))
}

fn not_a_tensor(index: usize) -> OpError {
    OpError::Invalid(format!("input {index} is not a tensor"))
}

/// What a node computed; `None` for an output that nobody reads.
#[derive(Debug, Default)]
pub struct Outputs(SmallVec<[Option<Value>; 2]>);

impl Outputs {
    /// Outputs of these values.
    pub fn new(values: impl IntoIterator<Item = Option<Value>>) -> Outputs {
        Outputs(values.into_iter().collect())
    }

    /// All values, in order.
    pub fn into_values(self) -> SmallVec<[Option<Value>; 2]> {
        self.0
    }
}

impl From<Tensor> for Outputs {
    fn from(tensor: Tensor) -> Outputs {
        Outputs(smallvec![Some(Value::Tensor(tensor))])
    }
}

impl From<Value> for Outputs {
    fn from(value: Value) -> Outputs {
        Outputs(smallvec![Some(value)])
    }
}

impl<const N: usize> From<[Tensor; N]> for Outputs {
    fn from(tensors: [Tensor; N]) -> Outputs {
        Outputs(tensors.into_iter().map(|t| Some(Value::Tensor(t))).collect())
    }
}

impl FromIterator<Tensor> for Outputs {
    fn from_iter<I: IntoIterator<Item = Tensor>>(tensors: I) -> Outputs {
        Outputs(tensors.into_iter().map(|t| Some(Value::Tensor(t))).collect())
    }
}

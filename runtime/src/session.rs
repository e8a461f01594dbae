//! Sessions: a model loaded to run.

pub use crate::plan::NodeProfile;
use crate::plan::PlanSet;
use crate::{RunError, SessionError, Unsupported, unsupported};
use planish_ir::{CancelToken, EvalCx, Graph, Interpreter, Type};
use planish_kernels::Threads;
use planish_tensor::{Memory, Value};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// The most bytes that tensors of a session may take unless its options say otherwise: enough for the models that planish
/// is for, and little enough that a small file which asks for more does no harm.
pub const DEFAULT_MAX_MEMORY_BYTES: usize = if usize::BITS > 32 { 1 << 32 } else { 1 << 30 };

/// How a session is to run.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Whether a model rewrites its graph for planish before it makes a session of it. A session runs the graph that it
    /// is given.
    pub optimize: bool,
    /// Threads to compute on, the calling one included; 0 for one a physical core.
    pub threads: usize,
    /// The most bytes that tensors of this session may take, [`DEFAULT_MAX_MEMORY_BYTES`] unless set; only the system
    /// limits if `None`.
    pub max_memory_bytes: Option<usize>,
    /// Values inside the graph to give out besides its outputs, by name.
    pub extra_outputs: Vec<String>,
    /// Only these of the graph's outputs are computed, if given.
    pub only_outputs: Option<Vec<String>>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        let max_memory_bytes = Some(DEFAULT_MAX_MEMORY_BYTES);
        SessionOptions { optimize: true, threads: 0, max_memory_bytes, extra_outputs: Vec::new(), only_outputs: None }
    }
}

/// How one run is to go.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The longest the run may take.
    pub timeout: Option<Duration>,
    /// Stops the run from another thread.
    pub cancel: CancelToken,
}

/// A graph input that a run must be given.
#[derive(Clone, Debug, PartialEq)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub ty: Type,
}

/// An output that a run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputInfo {
    /// Its name.
    pub name: String,
    /// What is known of its type.
    pub ty: Type,
}

/// A model loaded to run, any number of times, from any number of threads at once.
#[derive(Debug)]
pub struct Session {
    plans: PlanSet,
    memory: Memory,
    threads: Threads,
    inputs: Vec<InputInfo>,
    outputs: Vec<OutputInfo>,
}

impl Session {
    /// Plans `graph`, whose facts are inferred, and packs its weights. The graph is taken so that constants can be freed
    /// as soon as they are packed.
    pub fn new(mut graph: Graph, options: &SessionOptions) -> Result<Session, SessionError> {
        check_runs(&graph)?;
        choose_outputs(&mut graph, options)?;
        let threads = match options.threads {
            0 => physical_cores(),
            n => n,
        };
        let threads = Threads::new(threads).map_err(|e| SessionError::Threads(e.to_string()))?;
        let memory = options.max_memory_bytes.map_or_else(Memory::unlimited, Memory::with_limit);
        let mut plans = PlanSet::new(&graph)?;
        let input = |v| InputInfo { name: graph.value_name(v).to_owned(), ty: graph.fact(v).ty.clone() };
        let inputs = graph.inputs().map(input).collect();
        let output = |o: &planish_ir::GraphOutput| {
            let known = &graph.fact(o.value).ty;
            OutputInfo { name: o.name.clone(), ty: known.unify(&o.declared).unwrap_or_else(|_| known.clone()) }
        };
        let outputs = graph.outputs().iter().map(output).collect();
        drop(graph);
        let mut cx = EvalCx::unlimited(&Interpreter);
        (cx.memory, cx.threads) = (memory.clone(), threads.clone());
        plans.prepare(&mut cx)?;
        // What was made on the way to packed weights is of no use to runs.
        memory.trim();
        Ok(Session { plans, memory, threads, inputs, outputs })
    }

    /// The inputs that a run must be given.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.inputs
    }

    /// The outputs that a run gives.
    pub fn outputs(&self) -> &[OutputInfo] {
        &self.outputs
    }

    /// The account that this session's tensors are charged to.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The number of threads this session computes on.
    pub fn num_threads(&self) -> usize {
        self.threads.count()
    }

    /// Runs the model on these inputs, by name. The outputs come in the order of [`outputs`](Self::outputs).
    pub fn run<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, Value)>,
        options: &RunOptions,
    ) -> Result<Vec<Value>, RunError> {
        let mut cx = self.context(options);
        let values = self.arrange(inputs)?;
        self.plans.main.run(values, &mut cx, None).map_err(|e| e.into_run_error())
    }

    /// Runs the model and tells what each node took.
    pub fn run_profiled<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, Value)>,
        options: &RunOptions,
    ) -> Result<(Vec<Value>, Vec<NodeProfile>), RunError> {
        let mut cx = self.context(options);
        let values = self.arrange(inputs)?;
        let mut profile = Vec::new();
        let outputs = self.plans.main.run(values, &mut cx, Some(&mut profile)).map_err(|e| e.into_run_error())?;
        Ok((outputs, profile))
    }

    fn context(&self, options: &RunOptions) -> EvalCx<'_> {
        let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let cancel = options.cancel.clone();
        let must_stop = move || cancel.is_cancelled() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        EvalCx {
            memory: self.memory.clone(),
            threads: self.threads.stopped_by(must_stop),
            deadline,
            cancel: options.cancel.clone(),
            bodies: &self.plans,
            wanted: SmallVec::new(),
        }
    }

    /// The inputs in the graph's order, each checked against its declared type.
    fn arrange<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<SmallVec<[Option<Value>; 4]>, RunError> {
        let mut values: SmallVec<[Option<Value>; 4]> = SmallVec::from_elem(None, self.inputs.len());
        for (name, value) in inputs {
            let Some(position) = self.inputs.iter().position(|i| i.name == name) else {
                let known: Vec<&str> = self.inputs.iter().map(|i| i.name.as_str()).collect();
                return Err(RunError::input(format!("the model has no input {name:?}; its inputs are {known:?}")));
            };
            check_input(&self.inputs[position], &value)?;
            values[position] = Some(value);
        }
        match values.iter().position(Option::is_none) {
            Some(missing) => {
                let InputInfo { name, ty } = &self.inputs[missing];
                Err(RunError::input(format!("input {name:?} ({ty}) is missing")))
            }
            None => Ok(values),
        }
    }
}

fn check_input(input: &InputInfo, value: &Value) -> Result<(), RunError> {
    let fits = match (&input.ty, value) {
        (Type::Unknown, _) => true,
        (Type::Tensor { dtype, shape }, Value::Tensor(tensor)) => {
            dtype.is_none_or(|d| d == tensor.dtype())
                && shape.as_ref().is_none_or(|dims| {
                    dims.len() == tensor.rank()
                        && dims
                            .iter()
                            .zip(tensor.shape().iter())
                            .all(|(dim, &got)| dim.as_known().is_none_or(|d| usize::try_from(d) == Ok(got)))
                })
        }
        (declared, value) => declared.unify(&Type::from(&value.value_type())).is_ok(),
    };
    if fits {
        return Ok(());
    }
    let got = match value {
        Value::Tensor(tensor) => format!("{tensor:?}"),
        other => other.value_type().to_string(),
    };
    Err(RunError::input(format!("input {:?}: expected {}, got {got}", input.name, input.ty)))
}

/// Refuses a graph of which planish cannot run every node, and tells them all.
pub fn check_runs(graph: &Graph) -> Result<(), SessionError> {
    let mut missing = unsupported(graph);
    missing.extend(graph.check_types().into_iter().map(Unsupported::from));
    if missing.is_empty() { Ok(()) } else { Err(SessionError::Unsupported(missing)) }
}

/// Makes the graph's outputs those that the options ask for.
pub fn choose_outputs(graph: &mut Graph, options: &SessionOptions) -> Result<(), SessionError> {
    if let Some(only) = &options.only_outputs {
        let declared = graph.clear_outputs();
        for name in only {
            let found = declared.iter().find(|o| o.name == *name).map(|o| (o.value, o.declared.clone()));
            let (value, ty) = found
                .or_else(|| Some((graph.value(name)?, Type::Unknown)))
                .ok_or_else(|| SessionError::NoSuchValue(name.clone()))?;
            graph.add_output(name, value, ty)?;
        }
    }
    for name in &options.extra_outputs {
        if !graph.outputs().iter().any(|o| o.name == *name) {
            let value = graph.value(name).ok_or_else(|| SessionError::NoSuchValue(name.clone()))?;
            graph.add_output(name, value, Type::Unknown)?;
        }
    }
    Ok(())
}

/// The number of physical cores this process may use.
pub fn physical_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

//! A graph as steps in order.

use crate::{RunError, SessionError};
use planish_ir::{Attribute, Attributes, Dim, EvalCx, Fact, Facts, Graph, GraphError, Inputs, NodeId, NodeKind};
use planish_ir::{Op, OpError, Outputs, RunBody, Type, ValueId};
use planish_tensor::{Tensor, Value};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A graph made ready to run: steps in topological order over numbered slots, one a value.
#[derive(Debug)]
pub(crate) struct Plan {
    steps: Vec<Step>,
    /// Constants still read by a step or given out, by slot.
    constants: HashMap<usize, Tensor>,
    num_slots: usize,
    /// The slot of each input, and then of each value captured.
    inputs: Vec<usize>,
    num_captures: usize,
    /// The slot of each output, and whether the output is the slot's last reader.
    outputs: Vec<Read>,
}

/// One node's evaluation.
#[derive(Debug)]
struct Step {
    node: String,
    operator: String,
    op: Arc<dyn Op>,
    /// The operator's attributes, until it is prepared.
    attributes: Attributes,
    /// Whether it exchanges the axes of a matrix.
    transposes: bool,
    reads: Reads,
    /// The type of each input.
    types: SmallVec<[Type; 4]>,
    /// The slot of each output; `None` where nobody reads it.
    writes: SmallVec<[Option<usize>; 2]>,
    /// What `op` has packed and no longer reads.
    packed: Vec<Packed>,
    bodies: Vec<Body>,
}

/// A body that a step may run, and which of the step's inputs it captures.
#[derive(Debug)]
struct Body {
    address: usize,
    captured: Range<usize>,
}

/// A constant that a body captures.
struct Captured {
    body: usize,
    /// Which of the body's captures it is.
    index: usize,
    constant: Tensor,
}

/// A constant that an operator has packed into a form of its own.
#[derive(Clone, Debug)]
struct Packed {
    /// The input that it was.
    input: usize,
    fact: Fact,
    num_bytes: u64,
}

/// All that the form which an operator is prepared in depends on. Layers may share their weights: they then share what is
/// packed of them too.
struct Twin {
    operator: String,
    attributes: Attributes,
    types: SmallVec<[Type; 4]>,
    num_outputs: usize,
    /// The slots of constants, by input.
    constants: SmallVec<[Option<usize>; 4]>,
}

impl Twin {
    /// `None` for a step that reads no constant.
    fn of(step: &mut Step, all: &HashMap<usize, Tensor>) -> Option<Twin> {
        let attributes = std::mem::take(&mut step.attributes);
        let slot = |read: &Option<Read>| (*read).map(|read| read.slot).filter(|slot| all.contains_key(slot));
        let constants: SmallVec<[Option<usize>; 4]> = step.reads.iter().map(slot).collect();
        let reads_constant = constants.iter().any(Option::is_some);
        reads_constant.then(|| Twin {
            operator: step.operator.clone(),
            attributes,
            types: step.types.clone(),
            num_outputs: step.writes.len(),
            constants,
        })
    }
}

/// What became of an operator and its constants.
struct PreparedTwin {
    op: Arc<dyn Op>,
    dropped: Vec<usize>,
    packed: Vec<Packed>,
}

/// Operators that have been prepared, by the slots of the constants that they read.
#[derive(Default)]
struct Twins(HashMap<SmallVec<[Option<usize>; 4]>, Vec<(Twin, PreparedTwin)>>);

impl Twins {
    fn find(&self, sought: &Twin) -> Option<&PreparedTwin> {
        let is_it = |twin: &Twin| {
            (&twin.operator, &twin.types, twin.num_outputs) == (&sought.operator, &sought.types, sought.num_outputs)
                && twin.attributes == sought.attributes
        };
        self.0.get(&sought.constants)?.iter().find(|(twin, _)| is_it(twin)).map(|(_, prepared)| prepared)
    }

    fn add(&mut self, twin: Twin, prepared: PreparedTwin) {
        self.0.entry(twin.constants.clone()).or_default().push((twin, prepared));
    }
}

/// What a step reads; `None` for an absent optional input.
type Reads = SmallVec<[Option<Read>; 4]>;

/// A slot read by a step.
#[derive(Clone, Copy, Debug)]
struct Read {
    slot: usize,
    /// Whether nobody reads the slot later, so that the reader gets the value to keep.
    is_last: bool,
}

/// What one step of a profiled run did.
#[derive(Clone, Debug)]
pub struct NodeProfile {
    /// The node's name.
    pub node: String,
    /// The operator's name, with its domain where it is not ONNX's own.
    pub operator: String,
    /// Wall time.
    pub time: Duration,
    /// Multiply-accumulate operations at the shapes of this run; 0 where the operator counts none.
    pub macs: u64,
    /// Whether codes of 8 bits or fewer are among what is multiplied.
    pub has_codes: bool,
    /// Bytes of tensors read and written, weights included: of what is only picked from, no more than was given out.
    pub bytes: u64,
    /// Bytes of weights among them.
    pub weight_bytes: u64,
    /// The first output's type and shape.
    pub output: String,
}

impl Plan {
    /// The steps of `graph` that its outputs depend on.
    pub(crate) fn new(graph: &Graph) -> Result<Plan, GraphError> {
        let order = graph.live_topological_order()?;
        let mut slots = Slots::default();
        let inputs = graph.inputs().chain(graph.captures()).map(|v| slots.of(v)).collect();
        let mut constants = HashMap::new();
        let mut steps = Vec::new();
        for &id in &order {
            match &graph.node(id).kind {
                NodeKind::Input => {}
                NodeKind::Constant(tensor) => {
                    constants.insert(slots.of(ValueId { node: id, output: 0 }), tensor.clone());
                }
                NodeKind::Operator(_) => steps.push((id, slots.reads(graph, id))),
            }
        }
        let given_out: Vec<usize> = graph.outputs().iter().map(|o| slots.of(o.value)).collect();
        let mut is_done: Vec<bool> = vec![false; slots.0.len()];
        constants.keys().for_each(|&slot| is_done[slot] = true);
        let mut outputs: Vec<Read> = given_out.iter().map(|&slot| Read { slot, is_last: false }).collect();
        let reads = steps.iter_mut().flat_map(|(_, reads)| reads.iter_mut().flatten());
        let in_reverse: Vec<&mut Read> = reads.chain(&mut outputs).collect();
        for read in in_reverse.into_iter().rev() {
            read.is_last = !std::mem::replace(&mut is_done[read.slot], true);
        }
        let steps: Result<Vec<Step>, GraphError> =
            steps.into_iter().map(|(id, reads)| Step::new(graph, id, reads, &slots)).collect();
        let num_captures = graph.captures().len();
        Ok(Plan { steps: steps?, constants, num_slots: slots.0.len(), inputs, num_captures, outputs })
    }

    /// Takes the constants that are captured by bodies for which `is_own` says that no other step runs them: such a body may
    /// hold them, and pack them, itself.
    fn hand_down(&mut self, is_own: impl Fn(usize) -> bool) -> Vec<Captured> {
        let mut handed = Vec::new();
        for step in &mut self.steps {
            for body in step.bodies.iter().filter(|body| is_own(body.address)) {
                for (index, read) in step.reads[body.captured.clone()].iter_mut().enumerate() {
                    let Some(constant) = read.and_then(|read| self.constants.get(&read.slot)) else { continue };
                    handed.push(Captured { body: body.address, index, constant: constant.clone() });
                    *read = None;
                }
            }
        }
        if !handed.is_empty() {
            let reads = self.steps.iter().flat_map(|step| step.reads.iter().flatten()).chain(&self.outputs);
            let read: HashSet<usize> = reads.map(|read| read.slot).collect();
            self.constants.retain(|slot, _| read.contains(slot));
        }
        handed
    }

    /// Holds a constant that it captured before.
    fn take_captured(&mut self, index: usize, constant: Tensor) {
        let first = self.inputs.len() - self.num_captures;
        if let Some(&slot) = self.inputs.get(first + index) {
            self.constants.insert(slot, constant);
        }
    }

    /// Computes the steps that depend on constants alone, lets every operator pack its constants into a form of its own,
    /// and drops constants that nobody reads any more.
    ///
    /// The graph that the plan was made from should be gone by now, so that dropping a constant frees it.
    pub(crate) fn prepare(&mut self, cx: &mut EvalCx<'_>) -> Result<(), SessionError> {
        let mut readers: HashMap<usize, usize> = HashMap::new();
        let step_reads = self.steps.iter().flat_map(|s| s.reads.iter().flatten());
        for read in step_reads.chain(&self.outputs) {
            *readers.entry(read.slot).or_default() += 1;
        }
        self.pack_transposed(cx, &mut readers)?;
        self.rearrange_constants(cx, &mut readers)?;
        let mut twins = Twins::default();
        for step in &mut self.steps {
            let twin = Twin::of(step, &self.constants);
            if let Some(prepared) = twin.as_ref().and_then(|twin| twins.find(twin)) {
                step.op = prepared.op.clone();
                step.packed.extend(prepared.packed.iter().cloned());
                for &index in &prepared.dropped {
                    if let Some(read) = step.reads.get_mut(index).and_then(Option::take) {
                        drop_reader(&mut self.constants, &mut readers, read.slot);
                    }
                }
                continue;
            }
            let known = |(read, ty): (&Option<Read>, &Type)| match self.constants.get(&(*read)?.slot) {
                Some(tensor) => Some(Fact::constant(tensor.clone())),
                None => Some(Fact::of_type(ty.clone())),
            };
            let known: SmallVec<[Option<Fact>; 4]> = step.reads.iter().zip(&step.types).map(known).collect();
            let prepared = {
                let facts: SmallVec<[Option<&Fact>; 4]> = known.iter().map(Option::as_ref).collect();
                step.op.prepare(cx, &Facts::new(&facts, step.writes.len()))
            };
            let fail = |source| SessionError::Prepare { node: step.node.clone(), source };
            let Some(prepared) = prepared.map_err(fail)? else { continue };
            let packed = |&input: &usize| {
                let fact = known.get(input)?.as_ref()?;
                let num_bytes = fact.constant.as_ref()?.num_bytes() as u64;
                Some(Packed { input, fact: Fact::of_type(fact.ty.clone()), num_bytes })
            };
            let packed: Vec<Packed> = prepared.dropped.iter().filter_map(packed).collect();
            drop(known);
            if let Some(twin) = twin {
                let (op, dropped) = (prepared.op.clone(), prepared.dropped.clone());
                twins.add(twin, PreparedTwin { op, dropped, packed: packed.clone() });
            }
            step.packed.extend(packed);
            step.op = prepared.op;
            for index in prepared.dropped {
                if let Some(read) = step.reads.get_mut(index).and_then(Option::take) {
                    drop_reader(&mut self.constants, &mut readers, read.slot);
                }
            }
            // Constants that were computed leave their memory to the pool, and packed ones take none from there.
            cx.memory.trim();
        }
        Ok(())
    }

    /// Lets operators pack constants that the graph transposes first as they lie, such as the embedding that a language model
    /// ends with, too: it is shared with the first step, and a transpose of it would be there a third time. Transposes that
    /// nobody reads any more are gone.
    fn pack_transposed(&mut self, cx: &EvalCx<'_>, readers: &mut HashMap<usize, usize>) -> Result<(), SessionError> {
        let source = |step: &Step| match (step.reads.as_slice(), step.writes.as_slice()) {
            (&[Some(read)], &[Some(slot)]) if step.transposes => Some((slot, self.constants.get(&read.slot)?.clone())),
            _ => None,
        };
        let transposed: HashMap<usize, Tensor> = self.steps.iter().filter_map(source).collect();
        for step in &mut self.steps {
            for input in 0..step.reads.len() {
                let Some((slot, matrix)) = step.reads[input].and_then(|r| transposed.get_key_value(&r.slot)) else {
                    continue;
                };
                let fail = |source| SessionError::Prepare { node: step.node.clone(), source };
                let Some(prepared) = step.op.prepare_transposed(cx, input, matrix).map_err(fail)? else { continue };
                let dims: Vec<Dim> = matrix.shape().iter().rev().map(|&dim| Dim::known(dim as i64)).collect();
                let fact = Fact::shaped(Some(matrix.dtype()), dims);
                step.packed.push(Packed { input, fact, num_bytes: matrix.num_bytes() as u64 });
                step.op = prepared.op;
                step.reads[input] = None;
                drop_reader(&mut self.constants, readers, *slot);
            }
        }
        let is_read = |slot: usize| readers.get(&slot).is_some_and(|&count| count > 0);
        let (kept, gone): (Vec<Step>, Vec<Step>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| !step.transposes || step.writes.iter().flatten().any(|&slot| is_read(slot)));
        self.steps = kept;
        for read in gone.iter().flat_map(|step| step.reads.iter().flatten()) {
            drop_reader(&mut self.constants, readers, read.slot);
        }
        Ok(())
    }

    /// Computes once and for all the steps that only put a constant in another order or take it for what its codes stand
    /// for, such as the transposed embedding that a language model ends with, or weights that come as integers and
    /// scales: what passes fold adds to the file, and they leave large results alone.
    fn rearrange_constants(
        &mut self,
        cx: &mut EvalCx<'_>,
        readers: &mut HashMap<usize, usize>,
    ) -> Result<(), SessionError> {
        let (steps, constants) = (std::mem::take(&mut self.steps), &mut self.constants);
        for mut step in steps {
            let reads = step.reads.iter_mut().flatten();
            reads.for_each(|read| read.is_last &= !constants.contains_key(&read.slot));
            let is_constant = step.reads.iter().flatten().all(|read| constants.contains_key(&read.slot));
            let &[Some(slot)] = step.writes.as_slice() else {
                self.steps.push(step);
                continue;
            };
            if !is_constant || !OF_CONSTANTS.contains(&step.operator.as_str()) {
                self.steps.push(step);
                continue;
            }
            let fail = |source| SessionError::Prepare { node: step.node.clone(), source };
            // What nobody else reads is the operator's own, to write the result over.
            let mut take = |slot: usize| match readers.get(&slot) {
                Some(1) => constants.remove(&slot),
                _ => constants.get(&slot).cloned(),
            };
            let inputs: Vec<Option<Value>> =
                step.reads.iter().map(|read| take((*read)?.slot).map(Value::Tensor)).collect();
            let inputs = Inputs::new(inputs);
            let made = step.op.eval(cx, inputs).map_err(fail)?.into_values().into_iter().next().flatten();
            let Some(Value::Tensor(made)) = made else {
                return Err(fail(OpError::Internal("what is made of a tensor is a tensor".to_owned())));
            };
            constants.insert(slot, made);
            for read in step.reads.iter().flatten() {
                drop_reader(constants, readers, read.slot);
            }
            // The next weights are rarely of these sizes.
            cx.memory.trim();
        }
        self.outputs.iter_mut().for_each(|read| read.is_last &= !constants.contains_key(&read.slot));
        Ok(())
    }

    /// Runs every step and gives the outputs, in order.
    pub(crate) fn run(
        &self,
        inputs: impl IntoIterator<Item = Option<Value>>,
        cx: &mut EvalCx<'_>,
        mut profile: Option<&mut Vec<NodeProfile>>,
    ) -> Result<Vec<Value>, StepError> {
        let mut slots: Vec<Option<Value>> = Vec::new();
        slots.resize_with(self.num_slots, || None);
        for (&slot, value) in self.inputs.iter().zip(inputs) {
            slots[slot] = value;
        }
        for step in &self.steps {
            let fail = |source| StepError { node: step.node.clone(), operator: step.operator.clone(), source };
            cx.check().map_err(fail)?;
            let inputs = Inputs::new(step.reads.iter().map(|r| r.and_then(|r| self.read(&mut slots, r))));
            cx.wanted.clear();
            cx.wanted.extend(step.writes.iter().map(Option::is_some));
            let outputs = match profile.as_deref_mut() {
                None => step.op.eval(cx, inputs),
                Some(profile) => step.eval_profiled(cx, inputs, &self.constants, profile),
            };
            let outputs = outputs.map_err(fail)?.into_values();
            for (slot, value) in step.writes.iter().zip(outputs) {
                if let Some(slot) = slot {
                    slots[*slot] = value;
                }
            }
        }
        // A kernel that was stopped has left its result unfinished.
        cx.check().map_err(StepError::outside_nodes)?;
        let give_out = |read: &Read| {
            let value = self.read(&mut slots, *read);
            value.ok_or_else(|| StepError::outside_nodes(OpError::Internal("an output has no value".to_owned())))
        };
        self.outputs.iter().map(give_out).collect()
    }

    fn read(&self, slots: &mut [Option<Value>], read: Read) -> Option<Value> {
        if read.is_last {
            slots[read.slot].take()
        } else if let Some(constant) = self.constants.get(&read.slot) {
            Some(Value::Tensor(constant.clone()))
        } else {
            slots[read.slot].clone()
        }
    }
}

/// The operators that are computed at load where all that they read is constant.
const OF_CONSTANTS: &[&str] = &["Cast", "DequantizeLinear", "Mul", "Transpose"];

/// Whether a node exchanges the axes of a matrix.
fn is_transposition(graph: &Graph, id: NodeId) -> bool {
    let is_exchange = |perm: &Attribute| *perm == Attribute::Ints(vec![1, 0]);
    let operator = graph.node(id).operator().filter(|o| o.is("Transpose"));
    operator.is_some_and(|o| o.attributes.get("perm").is_none_or(is_exchange))
}

/// Counts one reader of a slot less, and drops the constant there with the last.
fn drop_reader(constants: &mut HashMap<usize, Tensor>, readers: &mut HashMap<usize, usize>, slot: usize) {
    let count = readers.entry(slot).or_default();
    *count = count.saturating_sub(1);
    if *count == 0 {
        constants.remove(&slot);
    }
}

impl Step {
    fn new(graph: &Graph, id: NodeId, reads: Reads, slots: &Slots) -> Result<Step, GraphError> {
        let operator = graph.node(id).operator();
        let (operator, op) = operator
            .and_then(|o| Some((o, o.op()?)))
            .ok_or_else(|| GraphError::Broken(format!("node {:?} cannot run", graph.describe(id))))?;
        let writes = graph.node_outputs(id).map(|v| slots.0.get(&v).copied()).collect();
        let ty = |value: Option<ValueId>| value.map_or(Type::default(), |value| graph.fact(value).ty.clone());
        let types = graph.node_inputs(id).into_iter().map(ty).collect();
        let node = graph.node(id);
        let bodies = operator.subgraphs().scan(node.num_inputs() - node.num_captures(), |start, body| {
            let captured = *start..*start + body.captures().len();
            *start = captured.end;
            Some(Body { address: address(body), captured })
        });
        Ok(Step {
            node: graph.describe(id),
            operator: operator.full_name(),
            op: op.clone(),
            attributes: operator.attributes.clone(),
            transposes: is_transposition(graph, id),
            reads,
            types,
            writes,
            packed: Vec::new(),
            bodies: bodies.collect(),
        })
    }

    fn eval_profiled(
        &self,
        cx: &mut EvalCx<'_>,
        inputs: Inputs,
        constants: &HashMap<usize, Tensor>,
        profile: &mut Vec<NodeProfile>,
    ) -> Result<Outputs, OpError> {
        let mut known: Vec<Option<Fact>> = (0..inputs.len()).map(|i| inputs.get(i).map(Fact::of_value)).collect();
        for packed in &self.packed {
            if let Some(input) = known.get_mut(packed.input) {
                *input = Some(packed.fact.clone());
            }
        }
        let start = Instant::now();
        let outputs = self.op.eval(cx, inputs)?.into_values();
        let time = start.elapsed();
        let made: Vec<Fact> = outputs.iter().map(|v| v.as_ref().map(Fact::of_value).unwrap_or_default()).collect();
        let known: Vec<Option<&Fact>> = known.iter().map(Option::as_ref).collect();
        let macs = self.op.macs(&Facts::new(&known, made.len()), &made).as_known().unwrap_or(0);
        let (bytes, weight_bytes) = self.bytes_moved(&known, &made, constants);
        let is_of_codes = |fact: &&Fact| fact.dtype().is_some_and(|dtype| dtype.is_integer() && dtype.bits() <= 8);
        profile.push(NodeProfile {
            node: self.node.clone(),
            operator: self.operator.clone(),
            time,
            macs: u64::try_from(macs).unwrap_or(0),
            has_codes: known.iter().flatten().any(is_of_codes),
            bytes,
            weight_bytes,
            output: made.first().map(|f| f.ty.to_string()).unwrap_or_default(),
        });
        Ok(Outputs::new(outputs))
    }

    /// Bytes read and written, and those of weights among them.
    fn bytes_moved(&self, read: &[Option<&Fact>], made: &[Fact], constants: &HashMap<usize, Tensor>) -> (u64, u64) {
        if MOVE_NOTHING.contains(&self.operator.as_str()) {
            return (0, 0);
        }
        let size = |fact: &Fact| fact.constant.as_ref().map_or(0, |tensor| tensor.num_bytes() as u64);
        let made: u64 = made.iter().map(size).sum();
        let (mut bytes, mut weight_bytes) = (made, 0);
        for (i, fact) in read.iter().enumerate() {
            let packed = self.packed.iter().find(|packed| packed.input == i).map(|packed| packed.num_bytes);
            let is_constant =
                self.reads.get(i).copied().flatten().is_some_and(|read| constants.contains_key(&read.slot));
            let all = packed.unwrap_or_else(|| fact.map_or(0, size));
            let read = if i == 0 && PICK.contains(&self.operator.as_str()) { all.min(made) } else { all };
            bytes += read;
            weight_bytes += if is_constant || packed.is_some() { read } else { 0 };
        }
        (bytes, weight_bytes)
    }
}

/// Operators that give their input in another shape, or the shape alone.
const MOVE_NOTHING: &[&str] = &["Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"];

/// Operators that read of their first input what they give, and no more.
const PICK: &[&str] = &["Compress", "Gather", "GatherElements", "GatherND", "Slice"];

/// An error and the step it happened in.
pub(crate) struct StepError {
    node: String,
    operator: String,
    source: OpError,
}

impl StepError {
    fn outside_nodes(source: OpError) -> StepError {
        StepError { node: String::new(), operator: String::new(), source }
    }

    pub(crate) fn into_run_error(self) -> RunError {
        if self.operator.is_empty() {
            RunError::outside_nodes(&self.source)
        } else {
            RunError::in_node(&self.node, &self.operator, &self.source)
        }
    }

    fn into_op_error(self) -> OpError {
        OpError::InBody { node: self.node, source: Box::new(self.source) }
    }
}

/// Numbers for the values that somebody reads.
#[derive(Default)]
struct Slots(HashMap<ValueId, usize>);

impl Slots {
    fn of(&mut self, value: ValueId) -> usize {
        let next = self.0.len();
        *self.0.entry(value).or_insert(next)
    }

    fn reads(&mut self, graph: &Graph, id: NodeId) -> Reads {
        let read = |value: Option<ValueId>| value.map(|value| Read { slot: self.of(value), is_last: false });
        graph.node_inputs(id).into_iter().map(read).collect()
    }
}

/// The plans of a graph and of every body in it.
#[derive(Debug)]
pub(crate) struct PlanSet {
    pub(crate) main: Plan,
    /// By the body's address, which the `Arc` beside it keeps from being given to another.
    bodies: HashMap<usize, (Arc<Graph>, Plan)>,
    /// Their addresses, each after that of the graph that holds it.
    order: Vec<usize>,
}

fn address(body: &Arc<Graph>) -> usize {
    Arc::as_ptr(body).addr()
}

impl PlanSet {
    pub(crate) fn new(graph: &Graph) -> Result<PlanSet, GraphError> {
        let plan_body = |body: Arc<Graph>| Ok((address(&body), (body.clone(), Plan::new(&body)?)));
        let order = graph.bodies().iter().map(address).collect();
        let bodies: Result<HashMap<_, _>, GraphError> = graph.bodies().into_iter().map(plan_body).collect();
        Ok(PlanSet { main: Plan::new(graph)?, bodies: bodies?, order })
    }

    pub(crate) fn prepare(&mut self, cx: &mut EvalCx<'_>) -> Result<(), SessionError> {
        let mut users: HashMap<usize, usize> = HashMap::new();
        let plans = self.bodies.values().map(|(_, plan)| plan).chain([&self.main]);
        for body in plans.flat_map(|plan| plan.steps.iter().flat_map(|step| &step.bodies)) {
            *users.entry(body.address).or_default() += 1;
        }
        let is_own = |address: usize| users.get(&address) == Some(&1);
        let handed = self.main.hand_down(is_own);
        self.give(handed);
        self.main.prepare(cx)?;
        for address in std::mem::take(&mut self.order) {
            let Some((_, plan)) = self.bodies.get_mut(&address) else { continue };
            let handed = plan.hand_down(is_own);
            plan.prepare(cx)?;
            self.give(handed);
        }
        Ok(())
    }

    fn give(&mut self, handed: Vec<Captured>) {
        for Captured { body, index, constant } in handed {
            if let Some((_, plan)) = self.bodies.get_mut(&body) {
                plan.take_captured(index, constant);
            }
        }
    }
}

impl RunBody for PlanSet {
    fn run_body(
        &self,
        body: &Arc<Graph>,
        inputs: Vec<Option<Value>>,
        cx: &mut EvalCx<'_>,
    ) -> Result<Vec<Value>, OpError> {
        let (_, plan) = self
            .bodies
            .get(&address(body))
            .ok_or_else(|| OpError::Internal(format!("body {:?} was not planned", body.name)))?;
        plan.run(inputs, cx, None).map_err(StepError::into_op_error)
    }
}

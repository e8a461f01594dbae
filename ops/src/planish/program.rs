//! A tree of elementwise functions on `float` as a list of steps, run tile by tile: what lies between two functions never
//! leaves the first level of cache.

use super::scalar::{ScalarFunction, scalar_function};
use crate::broadcast::{self, Walk};
use planish_ir::{EvalCx, Graph, NodeKind, OpError, ValueId};
use planish_kernels::elementwise::{Binary, Unary, binary, unary};
use planish_kernels::simd::Operand;
use planish_tensor::{Shape, Tensor, TensorMut};
use std::cell::RefCell;
use std::collections::HashMap;

/// The most tensors that one program reads.
pub const MAX_OPERANDS: usize = 8;

/// Elements that go through all steps at a time: a few registers of that size stay in the first level of cache.
const TILE: usize = 1024;

/// Values between steps that wait to be read, at most.
const MAX_REGISTERS: usize = 8;

/// Steps in order; the last one writes the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    steps: Vec<Step>,
    num_registers: usize,
    /// The highest rank among the constants, to which the output broadcasts.
    constant_rank: usize,
    ns_per_element: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Step {
    function: Function,
    /// The register that is written; `None` for the output.
    target: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Unary(Unary, Source),
    Binary(Binary, Source, Source),
}

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Input(usize),
    Register(usize),
    Scalar(f32),
}

/// Whether `body` runs as a program on `float`, not node by node.
pub fn is_program(body: &Graph) -> bool {
    Program::compile(body).is_some()
}

impl Program {
    /// The program that `body` is, if every node of it has a kernel and its constants are scalars.
    pub fn compile(body: &Graph) -> Option<Program> {
        let [output] = body.outputs() else { return None };
        if body.inputs().len() > MAX_OPERANDS {
            return None;
        }
        let order = body.topological_order().ok()?;
        let nodes: Vec<_> = order.iter().filter(|&&id| body.node(id).operator().is_some()).copied().collect();
        let last = nodes.last().filter(|&&id| output.value == ValueId { node: id, output: 0 })?;
        let mut sources: HashMap<ValueId, Source> =
            body.inputs().enumerate().map(|(i, value)| (value, Source::Input(i))).collect();
        let mut free: Vec<usize> = (0..MAX_REGISTERS).rev().collect();
        let mut readers: HashMap<ValueId, usize> = HashMap::new();
        let (mut steps, mut num_registers, mut ns_per_element) = (Vec::new(), 0, 0.0);
        for &id in &nodes {
            let function = scalar_function(body, id)?;
            let count = if matches!(function, ScalarFunction::Binary(_)) { 2 } else { 1 };
            let read: Vec<ValueId> = body.node_inputs(id).into_iter().take(count).collect::<Option<_>>()?;
            let operands: Vec<Source> = read.iter().map(|&v| source(body, &sources, v)).collect::<Option<_>>()?;
            let function = match (function, operands.as_slice()) {
                (_, operands) if operands.iter().all(|o| matches!(o, Source::Scalar(_))) => return None,
                (ScalarFunction::Unary(function), &[x]) => Function::Unary(function, x),
                (ScalarFunction::Binary(function), &[a, b]) => Function::Binary(function, a, b),
                _ => return None,
            };
            for value in read {
                let left = readers.entry(value).or_insert_with(|| body.uses(value).len());
                *left = left.saturating_sub(1);
                if let (0, Some(Source::Register(register))) = (*left, sources.get(&value)) {
                    free.push(*register);
                }
            }
            let target = if id == *last { None } else { Some(free.pop()?) };
            if let Some(register) = target {
                num_registers = num_registers.max(register + 1);
                sources.insert(ValueId { node: id, output: 0 }, Source::Register(register));
            }
            ns_per_element += function.ns();
            steps.push(Step { function, target });
        }
        let constants = body.nodes().filter_map(|(_, node)| node.constant());
        let constant_rank = constants.map(Tensor::rank).max().unwrap_or(0);
        Some(Program { steps, num_registers, constant_rank, ns_per_element })
    }

    /// Whether it can run on operands of these ranks: a constant of a higher one would give the output its own.
    pub fn takes_ranks(&self, mut ranks: impl Iterator<Item = usize>) -> bool {
        self.constant_rank == 0 || ranks.any(|rank| rank >= self.constant_rank)
    }

    /// The output for tensors of `float` that broadcast with each other. One of the output's shape that nobody else reads
    /// becomes the output.
    pub fn run(&self, cx: &EvalCx<'_>, operands: Vec<Tensor>) -> Result<Tensor, OpError> {
        match operands.len() {
            1 => self.run_with::<1>(cx, operands),
            2 => self.run_with::<2>(cx, operands),
            3 => self.run_with::<3>(cx, operands),
            4 => self.run_with::<4>(cx, operands),
            5 => self.run_with::<5>(cx, operands),
            6 => self.run_with::<6>(cx, operands),
            7 => self.run_with::<7>(cx, operands),
            8 => self.run_with::<8>(cx, operands),
            n => Err(OpError::Internal(format!("a program of {n} operands"))),
        }
    }

    fn run_with<const N: usize>(&self, cx: &EvalCx<'_>, mut operands: Vec<Tensor>) -> Result<Tensor, OpError> {
        let shapes: Vec<Shape> = operands.iter().map(|t| t.shape().clone()).collect();
        let walk = Walk::<N>::new(std::array::from_fn(|n| &shapes[n]))?;
        let (mut y, in_place) = match reused(&mut operands, walk.shape()) {
            Some((index, y)) => (y, Some(index)),
            None => (cx.uninit::<f32>(walk.shape().clone())?, None),
        };
        let slices: Vec<&[f32]> = operands.iter().map(Tensor::as_slice).collect::<Result<_, _>>()?;
        let data: [&[f32]; N] = std::array::from_fn(|n| slices[n]);
        walk.fill_from_data(cx, &mut y, data, self.ns_per_element, &|y, operands| {
            REGISTERS.with_borrow_mut(|registers| {
                registers.resize_with(self.num_registers.max(registers.len()), || vec![0.0; TILE]);
                for (tile, start) in y.chunks_mut(TILE).zip((0..).step_by(TILE)) {
                    let length = tile.len();
                    self.run_tile(tile, registers, |n| match in_place {
                        Some(reused) if n == reused => Operand::Output,
                        _ => match operands[n].part(start, length) {
                            broadcast::Operand::Slice(x) => Operand::Slice(x),
                            broadcast::Operand::Repeated(x) => Operand::Scalar(x),
                        },
                    });
                }
            });
        })?;
        Ok(y.freeze())
    }

    /// Runs every step on one tile. `input` tells where an input lies; one that lies in the output is still whole until the
    /// last step.
    fn run_tile<'a>(&self, y: &mut [f32], registers: &mut [Vec<f32>], input: impl Fn(usize) -> Operand<'a>) {
        let length = y.len();
        for step in &self.steps {
            let Some(target) = step.target else {
                let at = |source: Source| match source {
                    Source::Input(n) => input(n),
                    Source::Register(r) => Operand::Slice(&registers[r][..length]),
                    Source::Scalar(x) => Operand::Scalar(x),
                };
                return step.function.apply(at, y);
            };
            let mut register = std::mem::take(&mut registers[target]);
            let at = |source: Source| match source {
                Source::Input(n) => match input(n) {
                    Operand::Output => Operand::Slice(&*y),
                    other => other,
                },
                Source::Register(r) if r == target => Operand::Output,
                Source::Register(r) => Operand::Slice(&registers[r][..length]),
                Source::Scalar(x) => Operand::Scalar(x),
            };
            step.function.apply(at, &mut register[..length]);
            registers[target] = register;
        }
    }
}

thread_local! {
    static REGISTERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Function {
    fn apply<'a>(self, at: impl Fn(Source) -> Operand<'a>, y: &mut [f32]) {
        match self {
            Function::Unary(function, x) => unary(function, at(x), y),
            Function::Binary(function, a, b) => binary(function, at(a), at(b), y),
        }
    }

    /// What it costs for one element.
    fn ns(self) -> f64 {
        match self {
            Function::Unary(Unary::Abs | Unary::Neg | Unary::Relu | Unary::Clip { .. } | Unary::Square, _) => 0.1,
            Function::Unary(..) => 1.0,
            Function::Binary(..) => 0.1,
        }
    }
}

fn source(body: &Graph, sources: &HashMap<ValueId, Source>, value: ValueId) -> Option<Source> {
    if let NodeKind::Constant(tensor) = &body.node(value.node).kind {
        let elements = tensor.as_slice::<f32>().ok()?;
        return if let &[x] = elements { Some(Source::Scalar(x)) } else { None };
    }
    sources.get(&value).copied()
}

/// The first operand of shape `shape` that nobody else reads, to be written; it is replaced by an empty tensor.
fn reused(operands: &mut [Tensor], shape: &Shape) -> Option<(usize, TensorMut<f32>)> {
    for (index, operand) in operands.iter_mut().enumerate().filter(|(_, t)| t.shape() == shape) {
        match std::mem::replace(operand, Tensor::new(Shape::new(&[0]).ok()?, &[0f32; 0]).ok()?).try_into_mut::<f32>() {
            Ok(y) => return Some((index, y)),
            Err(shared) => *operand = shared,
        }
    }
    None
}

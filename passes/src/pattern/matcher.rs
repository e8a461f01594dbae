//! Finds a pattern in a graph.
//!
//! The matcher works off a list of goals, "this term is that value", and goes back where one fails to the last choice it
//! made. Its recursion is as deep as the pattern has terms; the graph's size and shape do not enter.

use super::{COMMUTATIVE, LITERAL_TOLERANCE, NodePattern, Pattern, Slot, TermId, TermKind};
use planish_ir::{Graph, NodeId, ValueId};
use planish_tensor::{DType, Tensor};
use std::ops::Index;

/// Steps after which a match is given up: patterns with many alternatives over graphs made to provoke them.
const MAX_STEPS: usize = 20_000;

/// A place where a pattern is found.
#[derive(Clone, Debug)]
pub struct Match<'p> {
    pattern: &'p Pattern,
    bindings: Vec<Option<ValueId>>,
    nodes: Vec<NodeId>,
    root: NodeId,
}

impl Match<'_> {
    /// The value of this name, where the match has one.
    pub fn get(&self, name: &str) -> Option<ValueId> {
        let slot = self.pattern.names.iter().position(|n| n == name)?;
        self.bindings[slot]
    }

    /// The node that makes the value of this name, to look at its attributes.
    ///
    /// # Panics
    /// As indexing does.
    pub fn node(&self, name: &str) -> NodeId {
        self[name].node
    }

    /// The node whose first output is to be replaced.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Every operator node of the match.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }
}

/// The value of a name that every match of the pattern has.
///
/// # Panics
/// If the pattern has no such name, or this match no such optional value.
impl Index<&str> for Match<'_> {
    type Output = ValueId;

    fn index(&self, name: &str) -> &ValueId {
        let slot = self.pattern.names.iter().position(|n| n == name);
        slot.and_then(|slot| self.bindings[slot].as_ref())
            .unwrap_or_else(|| panic!("the pattern always has a value {name:?}"))
    }
}

/// How near a pattern came that was not found.
#[derive(Clone, Debug)]
pub(crate) struct Miss {
    /// How many operators were in place.
    pub matched: usize,
    /// Whether one of them was more than arithmetic.
    pub is_telling: bool,
    /// What was expected instead of what.
    pub reason: String,
}

/// Looks for one pattern.
pub(crate) struct Matcher<'a> {
    graph: &'a Graph,
    pattern: &'a Pattern,
    bindings: Vec<Option<ValueId>>,
    nodes: Vec<(NodeId, bool)>,
    steps: usize,
    root: NodeId,
    /// Who reads a value inside from outside, where only that is amiss.
    shared: Option<String>,
    /// The furthest that the search came, where misses are asked for.
    miss: Option<Miss>,
}

/// What remains to be shown, first things first.
#[derive(Clone, Copy)]
struct Goal<'g> {
    what: What,
    value: ValueId,
    next: Option<&'g Goal<'g>>,
}

#[derive(Clone, Copy)]
enum What {
    Term(TermId),
    /// Those terms of a chain whose bits are set, joined by its operator.
    Part(TermId, u32),
}

impl<'a> Matcher<'a> {
    /// Looks for the pattern at `root`. What came near is told where `wants_miss`: half of the pattern was in place, and not
    /// just sums and products, which are everywhere.
    pub fn find(
        graph: &'a Graph,
        pattern: &'a Pattern,
        root: NodeId,
        wants_miss: bool,
    ) -> Result<Match<'a>, Option<Miss>> {
        let miss = wants_miss.then(|| Miss { matched: 0, is_telling: false, reason: String::new() });
        let bindings = vec![None; pattern.names.len()];
        let mut matcher = Matcher { graph, pattern, bindings, nodes: Vec::new(), steps: 0, root, shared: None, miss };
        let value = ValueId { node: root, output: 0 };
        if !matcher.solve(Some(&Goal { what: What::Term(pattern.root), value, next: None })) {
            if let Some(reason) = matcher.shared {
                return Err(wants_miss.then_some(Miss { matched: pattern.num_operators(), is_telling: true, reason }));
            }
            let is_near = |miss: &Miss| miss.is_telling && miss.matched * 2 >= pattern.num_operators();
            return Err(matcher.miss.filter(is_near));
        }
        let nodes = matcher.nodes.iter().map(|&(id, _)| id).collect();
        Ok(Match { pattern, bindings: matcher.bindings, nodes, root })
    }

    /// Who reads a value inside the match from outside.
    fn other_reader(&self) -> Option<String> {
        let root = self.root;
        let is_inside = |id: NodeId| self.nodes.iter().any(|&(n, _)| n == id);
        for &(id, may_be_shared) in self.nodes.iter().filter(|(id, _)| *id != root) {
            for value in self.graph.node_outputs(id).filter(|_| !may_be_shared) {
                if self.graph.is_output(value) {
                    return Some(format!("{:?} is a graph output", self.graph.value_name(value)));
                }
                // Patterns have few readers of one value; a value with many has one outside.
                let outside = self.graph.readers(value).take(32).find(|reader| !is_inside(reader.node));
                if let Some(reader) = outside {
                    let (what, who) = (self.graph.value_name(value), self.graph.describe(reader.node));
                    return Some(format!("{what:?} is read by {who:?} too"));
                }
            }
        }
        None
    }

    /// Whether nobody reads what is inside. Where somebody does, another way to match is looked for.
    fn is_private(&mut self) -> bool {
        let reader = self.other_reader();
        let is_private = reader.is_none();
        self.shared = self.shared.take().or(reader);
        is_private
    }

    fn solve(&mut self, goal: Option<&Goal<'_>>) -> bool {
        let Some(goal) = goal else { return self.is_private() };
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        let (num_nodes, bound) = (self.nodes.len(), self.bindings.clone());
        let is_solved = match goal.what {
            What::Term(term) => self.term(term, goal),
            What::Part(term, mask) => self.part(term, mask, goal),
        };
        if !is_solved {
            self.nodes.truncate(num_nodes);
            self.bindings = bound;
        }
        is_solved
    }

    fn term(&mut self, id: TermId, goal: &Goal<'_>) -> bool {
        let term = &self.pattern.terms[id];
        if let Some(slot) = term.slot
            && let Some(value) = self.bindings[slot]
        {
            return if value == goal.value { self.solve(goal.next) } else { self.missed(goal.value, "the same value") };
        }
        match &term.kind {
            TermKind::Anything => self.solve(goal.next),
            TermKind::Value => self.bind(term.slot, goal.value) && self.solve(goal.next),
            TermKind::Constant => match self.graph.constant(goal.value) {
                Some(_) => self.bind(term.slot, goal.value) && self.solve(goal.next),
                None => self.missed(goal.value, "a constant"),
            },
            TermKind::Number(number) => match self.graph.constant(goal.value).is_some_and(|t| is_number(t, *number)) {
                true => self.bind(term.slot, goal.value) && self.solve(goal.next),
                false => self.missed(goal.value, &number.to_string()),
            },
            TermKind::Either(terms) => {
                // The slot is bound first, for every alternative is the same value.
                self.bind(term.slot, goal.value)
                    && terms.iter().any(|&term| self.solve(Some(&Goal { what: What::Term(term), ..*goal })))
            }
            TermKind::Chain { terms, .. } => {
                let all = (1u32 << terms.len()) - 1;
                self.bind(term.slot, goal.value) && self.solve(Some(&Goal { what: What::Part(id, all), ..*goal }))
            }
            TermKind::Node(node) => self.node(node, term.slot, goal),
        }
    }

    fn bind(&mut self, slot: Option<Slot>, value: ValueId) -> bool {
        if let Some(slot) = slot {
            self.bindings[slot] = Some(value);
        }
        true
    }

    /// Notes how far the search came, and fails.
    fn missed(&mut self, value: ValueId, expected: &str) -> bool {
        if let Some(miss) = &mut self.miss
            && self.nodes.len() > miss.matched
        {
            let got = match self.graph.node(value.node).operator() {
                Some(operator) => operator.full_name(),
                None if self.graph.constant(value).is_some() => "a constant".to_owned(),
                None => "an input".to_owned(),
            };
            let is_arithmetic = |name: &str| matches!(name, "Add" | "Sub" | "Mul" | "Div" | "Neg");
            let mut operators = self.nodes.iter().filter_map(|&(id, _)| self.graph.node(id).operator());
            miss.is_telling = operators.any(|o| !is_arithmetic(&o.name));
            miss.matched = self.nodes.len();
            miss.reason = format!("expected {expected}, got {got}");
        }
        false
    }

    fn part(&mut self, id: TermId, mask: u32, goal: &Goal<'_>) -> bool {
        let TermKind::Chain { operator, terms } = &self.pattern.terms[id].kind else { return false };
        if mask.count_ones() == 1 {
            let term = terms[mask.trailing_zeros() as usize];
            return self.solve(Some(&Goal { what: What::Term(term), ..*goal }));
        }
        let node = goal.value.node;
        if !self.graph.node(node).operator().is_some_and(|o| o.is(operator)) {
            return self.missed(goal.value, operator);
        }
        let &[Some(left), Some(right)] = &self.graph.node_inputs(node)[..] else { return false };
        self.nodes.push((node, false));
        // Every way to give some terms to the left input and the others to the right.
        let mut first = (mask - 1) & mask;
        while first != 0 {
            let rest = Goal { what: What::Part(id, mask & !first), value: right, next: goal.next };
            if self.solve(Some(&Goal { what: What::Part(id, first), value: left, next: Some(&rest) })) {
                return true;
            }
            first = (first - 1) & mask;
        }
        false
    }

    fn node(&mut self, pattern: &NodePattern, slot: Option<Slot>, goal: &Goal<'_>) -> bool {
        let (num_nodes, bound) = (self.nodes.len(), self.bindings.clone());
        if self.operator(pattern, slot, goal) {
            return true;
        }
        self.nodes.truncate(num_nodes);
        self.bindings = bound;
        let inner = pattern.arguments.first().filter(|_| pattern.is_optional);
        inner.is_some_and(|argument| {
            self.bind(slot, goal.value) && self.solve(Some(&Goal { what: What::Term(argument.term), ..*goal }))
        })
    }

    fn operator(&mut self, pattern: &NodePattern, slot: Option<Slot>, goal: &Goal<'_>) -> bool {
        let ValueId { node, output } = goal.value;
        let is_it = |o: &planish_ir::Operator| o.domain == pattern.domain && o.name == pattern.name;
        if output != pattern.output || !self.graph.node(node).operator().is_some_and(is_it) {
            return self.missed(goal.value, &pattern.name);
        }
        let inputs = self.graph.node_inputs(node);
        let further = inputs.iter().skip(pattern.arguments.len());
        if !pattern.is_open && further.flatten().next().is_some() {
            return self.missed(goal.value, &format!("{} of fewer inputs", pattern.name));
        }
        self.bind(slot, goal.value);
        self.nodes.push((node, pattern.may_be_shared));
        let mut pairs = Vec::with_capacity(pattern.arguments.len());
        for (i, argument) in pattern.arguments.iter().enumerate() {
            match inputs.get(i).copied().flatten() {
                Some(value) => pairs.push((argument.term, value)),
                None if argument.may_be_absent => {}
                None => return self.missed(goal.value, &format!("{} of more inputs", pattern.name)),
            }
        }
        let (num_nodes, bound) = (self.nodes.len(), self.bindings.clone());
        if self.all(&pairs, goal.next) {
            return true;
        }
        let may_swap = pattern.domain.is_empty() && COMMUTATIVE.contains(&pattern.name.as_str());
        if let (true, &[(a, x), (b, y)]) = (may_swap, &pairs[..]) {
            self.nodes.truncate(num_nodes);
            self.bindings = bound;
            return self.all(&[(a, y), (b, x)], goal.next);
        }
        false
    }

    /// All these terms are these values, and then what comes next.
    fn all(&mut self, pairs: &[(TermId, ValueId)], next: Option<&Goal<'_>>) -> bool {
        match pairs.split_last() {
            None => self.solve(next),
            Some((&(term, value), before)) => self.all(before, Some(&Goal { what: What::Term(term), value, next })),
        }
    }
}

/// Whether the tensor has one element, which is `number` within [`LITERAL_TOLERANCE`].
fn is_number(tensor: &Tensor, number: f64) -> bool {
    if tensor.num_elements() != 1 {
        return false;
    }
    let tolerance = match tensor.dtype() {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => LITERAL_TOLERANCE,
    };
    crate::rule::scalar(tensor).is_some_and(|value| (value - number).abs() <= tolerance * number.abs())
}

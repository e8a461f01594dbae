//! The driver: brings rules to nodes and puts their patches in place.
//!
//! Nodes wait in a list, at first in topological order; a node whose surroundings change waits again. A patch is put in
//! place only if inference finds nothing that contradicts it and the values that it replaces keep their types. Names of
//! values stay, what nothing reads any more goes, what is known of values is carried on to their readers, and each new node
//! remembers which nodes of the original it came from.

use crate::explain::Report;
use crate::fold::fold;
use crate::patch::{NewKind, NewNode, Operand, Patch};
use crate::pattern::{Matcher, Pattern};
use crate::rule::{Cx, No, Place, Rule};
use planish_ir::{Fact, FormalKind, Graph, NodeId, NodeKind, Operator, Registry, Type, ValueId};
use planish_ops::StandardRegistry;
use planish_tensor::Tensor;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The metadata key under which a node tells which nodes of the original it came from, one name a line.
pub const PROVENANCE_KEY: &str = "planish.from";

/// How many original nodes a new node names.
const MAX_PROVENANCE: usize = 32;

/// How far down from a rewrite nodes are looked at again: as deep as patterns are.
const MAX_REVISIT_DEPTH: usize = 12;

/// How many nodes are looked at again after a rewrite.
const MAX_REVISITS: usize = 64;

/// Rewrites per node of the graph after which a list of rules is stopped: no honest rewriting comes near.
const MAX_REWRITES_PER_NODE: usize = 20;

/// Graphs up to this size are verified after each rewrite in debug builds.
const MAX_VERIFIED_NODES: usize = 500;

/// What lasts from the first pass over the outermost graph to the last over the innermost body.
pub(crate) struct State {
    pub report: Report,
    pub wants_explanation: bool,
    /// No rewrite after this many.
    pub stop_after: usize,
    /// Bytes that folding may still add to the model.
    pub growth_left_bytes: usize,
    pub is_enabled: Box<dyn Fn(&str) -> bool>,
}

impl State {
    pub(crate) fn is_spent(&self) -> bool {
        self.report.rewrites.len() >= self.stop_after
    }
}

/// Rules that share one traversal, their patterns compiled.
pub(crate) struct RuleSet {
    rules: Vec<(&'static Rule, Pattern)>,
    /// Which rules look at an operator, by domain, then by name, in the order of the list.
    by_root: HashMap<String, HashMap<String, Vec<usize>>>,
    /// Which rules look at all other operators.
    everywhere: Vec<usize>,
}

impl RuleSet {
    pub(crate) fn new(rules: &[&'static Rule]) -> RuleSet {
        let mut set = RuleSet { rules: Vec::new(), by_root: HashMap::new(), everywhere: Vec::new() };
        for (index, &rule) in rules.iter().enumerate() {
            let pattern = rule.pattern();
            let roots: BTreeSet<(String, String)> = match rule.place {
                Place::Pattern(_) => {
                    pattern.root_operators().iter().map(|&(d, n)| (d.to_owned(), n.to_owned())).collect()
                }
                Place::Operators(names) => names.iter().map(|&n| (String::new(), n.to_owned())).collect(),
                Place::Everywhere => BTreeSet::new(),
            };
            if roots.is_empty() {
                set.everywhere.push(index);
            }
            for (domain, name) in roots {
                set.by_root.entry(domain).or_default().entry(name).or_default().push(index);
            }
            set.rules.push((rule, pattern));
        }
        for found in set.by_root.values_mut().flat_map(HashMap::values_mut) {
            found.extend(&set.everywhere);
            found.sort_unstable();
        }
        set
    }

    /// The rules that look at this operator, in the order of the list.
    fn at(&self, operator: &Operator) -> &[usize] {
        let found = self.by_root.get(&operator.domain).and_then(|names| names.get(&operator.name));
        found.unwrap_or(&self.everywhere)
    }
}

/// A graph being rewritten.
pub(crate) struct Editor<'a> {
    pub graph: &'a mut Graph,
    pub state: &'a mut State,
    waiting: VecDeque<NodeId>,
    is_waiting: Vec<bool>,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(graph: &'a mut Graph, state: &'a mut State) -> Editor<'a> {
        Editor { graph, state, waiting: VecDeque::new(), is_waiting: Vec::new() }
    }

    /// Brings the rules to every node until none has anything left to do.
    pub(crate) fn run(&mut self, rules: &RuleSet) {
        for id in self.graph.topological_order().unwrap_or_default() {
            self.enqueue(id);
        }
        let mut left = self.graph.num_nodes().saturating_mul(MAX_REWRITES_PER_NODE).saturating_add(100);
        while let Some(id) = self.waiting.pop_front() {
            self.is_waiting[id.index()] = false;
            if self.state.is_spent() || left == 0 {
                break;
            }
            if self.graph.contains(id) && self.visit(id, rules) {
                left -= 1;
                self.enqueue(id);
            }
        }
        self.waiting.clear();
        self.is_waiting.clear();
    }

    fn enqueue(&mut self, id: NodeId) {
        if self.is_waiting.len() <= id.index() {
            self.is_waiting.resize(id.index() + 1, false);
        }
        let is_operator = self.graph.contains(id) && self.graph.node(id).operator().is_some();
        if is_operator && !std::mem::replace(&mut self.is_waiting[id.index()], true) {
            self.waiting.push_back(id);
        }
    }

    /// Tries every rule at one node until one rewrites it.
    fn visit(&mut self, id: NodeId, rules: &RuleSet) -> bool {
        let Some(operator) = self.graph.node(id).operator() else { return false };
        for &index in rules.at(operator) {
            let (rule, pattern) = &rules.rules[index];
            if !(self.state.is_enabled)(rule.name) {
                continue;
            }
            match self.attempt(id, rule, pattern) {
                Ok(()) => return true,
                Err(No(reason)) if !reason.is_empty() && self.state.wants_explanation => {
                    self.state.report.note(rule.name, self.graph.describe(id), reason.into_owned());
                }
                Err(_) => {}
            }
        }
        false
    }

    fn attempt(&mut self, id: NodeId, rule: &Rule, pattern: &Pattern) -> Result<(), No> {
        let wants_miss = self.state.wants_explanation;
        let found = Matcher::find(self.graph, pattern, id, wants_miss)
            .map_err(|miss| miss.map_or(No::SILENT, |m| No(m.reason.into())))?;
        let cx = Cx { graph: self.graph, growth_left_bytes: self.state.growth_left_bytes };
        let patch = (rule.rewrite)(&cx, &found)?;
        let mut from = found.nodes().to_vec();
        for replaced in std::iter::once(id).chain(patch.replaced.iter().map(|(old, _)| old.node)) {
            if !from.contains(&replaced) {
                from.push(replaced);
            }
        }
        self.apply(rule.name, id, &from, patch)
    }

    /// Puts a patch in place, which replaces `root` and perhaps others of the nodes `from`.
    pub(crate) fn apply(&mut self, rule: &'static str, root: NodeId, from: &[NodeId], patch: Patch) -> Result<(), No> {
        if self.state.is_spent() {
            return Err(No::SILENT);
        }
        let base = patch.replaced.first().map_or("", |&(old, _)| self.graph.value_name(old)).to_owned();
        let mut added = Vec::new();
        let replaced = self.add_nodes(&patch, &base, &mut added).and_then(|values| self.check(&patch, &values));
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(no) => {
                self.sweep(added.into_iter().rev().collect());
                return Err(no);
            }
        };
        let node = self.graph.describe(root);
        let origins = if added.is_empty() { Vec::new() } else { self.origins(&self.with_vanishing(from, &replaced)) };
        self.carry_over(root, &added, &replaced, &origins);
        let mut touched: Vec<NodeId> = Vec::new();
        let mut learnt: Vec<ValueId> = Vec::new();
        for &(old, new) in &replaced {
            if self.substitute(old, new, added.contains(&new.node)) {
                learnt.push(new);
            }
            touched.push(new.node);
        }
        let freed = self.sweep(replaced.iter().map(|(old, _)| old.node).chain(added.iter().copied()).collect());
        self.restore_output_names(&replaced);
        self.unname_unread(&added);
        let grown: usize = added.iter().filter_map(|&id| self.constant_bytes(id)).sum();
        self.state.growth_left_bytes = self.state.growth_left_bytes.saturating_sub(grown.saturating_sub(freed));
        self.propagate(learnt);
        touched.extend(added);
        self.revisit(touched);
        self.state.report.add(rule, node);
        if cfg!(debug_assertions) && self.graph.num_nodes() <= MAX_VERIFIED_NODES {
            let verified = self.graph.verify();
            assert!(verified.is_ok(), "{rule} broke the graph: {verified:?}");
        }
        Ok(())
    }

    fn constant_bytes(&self, id: NodeId) -> Option<usize> {
        if !self.graph.contains(id) {
            return None;
        }
        self.graph.node(id).constant().map(Tensor::num_bytes)
    }

    /// Adds a patch's nodes; the values that each makes.
    fn add_nodes(&mut self, patch: &Patch, base: &str, added: &mut Vec<NodeId>) -> Result<Vec<Vec<ValueId>>, No> {
        let mut values: Vec<Vec<ValueId>> = Vec::new();
        for new in &patch.nodes {
            let made = match &new.kind {
                NewKind::Constant(tensor) => {
                    let name = self.graph.fresh_name(&format!("{base}_constant"));
                    vec![self.graph.add_constant(&name, tensor.clone()).map_err(internal)?]
                }
                NewKind::Operator { domain, name, attributes } => {
                    let inputs: Vec<Option<ValueId>> = new.inputs.iter().map(|&i| resolve(i, &values)).collect();
                    let operator = StandardRegistry
                        .operator(domain, name, attributes.clone(), inputs.len() - new.num_captures, new.num_outputs)
                        .map_err(internal)?;
                    if operator.op().is_none() {
                        return Err(format!("planish does not run {}", operator.full_name()).into());
                    }
                    self.add_operator(new, operator, &inputs, base, added)?
                }
            };
            // An operator is among them since it was made, so that it goes again if it does not fit.
            added.extend(made.first().map(|v| v.node).filter(|id| added.last() != Some(id)));
            values.push(made);
        }
        Ok(values)
    }

    fn add_operator(
        &mut self,
        new: &NewNode,
        operator: Operator,
        inputs: &[Option<ValueId>],
        base: &str,
        added: &mut Vec<NodeId>,
    ) -> Result<Vec<ValueId>, No> {
        let stem = format!("{base}_{}", operator.name.to_lowercase());
        let mut names: Vec<String> = Vec::new();
        for index in 0..new.num_outputs {
            let stem = if new.num_outputs == 1 { stem.clone() } else { format!("{stem}_{index}") };
            names.push(self.graph.fresh_name(&stem));
        }
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let (own, captured) = inputs.split_at(inputs.len() - new.num_captures);
        let captures: Vec<ValueId> = captured.iter().flatten().copied().collect();
        let id = self.graph.add_node(&new.name, operator, own, &captures, &borrowed).map_err(internal)?;
        added.push(id);
        if let Some(conflict) = self.graph.infer_node(id).first() {
            return Err(format!("the new node contradicts its inputs: {}", conflict.message).into());
        }
        if let Some(tensor) = self.folded(id)
            && self.graph.remove_node(id).is_ok()
        {
            return Ok(vec![self.graph.add_constant(&names[0], tensor).map_err(internal)?]);
        }
        Ok(self.graph.node_outputs(id).collect())
    }

    /// The value of a new node of one output whose inputs are all constants.
    fn folded(&self, id: NodeId) -> Option<Tensor> {
        let operator = self.graph.node(id).operator().filter(|_| self.graph.node(id).num_outputs() == 1)?;
        let inputs: Option<Vec<Option<Tensor>>> = self
            .graph
            .node_inputs(id)
            .iter()
            .map(|v| v.map_or(Some(None), |v| self.graph.constant(v).cloned().map(Some)))
            .collect();
        let inputs = inputs?;
        let given: usize = inputs.iter().flatten().map(Tensor::num_bytes).sum();
        let fact = self.graph.fact(ValueId { node: id, output: 0 });
        fold(operator, inputs, &[fact], given, self.state.growth_left_bytes).ok()?.into_iter().next()?
    }

    /// Whether the patch's values can stand in for those they replace.
    fn check(&self, patch: &Patch, values: &[Vec<ValueId>]) -> Result<Vec<(ValueId, ValueId)>, No> {
        let mut replaced = Vec::new();
        for &(old, operand) in &patch.replaced {
            let new = resolve(operand, values).ok_or("a value was replaced by nothing")?;
            if old == new {
                return Err("a value was replaced by itself".into());
            }
            keeps_type(&self.graph.fact(old).ty, &self.graph.fact(new).ty)?;
            replaced.push((old, new));
        }
        let reads_replaced = |&value: &ValueId| {
            let is_replaced = |v: &Option<ValueId>| v.is_some_and(|v| patch.replaced.iter().any(|&(old, _)| old == v));
            self.graph.node_inputs(value.node).iter().any(is_replaced)
        };
        if values.iter().flatten().any(reads_replaced) {
            return Err("a new node reads what it replaces".into());
        }
        Ok(replaced)
    }

    /// These nodes, and those that nothing but the replaced ones needs: a rule may look further up than its pattern says.
    fn with_vanishing(&self, from: &[NodeId], replaced: &[(ValueId, ValueId)]) -> Vec<NodeId> {
        let mut all = from.to_vec();
        let mut gone: Vec<NodeId> = replaced.iter().map(|(old, _)| old.node).collect();
        let mut next = 0;
        while next < gone.len() && gone.len() < MAX_PROVENANCE {
            for value in self.graph.node_inputs(gone[next]).into_iter().flatten() {
                let is_needed = |value: ValueId| {
                    self.graph.is_output(value) || self.graph.readers(value).any(|r| !gone.contains(&r.node))
                };
                let is_operator = self.graph.node(value.node).operator().is_some();
                if is_operator && !gone.contains(&value.node) && !self.graph.node_outputs(value.node).any(is_needed) {
                    gone.push(value.node);
                }
            }
            next += 1;
        }
        all.extend(gone.into_iter().filter(|id| !from.contains(id)));
        all
    }

    /// The original nodes behind these nodes.
    fn origins(&self, from: &[NodeId]) -> Vec<String> {
        let mut origins: Vec<String> = Vec::new();
        let operators = from.iter().filter(|&&id| self.graph.contains(id) && self.graph.node(id).operator().is_some());
        for &id in operators {
            let node = self.graph.node(id);
            match node.metadata.iter().find(|(key, _)| key == PROVENANCE_KEY) {
                Some((_, names)) => origins.extend(names.lines().map(str::to_owned)),
                None => origins.push(self.graph.describe(id)),
            }
        }
        origins.retain(|name| !name.is_empty());
        let mut seen = BTreeSet::new();
        origins.retain(|name| seen.insert(name.clone()));
        origins.truncate(MAX_PROVENANCE);
        origins
    }

    /// Gives new nodes their origins, and the one in place of `root` its name and remarks.
    fn carry_over(&mut self, root: NodeId, added: &[NodeId], replaced: &[(ValueId, ValueId)], origins: &[String]) {
        let (name, doc) = (self.graph.node(root).name.clone(), self.graph.node(root).doc.clone());
        let metadata: Vec<(String, String)> =
            self.graph.node(root).metadata.iter().filter(|(key, _)| key != PROVENANCE_KEY).cloned().collect();
        let heir = replaced.iter().find(|(old, new)| old.node == root && added.contains(&new.node));
        for &id in added {
            let node = self.graph.node_mut(id);
            if !matches!(node.kind, NodeKind::Operator(_)) {
                continue;
            }
            if heir.is_some_and(|(_, new)| new.node == id) && node.name.is_empty() {
                node.name.clone_from(&name);
                node.doc.clone_from(&doc);
                node.metadata.extend(metadata.iter().cloned());
            }
            if !origins.is_empty() {
                node.metadata.push((PROVENANCE_KEY.to_owned(), origins.join("\n")));
            }
        }
    }

    /// Readers of `old` read `new` instead, which takes its name if it is new to the graph. Whether more is known now to any
    /// of the readers.
    fn substitute(&mut self, old: ValueId, new: ValueId, is_new: bool) -> bool {
        let fact = self.graph.fact(old).clone();
        let is_learnt = !is_same(&fact, self.graph.fact(new));
        self.graph.replace_uses(old, new);
        if let Ok(ty) = self.graph.fact(new).ty.unify(&fact.ty) {
            let known = self.graph.fact(new).clone();
            let constant = known.constant.or(fact.constant);
            let contents = known.contents.or(fact.contents);
            self.graph.set_fact(new, Fact { ty, constant, contents });
        }
        if is_new {
            let name = self.graph.value_name(old).to_owned();
            // A rename fails only for a name that is taken, and this one is given up first.
            let _ = self.graph.rename_value(old, "");
            let _ = self.graph.rename_value(new, &name);
        }
        is_learnt
    }

    /// A graph output whose value was replaced by one that was there already: the value takes the output's name if no
    /// caller knows it by another, so that no copy is needed to give it out.
    fn restore_output_names(&mut self, replaced: &[(ValueId, ValueId)]) {
        for &(_, new) in replaced {
            if !self.graph.contains(new.node) || self.graph.node(new.node).operator().is_none() {
                continue;
            }
            let names: Vec<&str> =
                self.graph.outputs().iter().filter(|o| o.value == new).map(|o| o.name.as_str()).collect();
            if let &[name] = names.as_slice() {
                let name = name.to_owned();
                // Where another value still has that name, the output is written as a copy.
                let _ = self.graph.rename_value(new, &name);
            }
        }
    }

    /// Optional outputs of new nodes that nothing reads are left out.
    fn unname_unread(&mut self, added: &[NodeId]) {
        for &id in added.iter().filter(|&&id| self.graph.contains(id)).collect::<Vec<_>>() {
            let schema = self.graph.node(id).operator().and_then(Operator::schema);
            let formals = schema.map_or(&[][..], |schema| schema.outputs);
            for (value, formal) in self.graph.node_outputs(id).zip(formals).collect::<Vec<_>>() {
                let is_read = self.graph.is_output(value) || self.graph.readers(value).next().is_some();
                if formal.kind == FormalKind::Optional && !is_read {
                    let _ = self.graph.rename_value(value, "");
                }
            }
        }
    }

    /// Removes those nodes that nothing depends on, and what only they depended on. Returns the bytes of constants freed.
    pub(crate) fn sweep(&mut self, mut candidates: Vec<NodeId>) -> usize {
        let mut freed = 0;
        while let Some(id) = candidates.pop() {
            if !self.graph.contains(id) || matches!(self.graph.node(id).kind, NodeKind::Input) {
                continue;
            }
            let inputs = self.graph.node_inputs(id);
            let bytes = self.constant_bytes(id).unwrap_or(0);
            if self.graph.remove_node(id).is_ok() {
                freed += bytes;
                candidates.extend(inputs.iter().flatten().map(|v| v.node));
            }
        }
        freed
    }

    /// Carries what is newly known of values on to what is known of their readers' outputs.
    pub(crate) fn propagate(&mut self, values: Vec<ValueId>) {
        let mut pending: VecDeque<NodeId> = VecDeque::new();
        let readers = |graph: &Graph, value| graph.uses(value).into_iter().map(|u| u.node).collect::<Vec<_>>();
        for value in values {
            pending.extend(readers(self.graph, value));
        }
        let mut steps = self.graph.num_nodes().saturating_mul(4);
        while let Some(id) = pending.pop_front() {
            if steps == 0 {
                return;
            }
            steps -= 1;
            let before: Vec<Fact> = self.graph.node_outputs(id).map(|v| self.graph.fact(v).clone()).collect();
            self.graph.infer_node(id);
            let outputs: Vec<ValueId> = self.graph.node_outputs(id).collect();
            for (value, before) in outputs.into_iter().zip(&before) {
                if !is_same(before, self.graph.fact(value)) {
                    pending.extend(readers(self.graph, value));
                    self.enqueue(id);
                }
            }
        }
    }

    /// Looks again at these nodes, at those below them and at what goes into them.
    fn revisit(&mut self, start: Vec<NodeId>) {
        let mut level: Vec<NodeId> = start;
        // Rules ask who reads a value too: what goes into a new node may end there where it went on before.
        let is_there = |id: &&NodeId| self.graph.contains(**id);
        let above = level.iter().filter(is_there).flat_map(|&id| self.graph.node_inputs(id)).flatten().map(|v| v.node);
        for id in above.take(MAX_REVISITS).collect::<Vec<_>>() {
            self.enqueue(id);
        }
        let mut left = MAX_REVISITS;
        for _ in 0..MAX_REVISIT_DEPTH {
            let mut next = Vec::new();
            for id in level {
                if left == 0 || !self.graph.contains(id) {
                    continue;
                }
                left -= 1;
                self.enqueue(id);
                for value in self.graph.node_outputs(id) {
                    next.extend(self.graph.readers(value).take(left).map(|u| u.node));
                }
            }
            level = next;
        }
    }
}

fn internal(error: impl std::fmt::Display) -> No {
    No(format!("the rewrite is not a valid graph: {error}").into())
}

fn resolve(operand: Operand, values: &[Vec<ValueId>]) -> Option<ValueId> {
    match operand {
        Operand::Value(value) => Some(value),
        Operand::New { node, output } => values.get(node)?.get(output).copied(),
        Operand::Absent => None,
    }
}

/// Whether a value of type `new` can stand in for one of type `old`.
fn keeps_type(old: &Type, new: &Type) -> Result<(), No> {
    match old.unify(new) {
        Ok(_) => Ok(()),
        Err(message) => Err(format!("the type would change: {message}").into()),
    }
}

/// Whether two facts about one value say the same. Contents of large constants are not looked into.
fn is_same(a: &Fact, b: &Fact) -> bool {
    let same_constant = match (&a.constant, &b.constant) {
        (Some(a), Some(b)) => {
            a.shares_contents_with(b) || a.num_bytes() == b.num_bytes() && a.num_bytes() > 256 || a == b
        }
        (None, None) => true,
        _ => false,
    };
    same_constant && a.ty == b.ty && a.contents == b.contents
}

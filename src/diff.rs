//! How two graphs differ by what their nodes compute, whatever they are called.
//!
//! Nodes that compute the same from the same inputs are equal. So are, of the rest, those whose results become the same
//! outputs in the same way; and of what then remains, node by node, those that are the same operator and read the same
//! constants. These last two differ at most in what is computed before them. What is left on either side is the difference.

use planish_ir::{Attribute, Graph, GraphError, NodeId, NodeKind, Operator, ValueId};
use planish_tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The nodes of two graphs that have no equal in the other, each side in topological order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Nodes of the first graph only.
    pub only_a: Vec<NodeId>,
    /// Nodes of the second graph only.
    pub only_b: Vec<NodeId>,
    /// How many nodes have an equal.
    pub num_equal: usize,
}

/// Compares two graphs node by node.
pub fn diff(a: &Graph, b: &Graph) -> Result<Difference, GraphError> {
    let (a_all, b_all) = (by_inputs(a)?, by_inputs(b)?);
    let (mut a_rest, mut b_rest, mut num_equal) = unmatched(&operators(a, &a_all), &operators(b, &b_all));
    let (a_alone, b_alone) = (alone(a, &a_all, &b_all), alone(b, &b_all, &a_all));
    for (of_a, of_b) in [(by_uses(a, &a_alone), by_uses(b, &b_alone)), (a_alone, b_alone)] {
        let (only_a, only_b, equal) = unmatched(&among(&a_rest, &of_a), &among(&b_rest, &of_b));
        (a_rest, b_rest) = (only_a, only_b);
        num_equal += equal;
    }
    Ok(Difference { only_a: a_rest, only_b: b_rest, num_equal })
}

/// The hashes of these nodes.
fn among(nodes: &[NodeId], hashes: &[(NodeId, u64)]) -> Vec<(NodeId, u64)> {
    let nodes: HashSet<NodeId> = nodes.iter().copied().collect();
    hashes.iter().copied().filter(|(id, _)| nodes.contains(id)).collect()
}

/// Those of each list whose hash has no partner in the other, and how many have one.
fn unmatched(a: &[(NodeId, u64)], b: &[(NodeId, u64)]) -> (Vec<NodeId>, Vec<NodeId>, usize) {
    let mut left: HashMap<u64, usize> = HashMap::new();
    for (_, hash) in b {
        *left.entry(*hash).or_default() += 1;
    }
    let mut only_a = Vec::new();
    let mut matched: HashMap<u64, usize> = HashMap::new();
    for (id, hash) in a {
        match left.get_mut(hash).filter(|count| **count > 0) {
            Some(count) => {
                *count -= 1;
                *matched.entry(*hash).or_default() += 1;
            }
            None => only_a.push(*id),
        }
    }
    let equal = matched.values().sum();
    let mut only_b = Vec::new();
    for (id, hash) in b {
        match matched.get_mut(hash).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => only_b.push(*id),
        }
    }
    (only_a, only_b, equal)
}

/// A hash of what each node computes, back to the graph's inputs and constants, in topological order.
fn by_inputs(graph: &Graph) -> Result<Vec<(NodeId, u64)>, GraphError> {
    let mut known: HashMap<NodeId, u64> = HashMap::new();
    for (position, input) in graph.inputs().chain(graph.captures()).enumerate() {
        known.insert(input.node, hash_of(|h| ("input", position).hash(h)));
    }
    let mut hashes = Vec::new();
    for id in graph.topological_order()? {
        let hash = match &graph.node(id).kind {
            NodeKind::Input => known.get(&id).copied().unwrap_or_default(),
            NodeKind::Constant(tensor) => hash_of(|h| hash_tensor(tensor, h)),
            NodeKind::Operator(operator) => hash_of(|h| {
                hash_operator(operator, h);
                for input in graph.node_inputs(id) {
                    input.map(|v| (known.get(&v.node).copied(), v.output)).hash(h);
                }
            }),
        };
        known.insert(id, hash);
        hashes.push((id, hash));
    }
    Ok(hashes)
}

/// Those that are operators.
fn operators(graph: &Graph, hashes: &[(NodeId, u64)]) -> Vec<(NodeId, u64)> {
    hashes.iter().copied().filter(|(id, _)| graph.node(*id).operator().is_some()).collect()
}

/// A hash of each operator and of what it reads, unless that is computed in a way that the other graph does not know; in
/// topological order.
fn alone(graph: &Graph, computed: &[(NodeId, u64)], in_other: &[(NodeId, u64)]) -> Vec<(NodeId, u64)> {
    let shared: HashSet<u64> = in_other.iter().map(|(_, hash)| *hash).collect();
    let is_known = |id: NodeId, hash: u64| graph.node(id).operator().is_none() || shared.contains(&hash);
    let read: HashMap<NodeId, u64> = computed.iter().copied().filter(|&(id, hash)| is_known(id, hash)).collect();
    let hash = |id: NodeId| {
        let operator = graph.node(id).operator()?;
        let hash = hash_of(|h| {
            hash_operator(operator, h);
            for input in graph.node_inputs(id) {
                input.map(|value| (read.get(&value.node), value.output)).hash(h);
            }
        });
        Some((id, hash))
    };
    computed.iter().filter_map(|&(id, _)| hash(id)).collect()
}

/// A hash of each operator alone and of what becomes of its results, on to the graph's outputs; in topological order.
fn by_uses(graph: &Graph, alone: &[(NodeId, u64)]) -> Vec<(NodeId, u64)> {
    let mut outputs: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (position, output) in graph.outputs().iter().enumerate() {
        outputs.entry(output.value).or_default().push(position);
    }
    let mut known: HashMap<NodeId, u64> = HashMap::new();
    let mut hashes = Vec::new();
    for &(id, alone) in alone.iter().rev() {
        let hash = hash_of(|h| {
            alone.hash(h);
            for value in graph.node_outputs(id) {
                outputs.get(&value).hash(h);
                let mut uses: Vec<_> = graph.uses(value).iter().map(|u| (known.get(&u.node), u.input)).collect();
                uses.sort_unstable();
                uses.hash(h);
            }
        });
        known.insert(id, hash);
        hashes.push((id, hash));
    }
    hashes.reverse();
    hashes
}

fn hash_of(add: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    add(&mut hasher);
    hasher.finish()
}

fn hash_operator(operator: &Operator, h: &mut DefaultHasher) {
    (&operator.domain, &operator.name).hash(h);
    let mut attributes: Vec<(&str, &Attribute)> = operator.attributes.iter().collect();
    attributes.sort_unstable_by_key(|(name, _)| *name);
    for (name, attribute) in attributes {
        name.hash(h);
        hash_attribute(attribute, h);
    }
}

fn hash_attribute(attribute: &Attribute, h: &mut DefaultHasher) {
    match attribute {
        Attribute::Int(value) => value.hash(h),
        Attribute::Float(value) => value.to_bits().hash(h),
        Attribute::String(value) => value.hash(h),
        Attribute::Tensor(tensor) => hash_tensor(tensor, h),
        Attribute::Graph(body) => hash_body(body, h),
        Attribute::Type(ty) => ty.to_string().hash(h),
        Attribute::Ints(values) => values.hash(h),
        Attribute::Floats(values) => values.iter().for_each(|value| value.to_bits().hash(h)),
        Attribute::Strings(values) => values.hash(h),
        Attribute::Tensors(tensors) => tensors.iter().for_each(|tensor| hash_tensor(tensor, h)),
        Attribute::Graphs(bodies) => bodies.iter().for_each(|body| hash_body(body, h)),
        Attribute::Types(types) => types.iter().for_each(|ty| ty.to_string().hash(h)),
    }
}

/// Bodies are equal if they give out the same.
fn hash_body(body: &Graph, h: &mut DefaultHasher) {
    let known: HashMap<NodeId, u64> = by_inputs(body).unwrap_or_default().into_iter().collect();
    for output in body.outputs() {
        (known.get(&output.value.node), output.value.output).hash(h);
    }
}

fn hash_tensor(tensor: &Tensor, h: &mut DefaultHasher) {
    (tensor.dtype(), tensor.shape()).hash(h);
    match tensor.as_strings() {
        Ok(strings) => strings.hash(h),
        Err(_) => tensor.bytes().hash(h),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ops::StandardRegistry;

    fn names(a: &str, b: &str) -> (Vec<String>, Vec<String>, usize) {
        let graph = |nodes: &str| {
            let text = format!("g (float[2] x, float[2] z) => (float[2] y) <float[2] one = {{1, 1}}> {{ {nodes} }}");
            Graph::from_text(&text, &StandardRegistry).unwrap()
        };
        let (a, b) = (graph(a), graph(b));
        let found = diff(&a, &b).unwrap();
        let named = |graph: &Graph, ids: &[NodeId]| {
            ids.iter().map(|&id| graph.node(id).operator().unwrap().name.clone()).collect::<Vec<_>>()
        };
        (named(&a, &found.only_a), named(&b, &found.only_b), found.num_equal)
    }

    #[test]
    fn names_make_no_difference() {
        let (a, b, equal) = names("a = Exp (x) y = Add (a, one)", "other = Exp (x) y = Add (other, one)");
        assert_eq!((a.len(), b.len(), equal), (0, 0, 2));
    }

    #[test]
    fn a_node_that_changed_does_not_make_those_around_it_differ() {
        let found = names(
            "a = Exp (x) b = Relu (a) c = Neg (b) y = Add (c, one)",
            "a = Exp (x) b = Tanh (a) c = Neg (b) y = Add (c, one)",
        );
        assert_eq!(found, (vec!["Relu".to_owned()], vec!["Tanh".to_owned()], 3));
    }

    #[test]
    fn nodes_between_two_changes_are_equal() {
        let found = names(
            "a = Exp (x) b = Relu (a) c = Add (b, one) y = Sqrt (c)",
            "a = Neg (x) b = Relu (a) c = Add (b, one) y = Abs (c)",
        );
        let expected = (["Exp", "Sqrt"], ["Neg", "Abs"]);
        assert_eq!(
            (found.0, found.1, found.2),
            (expected.0.map(str::to_owned).into(), expected.1.map(str::to_owned).into(), 2)
        );
    }

    #[test]
    fn a_node_that_is_there_twice_is_told() {
        let found = names("a = Exp (x) y = Add (a, a)", "a = Exp (x) b = Exp (x) y = Add (a, b)");
        assert_eq!(found.1.iter().filter(|name| *name == "Exp").count(), 1);
    }

    #[test]
    fn swapped_inputs_and_other_constants_differ() {
        assert_eq!(names("y = Sub (x, z)", "y = Sub (z, x)").2, 0);
        assert_eq!(names("a = Exp (x) b = Neg (x) y = Sub (a, b)", "a = Exp (x) b = Neg (x) y = Sub (b, a)").2, 2);
        let found = names("a = Sub (x, z) y = Exp (a)", "a = Sub (x, one) y = Exp (a)");
        assert_eq!((found.0, found.1), (vec!["Sub".to_owned()], vec!["Sub".to_owned()]));
    }
}

//! Which constants of a graph are weights that can be kept in few bits, and who reads them.

use planish_ir::{Attribute, Graph, NodeId, Operator, Use, ValueId};
use planish_tensor::DType;
use smallvec::SmallVec;

/// Weights of fewer elements stay as they are: their scales would be most of what is left.
const MIN_ELEMENTS: usize = 1024;

/// A constant matrix that products or gathers read, seen as W: a row for each output, the sums of a product running
/// along it.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The constant.
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// How many rows W has.
    pub rows: usize,
    /// How long a row is.
    pub depth: usize,
    /// Whether the constant holds W transposed.
    pub is_transposed: bool,
    /// Who reads W.
    pub readers: Vec<Reader>,
}

/// A node that reads a weight.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The node.
    pub node: NodeId,
    /// What it does with W.
    pub role: Role,
    /// The transposition through which it reads the constant.
    pub through: Option<NodeId>,
}

/// What a node does with a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `MatMul`: x · Wᵀ.
    Product,
    /// `Gemm`: α · x · Wᵀ + β · c.
    Gemm,
    /// `Gather`: rows of W.
    Gather,
}

impl Weight {
    /// How many numbers it has.
    pub fn num_elements(&self) -> usize {
        self.rows * self.depth
    }

    /// The names of the nodes that read it.
    pub fn reader_names(&self, graph: &Graph) -> Vec<String> {
        self.readers.iter().map(|reader| graph.describe(reader.node)).collect()
    }

    /// Whether rows of it are gathered.
    pub fn is_gathered(&self) -> bool {
        self.readers.iter().any(|reader| reader.role == Role::Gather)
    }

    /// Whether a product reads it.
    pub fn is_multiplied(&self) -> bool {
        self.readers.iter().any(|reader| reader.role != Role::Gather)
    }
}

/// A constant that stays as it is, and why.
#[derive(Clone, Debug)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// How many numbers it has.
    pub num_elements: usize,
    /// How many bytes they take.
    pub num_bytes: usize,
    /// Why it stays.
    pub reason: String,
}

/// Every weight of a graph in the order of its nodes, and the constants of floats that are none.
pub fn find_weights(graph: &Graph) -> (Vec<Weight>, Vec<Left>) {
    let (mut weights, mut left) = (Vec::new(), Vec::new());
    for (id, node) in graph.nodes() {
        let Some(tensor) = node.constant().filter(|t| t.num_elements() >= MIN_ELEMENTS) else { continue };
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16 | DType::F64) {
            continue;
        }
        let value = ValueId { node: id, output: 0 };
        match weight(graph, value) {
            Ok(weight) => weights.push(weight),
            Err(reason) => {
                let (name, num_elements) = (graph.value_name(value).to_owned(), tensor.num_elements());
                left.push(Left { name, num_elements, num_bytes: tensor.num_bytes(), reason });
            }
        }
    }
    (weights, left)
}

/// The weight that a constant is, or why it is none.
fn weight(graph: &Graph, value: ValueId) -> Result<Weight, String> {
    let tensor = graph.constant(value).ok_or("it is no constant")?;
    if tensor.dtype() != DType::F32 {
        return Err(format!("it is of {}", tensor.dtype()));
    }
    let &[first, second] = tensor.shape().dims() else {
        let readers: Vec<String> = operators(graph, &graph.uses(value));
        return Err(format!("no matrix: it is read by {}", readers.join(", ")));
    };
    if graph.is_output(value) {
        return Err("the model gives it out".to_owned());
    }
    let mut readers = Vec::new();
    let mut orientations: SmallVec<[bool; 2]> = SmallVec::new();
    for use_ in graph.uses(value) {
        if is_transpose(graph, use_.node) {
            let transposed = ValueId { node: use_.node, output: 0 };
            if graph.is_output(transposed) {
                return Err("the model gives it out transposed".to_owned());
            }
            for through in graph.uses(transposed) {
                let (role, is_transposed) = role(graph, through)?;
                readers.push(Reader { node: through.node, role, through: Some(use_.node) });
                orientations.push(!is_transposed);
            }
        } else {
            let (role, is_transposed) = role(graph, use_)?;
            readers.push(Reader { node: use_.node, role, through: None });
            orientations.push(is_transposed);
        }
    }
    let is_transposed = *orientations.first().ok_or("nothing reads it")?;
    if orientations.iter().any(|&other| other != is_transposed) {
        return Err("products read it both as it is and transposed".to_owned());
    }
    let (rows, depth) = if is_transposed { (second, first) } else { (first, second) };
    let name = graph.value_name(value).to_owned();
    Ok(Weight { value, name, rows, depth, is_transposed, readers })
}

fn operators(graph: &Graph, uses: &[Use]) -> Vec<String> {
    let mut names: Vec<String> =
        uses.iter().filter_map(|u| graph.node(u.node).operator()).map(Operator::full_name).collect();
    names.sort();
    names.dedup();
    names
}

fn is_transpose(graph: &Graph, id: NodeId) -> bool {
    let operator = graph.node(id).operator().filter(|o| o.is("Transpose"));
    operator.is_some_and(|o| match o.attributes.get("perm") {
        Some(Attribute::Ints(perm)) => perm == &[1, 0],
        _ => true,
    })
}

/// What a use does with a weight, and whether it reads the weight transposed.
fn role(graph: &Graph, Use { node, input }: Use) -> Result<(Role, bool), String> {
    let operator = graph.node(node).operator().ok_or("nothing reads it")?;
    let int = |name: &str| match operator.attributes.get(name) {
        Some(Attribute::Int(value)) => *value,
        _ => 0,
    };
    match (operator.full_name().as_str(), input) {
        ("MatMul", 1) => Ok((Role::Product, true)),
        ("Gemm", 1) => Ok((Role::Gemm, int("transB") == 0)),
        ("Gather", 0) if int("axis") == 0 => Ok((Role::Gather, false)),
        ("MatMul" | "Gemm", 0) => Err("it is the left operand of a product".to_owned()),
        (name, _) => Err(format!("{name} reads it too")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ops::StandardRegistry;
    use planish_tensor::{Memory, Shape, Tensor};

    /// A graph whose inputs `w` and `v` become constants.
    fn graph(text: &str) -> Graph {
        let mut graph = Graph::from_text(text, &StandardRegistry).unwrap();
        for name in ["w", "v"] {
            let Some(input) = graph.value(name) else { continue };
            let dims: Vec<usize> =
                graph.fact(input).shape().unwrap().iter().map(|d| d.as_known().unwrap() as usize).collect();
            let dtype = graph.fact(input).dtype().unwrap();
            let tensor = Tensor::zeros(Memory::global(), dtype, Shape::new(&dims).unwrap()).unwrap();
            graph.rename_value(input, "an input no more").unwrap();
            let constant = graph.add_constant(name, tensor).unwrap();
            graph.replace_uses(input, constant);
            graph.remove_node(input.node).unwrap();
        }
        graph
    }

    #[test]
    fn tied_weights_are_one_weight_with_two_readers() {
        let text = "g (int64[n] ids, float[64, 32] w) => (float[n, 64] y) \
            { x = Gather (w, ids) t = Transpose <perm = [1, 0]> (w) y = MatMul (x, t) }";
        let (weights, left) = find_weights(&graph(text));
        let [weight] = weights.as_slice() else { panic!("{weights:?}, {left:?}") };
        assert_eq!((weight.rows, weight.depth, weight.is_transposed), (64, 32, false));
        let roles: Vec<(Role, bool)> = weight.readers.iter().map(|r| (r.role, r.through.is_some())).collect();
        assert_eq!(roles, [(Role::Gather, false), (Role::Product, true)]);
    }

    #[test]
    fn products_read_weights_both_ways() {
        let text = "g (float[n, 32] x, float[32, 64] w, float[40, 64] v) => (float[n, 40] y) \
            { a = MatMul (x, w) y = Gemm <transB = 1> (a, v) }";
        let (weights, _) = find_weights(&graph(text));
        let mut seen: Vec<(usize, usize, bool)> = weights.iter().map(|w| (w.rows, w.depth, w.is_transposed)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(40, 64, false), (64, 32, true)]);
    }

    #[test]
    fn other_constants_stay_for_a_reason() {
        for (signature, nodes, reason) in [
            ("float[n, 32, 9] x, float[64, 32, 3] w", "y = Conv (x, w)", "read by Conv"),
            ("float[32, n] x, float[64, 32] w", "y = MatMul (w, x)", "left operand"),
            ("float[n, 64] x, float[64, 64] w", "a = MatMul (x, w) b = Add (a, w) y = Relu (b)", "Add reads it"),
            ("float[n, 64] x, float[64, 64] w", "a = MatMul (x, w) y = Gemm <transB = 1> (a, w)", "both"),
            ("double[n, 64] x, double[64, 64] w", "y = MatMul (x, w)", "of double"),
        ] {
            let (weights, left) = find_weights(&graph(&format!("g ({signature}) => (float[] y) {{ {nodes} }}")));
            assert!(weights.is_empty());
            assert!(left[0].reason.contains(reason), "{left:?}");
        }
        let small = "g (float[n, 4] x, float[4, 4] w) => (float[] y) { y = MatMul (x, w) }";
        assert!(find_weights(&graph(small)).0.is_empty());
    }
}

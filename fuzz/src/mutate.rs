//! Changes to models as messages: most changes to their bytes only break a length.

use bytes::Bytes;
use planish::onnx::proto::type_proto::Value;
use planish::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use planish::onnx::wire;
use planish_ops::OPERATORS;
use prost::Message;

/// Numbers that sizes, axes and counts break on.
const NUMBERS: [i64; 16] =
    [0, 1, -1, 2, -2, 3, 4, 7, 33, 127, 1 << 16, 1 << 31, -(1 << 31), 1 << 40, i64::MAX, i64::MIN];

/// Changes the model in `data[..size]`, and gives its new size: a few changes to the message in three of four cases, else
/// those that `change_bytes` makes.
pub fn model(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    change_bytes: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut random = Random(u64::from(seed));
    let decoded = wire::decode::<ModelProto>(Bytes::copy_from_slice(&data[..size]));
    if let Ok(mut model) = decoded
        && random.below(4) != 0
    {
        for _ in 0..=random.below(3) {
            model.graph.iter_mut().for_each(|graph| change_graph(graph, &mut random));
        }
        let bytes = model.encode_to_vec();
        if bytes.len() <= max_size {
            data[..bytes.len()].copy_from_slice(&bytes);
            return bytes.len();
        }
    }
    change_bytes(data, size, max_size)
}

fn change_graph(graph: &mut GraphProto, random: &mut Random) {
    match random.below(10) {
        0..=5 => change_node(graph, random),
        6 | 7 => {
            if let Some(tensor) = random.choose(&mut graph.initializer) {
                change_tensor(tensor, random);
            }
        }
        8 => {
            let input = random.choose(&mut graph.input).and_then(|input| input.r#type.as_mut()?.value.as_mut());
            if let Some(Value::TensorType(tensor)) = input {
                tensor.elem_type = random.below(24) as i32;
            }
        }
        _ => {
            if let Some(node) = random.choose(&mut graph.node).cloned() {
                let mut copy = node;
                copy.output.iter_mut().for_each(|name| name.push('2'));
                graph.output.extend(
                    copy.output
                        .iter()
                        .map(|name| planish::onnx::proto::ValueInfoProto { name: name.clone(), ..Default::default() }),
                );
                graph.node.push(copy);
            }
        }
    }
}

fn change_node(graph: &mut GraphProto, random: &mut Random) {
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let tensors = graph.initializer.iter().map(|tensor| tensor.name.clone());
    let mut names: Vec<String> =
        inputs.chain(tensors).chain(graph.node.iter().flat_map(|node| node.output.clone())).collect();
    let Some(node) = random.choose(&mut graph.node) else { return };
    match random.below(6) {
        0 => {
            let schema = OPERATORS[random.below(OPERATORS.len())].schema;
            node.op_type = schema.name.into();
            node.domain = schema.domain.into();
            node.attribute.retain(|given| schema.attributes.iter().any(|known| known.name == given.name));
        }
        1 => {
            if let (Some(input), Some(name)) = (random.choose(&mut node.input), random.choose(&mut names)) {
                input.clone_from(name);
            }
        }
        2 => node.input.extend(random.choose(&mut names).cloned()),
        3 => drop(node.input.pop()),
        _ => change_attribute(node, random),
    }
}

fn change_attribute(node: &mut NodeProto, random: &mut Random) {
    let Some(AttributeProto { i, f, ints, t, g, .. }) = random.choose(&mut node.attribute) else { return };
    if let Some(i) = i {
        *i = random.number();
    }
    if let Some(f) = f {
        *f = [0.0, -1.0, 1e30, f32::NAN, f32::INFINITY][random.below(5)];
    }
    if let Some(number) = random.choose(ints) {
        *number = random.number();
    }
    if ints.len() > 1 && random.below(8) == 0 {
        ints.pop();
    }
    if let Some(tensor) = t {
        change_tensor(tensor, random);
    }
    if let Some(graph) = g {
        change_graph(graph, random);
    }
}

/// Changes elements of a tensor, or its shape so that it still takes as many, or not.
fn change_tensor(tensor: &mut TensorProto, random: &mut Random) {
    match random.below(4) {
        0 => {
            if let Some(number) = random.choose(&mut tensor.int64_data) {
                *number = random.number();
            }
            if let Some(raw) = tensor.raw_data.as_mut().filter(|raw| raw.len() % 8 == 0 && !raw.is_empty()) {
                let mut bytes = raw.to_vec();
                let start = 8 * random.below(bytes.len() / 8);
                bytes[start..start + 8].copy_from_slice(&random.number().to_le_bytes());
                *raw = bytes.into();
            }
        }
        1 => tensor.dims.push(1),
        2 => tensor.dims.reverse(),
        _ => {
            if let Some(dim) = random.choose(&mut tensor.dims) {
                *dim = random.number();
            }
        }
    }
}

/// The SplitMix64 generator (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % end
    }

    fn number(&mut self) -> i64 {
        NUMBERS[self.below(NUMBERS.len())]
    }

    fn choose<'a, T>(&mut self, list: &'a mut [T]) -> Option<&'a mut T> {
        if list.is_empty() { None } else { list.get_mut(self.below(list.len())) }
    }
}

//! Files that are sound but very long: what they take may grow with their length, not faster.

use super::build::{Net, Node, op};
use super::{Answer, Limits, judge};
use bytes::Bytes;
use planish::DType::F32;
use planish::onnx::import_bytes;
use std::time::Duration;

const LENGTH: usize = 20_000;

const LIMITS: Limits = Limits { time: Duration::from_secs(5), timeout: Duration::from_secs(4), bytes: 256 << 20 };

/// What is wrong with the answers.
pub fn failures() -> Vec<String> {
    let name = |i: usize| if i == 0 { "x".to_owned() } else { format!("v{i}") };
    let long = "n".repeat(100_000);
    let chain = |i: usize| op("Relu", &name(i), &name(i + 1));
    let files: [(&str, Vec<u8>); 5] = [
        ("scale_chain", net((0..LENGTH).map(chain), &name(LENGTH))),
        ("scale_chain_backwards", net((0..LENGTH).rev().map(chain), &name(LENGTH))),
        ("scale_one_value_read_by_all", net((0..LENGTH).map(|i| op("Relu", "x", &name(i + 1))), "v1")),
        ("scale_one_node_reads_all", {
            let all: String = (0..LENGTH).map(|i| name(i) + " ").collect();
            net((0..LENGTH - 1).map(|i| op("Relu", "x", &name(i + 1))).chain([op("Sum", &all, "y")]), "y")
        }),
        (
            "scale_long_names",
            net(
                (0..20).map(|i| op("Relu", &(name(i).replace('v', &long)), &name(i + 1).replace('v', &long))),
                &name(20).replace('v', &long),
            ),
        ),
    ];
    let judged = files.into_iter().filter_map(|(name, bytes)| {
        let load = move |options: &_| import_bytes(Bytes::from(bytes), options);
        judge(name, Answer::Runs, LIMITS, load)
    });
    judged.collect()
}

fn net(nodes: impl Iterator<Item = Node>, output: &str) -> Vec<u8> {
    nodes.fold(Net::new().input("x", F32, &[2]), Net::node).outputs(output).bytes()
}

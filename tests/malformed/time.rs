//! Models that would run for ever, or for very long.

use super::Answer::Run;
use super::build::{Net, Node, body, op};
use super::{Case, case};
use planish::RunErrorKind::DeadlineExceeded;

pub fn cases() -> Vec<Case> {
    let net = || Net::new().ints("m", &[], &[i64::MAX]).floats("v", &[1], &[1.0]);
    vec![
        case("time_endless_loop", Run(DeadlineExceeded), net().node(endless("m", 1)).outputs("y").bytes()),
        case("time_loop_without_trip_count", Run(DeadlineExceeded), net().node(endless("_", 1)).outputs("y").bytes()),
        case(
            "time_endless_loops_within_loops",
            Run(DeadlineExceeded),
            net().node(endless("m", 8)).outputs("y").bytes(),
        ),
        case("time_long_product", Run(DeadlineExceeded), {
            let wide = net().ints("s", &[2], &[1, 1_500_000]).ints("t", &[2], &[1_500_000, 1]);
            let net = wide.node(op("Expand", "v s", "a")).node(op("Expand", "v t", "b"));
            // Three thousand products of 1.5 million numbers each: seconds of work, in nodes that each take little.
            let products = (0..3000).map(|i| op("Gemm", "a b", &format!("p{i}")).float("alpha", i as f32));
            let net = products.fold(net, Net::node);
            net.outputs(&(0..3000).map(|i| format!("p{i} ")).collect::<String>()).bytes()
        }),
        case("time_one_long_convolution", Run(DeadlineExceeded), {
            let net = net().ints("s", &[3], &[1, 1, 400_000]).ints("k", &[3], &[1, 1, 200_000]);
            let net = net.node(op("Expand", "v s", "a")).node(op("Expand", "v k", "w"));
            net.node(op("Conv", "a w", "y")).outputs("y").bytes()
        }),
        case("time_one_long_pooling", Run(DeadlineExceeded), {
            let net = net().ints("s", &[3], &[1, 1, 2_000_000]).node(op("Expand", "v s", "a"));
            net.node(op("AveragePool", "a", "y").ints("kernel_shape", &[1_000_000])).outputs("y").bytes()
        }),
    ]
}

/// A loop without end around another, so many deep.
fn endless(trips: &str, levels: usize) -> Node {
    let (inner, result) = match levels {
        1 => (op("Identity", "v", "z1"), "z1".to_owned()),
        _ => {
            let mut node = endless(trips, levels - 1);
            let result = format!("z{levels}");
            node.0.output = vec![result.clone()];
            (node, result)
        }
    };
    let names = (format!("i{levels}"), format!("c{levels}"), format!("s{levels}"), format!("d{levels}"));
    let (iteration, condition, state, goes_on) = &names;
    let nodes = vec![op("Identity", condition, goes_on), inner];
    let body = body(&format!("{iteration} {condition} {state}"), nodes, &format!("{goes_on} {result}"));
    op("Loop", &format!("{trips} _ v"), "y").body("body", body)
}

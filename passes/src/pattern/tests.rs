use super::{Matcher, Pattern};
use planish_ir::{Graph, ValueId};
use planish_ops::StandardRegistry;

/// Whether the pattern is found at value `y` of a graph of these nodes; the values of the names asked for.
fn find(pattern: &str, nodes: &str, names: &[&str]) -> Result<Vec<String>, String> {
    let text =
        format!("g (float[2] x, float[2] z) => (float[2] y) <float half = {{0.5}}, float two = {{2}}> {{ {nodes} }}");
    let graph = Graph::from_text(&text, &StandardRegistry).unwrap();
    let pattern = Pattern::parse(pattern).unwrap();
    let ValueId { node, .. } = graph.value("y").unwrap();
    match Matcher::find(&graph, &pattern, node, true) {
        Ok(found) => Ok(names.iter().map(|n| graph.value_name(found[n]).to_owned()).collect()),
        Err(miss) => Err(miss.map_or_else(String::new, |m| m.reason)),
    }
}

#[test]
fn sums_and_products_match_in_any_order_and_grouping() {
    for nodes in [
        "s = Sigmoid (x) h = Mul (x, half) y = Mul (h, s)",
        "s = Sigmoid (x) h = Mul (half, s) y = Mul (x, h)",
        "s = Sigmoid (x) h = Mul (s, x) y = Mul (half, h)",
    ] {
        assert_eq!(find("0.5 * v * Sigmoid(v)", nodes, &["v"]), Ok(vec!["x".to_owned()]), "{nodes}");
    }
    let other = "s = Sigmoid (x) h = Mul (s, z) y = Mul (half, h)";
    assert_eq!(find("0.5 * v * Sigmoid(v)", other, &[]), Err("expected the same value, got an input".to_owned()));
}

#[test]
fn numbers_must_be_close() {
    let nodes = "h = Mul (x, two) y = Relu (h)";
    assert!(find("Relu(v * 2)", nodes, &["v"]).is_ok());
    assert!(find("Relu(v * 2.001)", nodes, &["v"]).is_err());
}

#[test]
fn values_read_elsewhere_do_not_match_unless_shared() {
    let nodes = "r = Relu (x) n = Neg (r) y = Add (r, n)";
    assert!(find("Relu(v) + w", nodes, &[]).unwrap_err().contains("\"r\" is read by \"n\" too"));
    assert_eq!(find("&Relu(v) + w", nodes, &["w"]), Ok(vec!["n".to_owned()]));
    assert_eq!(find("r = Relu(v)\n y = r + Neg(r)", nodes, &["r"]), Ok(vec!["r".to_owned()]));
}

#[test]
fn optional_nodes_and_alternatives() {
    for nodes in ["y = Relu (x)", "i = Identity (x) y = Relu (i)", "i = Identity (x) y = Abs (i)"] {
        assert_eq!(find("Relu(Identity?(v)) | Abs(Identity(v))", nodes, &["v"]), Ok(vec!["x".to_owned()]), "{nodes}");
    }
}

#[test]
fn a_failed_alternative_leaves_nothing_behind() {
    // The first alternative binds `a` before it fails.
    let nodes = "n = Neg (z) y = Sub (x, n)";
    assert_eq!(find("Sub(a, Relu(b)) | Sub(b, Neg(a))", nodes, &["a", "b"]), Ok(vec!["z".to_owned(), "x".to_owned()]));
}

#[test]
fn inputs_must_be_there_or_not() {
    let nodes = "y = Clip (x, half)";
    assert!(find("Clip(v)", nodes, &[]).is_err());
    assert!(find("Clip(v, low, high)", nodes, &[]).is_err());
    assert!(find("Clip(v, low, high?)", nodes, &["low"]).is_ok());
    assert!(find("Clip(v, ...)", nodes, &["v"]).is_ok());
}

#[test]
fn a_wrong_pattern_says_what_is_wrong() {
    assert!(Pattern::parse("").unwrap_err().contains("empty"));
    assert!(Pattern::parse("Relu(x").unwrap_err().contains("expected"));
    assert!(Pattern::parse("x # y").unwrap_err().contains("'#'"));
    assert!(Pattern::parse("x = Relu(x)").unwrap_err().contains("before its line"));
}

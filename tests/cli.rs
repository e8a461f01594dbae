//! The commands as other programs call them: exit codes, what goes to which stream, keys of the JSON documents.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn planish(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_planish"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments.split_whitespace());
    command
}

fn output(arguments: &str) -> Output {
    planish(arguments).output().expect("the program starts")
}

#[track_caller]
fn assert_code(arguments: &str, code: i32) -> Output {
    let output = output(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "planish {arguments}\n{errors}");
    output
}

/// The one JSON document that a command prints.
#[track_caller]
fn json(arguments: &str, code: i32) -> Value {
    let output = assert_code(&format!("{arguments} --json"), code);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("planish {arguments}: {e}: {output:?}"))
}

#[track_caller]
fn assert_keys(document: &Value, keys: &str) {
    let object = document.as_object().expect("the document is an object");
    for key in keys.split_whitespace() {
        assert!(object.contains_key(key), "{key:?} is not in {document}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const MODEL: &str = "models/digits/model.onnx";
const DATA: &str = "models/digits/test_data_set_0";

#[test]
fn exit_codes_tell_bad_from_wrong_from_limited() {
    let cases = [
        ("--version", 0),
        ("--help", 0),
        ("run --help", 0),
        ("ops", 0),
        ("", 2),
        ("fly", 2),
        ("run", 2),
        ("run --fly MODEL", 2),
        ("run MODEL --threads 0", 2),
        ("run MODEL --threads many", 2),
        ("run MODEL --isa z80", 2),
        ("run MODEL --max-memory lots", 2),
        ("run MODEL --timeout -1", 2),
        ("run MODEL --dim batch", 2),
        ("run MODEL --dim batch=-1", 2),
        ("run MODEL -i image", 2),
        ("run MODEL --output nobody", 2),
        ("bench MODEL --repeat 0", 2),
        ("optimize MODEL", 2),
        ("test MODEL", 2),
        ("run no-such-file.onnx", 1),
        ("run models", 1),
        ("run README.md", 1),
        ("run MODEL --data no-such-folder", 1),
        ("run MODEL -i image=no-such-file.npy", 1),
        ("test MODEL models/charlm/test_data_set_0", 1),
        ("inspect tests/malformed/wire_web_page.onnx", 1),
        ("check tests/malformed/graph_operator_unknown.onnx", 1),
        ("run tests/malformed/graph_operator_unknown.onnx", 1),
        ("optimize MODEL -o no-such-folder/out.onnx", 1),
        ("run MODEL --max-memory 1K", 3),
        ("run MODEL --timeout 0", 3),
        ("run MODEL --dim batch=9999999999", 3),
        ("run tests/malformed/time_endless_loop.onnx --timeout 0.05", 3),
    ];
    for (arguments, code) in cases {
        let output = assert_code(&arguments.replace("MODEL", MODEL), code);
        let errors = text(&output.stderr);
        let said = !errors.is_empty() || arguments.starts_with("check") && !output.stdout.is_empty();
        assert_eq!(said, code != 0, "planish {arguments}: {errors}");
        assert!(!errors.contains("panicked"), "planish {arguments}: {errors}");
    }
}

#[test]
fn errors_say_what_and_what_next() {
    let errors = text(&assert_code("run tests/malformed/graph_operator_unknown.onnx", 1).stderr);
    assert!(errors.contains("Frobnicate") && errors.contains("planish check"), "{errors}");
    let errors = text(&assert_code("run no-such-file.onnx", 1).stderr);
    assert!(errors.starts_with("error: no-such-file.onnx"), "{errors}");
}

#[test]
fn inspect_shows_what_is_in_a_model() {
    let shown = text(&assert_code(&format!("inspect {MODEL}"), 0).stdout);
    for word in ["image", "logits", "batch", "Conv", "26,"] {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    let document = json(&format!("inspect {MODEL} --nodes --weights --shapes"), 0);
    assert_keys(
        &document,
        "model producer opsets inputs outputs nodes operators parameters weight_bytes macs unsupported",
    );
    assert_keys(&document, "node_list weight_list shapes");
    assert_eq!(document["inputs"][0]["name"], "image");
    assert_eq!(document["operators"]["Conv"], 3);
}

#[test]
fn inspect_writes_text_and_pictures() {
    let shown = text(&assert_code(&format!("inspect {MODEL} --text"), 0).stdout);
    assert!(shown.contains("opset_import") && shown.contains("Conv"), "{shown}");
    let file = temporary("digits.dot");
    assert_code(&format!("inspect {MODEL} --quiet --dot {}", file.display()), 0);
    assert!(fs::read_to_string(file).unwrap().starts_with("digraph"));
}

#[test]
fn inspect_plans_the_peak_of_a_run() {
    let document = json(&format!("inspect {MODEL} --cost"), 0);
    assert!(document["planned_peak"]["error"].as_str().is_some_and(|e| e.contains("batch")), "{document}");
    let peak = |batch: u32| {
        let document = json(&format!("inspect {MODEL} --cost --dim batch={batch}"), 0);
        document["planned_peak"]["bytes"].as_u64().unwrap_or_else(|| panic!("{document}"))
    };
    assert!(peak(1) > 0);
    assert_eq!(peak(8), 8 * peak(1));
}

#[test]
fn check_lists_all_that_cannot_run() {
    let document = json(&format!("check {MODEL}"), 0);
    assert_eq!((&document["ok"], &document["error"]), (&Value::Bool(true), &Value::Null));
    let document = json("check tests/malformed/graph_operator_unknown.onnx", 1);
    assert_eq!(document["unsupported"][0]["operator"], "Frobnicate");
    let document = json("check tests/malformed/wire_web_page.onnx", 1);
    assert!(document["error"].as_str().is_some_and(|error| error.contains("wire_web_page.onnx")), "{document}");
}

#[test]
fn run_gives_the_same_for_the_same_seed() {
    let seeded = |seed: u32| json(&format!("run {MODEL} --seed {seed} --dim batch=2"), 0)["outputs"][0].clone();
    let first = seeded(1);
    assert_keys(&first, "name type shape min max mean argmax first");
    assert_eq!(first["shape"], serde_json::json!([2, 10]));
    assert_eq!(seeded(1), first);
    assert_ne!(seeded(2), first);
}

#[test]
fn run_saves_outputs_that_test_accepts() {
    let folder = temporary("cli_run_outputs");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(DATA).join("input_0.pb"), folder.join("input_0.pb")).unwrap();
    assert_code(&format!("run {MODEL} --data {DATA} -o {} --quiet", folder.display()), 0);
    let archive = temporary("cli_run_outputs.npz");
    assert_code(&format!("run {MODEL} --data {DATA} -o {} --quiet", archive.display()), 0);
    assert!(fs::metadata(archive).unwrap().len() > 0);
}

#[test]
fn run_profiles_every_node() {
    let document = json(&format!("run {MODEL} --data {DATA} --profile --threads 1"), 0);
    assert_keys(&document, "model isa threads time_ms outputs profile machine");
    let nodes = document["profile"].as_array().unwrap();
    assert!(
        nodes.iter().any(|node| node["operator"] == "planish::FusedConv" && node["macs"].as_u64() > Some(0)),
        "{document}"
    );
    for node in nodes {
        assert_keys(node, "node operator ms macs bytes weight_bytes output least_ms bound_by");
        assert!(node["weight_bytes"].as_u64() <= node["bytes"].as_u64(), "{node}");
    }
}

#[test]
fn test_compares_with_what_is_expected() {
    let document = json(&format!("test {MODEL} {DATA}"), 0);
    assert_keys(&document, "ok error max_abs_err max_rel_err min_cosine dtype_ok");
    assert_eq!(document["ok"], true);
    let document = json(&format!("test {MODEL} {DATA} --rtol 0 --atol 0"), 1);
    assert!(document["error"].as_str().unwrap().starts_with("mismatch"), "{document}");
    let document = json("test no-such-file.onnx no-such-folder", 1);
    assert_eq!(document["ok"], false);
}

#[test]
fn bench_measures() {
    let document = json(&format!("bench {MODEL} --data {DATA} --repeat 3 --threads 1"), 0);
    assert_keys(&document, "model threads isa load_ms first_run_ms median_ms min_ms peak_rss_mb ok error max_abs_err");
    assert_eq!((&document["ok"], &document["threads"]), (&Value::Bool(true), &Value::from(1)));
    assert_eq!(json("bench no-such-file.onnx", 1)["ok"], false);
}

#[test]
fn bench_measures_the_machine() {
    let document = json("bench --machine --threads 2", 0);
    assert_keys(&document, "isa int8_unit threads f32_gflops int8_gops reads caches");
    let rates = [&document["f32_gflops"], &document["int8_gops"], &document["reads"][0]["gb_s"]];
    assert!(
        rates.iter().all(|rate| rate["one"].as_f64() > Some(0.0) && rate["all"].as_f64() > Some(0.0)),
        "{document}"
    );
    assert!(text(&assert_code("bench --machine --threads 1", 0).stdout).contains("reading memory"));
    assert_code(&format!("bench --machine {MODEL}"), 2);
    assert_code("bench", 2);
}

#[test]
fn optimize_writes_a_model_that_computes_the_same() {
    let out = temporary("cli_optimized.onnx");
    let document = json(&format!("optimize {MODEL} -o {}", out.display()), 0);
    assert_keys(&document, "before after passes");
    assert_code(&format!("test {} {DATA}", out.display()), 0);
    assert_eq!(json(&format!("compare {MODEL} {} --data {DATA}", out.display()), 0)["ok"], true);
}

#[test]
fn compare_takes_one_model_at_two_stages() {
    let document = json(&format!("compare {MODEL} --b-pass weights --data {DATA}"), 0);
    assert_eq!(document["ok"], true);
    assert_eq!(json(&format!("compare {MODEL} --a-pass clean --b-pass end --data {DATA}"), 0)["ok"], true);
    assert_code(&format!("compare {MODEL} --a-pass no-such-pass"), 2);
    assert_code(&format!("compare {MODEL}"), 2);
}

#[test]
fn batch_norms_are_replaced_where_that_is_asked_for_and_cheap() {
    let out = temporary("cli_replaced.onnx");
    let replace = format!("optimize {MODEL} -o {} --with replace-batchnorm --data {DATA}", out.display());
    let document = json(&format!("{replace} --max-change 0"), 0);
    let norms = document["replaced_norms"]["norms"].as_array().unwrap().clone();
    assert_eq!(norms.len(), 3);
    assert!(norms.iter().all(|norm| norm["left_for"].is_string()), "{norms:?}");
    let document = json(&format!("{replace} --max-change 1000"), 0);
    assert_eq!(document["after"]["operators"]["GroupNormalization"], 3);
    assert!(document["replaced_norms"]["output_error"].as_f64().unwrap() > 0.0);
    assert_code(&format!("optimize {MODEL} -o {} --with replace-batchnorm", out.display()), 2);
}

#[test]
fn bisect_finds_the_rewrite_that_rounds_differently() {
    let out = temporary("cli_bisect");
    let bisect = format!("bisect {MODEL} --data {DATA} -o {}", out.display());
    let document = json(&bisect, 0);
    assert_eq!((&document["ok"], &document["culprit"]), (&Value::Bool(true), &Value::Null));
    let document = json(&format!("{bisect} --rtol 0 --atol 0"), 1);
    assert_keys(&document["culprit"], "pass node rewrite difference");
    assert_eq!(document["culprit"]["pass"], "fuse-conv-batch-norm");
    let (before, after, data) = (out.join("before.onnx"), out.join("after.onnx"), out.join("data"));
    let test = |model: &Path, code| {
        assert_code(&format!("test {} {} --rtol 0 --atol 0 --no-optimize", model.display(), data.display()), code);
    };
    test(&before, 0);
    test(&after, 1);
    let operators = |model: &Path| json(&format!("inspect {}", model.display()), 0)["operators"].clone();
    assert_eq!(operators(&before), serde_json::json!({"BatchNormalization": 1, "Conv": 1}));
    assert_eq!(operators(&after), serde_json::json!({"Conv": 1}));
}

#[test]
fn diff_tells_nodes_that_have_no_equal() {
    assert_eq!(json(&format!("diff {MODEL} {MODEL}"), 0)["equal"], true);
    let out = temporary("cli_diff.onnx");
    assert_code(&format!("optimize {MODEL} -o {}", out.display()), 0);
    let document = json(&format!("diff {MODEL} {}", out.display()), 1);
    assert_keys(&document, "equal equal_nodes signature only_a only_b");
    let only_a = document["only_a"].as_array().unwrap();
    assert!(only_a.iter().any(|node| node["operator"] == "BatchNormalization"), "{document}");
}

#[test]
fn ops_lists_what_can_run() {
    let document = json("ops", 0);
    let conv = document.as_array().unwrap().iter().find(|op| op["name"] == "Conv").expect("Conv is there");
    assert_keys(conv, "domain name since inputs outputs attributes");
    let table = text(&assert_code("ops --markdown", 0).stdout);
    assert!(table.starts_with("# Operators"), "{table}");
}

#[test]
fn quiet_says_nothing_but_the_answer() {
    let output = assert_code(&format!("run {MODEL} --json --quiet"), 0);
    assert!(output.stderr.is_empty());
}

#[test]
fn a_broken_pipe_is_no_failure() {
    for arguments in ["ops --json", "inspect models/charlm/model.onnx --text"] {
        let mut child = planish(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "planish {arguments}: {}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "planish {arguments}: {}", text(&output.stderr));
    }
}

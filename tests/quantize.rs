//! `planish quantize` and `planish perplexity` as other programs call them.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LANGUAGE: &str = "models/charlm/model.onnx";
const TEXT: &str = "models/charlm/eval.txt";

fn output(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_planish"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("the program starts")
}

#[track_caller]
fn assert_code(arguments: &str, code: i32) -> Output {
    let output = output(&arguments.split_whitespace().collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "planish {arguments}\n{errors}");
    assert!(!errors.contains("panicked"), "planish {arguments}\n{errors}");
    output
}

#[track_caller]
fn json(arguments: &str) -> Value {
    let output = assert_code(&format!("{arguments} --json"), 0);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("planish {arguments}: {e}: {output:?}"))
}

#[track_caller]
fn number(document: &Value, key: &str) -> f64 {
    document[key].as_f64().unwrap_or_else(|| panic!("no number {key:?} in {document}"))
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// How far a quantized language model is from the original.
fn divergence(model: &Path, flags: &str) -> Value {
    let model = model.display();
    json(&format!("perplexity {model} --text {TEXT} --against {LANGUAGE} --limit 12 {flags}"))
}

#[test]
fn perplexity_scores_second_halves_of_windows() {
    let document = json(&format!("perplexity {LANGUAGE} --text {TEXT} --limit 10"));
    assert_eq!(number(&document, "tokens"), 630.0);
    let perplexity = number(&document, "ppl");
    assert!((4.0..5.5).contains(&perplexity), "{document}");
    assert!(document["kl"].is_null() && document["top1"].is_null(), "{document}");
    let against = json(&format!("perplexity {LANGUAGE} --text {TEXT} --limit 10 --against {LANGUAGE}"));
    assert_eq!((number(&against, "kl"), number(&against, "top1")), (0.0, 1.0));
    assert!((number(&against, "ppl") - perplexity).abs() < 1e-9);
    let short = json(&format!("perplexity {LANGUAGE} --text {TEXT} --limit 160 --window 8"));
    assert_eq!(number(&short, "tokens"), 480.0);
    assert!(number(&short, "ppl") > perplexity, "less context guesses worse: {short}");
}

#[test]
fn texts_and_models_that_do_not_go_together_are_refused() {
    let empty = temporary("empty.txt");
    fs::write(&empty, "").unwrap();
    let short = temporary("short.txt");
    fs::write(&short, "To be").unwrap();
    let binary = temporary("binary.txt");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    let digits = "models/digits/model.onnx";
    let cases = [
        (format!("{LANGUAGE} --text no-such-file.txt"), 1, "no-such-file.txt"),
        (format!("{LANGUAGE} --text {}", empty.display()), 1, "no text"),
        (format!("{LANGUAGE} --text {}", short.display()), 1, "fewer than one window"),
        (format!("{LANGUAGE} --text {}", binary.display()), 1, "UTF-8"),
        (format!("{digits} --text {TEXT}"), 1, "--tokenizer"),
        (format!("{digits} --text {TEXT} --tokenizer models/charlm/tokenizer.json"), 1, "reads no tokens"),
        (format!("{LANGUAGE} --text {TEXT} --tokenizer no-such.json"), 1, "no-such.json"),
        (format!("{LANGUAGE} --text {TEXT} --tokenizer models/charlm/expected.json"), 1, "no tokenizer"),
        (format!("{LANGUAGE} --text {TEXT} --window 1"), 2, "--window"),
        (format!("{LANGUAGE} --text {TEXT} --limit 0"), 2, "--limit"),
        (LANGUAGE.to_owned(), 2, "--text"),
    ];
    for (arguments, code, message) in cases {
        let errors = assert_code(&format!("perplexity {arguments}"), code).stderr;
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains(message), "planish perplexity {arguments}: {errors}");
    }
}

#[test]
fn every_target_keeps_what_the_model_says() {
    for (flags, limit, most_bytes) in [
        ("--bits 8", 3e-4, 440_000),
        ("--bits 8 --block 16 --asymmetric", 3e-4, 560_000),
        ("--bits 4", 0.03, 320_000),
        ("--bits 4 --symmetric --block 32", 0.05, 320_000),
        ("--bits 4 --block 64 --embedding-bits 4", 0.1, 300_000),
        ("--weights f16", 1e-5, 800_000),
        ("--weights bf16", 1e-4, 800_000),
    ] {
        for target in ["standard", "ort", "planish"] {
            let name = format!("{target}{}.onnx", flags.replace([' ', '-'], ""));
            let out = temporary(&name);
            let report = json(&format!("quantize {LANGUAGE} -o {} {flags} --target {target}", out.display()));
            assert_eq!(number(&report, "quantized"), 15.0, "{report}");
            let size = fs::metadata(&out).unwrap().len();
            assert!(size < most_bytes, "{name}: {size} bytes");
            let tokenizer = "--tokenizer models/charlm/tokenizer.json";
            let quick = divergence(&out, tokenizer);
            assert!(number(&quick, "kl") < limit, "{name}: {quick}");
            // As any runtime runs it: numbers made of codes first, then multiplied.
            let plain = divergence(&out, &format!("{tokenizer} --no-optimize"));
            let apart = (number(&quick, "ppl") / number(&plain, "ppl") - 1.0).abs();
            assert!(apart < 2e-3, "{name}: {quick}, without rewriting {plain}");
        }
    }
}

#[test]
fn what_is_excluded_stays() {
    let out = temporary("excluded.onnx");
    let report = json(&format!("quantize {LANGUAGE} -o {} --exclude embedding.weight", out.display()));
    let layers = report["layers"].as_array().unwrap();
    let layer = layers.iter().find(|layer| layer["name"] == "embedding.weight").unwrap();
    assert_eq!((&layer["storage"], &layer["reason"]), (&"float".into(), &"it is excluded".into()));
    assert_eq!(number(&report, "quantized"), 14.0);
    assert!(report["outputs"][0]["cosine"].as_f64().is_some_and(|cosine| cosine > 0.999), "{report}");
}

#[test]
fn wrong_uses_of_quantize_are_told() {
    let cases = [
        ("--bits 5", 2, "4 or 8"),
        ("--block 24", 2, "16, 32"),
        ("--symmetric --asymmetric", 2, "cannot be used with"),
        ("--weights f16 --bits 8", 2, "cannot be used with"),
        ("--exclude nobody", 2, "nobody"),
        ("--mode magic", 2, "magic"),
        ("--data no-such-folder", 1, "no-such-folder"),
    ];
    let out = temporary("never.onnx");
    for (flags, code, message) in cases {
        let errors = assert_code(&format!("quantize {LANGUAGE} -o {} {flags}", out.display()), code).stderr;
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains(message), "planish quantize {flags}: {errors}");
    }
    assert!(!out.exists());
}

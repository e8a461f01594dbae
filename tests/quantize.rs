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

#[test]
fn products_of_integers_keep_what_the_model_says() {
    let calibrated = |how: &str| {
        format!("--mode static --calib-text {TEXT} --tokenizer models/charlm/tokenizer.json --calibrator {how}")
    };
    for (name, flags, limit) in [
        ("dynamic", "--mode dynamic".to_owned(), 5e-3),
        ("min-max", calibrated("min-max"), 6e-3),
        ("moving-average", calibrated("moving-average"), 6e-3),
        ("percentile", calibrated("percentile"), 6e-3),
        ("entropy", calibrated("entropy"), 6e-3),
        ("mse", calibrated("mse"), 6e-3),
    ] {
        let out = temporary(&format!("products-{name}.onnx"));
        let report = json(&format!("quantize {LANGUAGE} -o {} {flags}", out.display()));
        let layers = report["layers"].as_array().unwrap();
        let products = layers.iter().filter(|layer| layer["storage"] == "int8 product").count();
        assert_eq!(products, 13, "{name}: {report}");
        let told = divergence(&out, "--tokenizer models/charlm/tokenizer.json");
        assert!(number(&told, "kl") < limit, "{name}: {told}");
    }
}

#[test]
fn a_classifier_calibrated_on_images_says_the_same() {
    let (model, data) = ("models/digits/model.onnx", "models/digits/test_data_set_1");
    for calib in [data, "models/digits"] {
        let out = temporary("digits-static.onnx");
        let report = json(&format!("quantize {model} -o {} --mode static --calib {calib}", out.display()));
        assert_eq!(number(&report, "quantized"), 4.0);
        assert!(number(&report, "bytes_after") < 0.3 * number(&report, "bytes_before"), "{report}");
        assert!(report["outputs"][0]["cosine"].as_f64().is_some_and(|cosine| cosine > 0.999), "{report}");
        assert_code(&format!("test {} {data} --cosine 0.999", out.display()), 0);
    }
}

#[test]
fn calibration_needs_data() {
    let digits = "models/digits/model.onnx";
    let empty = temporary("no-data");
    fs::create_dir_all(&empty).unwrap();
    let cases = [
        (format!("{digits} --mode static"), 2, "--calib"),
        (format!("{digits} --mode static --calib {}", empty.display()), 1, "no data"),
        (format!("{digits} --mode static --calib no-such-folder"), 1, "no-such-folder"),
        (format!("{digits} --mode static --calib-text {TEXT}"), 1, "reads no tokens"),
        (format!("{digits} --mode static --calib a --calib-text b"), 2, "cannot be used with"),
        (format!("{digits} --mode static --calib models/digits/test_data_set_1 --calibrator guess"), 2, "guess"),
        (format!("{digits} --mode weights --calib models/digits/test_data_set_1"), 2, "static"),
        (format!("{digits} --mode dynamic --bits 4"), 2, "8 bits"),
    ];
    let out = temporary("never.onnx");
    for (arguments, code, message) in cases {
        let errors = assert_code(&format!("quantize {arguments} -o {}", out.display()), code).stderr;
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains(message), "planish quantize {arguments}: {errors}");
    }
    assert!(!out.exists());
}

#[test]
fn budgets_are_kept() {
    let text = format!("--calib-text {TEXT} --calib-limit 3 --tokenizer models/charlm/tokenizer.json");
    for (budget, key, most) in [("kl=0.004", "kl", 0.008), ("cosine=0.9999", "kl", 0.05), ("top1=0.97", "kl", 0.05)] {
        let out = temporary(&format!("budget-{}.onnx", budget.replace('=', "-")));
        let report = json(&format!("quantize {LANGUAGE} -o {} --budget {budget} {text}", out.display()));
        assert!(number(&report, "bytes_after") <= number(&report, "bytes_before"), "{report}");
        for layer in report["layers"].as_array().unwrap() {
            assert!(layer["sensitivity"].is_number(), "{layer}");
            assert!(layer["storage"] != "float" || layer["reason"].is_string(), "{layer}");
        }
        let told = divergence(&out, "--tokenizer models/charlm/tokenizer.json");
        assert!(number(&told, key) < most, "{budget}: {told}");
    }
    let (digits, data) = ("models/digits/model.onnx", "models/digits/test_data_set_1");
    let out = temporary("budget-static.onnx");
    for budget in ["cosine=0.999", "rel=0.02", "rel=0"] {
        json(&format!("quantize {digits} -o {} --mode static --calib {data} --budget {budget}", out.display()));
        let tolerance = if budget == "rel=0" { "0.9999999" } else { "0.999" };
        assert_code(&format!("test {} {data} --cosine {tolerance}", out.display()), 0);
    }
}

#[test]
fn budgets_that_mean_nothing_are_refused() {
    let out = temporary("never.onnx");
    for budget in ["fast", "speed=2", "cosine=1.5", "kl=-1", "rel=nan", "top1="] {
        let errors = assert_code(&format!("quantize {LANGUAGE} -o {} --budget {budget}", out.display()), 2).stderr;
        assert!(String::from_utf8(errors).unwrap().contains("expected cosine=0.999"), "{budget}");
    }
    assert_code(&format!("quantize {LANGUAGE} -o {} --budget kl=1 --mode dynamic", out.display()), 2);
    assert!(!out.exists());
}

//! Files that nobody should have written: each is answered with the error that it must give, within a second and within
//! 64 MiB, and never with a panic.
//!
//! The files lie beside this one. Each is written by a few lines of the modules here, which say what is wrong with it:
//!
//! ```text
//! PLANISH_BLESS=1 cargo test --test malformed    # writes the files anew
//! ```
//!
//! A case that takes too much memory ends the process; `target/tmp/malformed_case` then holds its name.

mod attributes;
mod bombs;
mod build;
mod external;
mod indices;
#[path = "../../fuzz/src/memory.rs"]
mod memory;
mod nesting;
mod payload;
mod scale;
mod structure;
mod time;
mod types;
mod wire;

use bytes::Bytes;
use planish::onnx::{ImportOptions, import_bytes};
use planish::{ImportErrorKind, Memory, Model, RunErrorKind, RunOptions, SessionError, SessionOptions};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A file, and what becomes of it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    expected: Answer,
}

/// How far a file gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// It is not imported.
    Import(ImportErrorKind),
    /// It is imported, but no session is made of it.
    Session(Refusal),
    /// It is loaded, but a run does not finish.
    Run(RunErrorKind),
    /// It is odd, but it runs.
    Runs,
}

/// Why no session was made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    /// An operator cannot run.
    Unsupported,
    /// A node cannot prepare its constants.
    Prepare,
    /// Anything else.
    Other,
}

fn case(name: impl Into<String>, expected: Answer, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, expected }
}

/// `answer`, if planish has the operator.
fn if_known(operator: &str, answer: Answer) -> Answer {
    let is_known = planish_ops::OPERATORS.iter().any(|entry| entry.schema.name == operator);
    if is_known { answer } else { Answer::Session(Refusal::Unsupported) }
}

/// The most that the tensors of a model, and again those of a run, may take here.
const BUDGET_BYTES: usize = 16 << 20;

/// What a case may take.
#[derive(Clone, Copy)]
struct Limits {
    /// The longest that it may compute before it answers.
    time: Duration,
    /// The longest that its run may take.
    timeout: Duration,
    /// The most memory that the process may take for it.
    bytes: usize,
}

const LIMITS: Limits = Limits { time: Duration::from_secs(1), timeout: Duration::from_millis(200), bytes: 64 << 20 };

/// When a case counts as one that never answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything is in one test because the memory limit is the whole process's.
#[test]
fn every_file_gets_its_answer_in_time_and_memory() {
    let cases: Vec<Case> = [
        wire::cases(),
        structure::cases(),
        nesting::cases(),
        payload::cases(),
        types::cases(),
        attributes::cases(),
        bombs::cases(),
        indices::cases(),
        time::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names: BTreeSet<String> = cases.iter().map(|case| format!("{}.onnx", case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    if std::env::var_os("PLANISH_BLESS").is_some() {
        write(&cases);
    }
    assert_eq!(stored(), names, "the files are not those of the cases; write them anew");
    let mut wrong: Vec<String> = cases.iter().filter_map(check).collect();
    wrong.extend(scale::failures());
    wrong.extend(external::failures());
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed")
}

fn stored() -> BTreeSet<String> {
    let names = fs::read_dir(folder()).expect("the folder is here").map(|entry| entry.expect("it is readable"));
    names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(".onnx")).collect()
}

fn write(cases: &[Case]) {
    for name in stored() {
        fs::remove_file(folder().join(name)).expect("the folder is writable");
    }
    for case in cases {
        fs::write(folder().join(&case.name).with_extension("onnx"), &case.bytes).expect("the folder is writable");
    }
}

/// What is wrong with the answer to a case.
fn check(case: &Case) -> Option<String> {
    let bytes = fs::read(folder().join(&case.name).with_extension("onnx")).expect("the names are the same");
    if bytes != case.bytes {
        return Some(format!("{}: the file is not what its lines write; write it anew", case.name));
    }
    let load = move |options: &ImportOptions| import_bytes(Bytes::from(bytes), options);
    judge(&case.name, case.expected, LIMITS, load)
}

/// Takes what `load` gives as far as it goes, and tells what is wrong with the answer.
fn judge(
    name: &str,
    expected: Answer,
    limits: Limits,
    load: impl FnOnce(&ImportOptions) -> Result<Model, planish::ImportError> + Send + 'static,
) -> Option<String> {
    let note = Path::new(env!("CARGO_TARGET_TMPDIR")).join("malformed_case");
    fs::write(note, name).expect("cargo makes the folder");
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let answer = memory::within(limits.bytes, || answer(load, limits.timeout));
        drop(sender.send((answer, time_computed())));
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("threads can be made");
    let Ok(((got, message), time)) = receiver.recv_timeout(PATIENCE) else {
        return Some(format!("{name}: it panicked or gave no answer in {PATIENCE:?}"));
    };
    if got != expected {
        return Some(format!("{name}: expected {expected:?}, got {got:?}: {message}"));
    }
    (time > limits.time).then(|| format!("{name}: answered after {time:?}: {message}"))
}

/// How long this thread has been computing, which does not depend on what else the machine does.
fn time_computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("no thread computes for less than nothing")
}

/// How far a model gets, and what is said of it.
fn answer(
    load: impl FnOnce(&ImportOptions) -> Result<Model, planish::ImportError>,
    timeout: Duration,
) -> (Answer, String) {
    let options = ImportOptions { memory: Memory::with_limit(BUDGET_BYTES), ..ImportOptions::default() };
    let model = match load(&options) {
        Ok(model) => model,
        Err(error) => return (Answer::Import(error.kind()), error.to_string()),
    };
    let options = SessionOptions { threads: 1, max_memory_bytes: Some(BUDGET_BYTES), ..SessionOptions::default() };
    let session = match model.into_session(&options) {
        Ok(session) => session,
        Err(error) => {
            let refusal = match &error {
                SessionError::Unsupported(_) => Refusal::Unsupported,
                SessionError::Prepare { .. } => Refusal::Prepare,
                _ => Refusal::Other,
            };
            return (Answer::Session(refusal), error.to_string());
        }
    };
    // Inputs that cannot be made up are left out; the run then asks for them.
    let inputs = session.inputs().iter().filter_map(|input| {
        let value = planish_runtime::generate_input(Memory::global(), &input.ty, 0, &|_| 1)?;
        Some((input.name.as_str(), value.expect("inputs are small").into()))
    });
    match session.run(inputs, &RunOptions { timeout: Some(timeout), ..RunOptions::default() }) {
        Ok(_) => (Answer::Runs, String::new()),
        Err(error) => (Answer::Run(error.kind()), error.to_string()),
    }
}

//! Any bytes, taken for a model, are loaded and run or refused, within limits on memory and time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use planish::onnx::{ImportOptions, import_bytes, wire};
use planish::{Memory, RunErrorKind, RunOptions, SessionOptions};

use super::memory;

/// What the tensors of a model, those of its inputs, and again those of a run may take each.
const BUDGET_BYTES: usize = 8 << 20;

/// What the process may take besides what the message takes: the budgets, and graphs, which take more than messages.
const OVERHEAD_BYTES: usize = 128 << 20;

/// The longest that a run may take.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The longest that a file may take to answer; sanitizers and busy machines slow it down.
const LIMIT: Duration = Duration::from_secs(10);

/// Dimensions of inputs that the model leaves open.
const EXTENT: usize = 2;

/// Panics or aborts if `data` is not answered as it should be.
pub fn check(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let limit_bytes = wire::memory_limit_bytes(data.len()).saturating_add(OVERHEAD_BYTES);
    let start = Instant::now();
    memory::within(limit_bytes, || load_and_run(file));
    let time = start.elapsed();
    assert!(time < LIMIT, "answered after {time:?}");
}

fn load_and_run(file: Bytes) {
    let options = ImportOptions { memory: Memory::with_limit(BUDGET_BYTES), ..ImportOptions::default() };
    let Ok(model) = import_bytes(file, &options) else { return };
    let options = SessionOptions { threads: 1, max_memory_bytes: Some(BUDGET_BYTES), ..SessionOptions::default() };
    let Ok(session) = model.into_session(&options) else { return };
    let memory = Memory::with_limit(BUDGET_BYTES);
    let mut inputs = Vec::new();
    for (seed, input) in (0..).zip(session.inputs()) {
        match planish_runtime::generate_input(&memory, &input.ty, seed, &|_| EXTENT) {
            Some(Ok(tensor)) => inputs.push((input.name.as_str(), tensor.into())),
            _ => return,
        }
    }
    // Twice, because buffers of the first run serve the second.
    for _ in 0..2 {
        if let Err(error) = session.run(inputs.clone(), &RunOptions { timeout: Some(TIMEOUT), ..RunOptions::default() })
        {
            assert_ne!(error.kind(), RunErrorKind::Internal, "{error}");
        }
    }
}

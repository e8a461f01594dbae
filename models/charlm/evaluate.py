"""Measure a character language model on the held-out text and print the figures as JSON.

    python models/charlm/evaluate.py [MODEL.onnx]

The text is cut into windows of 128 characters, one after the other. At each of a window's positions the model has
read the window up to there and is scored on the character that follows. Without MODEL the model beside this file is
measured. Needs numpy, onnx and onnxruntime.
"""
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from reference import session  # noqa: E402

CONTEXT = 128
BATCH = 32


def evaluate(model: Path) -> dict:
    vocabulary = json.loads((HERE / "vocab.json").read_text())
    ids = np.array([vocabulary[c] for c in (HERE / "eval.txt").read_text()], np.int64)
    windows = (len(ids) - 1) // CONTEXT
    inputs = ids[: windows * CONTEXT].reshape(windows, CONTEXT)
    targets = ids[1 : windows * CONTEXT + 1].reshape(windows, CONTEXT)
    run = session(model)
    loss, correct = 0.0, 0
    for first in range(0, windows, BATCH):
        batch = slice(first, first + BATCH)
        (logits,) = run.run(["logits"], {"ids": inputs[batch]})
        logits = logits.astype(np.float64)
        log_probability = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        loss -= np.take_along_axis(log_probability, targets[batch][..., None], axis=-1).sum()
        correct += int((logits.argmax(-1) == targets[batch]).sum())
    loss /= targets.size
    return {
        "characters": targets.size,
        "cross_entropy": round(loss, 4),
        "perplexity": round(float(np.exp(loss)), 4),
        "bits_per_character": round(loss / float(np.log(2.0)), 4),
        "top1": round(correct / targets.size, 4),
    }


if __name__ == "__main__":
    print(json.dumps(evaluate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.onnx"), indent=2))

"""Measure a digit classifier on the held-out images and print the figures as JSON.

    python models/digits/evaluate.py [MODEL.onnx]

Without MODEL the model beside this file is measured. Needs numpy, onnx and onnxruntime.
"""
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from reference import session  # noqa: E402


def evaluate(model: Path) -> dict:
    images, labels = np.load(HERE / "eval_images.npy"), np.load(HERE / "eval_labels.npy")
    (logits,) = session(model).run(["logits"], {"image": images})
    log_probability = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    correct = int((logits.argmax(1) == labels).sum())
    return {
        "images": len(labels),
        "correct": correct,
        "accuracy": round(correct / len(labels), 4),
        "cross_entropy": round(float(-log_probability[np.arange(len(labels)), labels].mean()), 4),
    }


if __name__ == "__main__":
    print(json.dumps(evaluate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.onnx"), indent=2))

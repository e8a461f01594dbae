"""Reference results from ONNX Runtime, in ONNX's own test layout.

A test data set is a folder of `input_0.pb, output_0.pb, ...`, each a TensorProto that carries its value's name;
the index is the position among the graph's inputs or outputs.
"""
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import numpy_helper


def session(model: Path, optimize: bool = False) -> onnxruntime.InferenceSession:
    """A CPU session; without `optimize` ONNX Runtime runs the nodes as the file has them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def write_test_data(folder: Path, model: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run `model` on `feeds` as the file has it, write the data set and return the outputs."""
    run = session(model)
    outputs = run.run(None, feeds)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*put_*.pb"):
        stale.unlink()
    for i, value in enumerate(run.get_inputs()):
        _write(folder / f"input_{i}.pb", feeds[value.name], value.name)
    for i, (value, array) in enumerate(zip(run.get_outputs(), outputs)):
        _write(folder / f"output_{i}.pb", array, value.name)
    return outputs


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest |a - b| over the largest finite |a|; infinite where the two are not comparable."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if np.array_equal(a, b):
        return 0.0
    if a.dtype.kind not in "fiu":
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not finite.any():
        return float("inf")
    return float(np.abs(a - b)[finite].max() / max(np.abs(a[finite]).max(), 1e-30))


def _write(path: Path, array: np.ndarray, name: str) -> None:
    path.write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())

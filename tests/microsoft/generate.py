#!/usr/bin/env python3
"""Writes small models of one com.microsoft operator each, with inputs and what ONNX Runtime makes of them.

    pip install onnx onnxruntime numpy
    python tests/microsoft/generate.py [NAME_PREFIX]

The cases are the lists `CASES` of the modules in `cases/`. Each becomes a folder in ONNX's own test layout under `data/`:
`model.onnx`, `test_data_set_0/input_N.pb` and `output_N.pb`. ONNX Runtime runs unoptimized, on one thread. Cases are
small and their numbers follow from their names alone, so that a second run changes no file.
"""

import importlib
import pathlib
import shutil
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
OPSET = 21
MICROSOFT = "com.microsoft"


class Case:
    """One node: its inputs by position (`None` where absent), and its attributes.

    Inputs are arrays, `(onnx dtype, array)` for dtypes that numpy lacks, or `Constant(array)` for initializers. `outputs` is
    the number of outputs or a list that is false where one is not asked for.
    """

    def __init__(self, name, operator, inputs, outputs=1, domain=MICROSOFT, **attributes):
        self.name, self.operator, self.domain = name, operator, domain
        self.inputs, self.attributes = inputs, attributes
        self.wanted = [True] * outputs if isinstance(outputs, int) else outputs


class Constant:
    """An input that the model holds."""

    def __init__(self, value):
        self.value = value


def rng(name):
    """Numbers that follow from a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def to_proto(value, name):
    if isinstance(value, tuple):
        dtype, array = value
        array = np.asarray(array)
        return helper.make_tensor(name, dtype, array.shape, array.flatten().tolist())
    return numpy_helper.from_array(np.asarray(value), name)


def model_of(case):
    """The model, and the tensors to feed it."""
    names, inputs, feeds, initializers = [], [], [], []
    for index, value in enumerate(case.inputs):
        names.append("" if value is None else f"x{index}")
        if value is None:
            continue
        is_constant = isinstance(value, Constant)
        proto = to_proto(value.value if is_constant else value, names[-1])
        if is_constant:
            initializers.append(proto)
        else:
            inputs.append(helper.make_tensor_value_info(proto.name, proto.data_type, proto.dims))
            feeds.append(proto)
    outputs = [f"y{index}" if wanted else "" for index, wanted in enumerate(case.wanted)]
    node = helper.make_node(case.operator, names, outputs, domain=case.domain, **case.attributes)
    declared = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([node], case.name, inputs, declared, initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds


def words(proto):
    """Strings, which ONNX Runtime takes as objects of Python alone."""
    return np.array([word.decode() for word in proto.string_data], dtype=object).reshape(proto.dims)


def run(model, feeds):
    """The outputs by ONNX Runtime, as tensor messages."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if any(proto.data_type == TensorProto.STRING for proto in feeds):
        outputs = session.run(names, {proto.name: words(proto) for proto in feeds})
        return [numpy_helper.from_array(v, name) for name, v in zip(names, outputs)]
    values = {
        proto.name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(numpy_helper.to_array(proto), proto.data_type)
        for proto in feeds
    }
    return [numpy_helper.from_array(v.numpy(), name) for name, v in zip(names, session.run_with_ort_values(names, values))]


def write(case):
    model, feeds = model_of(case)
    outputs = run(model, feeds)
    for declared, value in zip(model.graph.output, outputs):
        declared.CopyFrom(helper.make_tensor_value_info(value.name, value.data_type, [None] * len(value.dims)))
    folder = HERE / "data" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for what, protos in [("input", feeds), ("output", outputs)]:
        for index, proto in enumerate(protos):
            (data / f"{what}_{index}.pb").write_bytes(proto.SerializeToString(deterministic=True))


def main():
    prefix = sys.argv[1] if len(sys.argv) > 1 else ""
    sys.path.insert(0, str(HERE))
    sys.modules.setdefault("generate", sys.modules[__name__])
    failures = 0
    for path in sorted((HERE / "cases").glob("*.py")):
        for case in importlib.import_module(f"cases.{path.stem}").CASES:
            if not case.name.startswith(prefix):
                continue
            try:
                write(case)
            except Exception as error:
                failures += 1
                print(f"{case.name}: {error}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

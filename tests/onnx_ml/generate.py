#!/usr/bin/env python3
"""Writes small models of one ai.onnx.ml operator each, with inputs and what ONNX Runtime makes of them.

    pip install onnx onnxruntime numpy
    python tests/onnx_ml/generate.py

Each case becomes a folder in ONNX's own test layout under `data/`: `model.onnx`, `test_data_set_0/input_N.pb` and
`output_N.pb`. Their numbers follow from their names alone, so that a second run changes no file.
"""

import pathlib
import shutil
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
DOMAIN = "ai.onnx.ml"
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def rng(name):
    """Numbers that follow from a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def floats(name, *shape):
    """Rows whose elements lie on a coarse grid, so that comparisons meet equality."""
    return (rng(name).integers(-8, 9, shape) / 4).astype(np.float32)


def forest(name, votes, targets, trees=7, features=3, modes=("BRANCH_LEQ",), positive=False, missing=False):
    """Full trees of depth 2. `targets` are those that leaves vote for."""
    random = rng(name)
    lists = {key: [] for key in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids", "values", "modes")}
    ballot = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        for node in range(7):
            is_leaf = node > 2
            row = [tree, node, random.integers(features), 0 if is_leaf else 2 * node + 1, 0 if is_leaf else 2 * node + 2]
            row += [random.integers(-6, 7) / 4, "LEAF" if is_leaf else str(random.choice(modes))]
            for key, value in zip(lists, row):
                lists[key].append(value if isinstance(value, str) else float(value) if key == "values" else int(value))
            for target in targets if is_leaf else []:
                weight = float(np.float32(random.normal() / trees))
                for key, value in zip(ballot, [tree, node, target, abs(weight) if positive else weight]):
                    ballot[key].append(value)
    attributes = {f"nodes_{key}": value for key, value in lists.items()}
    attributes |= {f"{votes}_{key}": value for key, value in ballot.items()}
    if missing:
        attributes["nodes_missing_value_tracks_true"] = random.integers(0, 2, 7 * trees).tolist()
    return attributes


def tree_cases():
    x = floats("rows", 9, 3)
    holes = np.where(rng("holes").random((9, 3)) < 0.3, np.float32("nan"), x)
    for transform in TRANSFORMS:
        pair = forest(f"pair_{transform}", "class", [0], positive=transform == "NONE")
        yield f"trees_two_classes_{transform.lower()}", "TreeEnsembleClassifier", [x], 2, pair | dict(
            classlabels_int64s=[4, 9], base_values=[0.125], post_transform=transform
        )
        many = forest(f"many_{transform}", "class", [0, 1, 2], missing=True)
        yield f"trees_three_classes_{transform.lower()}", "TreeEnsembleClassifier", [holes], 2, many | dict(
            classlabels_strings=["a", "b", "c"], base_values=[0.1, 0.2, 0.3], post_transform=transform
        )
        targets = forest(f"targets_{transform}", "target", [0, 1], modes=MODES)
        yield f"trees_two_targets_{transform.lower()}", "TreeEnsembleRegressor", [x], 1, targets | dict(
            n_targets=2, base_values=[0.5, -0.5], post_transform=transform
        )
    for aggregate in ["AVERAGE", "MIN", "MAX"]:
        one = forest(f"one_{aggregate}", "target", [0], modes=["BRANCH_LT"], missing=True)
        yield f"trees_{aggregate.lower()}", "TreeEnsembleRegressor", [holes], 1, one | dict(
            n_targets=1, aggregate_function=aggregate
        )


def linear_cases():
    x = floats("rows", 5, 3)
    for transform in TRANSFORMS:
        yield f"linear_two_classes_{transform.lower()}", "LinearClassifier", [x], 2, dict(
            coefficients=[0.5, -1.0, 0.25], intercepts=[0.125], classlabels_ints=[4, 9], post_transform=transform
        )
        yield f"linear_three_classes_{transform.lower()}", "LinearClassifier", [x.astype(np.float64)], 2, dict(
            coefficients=floats("weights", 9).tolist(),
            intercepts=[0.125, 0.5, -0.25],
            classlabels_strings=["a", "b", "c"],
            post_transform=transform,
        )
        yield f"linear_two_targets_{transform.lower()}", "LinearRegressor", [x], 1, dict(
            coefficients=floats("targets", 6).tolist(), intercepts=[0.125, 0.5], targets=2, post_transform=transform
        )


def vector_cases():
    x = floats("rows", 6, 2)
    vectors = dict(support_vectors=floats("vectors", 10).tolist(), kernel_params=[0.5, 0.25, 3.0])
    for kernel in ["LINEAR", "POLY", "RBF", "SIGMOID"]:
        yield f"vectors_regression_{kernel.lower()}", "SVMRegressor", [x], 1, vectors | dict(
            coefficients=[1.0, -2.0, 0.5, 0.25, -0.125], n_supports=5, rho=[0.125], kernel_type=kernel
        )
    two = vectors | dict(coefficients=[1.0, 0.5, -0.5, -0.75, -0.25], vectors_per_class=[2, 3], rho=[0.125])
    three = vectors | dict(coefficients=floats("pairs", 10).tolist(), vectors_per_class=[2, 1, 2], rho=[0.125, -0.1, 0.2])
    for transform in TRANSFORMS:
        common = dict(kernel_type="RBF", post_transform=transform)
        yield f"vectors_two_classes_{transform.lower()}", "SVMClassifier", [x], 2, two | common | dict(
            classlabels_ints=[4, 9]
        )
        yield f"vectors_three_classes_{transform.lower()}", "SVMClassifier", [x], 2, three | common | dict(
            classlabels_strings=["a", "b", "c"]
        )
    calibrated = three | dict(prob_a=[-2.0, -1.0, -1.5], prob_b=[0.25, 0.0, 0.1], classlabels_ints=[1, 2, 3])
    yield "vectors_probabilities", "SVMClassifier", [x], 2, calibrated


def feature_cases():
    x = floats("rows", 4, 3)
    for norm in ["MAX", "L1", "L2"]:
        yield f"normalizer_{norm.lower()}", "Normalizer", [x], 1, dict(norm=norm)
    yield "scaler", "Scaler", [x.astype(np.float64)], 1, dict(offset=[1.0, 0.5, -1.0], scale=[2.0, 0.1, -3.0])
    yield "imputer", "Imputer", [x], 1, dict(imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=float(x[0, 0]))
    yield "binarizer", "Binarizer", [x], 1, dict(threshold=0.25)
    words = np.array([["b", "z"], ["a", ""]], dtype=object)
    yield "one_hot_strings", "OneHotEncoder", [words], 1, dict(cats_strings=["a", "b", "c"])
    yield "one_hot_floats", "OneHotEncoder", [x], 1, dict(cats_int64s=[1, 0, -1])
    yield "category_mapper", "CategoryMapper", [words], 1, dict(cats_strings=["a", "b"], cats_int64s=[4, 5])
    yield "label_encoder_words_to_numbers", "LabelEncoder", [words], 1, dict(
        keys_strings=["a", "b"], values_floats=[0.5, 1.5], default_float=-2.0
    )
    yield "label_encoder_numbers_to_words", "LabelEncoder", [np.array([1, 2, 3])], 1, dict(
        keys_int64s=[1, 3], values_strings=["one", "three"]
    )
    yield "array_feature_extractor", "ArrayFeatureExtractor", [x, np.array([[2, 0]])], 1, {}
    yield "feature_vectorizer", "FeatureVectorizer", [x, x[:, :1]], 1, dict(inputdimensions=[2, 2])


def tensor(value, name):
    if value.dtype == object:
        return helper.make_tensor(name, onnx.TensorProto.STRING, value.shape, [str(v).encode() for v in value.flat])
    return numpy_helper.from_array(value, name)


def write(name, operator, inputs, num_outputs, attributes):
    feeds = [tensor(value, f"x{index}") for index, value in enumerate(inputs)]
    names = [f"y{index}" for index in range(num_outputs)]
    node = helper.make_node(operator, [feed.name for feed in feeds], names, domain=DOMAIN, **attributes)
    declared = [helper.make_tensor_value_info(feed.name, feed.data_type, feed.dims) for feed in feeds]
    graph = helper.make_graph([node], name, declared, [onnx.ValueInfoProto(name=name) for name in names])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    results = session.run(names, {feed.name: value for feed, value in zip(feeds, inputs)})
    outputs = [tensor(value, name) for name, value in zip(names, results)]
    for value_info, value in zip(model.graph.output, outputs):
        value_info.CopyFrom(helper.make_tensor_value_info(value.name, value.data_type, [None] * len(value.dims)))
    folder = HERE / "data" / name
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for what, protos in [("input", feeds), ("output", outputs)]:
        for index, proto in enumerate(protos):
            (data / f"{what}_{index}.pb").write_bytes(proto.SerializeToString(deterministic=True))


if __name__ == "__main__":
    shutil.rmtree(HERE / "data", ignore_errors=True)
    for cases in [tree_cases, linear_cases, vector_cases, feature_cases]:
        for case in cases():
            write(*case)

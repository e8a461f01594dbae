#!/usr/bin/env python3
"""Counts the nodes that planish and others leave of a model, and prints them as a table in Markdown.

    pip install -r models/requirements.txt onnxsim onnxslim
    python models/node_counts.py models/real/* [--planish target/release/planish] [--json counts.json]

Each folder holds model.onnx. Nodes of bodies (If, Loop, Scan) count, Constant nodes do not: all tools but one make
initializers of them. A call of a model-local function is one node. ONNX Runtime writes its graph at its extended level,
whose operators are of its own domain; so are those of planish's `ort` target. A dash is a tool that gives up.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import onnx
import onnxruntime
import onnxsim
import onnxslim

TOOLS = ["original", "onnxsim", "onnxslim", "ORT extended", "standard", "ort", "planish"]


def count(graph):
    """The nodes of a graph and of the bodies in it."""
    bodies = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    bodies += [g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPHS for g in a.graphs]
    return sum(node.op_type != "Constant" for node in graph.node) + sum(map(count, bodies))


def read(path):
    return onnx.load(path, load_external_data=False).graph


def simplified(model, _):
    return onnxsim.simplify(onnx.load(model))[0].graph


def slimmed(model, _):
    return onnxslim.slim(onnx.load(model)).graph


def of_onnx_runtime(model, folder):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "ort.onnx")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "ort.onnx.data")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return read(folder / "ort.onnx")


def of_planish(program, target):
    def run(model, folder):
        out = folder / f"{target}.onnx"
        command = [program, "optimize", model, "-o", out, "--target", target, "--verify", "off", "--external-data", "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        return read(out)
    return run


def row(program, model):
    """The number of nodes that each tool leaves; None where it fails."""
    runs = [lambda model, _: read(model), simplified, slimmed, of_onnx_runtime]
    runs += [of_planish(program, target) for target in TOOLS[4:]]
    counts = {}
    for tool, run in zip(TOOLS, runs):
        with tempfile.TemporaryDirectory() as folder:
            try:
                counts[tool] = count(run(model, pathlib.Path(folder)))
            except Exception:
                counts[tool] = None
    return counts


def is_fewest(counts, target):
    others = [counts[tool] for tool in TOOLS[1:4] if counts[tool] is not None]
    return counts[target] is not None and all(counts[target] <= n for n in others)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--planish", default="target/release/planish")
    parser.add_argument("--json", type=pathlib.Path, help="also write the counts here")
    arguments = parser.parse_args()
    print("| model | " + " | ".join(TOOLS) + " |\n|---|" + "---:|" * len(TOOLS))
    table = {}
    for folder in arguments.models:
        counts = table[folder.name] = row(arguments.planish, folder / "model.onnx")
        cells = ["–" if counts[tool] is None else str(counts[tool]) for tool in TOOLS]
        print(f"| {folder.name} | " + " | ".join(cells) + " |", flush=True)
    for target in TOOLS[4:]:
        fewest = sum(is_fewest(counts, target) for counts in table.values())
        print(f"\n`{target}` has the fewest nodes, or as few as the best, on {fewest} of {len(table)}.")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

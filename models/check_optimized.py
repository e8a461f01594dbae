#!/usr/bin/env python3
"""Optimizes models for each target and checks what comes out.

    python models/check_optimized.py models/real/* [--planish target/release/planish] [--targets standard,ort,planish]

Of each model (a folder with model.onnx and test_data_set_0, as `fetch.py --reference` writes them) and target it checks that

- `--verify each` finds no pass that changes the result on the data, unless the model draws random numbers;
- there are no more nodes and no more multiply-adds than before;
- ONNX Runtime loads the file and computes the data's outputs, to atol = 1e-4 of the largest magnitude and rtol = 1e-3, or
  as near as it comes with the original file;
- optimizing the result again changes nothing, by `planish diff`.

Prints a line for each failure and a summary; exit code 1 if anything failed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime


# What planish says of a model whose runs cannot be compared. Its data hold only where the noise is scaled to nothing.
DRAWS_RANDOM_NUMBERS = "the model draws random numbers"


def read(folder, kind, names):
    """The values of a data set by name."""
    values = {}
    for i, name in enumerate(names):
        path = folder / f"{kind}_{i}.pb"
        if path.exists():
            values[name] = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
    return values


def error_in_onnx_runtime(model, data):
    """How many times the tolerance ONNX Runtime's outputs are away from the data's, at most."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = read(data, "input", [i.name for i in session.get_inputs()])
    names = [o.name for o in session.get_outputs()]
    expected = read(data, "output", names)
    worst = 0.0
    for name, got in zip(names, session.run(None, feeds)):
        if name not in expected or not isinstance(got, numpy.ndarray):
            continue
        want = expected[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            return numpy.inf
        if got.dtype.kind != "f":
            worst = max(worst, 0.0 if (got == want).all() else numpy.inf)
            continue
        got, want = got.astype("f8"), want.astype("f8")
        finite = numpy.abs(want[numpy.isfinite(want)])
        atol = max(1e-4 * finite.max(initial=0), 1e-6)
        with numpy.errstate(invalid="ignore"):
            apart = numpy.where((got == want) | (numpy.isnan(got) & numpy.isnan(want)), 0, numpy.abs(got - want))
        worst = max(worst, float((apart / (atol + 1e-3 * numpy.abs(want))).max(initial=0)))
    return worst


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {"error": done.stderr.strip()}


def failures(program, folder, target, out):
    """What is wrong with a model optimized for a target."""
    model, data = folder / "model.onnx", folder / "test_data_set_0"
    once, twice = out / "once.onnx", out / "twice.onnx"
    arguments = ["optimize", model, "-o", once, "--target", target, "--verify", "each", "--data", data, "--external-data", "--json", "--quiet"]
    code, report = run(program, *arguments)
    if code:
        yield f"optimize: {report}"
        return
    verified = report["verified"]
    if not verified["ok"] and verified["not_done"] != DRAWS_RANDOM_NUMBERS:
        yield f"not verified: {verified['not_done']}"
    for culprit in verified["rolled_back"]:
        yield f"rolled back {culprit['pass']} at {culprit['node']}: {culprit['difference']}"
    before, after = report["before"], report["after"]
    for what in ["nodes", "macs"]:
        if isinstance(before[what], int) and isinstance(after[what], int) and after[what] > before[what]:
            yield f"more {what}: {before[what]} before, {after[what]} after"
    try:
        error, original = error_in_onnx_runtime(once, data), error_in_onnx_runtime(model, data)
        if not error <= max(1.0, 1.1 * original):
            yield f"ONNX Runtime is {error:.3g} tolerances off, with the original {original:.3g}"
    except Exception as error:
        yield f"ONNX Runtime: {str(error)[:200]}"
    run(program, "optimize", once, "-o", twice, "--target", target, "--verify", "off", "--external-data", "--quiet")
    code, difference = run(program, "diff", once, twice, "--json", "--quiet")
    if code:
        changed = [len(difference.get(key, [])) for key in ("only_a", "only_b", "signature")]
        yield f"a second run changes nodes: {changed[0]} gone, {changed[1]} new, {changed[2]} in the signature"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--planish", default="target/release/planish")
    parser.add_argument("--targets", default="standard,ort,planish", type=lambda text: text.split(","))
    arguments = parser.parse_args()
    is_bad = False
    for target in arguments.targets:
        num_good = 0
        for folder in arguments.models:
            with tempfile.TemporaryDirectory() as out:
                found = list(failures(arguments.planish, folder, target, pathlib.Path(out)))
            for failure in found:
                print(f"{target:8} {folder.name}: {failure}", flush=True)
            num_good += not found
        print(f"{target:8} {num_good} of {len(arguments.models)} models are as they should be", flush=True)
        is_bad |= num_good < len(arguments.models)
    sys.exit(is_bad)


if __name__ == "__main__":
    main()

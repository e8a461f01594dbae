#!/usr/bin/env python3
"""Times planish beside ONNX Runtime, in turn, and prints both and their ratio.

    python models/speed.py models/real/* [--planish target/release/planish] [--threads 1,2] [--rounds 3] [--seconds 0.5]

Each folder holds model.onnx and test_data_set_0, as `fetch.py --reference` writes them. The rounds alternate, so that other
work on the machine slows both alike; what is printed is the median over the rounds of each round's median.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

import onnx
import onnxruntime


def read_inputs(session, folder):
    """The inputs of a data set, by the names of the session's inputs."""
    feeds = {}
    for i, node in enumerate(session.get_inputs()):
        tensor = onnx.TensorProto.FromString((folder / f"input_{i}.pb").read_bytes())
        feeds[node.name] = onnx.numpy_helper.to_array(tensor)
    return feeds


def onnx_runtime(model, data, threads, seconds):
    """The median time of a run, in milliseconds, and how many runs it is of."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = read_inputs(session, data)
    times = []
    session.run(None, feeds)
    while sum(times) < seconds or len(times) < 3:
        begin = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3, len(times)


def planish(program, model, data, threads, repeat):
    command = [program, "bench", model, "--data", data, "--threads", str(threads), "--repeat", str(repeat), "--json", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True)
    answer = json.loads(run.stdout) if run.stdout.strip() else {"ok": False, "error": run.stderr.strip()}
    return answer["median_ms"] if answer["ok"] else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--planish", default="target/release/planish")
    parser.add_argument("--threads", default="1,2", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=0.5, type=float)
    arguments = parser.parse_args()
    for threads in arguments.threads:
        ratios = []
        for folder in arguments.models:
            model, data = folder / "model.onnx", folder / "test_data_set_0"
            rounds = []
            for _ in range(arguments.rounds):
                theirs, repeat = onnx_runtime(model, data, threads, arguments.seconds)
                rounds.append((theirs, planish(arguments.planish, model, data, threads, repeat)))
            if any(ours is None for _, ours in rounds):
                print(f"{folder.name:28} {threads} thread(s): planish's outputs differ or it does not run the model")
                continue
            theirs, ours = (statistics.median(times) for times in zip(*rounds))
            ratios.append(statistics.median(ours / theirs for theirs, ours in rounds))
            print(f"{folder.name:28} {threads} thread(s)  ONNX Runtime {theirs:9.2f} ms  planish {ours:9.2f} ms  x {ratios[-1]:.2f}", flush=True)
        if ratios:
            print(f"geometric mean over {len(ratios)} model(s), {threads} thread(s): x {math.exp(statistics.fmean(map(math.log, ratios))):.2f}")


if __name__ == "__main__":
    sys.exit(main())

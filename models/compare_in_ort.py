#!/usr/bin/env python3
"""Runs two files of one model in ONNX Runtime on the same data, in turn, and prints how far apart and how fast they are.

    python models/compare_in_ort.py model.onnx optimized.onnx test_data_set_0 [test_data_set_1 …] [--threads 1] [--rounds 20]

Prints the largest difference between outputs over the largest magnitude of the first one's, and the ratio of the medians of
the times, second over first.
"""
import argparse
import pathlib
import statistics
import time

import numpy
import onnx
import onnxruntime


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", type=pathlib.Path)
    parser.add_argument("b", type=pathlib.Path)
    parser.add_argument("data", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--rounds", default=20, type=int)
    arguments = parser.parse_args()
    sessions = [session(path, arguments.threads) for path in (arguments.a, arguments.b)]
    for data in arguments.data:
        feeds = {}
        for i, node in enumerate(sessions[0].get_inputs()):
            tensor = onnx.TensorProto.FromString((data / f"input_{i}.pb").read_bytes())
            feeds[node.name] = onnx.numpy_helper.to_array(tensor)
        names = [node.name for node in sessions[0].get_outputs()]
        results = [s.run(names, feeds) for s in sessions]
        worst = max(float(numpy.abs(x - y).max() / numpy.abs(x).max()) for x, y in zip(*results) if x.size)
        times = [[], []]
        for _ in range(arguments.rounds):
            for s, taken in zip(sessions, times):
                begin = time.perf_counter()
                s.run(names, feeds)
                taken.append(time.perf_counter() - begin)
        medians = [statistics.median(taken) * 1e3 for taken in times]
        print(f"{data.name}: apart by {worst:.1e}; {medians[0]:.1f} ms and {medians[1]:.1f} ms: x {medians[1] / medians[0]:.3f}", flush=True)


if __name__ == "__main__":
    main()

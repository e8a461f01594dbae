#!/usr/bin/env python3
"""Judges what planish did with ONNX's backend tests, or with real models.

    verdict.py conformance RESULTS.json     results of the backend tests, by name
    verdict.py corpus MODELS PLANISH        runs `PLANISH test` on every model beneath MODELS

`expected.json` beside this script says how many tests must pass and which models; the rest must be refused as
unsupported: a wrong number, a crash or a time-out fails.
"""
import collections
import json
import pathlib
import subprocess
import sys

EXPECTED = json.loads((pathlib.Path(__file__).parent / "expected.json").read_text())


def conformance(results_file):
    results = json.loads(pathlib.Path(results_file).read_text())["tests"]
    by_status = collections.defaultdict(list)
    for name, result in results.items():
        by_status[result["status"]].append(f"{name}: {result['error']}")
    bad = [line for status in ("crash", "timeout") for line in by_status[status]]
    print("\n".join(bad[:40]))
    passed, least = len(by_status["pass"]), EXPECTED["conformance"]["at_least"]
    print(f"{passed} of {len(results)} passed, at least {least} must; {len(bad)} crashed or timed out")
    return passed >= least and not bad


def corpus(folder, planish):
    good = True
    expected = EXPECTED["corpus"]
    for model in sorted(p.parent for p in pathlib.Path(folder).glob("*/model.onnx")):
        rule = expected.get(model.name, {})
        flags = [x for name in ("cosine",) if name in rule for x in (f"--{name}", str(rule[name]))]
        run = subprocess.run([planish, "test", model / "model.onnx", model / "test_data_set_0", "--json", "--quiet", *flags],
                             capture_output=True, text=True, timeout=600)
        lines = run.stdout.strip().splitlines()
        answer = json.loads(lines[-1]) if lines else {"ok": False, "error": run.stderr.strip()[-300:]}
        refused = "unsupported" in (answer["error"] or "")
        fine = answer["ok"] or (refused and rule.get("refused", False))
        print(f"  {'ok  ' if fine else 'FAIL'} {model.name}: {'matches' if answer['ok'] else answer['error']}")
        good &= fine
    return good


if __name__ == "__main__":
    sys.exit(0 if {"conformance": conformance, "corpus": corpus}[sys.argv[1]](*sys.argv[2:]) else 1)

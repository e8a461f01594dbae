#!/usr/bin/env python3
"""Judges what planish did with ONNX's backend tests, or with real models.

    verdict.py conformance RESULTS.json     results of the backend tests, by name
    verdict.py corpus MODELS PLANISH        runs `PLANISH test` on every model beneath MODELS

`tests/conformance-exceptions.md` lists the backend tests that do not pass and how they end: another one that fails is an
error, and so is one of them that passes. `expected.json` beside this script says which models are refused as unsupported.
"""
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
EXCEPTIONS = HERE.parent / "tests" / "conformance-exceptions.md"


def conformance(results_file):
    results = json.loads(pathlib.Path(results_file).read_text())["tests"]
    exceptions = dict(re.findall(r"^\| `(\S+)` \| (\w+) \|", EXCEPTIONS.read_text(), re.M))
    bad = [f"{name}: listed, but not among the tests" for name in exceptions.keys() - results.keys()]
    for name, result in results.items():
        passed, end = result["status"] == "pass", exceptions.get(name)
        if passed and end == "unsupported":
            bad.append(f"{name}: listed as {end}, but it passes")
        elif not passed and not (end and result["status"] == "unsupported"):
            bad.append(f"{name}: {result['status']}, listed as {end}: {result['error']}")
    print("\n".join(bad[:40]))
    count = sum(result["status"] == "pass" for result in results.values())
    print(f"{count} of {len(results)} passed; {len(bad)} not as {EXCEPTIONS.name} says")
    return not bad


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

#!/usr/bin/env python3
"""Times planish beside ONNX Runtime, in turn, and makes of one run the README's table and its plot.

    python models/speed.py models/real/*                    measures; writes speed.json and speed.svg beside this script
    python models/speed.py                                  makes table and plot again from speed.json
    python models/speed.py models/real/* --beside 'rten=peer-rten {model} {data} --threads {threads} --repeat {repeat}'

Each folder holds model.onnx and test_data_set_0, as `fetch.py --reference` writes them. The rounds alternate, so that other
work on the machine slows all alike; what is kept is the median over the rounds of each round's median, and of each round's
ratio. The table, printed, replaces the one in README.md with `--readme`. A program beside prints one line of JSON with
`median_ms` and `ok`, as `planish bench --json` does.
"""
import argparse
import json
import math
import pathlib
import shlex
import statistics
import subprocess
import sys
import time
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).parent
README = HERE.parent / "README.md"
MARKS = "<!-- speed.py -->\n", "<!-- /speed.py -->\n"


def onnx_runtime(model, data, threads, seconds):
    """The median time of a run, in milliseconds, and how many runs it is of."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = {}
    for i, node in enumerate(session.get_inputs()):
        tensor = onnx.TensorProto.FromString((data / f"input_{i}.pb").read_bytes())
        feeds[node.name] = onnx.numpy_helper.to_array(tensor)
    times = []
    session.run(None, feeds)
    while sum(times) < seconds or len(times) < 3:
        begin = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3, len(times)


def program(template, model, data, threads, repeat):
    """The median time of a run of another program, in milliseconds; None where it does not run the model, or wrongly."""
    values = {"model": model, "data": data, "threads": threads, "repeat": repeat}
    run = subprocess.run([part.format(**values) for part in shlex.split(template)], capture_output=True, text=True)
    lines = run.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines else {"ok": False}
    return answer["median_ms"] if answer["ok"] else None


def measure(arguments, programs):
    rows = []
    for folder in arguments.models:
        model, data = folder / "model.onnx", folder / "test_data_set_0"
        for threads in arguments.threads:
            theirs, times = [], {name: [] for name in programs}
            for _ in range(arguments.rounds):
                median_ms, repeat = onnx_runtime(model, data, threads, arguments.seconds)
                theirs.append(median_ms)
                for name, template in programs.items():
                    times[name].append(program(template, model, data, threads, repeat))
            ratios = {name: None if None in ours else statistics.median(a / b for a, b in zip(ours, theirs))
                      for name, ours in times.items()}
            rows.append({"model": folder.name, "threads": threads, "ort_ms": statistics.median(theirs), "ratios": ratios})
            shown = ", ".join(f"{name} {'–' if ratio is None else f'{ratio:.2f}'}" for name, ratio in ratios.items())
            print(f"{folder.name}, {threads} thread(s): ONNX Runtime {rows[-1]['ort_ms']:.2f} ms; {shown}", file=sys.stderr, flush=True)
    return rows


def geometric_mean(rows, name):
    ratios = [row["ratios"][name] for row in rows if row["ratios"].get(name)]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None


def by_model(rows):
    """Rows of each model, by threads, in the order they came in."""
    models = {}
    for row in rows:
        models.setdefault(row["model"].replace("_", " "), {})[row["threads"]] = row
    return models


def milliseconds(ms):
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def table(rows):
    names = list(rows[0]["ratios"])
    counts = sorted({row["threads"] for row in rows})
    plural = lambda n: f"{n} thread" + "s" * (n > 1)
    head = ["model"] + [cell for n in counts for cell in [f"ORT {plural(n)}, ms", *names]]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    ratio = lambda value, style="{:.2f}": "–" if value is None else style.format(value)
    for model, of_model in by_model(rows).items():
        cells = [model]
        for n in counts:
            row = of_model.get(n)
            cells += [milliseconds(row["ort_ms"]), *(ratio(row["ratios"][name]) for name in names)] if row else ["–"] * (1 + len(names))
        lines.append(f"| {' | '.join(cells)} |")
    cells = ["**geometric mean**"]
    for n in counts:
        means = [geometric_mean([row for row in rows if row["threads"] == n], name) for name in names]
        cells += ["", *(ratio(mean, "**{:.2f}**" if name == "planish" else "{:.2f}") for name, mean in zip(names, means))]
    return "\n".join([*lines, f"| {' | '.join(cells)} |"]) + "\n"


COLOURS = ["#0b7a75", "#d1495b", "#edae49", "#30638e"]
LABELS, PLOT, ROW, TOP = 170, 560, 16, 62


def plot(rows):
    """Each model a line, each program a dot where its time stands beside ONNX Runtime's: one thread filled, more as rings."""
    names, models = list(rows[0]["ratios"]), by_model(rows)
    counts = sorted({row["threads"] for row in rows})
    ratios = [value for row in rows for value in row["ratios"].values() if value]
    low, high = math.log2(min(0.5, *ratios)) - 0.1, math.log2(max(2.0, *ratios)) + 0.1
    x = lambda ratio: LABELS + PLOT * (math.log2(ratio) - low) / (high - low)
    bottom = TOP + ROW * len(models)
    parts = []

    def text(at, y, words, **style):
        attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
        parts.append(f'<text x="{at:.1f}" y="{y}"{attributes}>{escape(words)}</text>')

    width, height = LABELS + PLOT + 20, bottom + 30
    text(10, 20, "time beside ONNX Runtime’s: left of 1 is faster", font_weight="bold")
    at = 10
    for name, colour in zip(names, COLOURS):
        means = [geometric_mean([row for row in rows if row["threads"] == n], name) or math.nan for n in counts]
        words = f"{name}, geometric mean {' and '.join(f'{mean:.2f}' for mean in means)}"
        parts.append(f'<circle cx="{at + 4}" cy="36" r="4" fill="{colour}"/>')
        text(at + 14, 40, words)
        at += 40 + 6 * len(words)
    text(at, 40, f"dots: {counts[0]} thread, rings: more", fill="#777")
    for tick in (0.25, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6, 8):
        if low <= math.log2(tick) <= high:
            colour, stroke = ("#222", 1.5) if tick == 1 else ("#ccc", 1)
            parts.append(f'<line x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{bottom}" stroke="{colour}" stroke-width="{stroke}"/>')
            text(x(tick), bottom + 14, f"{tick}", text_anchor="middle")
    for i, (model, of_model) in enumerate(models.items()):
        y = TOP + ROW * i + ROW // 2
        text(LABELS - 10, y + 3, model, text_anchor="end")
        for name, colour in reversed(list(zip(names, COLOURS))):
            for threads, row in of_model.items():
                if value := row["ratios"][name]:
                    fill = colour if threads == counts[0] else "none"
                    parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>')
    body = "\n  ".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="11">\n  <rect width="100%" height="100%" fill="white"/>\n  {body}\n</svg>\n')


def replace_table(text):
    readme = README.read_text()
    before, rest = readme.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    README.write_text(before + MARKS[0] + text + MARKS[1] + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--planish", default="target/release/planish")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--threads", default="1,2", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=0.5, type=float)
    parser.add_argument("--json", default=HERE / "speed.json", type=pathlib.Path, help="written after measuring, else read")
    parser.add_argument("--svg", default=HERE / "speed.svg", type=pathlib.Path)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    if arguments.models:
        ours = shlex.quote(arguments.planish) + " bench {model} --data {data} --threads {threads} --repeat {repeat} --json --quiet"
        programs = {"planish": ours} | dict(beside.split("=", 1) for beside in arguments.beside)
        rows = measure(arguments, programs)
        arguments.json.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    else:
        rows = json.loads(arguments.json.read_text())
    arguments.svg.write_text(plot(rows))
    text = table(rows)
    print(text, end="")
    if arguments.readme:
        replace_table(text)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Tables from the JSON lines of picsift's `moondream` bench and of moondream_loop.py.

    python3 benches/peer/report.py FILE...

Lines that are no JSON object are passed over, so that whole logs can be given. Several measurements of one thing are
replaced by their median. Needs the standard library only.
"""

import json
import sys
from statistics import median

from config import Config

# Tokens of a question with its template, for the count of operations; see moondream_loop.py.
PROMPT_TOKENS = 17


def read(lines):
    """The JSON objects among some lines of text."""
    for line in lines:
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SystemExit(f"a line is no whole JSON object ({error}): {line.strip()[:80]}") from error


def print_tables(lines):
    """One row per measured setting; ratios to PyTorch's row for the same device, size and number of categories."""
    lines = list(lines)
    ceiling = max((line["ceiling_tflops"] for line in lines if "ceiling_tflops" in line), default=None)
    runs = {}
    for line in lines:
        if "images_per_second" in line:
            keys = "device", "size", "categories", "engine", "dtype", "batch"
            line.setdefault("engine", "picsift")
            runs.setdefault(tuple(line[key] for key in keys), []).append(line)
    if not runs:
        raise SystemExit("there is no measurement to report")
    rows = [{**group[0], "images_per_second": median(g["images_per_second"] for g in group)} for group in runs.values()]
    peers = {}
    for row in rows:
        if row["engine"] == "pytorch":
            peers.setdefault(_case(row), []).append(row)

    if ceiling:
        print(f"A large matrix product reaches {ceiling:.3g} TFLOP/s on this device.\n")
    heads = ["size", "categories", "engine", "dtype", "batch", "views", "images/s", "TFLOP/s"]
    heads += ["of ceiling"] * bool(ceiling) + ["against PyTorch"] * bool(peers)
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for row in sorted(rows, key=lambda r: (r["device"], r["size"], r["categories"], r["engine"] == "picsift", r["batch"])):
        rate = row["images_per_second"]
        tflops = rate * operations(row) / 1e12
        cells = [row["size"], row["categories"], row["engine"], row["dtype"], row["batch"], row["views"]]
        cells += [f"{rate:.3g}", f"{tflops:.3g}"]
        if ceiling:
            cells.append(f"{tflops / ceiling:.0%}")
        if peers:
            cells.append(_ratio(row, peers.get(_case(row), [])))
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def operations(row):
    """What one image costs at least in the 2B model: its views, its prefix, its questions."""
    config = Config()
    if "question_tokens" in row:
        # Packed: what questions begin with is computed once, and of the head only what says yes or no.
        questions = config.packed_flops(row["question_tokens"], PROMPT_TOKENS)
    else:
        questions = row["categories"] * config.question_flops(PROMPT_TOKENS)
    return row["views"] * config.vision_flops() + config.prefix_flops() + questions


def _case(row):
    return row["device"], row["size"], row["categories"]


def _ratio(row, peers):
    if row["engine"] == "pytorch" or not peers:
        return ""
    best = max(peers, key=lambda peer: peer["images_per_second"])
    ratio = row["images_per_second"] / best["images_per_second"]
    return f"{ratio:.2f}x ({best['dtype']})"


def main():
    lines = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            lines += read(file)
    print_tables(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()

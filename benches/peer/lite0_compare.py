#!/usr/bin/env python3
"""Images per second of picsift, of a Daft job and of a plain Python loop that do the same, and the ratios.

    benches/peer/daft.sh [--rows 600] [--rounds 3] [--picsift PROGRAM]

All read one Parquet table of distinct JPEGs of 512 pixels, run EfficientNet-Lite0 in f32 with picsift's weights and write
the table with ten categories' answers. Where picsift's wheel is installed in target/peer-venv, its labeller within Daft
takes part. Each run is a process of its own, timed whole, from start to exit; in each round everyone runs once, beginning with another one, and medians are compared. "Without start-up" takes the time of a table
of one row off. The answers must be the same, as far as two JPEG decoders allow, or there is no report.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq

from lite0 import CATEGORIES

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "peer-daft"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
ENVIRONMENT = os.environ | {"DAFT_PROGRESS_BAR": "0", "DO_NOT_TRACK": "1"}
# In a category's scores in the mean, several times what the decoders make of it.
MOST_DIFFERENT = 0.003


def main():
    options = arguments()
    WORK.mkdir(parents=True, exist_ok=True)
    python, peer, model = sys.executable, ROOT / "benches" / "peer", WORK / "efficientnet-lite0.onnx"
    subprocess.run([python, peer / "lite0_onnx.py", model], check=True)
    tables = {rows: WORK / f"photographs-{rows}.parquet" for rows in (1, options.rows)}
    for rows, table in tables.items():
        make = [python, ROOT / "benches" / "make_table.py", str(rows), table, "--distinct", "--row-group", "100"]
        subprocess.run(make, check=True)
    label = [options.picsift, "label", "--overwrite", "--no-cache", "--model", "efficientnet-lite0", "--categories", ",".join(CATEGORIES), "--output"]
    contenders = {
        "picsift": lambda table, out: [*label, out, table],
        "Daft": lambda table, out: [python, peer / "lite0_daft.py", model, table, out],
        **daft_with_picsift(python, peer),
        "Python loop": lambda table, out: [python, peer / "lite0_loop.py", model, table, out],
    }

    runs = {(name, rows): [] for name in contenders for rows in tables}
    names = list(contenders)
    for turn in range(options.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            for rows, table in tables.items():
                runs[name, rows].append(timed(contenders[name](table, folder(name))))
    same_answers(names, options.rows)
    report(runs, names, options.rows)


def daft_with_picsift(python, peer):
    """picsift's wheel within Daft, where it is installed."""
    if importlib.util.find_spec("picsift") is None:
        return {}
    return {"Daft with picsift": lambda table, out: [python, peer / "lite0_daft_labeler.py", table, out]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    program = os.environ.get("PICSIFT", ROOT / "target" / "release" / "picsift")
    parser.add_argument("--picsift", type=Path, default=program, help="PICSIFT, or target/release/picsift, without it")
    options = parser.parse_args()
    if options.rows < 2 or options.rounds < 1:
        parser.error("--rows must be at least 2 and --rounds at least 1")
    options.picsift = options.picsift.resolve()
    if not options.picsift.is_file():
        parser.error(f"there is no {options.picsift}: cargo build --release makes it")
    return options


def folder(name):
    return WORK / name.lower().replace(" ", "-")


def timed(command):
    """Seconds from start to exit, seconds of CPU with all descendants, and megabytes at most."""
    with open(WORK / "log.txt", "w+", encoding="utf-8") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(f"exit code {process.returncode}: {' '.join(map(str, command))}\n{log.read()}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    return seconds, usage.ru_utime + usage.ru_stime, peak


def answers(name):
    """What the last run of a contender answered: two arrays, category by row, of `is_...` and of `score_...`."""
    table = pq.read_table(folder(name)).sort_by("file")
    return [np.stack([table[f"{kind}_{category}"] for category in CATEGORIES]) for kind in ("is", "score")]


def same_answers(names, rows):
    holds, scores = answers(names[0])
    for name in names[1:]:
        other_holds, other_scores = answers(name)
        if other_holds.shape != holds.shape or holds.shape[1] != rows:
            sys.exit(f"{names[0]} and {name} answered about {holds.shape[1]} and {other_holds.shape[1]} of {rows} rows")
        different = np.abs(scores - other_scores).mean(axis=1)
        print(f"{name}: {(holds != other_holds).sum()} of {holds.size} answers are not {names[0]}'s", end=", ")
        print(f"scores differ by {different.mean():.1g} in the mean")
        if not different.max() <= MOST_DIFFERENT:
            sys.exit(f"the scores of '{list(CATEGORIES)[different.argmax()]}' differ too much: this is not the same job")
    print(f"{holds.sum()} answers are yes\n")


def report(runs, names, rows):
    figures = {}
    heads = ["program", "images/s", "without start-up", "seconds", "start-up", "CPU of an image", "cores busy", "memory"]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for name in names:
        # CPU time and memory are those of the run of median time.
        ordered = sorted(runs[name, rows])
        seconds, cpu, peak = ordered[len(ordered) // 2]
        start = median(run[0] for run in runs[name, 1])
        figures[name] = rows / seconds, (rows - 1) / (seconds - start)
        cells = [name, *(f"{figure:.1f}" for figure in figures[name])]
        cells += [f"{seconds:.2f} ({ordered[0][0]:.2f} to {ordered[-1][0]:.2f})", f"{start:.2f}"]
        cells += [f"{1000 * cpu / rows:.1f} ms", f"{cpu / seconds / CORES:.0%} of {CORES}", f"{peak:.0f} MB"]
        print("| " + " | ".join(cells) + " |")
    print()
    ours = figures[names[0]]
    for name in names[1:]:
        whole, steady = (mine / theirs for mine, theirs in zip(ours, figures[name]))
        print(f"{names[0]} : {name} = {whole:.2f} : 1, without start-up {steady:.2f} : 1")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What the Python package costs beside the command: images a second, a call's overhead, memory, many threads.

    python benches/python/labeler.py [--rows 600] [--rounds 3] [--loop 100000] [--picsift PROGRAM]

The package that is installed, and the program that is built alike, label the same table of distinct JPEGs of 512 pixels
(benches/make_table.py) in turn, from Parquet to Parquet, each in a process of its own that is timed whole; the median of the rounds counts, and
the time of a table of one row is taken off. A call's overhead is that of `label_image` over a picture whose answer is known, so that no model is
asked. Needs pyarrow and Pillow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "python-bench"
CATEGORIES = "building,fish,bird"
MODEL = "efficientnet-lite0"

LABELER = """
import sys, picsift, pyarrow as pa, pyarrow.parquet as pq
labeler = picsift.Labeler(sys.argv[3].split(","), model=sys.argv[4], no_cache=True)
file = pq.ParquetFile(sys.argv[1])
writer = None
for batch in file.iter_batches(batch_size=int(sys.argv[5])):
    labelled = labeler(pa.Table.from_batches([batch]))
    writer = writer or pq.ParquetWriter(sys.argv[2], labelled.schema, compression="zstd")
    writer.write_table(labelled)
writer.close()
"""


def timed(command: list[object]) -> float:
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def throughput(options: argparse.Namespace) -> None:
    tables = {rows: WORK / f"photographs-{rows}.parquet" for rows in (1, options.rows)}
    for rows, table in tables.items():
        if not table.exists():
            make = [sys.executable, ROOT / "benches" / "make_table.py", rows, table, "--distinct", "--row-group", 100]
            subprocess.run([str(word) for word in make], check=True)
    out = WORK / "out"
    contenders = {
        "command": lambda table: [
            options.picsift, "label", table, "-o", out, "--overwrite", "--no-cache", "--model", MODEL, "--categories", CATEGORIES,
        ],
        "Labeler": lambda table: [sys.executable, "-c", LABELER, table, WORK / "out.parquet", CATEGORIES, MODEL, options.batch],
    }
    times: dict[tuple[str, int], list[float]] = {(name, rows): [] for name in contenders for rows in tables}
    for turn in range(options.rounds):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            for rows, table in tables.items():
                times[name, rows].append(timed(contenders[name](table)))
    speed = {}
    for name in contenders:
        whole, one = median(times[name, options.rows]), median(times[name, 1])
        speed[name] = (options.rows - 1) / (whole - one)
        print(f"{name}: {options.rows / whole:.0f} images/s, {speed[name]:.0f} without start-up ({one:.2f} s)")
    print(f"Labeler over command, without start-up: {speed['Labeler'] / speed['command']:.3f}")


def calls(options: argparse.Namespace) -> None:
    import picsift
    import pyarrow.parquet as pq

    pictures = [image["bytes"] for image in pq.read_table(WORK / f"photographs-{options.rows}.parquet")["image"].to_pylist()[:100]]
    labeler = picsift.Labeler(CATEGORIES.split(","), model=MODEL, no_cache=True)
    labeler.label_images(pictures)

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    started, early = time.perf_counter(), 0
    for turn in range(options.loop):
        labeler.label_image(pictures[turn % 100])
        if turn == options.loop // 10:
            early = memory()
    seconds = time.perf_counter() - started
    print(f"label_image, answer known: {seconds / options.loop * 1e6:.0f} us a call")
    print(f"resident after {options.loop:,} calls: {memory() / 1e6:.0f} MB, {(memory() - early) / 1e6:+.1f} MB since the first tenth")
    started = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda turn: labeler.label_image(pictures[turn % 100]), range(10_000)))
    print(f"10,000 calls from 16 threads: {time.perf_counter() - started:.2f} s, {threading.active_count()} thread left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=100_000, help="rows of a table that the labeller is given")
    parser.add_argument("--picsift", type=Path, default=ROOT / "target" / "release" / "picsift")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    throughput(options)
    if options.loop:
        calls(options)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""picsift and the PyTorch loop by turns on this machine, and the ratio of their images per second.

    python benches/peer/compare.py --dtype q8_0 --batch 1,8 --threads 2

The Python that runs this must have PyTorch. Each round starts each program once; the medians of the rounds are compared.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
BENCH = ["cargo", "bench", "--locked", "-p", "picsift-vision", "--bench", "moondream"]


def main():
    options = arguments()
    features = ["--features", "cuda"] if options.device == "cuda" else []
    # Built before anything is timed.
    run([*BENCH, *features, "--no-run"], options)
    common = ["--device", options.device, "--categories", options.categories, "--seconds", str(options.seconds)]
    ours = [*BENCH, *features, "--", *common, "--size", options.size, "--batch", options.batch, "--dtype", options.dtype]
    loop = [sys.executable, str(HERE / "moondream_loop.py"), *common, "--image-size", options.size]
    loop += ["--dtype", options.peer_dtype]
    if options.threads:
        loop += ["--threads", str(options.threads)]
    lines = []
    for turn in range(options.rounds):
        # Neither always goes first: a machine that warms up or slows down favours neither.
        for command in [loop, ours] if turn % 2 == 0 else [ours, loop]:
            lines += report.read(run(command, options).splitlines())
    report.print_tables(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", metavar="WxH", default="378x378")
    parser.add_argument("--categories", metavar="N,N", default="1,10,50")
    parser.add_argument("--batch", metavar="N,N", default="1,8", help="picsift's batches; the loop has one image at a time")
    parser.add_argument("--dtype", choices=["f32", "bf16", "q8_0", "q4k"], default="q8_0", help="picsift's")
    parser.add_argument("--peer-dtype", choices=["bfloat16", "float32"], default="bfloat16", help="PyTorch's")
    parser.add_argument("--threads", type=int, help="of both; as each chooses without it")
    parser.add_argument("--seconds", type=float, default=30.0, help="measure each setting at least so long in each round")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def run(command, options):
    """What a program printed; it ends this one if it fails."""
    environment = dict(os.environ)
    if options.threads:
        environment["RAYON_NUM_THREADS"] = str(options.threads)
    print("running", " ".join(command), file=sys.stderr)
    done = subprocess.run(command, cwd=HERE.parent.parent, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"it failed with exit code {done.returncode}: {' '.join(command)}")
    print(done.stdout, end="", file=sys.stderr)
    return done.stdout


if __name__ == "__main__":
    main()

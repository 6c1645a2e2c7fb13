"""Random SQL with image calls, by picsift and by DuckDB over tables in which the answers are columns.

    python tests/differential/run.py BINARY N [SEED] [--first NUMBER] [--shrink]

Runs the queries NUMBER to NUMBER + N - 1 of the seed and compares the rows, and their order where the query says one. Each query has
settings of its own (batch size, partitions, memory), which follow from the seed too. Exit code 1 if a query differs, hangs, or is
refused for a reason that is not in refusals.txt. A query that differs is also asked of picsift over the columns that DuckDB reads, without
any call: where that is wrong too, the fault is DataFusion's own.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import data
from compare import difference
from nodes import DUCKDB, PICSIFT, PLAIN
from queries import draw
from runner import ALONE_SECONDS, Duckdb, Picsift
from shrink import shrink

# Of a hundred queries no more than these may be refused: a generator that is mostly refused tests nothing.
MOST_REFUSED = 10

# Queries that are drawn for a number until one gives rows.
ATTEMPTS = 3


def settings(seed, number):
    """SET statements of a query."""
    rng = random.Random(f"settings {seed} {number}")
    memory = rng.choice([1, 4096, 1 << 20, 256 << 20, 256 << 20])
    return [
        f"SET datafusion.execution.batch_size = {rng.choice([1, 3, 7, 64, 64, 8192])}",
        f"SET datafusion.execution.target_partitions = {rng.randint(1, 5)}",
        f"SET picsift.memory_limit = {memory}",
        f"SET picsift.max_images = '{rng.choice(['none', 'none', '100000'])}'",
    ]


def drawn(seed, number, thresholds, duckdb):
    """The query of a number: the first of a few that gives rows, if one does, for nothing is wrong with no rows."""
    for attempt in range(ATTEMPTS):
        query = draw(seed, number, thresholds, attempt)
        if duckdb.run(query).rows:
            break
    return query


def refusals():
    """(who, pattern, matcher) of each line of refusals.txt."""
    found = []
    for line in Path(__file__).with_name("refusals.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            who, pattern = line.split(" ", 1)
            found.append((who, pattern, re.compile(pattern, re.DOTALL)))
    return found


class Judge:
    """Says what became of each query."""

    def __init__(self, picsift, duckdb, small):
        self.picsift, self.duckdb, self.small = picsift, duckdb, small
        self.refusals = refusals()
        self.refused, self.failures = {}, []

    def verdict(self, number, query, result, sets):
        """None where all is well, else a sentence."""
        expected = self.duckdb.run(query)
        if expected.error:
            return f"DuckDB refuses it: {expected.error}"
        if result.hung:
            return f"no answer in {ALONE_SECONDS} s"
        wrong = f"picsift refuses it: {result.error}" if result.error else difference(expected.rows, result.rows, query.ordered)
        if wrong is None:
            return None
        plain = self.picsift.alone(number, sets, query, PLAIN)
        said = {"picsift": result.error or "", "datafusion": result.error and plain.error or "", "wrong": ""}
        if not result.error and plain.rows is not None and difference(expected.rows, plain.rows, query.ordered):
            said["wrong"] = " ".join(query.statements(PICSIFT)[0] + [query.statements(PICSIFT)[1]])
        for who, pattern, matcher in self.refusals:
            if matcher.search(said[who]):
                self.refused[pattern] = self.refused.get(pattern, 0) + 1
                return None
        return wrong

    def judge(self, number, query, result, sets, seed):
        """Prints what is wrong with a query, if something is."""
        wrong = self.verdict(number, query, result, sets)
        if wrong is None:
            return
        kind = self.kind(wrong)
        self.failures.append((number, kind))
        if self.small and not wrong.startswith("DuckDB"):
            fault = self.blame(number, query, sets).split()[0]
            query = shrink(query, lambda smaller: self.still(number, smaller, sets, kind, fault))
            result = self.picsift.alone(number, sets, query)
            wrong = self.verdict(number, query, result, sets) or wrong
        print(f"\n=== seed {seed}, query {number}: {wrong}")
        print(f"  again: tests/differential.sh 1 {seed} {number}")
        print("  blame:", self.blame(number, query, sets))
        for statement in sets:
            print(f"  {statement};")
        for dialect in (PICSIFT, DUCKDB):
            before, text, _ = query.statements(dialect)
            print(f"  {dialect}: " + ";\n    ".join([*before, text]))
        sys.stdout.flush()

    def kind(self, wrong):
        """What a failure has in common with its like."""
        return re.sub(r"[0-9]+|[a-z_.]*image[a-z_]*", "#", wrong.split("\n")[0])[:64]

    def still(self, number, query, sets, kind, fault):
        """Whether a smaller query fails alike; None where DuckDB refuses it."""
        if self.duckdb.run(query).error:
            return None
        wrong = self.verdict(number, query, self.picsift.alone(number, sets, query, seconds=8), sets)
        return wrong is not None and self.kind(wrong) == kind and self.blame(number, query, sets).startswith(fault)

    def blame(self, number, query, sets):
        """Whether DataFusion gets it right over columns."""
        plain = self.picsift.alone(number, sets, query, PLAIN)
        expected = self.duckdb.run(query)
        if plain.hung:
            return "DataFusion itself, which hangs over columns too"
        if plain.error:
            return f"DataFusion itself says over columns: {plain.error}"
        wrong = None if expected.error else difference(expected.rows, plain.rows, query.ordered)
        return f"DataFusion itself, which over columns gives: {wrong}" if wrong else "picsift: over columns DataFusion is right"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("number", type=int, metavar="N")
    parser.add_argument("seed", nargs="?", default="1")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--shrink", action="store_true", help="make queries that differ smaller, which takes a while")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        thresholds = data.make(given.binary, Path(folder))
        judge = Judge(Picsift(given.binary, folder), Duckdb(folder), given.shrink)
        numbers = range(given.first, given.first + given.number)
        jobs = []
        for number in numbers:
            jobs.append((number, settings(given.seed, number), drawn(given.seed, number, thresholds, judge.duckdb)))
        results = judge.picsift.all(jobs)
        for number, sets, query in jobs:
            judge.judge(number, query, results[number], sets, given.seed)
    refused = sum(judge.refused.values())
    print(f"{given.number} queries of seed {given.seed}, {len(judge.failures)} wrong, {refused} refused, {time.monotonic() - started:.0f} s")
    for pattern, count in sorted(judge.refused.items()):
        print(f"  refused {count}: {pattern}")
    for kind in sorted({kind for _, kind in judge.failures}):
        numbers = [str(number) for number, other in judge.failures if other == kind]
        print(f"  wrong {len(numbers)}: {kind}... ({', '.join(numbers[:12])})")
    too_many = refused * 100 > given.number * MOST_REFUSED and given.number >= 100
    if too_many:
        print(f"  more than {MOST_REFUSED} of a hundred were refused")
    sys.exit(bool(judge.failures) or too_many)


if __name__ == "__main__":
    main()

"""Queries that ask about no image: picsift's SQL beside the DataFusion wheel, on one generated table.

Owns the table, the queries and the clock. Both read the same Parquet file with the same number of partitions; the time of a
query is what each further run of it costs within one process, so that neither pays for its start. Programs take turns, and
the ratio is of medians.

    python benches/peer/columns.py --picsift target/release/picsift --rows 10000000

needs `datafusion` and `pyarrow` of requirements-columns.txt.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time

import datafusion
import numpy
import pyarrow
import pyarrow.parquet

QUERIES = {
    "group": "SELECT k, count(*) AS n, avg(x) AS x, max(id) AS id FROM {t} GROUP BY k ORDER BY n DESC, k LIMIT 10",
    "words": "SELECT s, count(*) AS n, sum(x) AS x FROM {t} GROUP BY s ORDER BY s LIMIT 10",
    "filter": "SELECT count(*) AS n, sum(x) AS x FROM {t} WHERE x > 0.5 AND s LIKE '%7%' AND id % 3 <> 0",
    "top": "SELECT id, x, s FROM {t} ORDER BY x DESC, id LIMIT 20",
    "distinct": "SELECT count(DISTINCT s) AS n, count(DISTINCT id % 1000003) AS m FROM {t}",
    "join": "SELECT a.k, count(*) AS n FROM {t} a JOIN (SELECT id FROM {t} WHERE x < 0.05) b ON a.id = b.id GROUP BY a.k ORDER BY n DESC, a.k LIMIT 5",
    "window": "SELECT k, max(r) AS r FROM (SELECT k, row_number() OVER (PARTITION BY k ORDER BY x) AS r FROM {t} WHERE id % 5 = 0) w GROUP BY k ORDER BY k LIMIT 5",
}
REPEATS = 4


def write_table(path, rows):
    random = numpy.random.default_rng(1)
    step = 1_000_000
    with pyarrow.parquet.ParquetWriter(path, SCHEMA) as writer:
        for first in range(0, rows, step):
            count = min(step, rows - first)
            words = numpy.char.add("word", random.integers(0, 5000, count).astype(str))
            columns = [
                numpy.arange(first, first + count),
                random.integers(0, 1000, count).astype("int32"),
                random.random(count),
                words,
            ]
            writer.write_table(pyarrow.table([pyarrow.array(c) for c in columns], schema=SCHEMA))


SCHEMA = pyarrow.schema(
    [("id", pyarrow.int64()), ("k", pyarrow.int32()), ("x", pyarrow.float64()), ("s", pyarrow.string())]
)


def picsift(program, query):
    """Seconds that one more run of the query takes in picsift."""

    def run(times):
        command = [program, "sql", "--no-cache", "--format", "csv"]
        started = time.perf_counter()
        subprocess.run(command + ["-c", query] * times, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    once, more = run(1), run(1 + REPEATS)
    return (more - once) / REPEATS


def wheel(context, query):
    """Seconds that one more run of the query takes in the wheel."""
    context.sql(query).collect()
    started = time.perf_counter()
    for _ in range(REPEATS):
        context.sql(query).collect()
    return (time.perf_counter() - started) / REPEATS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picsift", default="target/release/picsift")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    config = datafusion.SessionConfig().with_target_partitions(os.cpu_count())
    context = datafusion.SessionContext(config)
    print(f"picsift beside datafusion {datafusion.__version__}, {args.rows} rows, seconds")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/t.parquet"
        write_table(path, args.rows)
        context.register_parquet("t", path)
        ratios = []
        for name, query in QUERIES.items():
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(picsift(args.picsift, query.format(t=f"'{path}'")))
                theirs.append(wheel(context, query.format(t="t")))
            own, other = statistics.median(ours), statistics.median(theirs)
            ratios.append(own / other)
            print(f"{name:10} picsift {own:7.3f}  wheel {other:7.3f}  ratio {own / other:5.2f}", flush=True)
        print(f"geometric mean of the ratios {statistics.geometric_mean(ratios):.2f}, worst {max(ratios):.2f}")


if __name__ == "__main__":
    main()

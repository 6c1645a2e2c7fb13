"""The labeller within the engines that people have: each gives the rows of the local job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import picsift
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import CATEGORIES, needed

ANSWERS = ["file", "is_fish", "score_fish", "is_person", "label", "labels", "answers"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Path:
    path = tmp_path_factory.mktemp("engines") / "photos.parquet"
    pq.write_table(table, path, row_group_size=15)
    return path


def same(found: pa.Table, expected: pa.Table) -> None:
    rows = {row["file"]: row for row in expected.select(ANSWERS).to_pylist()}
    assert found.num_rows == expected.num_rows
    for row in found.select(ANSWERS).to_pylist():
        wanted = rows[row["file"]]
        assert {key: (list(value) if key == "labels" else value) for key, value in row.items()} == wanted


def test_datasets_map(table: pa.Table, expected: pa.Table, file: Path, tmp_path: Path) -> None:
    import datasets

    photos = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path))
    labeler = picsift.Labeler(CATEGORIES)
    arrow = photos.with_format("arrow").map(labeler, batched=True, batch_size=16)
    same(arrow.with_format("arrow")[:], expected)
    # As people write it: pictures are Pillow's there, decoded by another library.
    few = photos.select(range(12)).cast_column("image", datasets.Image())
    plain = few.map(labeler, batched=True, batch_size=5)
    assert plain["label"] == expected["label"].to_pylist()[:12]
    assert plain.features["image"] == few.features["image"]


def test_ray_map_batches(expected: pa.Table, file: Path) -> None:
    ray = needed("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        photos = ray.data.read_parquet(str(file))

        class Label:
            def __init__(self) -> None:
                self.labeler = picsift.Labeler(CATEGORIES)

            def __call__(self, batch: pa.Table) -> pa.Table:
                return self.labeler(batch)

        actors = photos.map_batches(Label, batch_format="pyarrow", batch_size=16, concurrency=1)
        same(pa.concat_tables(ray.get(actors.to_arrow_refs())), expected)
        tasks = photos.map_batches(picsift.Labeler(CATEGORIES), batch_format="pyarrow", batch_size=16)
        same(pa.concat_tables(ray.get(tasks.to_arrow_refs())), expected)
    finally:
        ray.shutdown()


def test_daft_class_udf(expected: pa.Table, file: Path) -> None:
    daft = needed("daft")

    @daft.cls
    class Label:
        def __init__(self) -> None:
            self.labeler = picsift.Labeler(CATEGORIES)

        @daft.method.batch(return_dtype=daft.DataType.string())
        def label(self, images: Any) -> Any:
            labelled = self.labeler(pa.table({"image": images.to_arrow()}))
            return labelled["label"].combine_chunks()

    found = daft.read_parquet(str(file)).with_column("label", Label().label(daft.col("image").get("bytes")))
    rows = {row["file"]: row["label"] for row in found.select("file", "label").to_pylist()}
    assert rows == dict(zip(expected["file"].to_pylist(), expected["label"].to_pylist()))


def test_spark_map_in_arrow(expected: pa.Table, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = needed("pyspark.sql")
    if shutil.which("java") is None and not os.environ.get("PICSIFT_REQUIRE_ENGINES"):
        pytest.skip("Spark needs Java")
    from pyspark.sql.pandas.types import from_arrow_schema

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "16").getOrCreate()
    try:
        photos = spark.read.parquet(str(file))
        labeler = picsift.Labeler(CATEGORIES)
        schema = labeler.schema(pq.read_schema(file))
        labelled = photos.mapInArrow(labeler.batches, from_arrow_schema(schema))
        same(labelled.toArrow(), expected)
    finally:
        spark.stop()


def test_a_forked_worker_that_loads_data(table: pa.Table, expected: pa.Table) -> None:
    """As the workers of torch's DataLoader: forked, with a data set that holds a labeller which nobody has used."""
    code = (
        "import sys, multiprocessing as mp, pyarrow.parquet as pq, picsift\n"
        "class Data:\n"
        "    def __init__(self, file):\n"
        "        self.table, self.labeler = pq.read_table(file), picsift.Labeler(['fish', 'person', 'building'])\n"
        "    def batch(self, start):\n"
        "        return self.labeler(self.table.slice(start, 8))['label'].to_pylist()\n"
        "def work(data, todo, done):\n"
        "    for start in iter(todo.get, None):\n"
        "        done.put((start, data.batch(start)))\n"
        "data = Data(sys.argv[1])\n"
        "context = mp.get_context('fork')\n"
        "todo, done = context.Queue(), context.Queue()\n"
        "workers = [context.Process(target=work, args=(data, todo, done)) for _ in range(2)]\n"
        "starts = range(0, data.table.num_rows, 8)\n"
        "[worker.start() for worker in workers]\n"
        "[todo.put(start) for start in starts]\n"
        "found = dict(done.get(timeout=60) for _ in starts)\n"
        "[todo.put(None) for _ in workers]\n"
        "[worker.join() for worker in workers]\n"
        "print([label for start in starts for label in found[start]])\n"
    )
    with tempfile.NamedTemporaryFile(suffix=".parquet") as kept:
        pq.write_table(table, kept.name)
        ended = subprocess.run([sys.executable, "-c", code, kept.name], capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == str(expected["label"].to_pylist()), ended.stderr

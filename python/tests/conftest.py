"""What the tests have in common: photographs, and kept answers of their own."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PHOTOS = Path(__file__).parents[2] / "datasets" / "photos"

# Before the package is used, and for the processes that tests start.
os.environ["PICSIFT_CACHE"] = tempfile.mkdtemp(prefix="picsift-tests-")



def needed(name: str) -> Any:
    """A module that some machines lack; where `PICSIFT_REQUIRE_ENGINES` is set they must not."""
    if os.environ.get("PICSIFT_REQUIRE_ENGINES"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


CATEGORIES = ["fish", "person", "building"]


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """Every fifth photograph with its bytes."""
    photos = pq.read_table(PHOTOS / "embedded")
    return photos.take(list(range(0, photos.num_rows, 5))).combine_chunks()


@pytest.fixture(scope="session")
def picture(table: pa.Table) -> bytes:
    """The file of a photograph of a fish."""
    fish = next(row for row in table.to_pylist() if "fish" in row["truth"])
    return fish["image"]["bytes"]


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> pa.Table:
    """What the job makes of the table."""
    import picsift

    folder = tmp_path_factory.mktemp("job")
    pq.write_table(table, folder / "in.parquet")
    picsift.label(folder / "in.parquet", folder / "out", categories=CATEGORIES, progress=False)
    return pq.read_table(folder / "out")

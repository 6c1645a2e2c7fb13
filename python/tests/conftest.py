"""What the tests have in common: photographs, and kept answers of their own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PHOTOS = Path(__file__).parents[2] / "datasets" / "photos"

# Before the package is used, and for the processes that tests start.
os.environ["PICSIFT_CACHE"] = tempfile.mkdtemp(prefix="picsift-tests-")

CATEGORIES = ["fish", "person", "building"]


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """Forty photographs with their bytes."""
    return pq.read_table(PHOTOS / "embedded").slice(0, 40)


@pytest.fixture(scope="session")
def picture(table: pa.Table) -> bytes:
    """The file of a photograph of a fish."""
    fish = next(row for row in table.to_pylist() if "fish" in str(row["file"]))
    return fish["image"]["bytes"]


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> pa.Table:
    """What the job makes of the table."""
    import picsift

    folder = tmp_path_factory.mktemp("job")
    pq.write_table(table, folder / "in.parquet")
    picsift.label(folder / "in.parquet", folder / "out", categories=CATEGORIES, progress=False)
    return pq.read_table(folder / "out")

"""SQL from Python."""

from __future__ import annotations

import datetime
import decimal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pandas
import picsift
import polars
import pyarrow as pa
import pyarrow.dataset
import pytest

from conftest import PHOTOS


@pytest.fixture(scope="module")
def con() -> picsift.Connection:
    return picsift.connect()


def test_a_query_gives_its_rows_in_every_form(con: picsift.Connection) -> None:
    found = con.sql("SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t (number, word) ORDER BY number")
    assert found.columns == ["number", "word"]
    assert found.fetchall() == [(1, "a"), (2, None)]
    assert found.arrow().to_pylist() == [{"number": 1, "word": "a"}, {"number": 2, "word": None}]
    assert found.pl().rows() == [(1, "a"), (2, None)]
    assert list(found.df()["number"]) == [1, 2]
    assert [batch.num_rows for batch in found.stream()] == [2]
    assert pa.table(found).num_rows == 2
    assert polars.DataFrame(found).shape == (2, 2)


def test_show_prints_the_first_rows(con: picsift.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    con.sql("SELECT value FROM generate_series(1, 1000)").show(3)
    shown = capsys.readouterr().out
    assert "| 3 " in shown and "| 4 " not in shown


def test_a_query_asks_a_model_only_when_its_rows_are_wanted(con: picsift.Connection) -> None:
    found = con.sql(f"SELECT file, classify(image, 'fish') AS fish FROM '{PHOTOS / 'embedded'}' ORDER BY file LIMIT 6")
    assert "fish" in repr(found)
    assert sum(fish for _, fish in found.fetchall()) >= 0
    whole = con.sql(f"SELECT count(*) AS n FROM '{PHOTOS / 'embedded'}' WHERE classify(image, 'fish')").fetchall()
    assert 25 <= whole[0][0] <= 32


def test_variables_of_the_caller_are_tables(table: pa.Table) -> None:
    numbers = pandas.DataFrame({"n": [1, 2, 3], "half": [0.5, 1.0, 1.5]})
    frame = polars.DataFrame({"n": [2, 3, 4]})
    rows = picsift.sql("SELECT numbers.n, half FROM numbers JOIN frame ON numbers.n = frame.n ORDER BY 1").fetchall()
    assert rows == [(2, 1.0), (3, 1.5)]
    numbers = pandas.DataFrame({"n": [7]})
    assert picsift.sql("SELECT n FROM numbers").fetchall() == [(7,)]
    photos = table
    found = picsift.sql("SELECT count(*) FROM photos WHERE classify(image, 'fish')").fetchall()
    assert 0 < found[0][0] < photos.num_rows
    with pytest.raises(picsift.InputError, match="nothing_here"):
        picsift.sql("SELECT * FROM nothing_here")
    assert frame.shape == (3, 1)
    Numbers = numbers
    assert picsift.sql('SELECT n FROM Numbers').fetchall() == [(7,)]
    con = picsift.connect().register("Mine", Numbers)
    for name in ("Mine", "mine", '"Mine"'):
        assert con.sql(f"SELECT n FROM {name}").fetchall() == [(7,)]
    con.unregister("Mine")
    with pytest.raises(picsift.InputError, match="mine"):
        con.sql("SELECT n FROM Mine")


def test_every_kind_of_table_can_be_registered(con: picsift.Connection, table: pa.Table) -> None:
    numbers = pa.table({"n": [1, 2, 3]})
    kinds: dict[str, Any] = {
        "arrow_table": numbers,
        "batch": numbers.to_batches()[0],
        "pandas": numbers.to_pandas(),
        "polars": polars.from_arrow(numbers),
        "lazy": polars.LazyFrame({"n": [1, 2, 3]}),
        "arrow_dataset": pyarrow.dataset.dataset(numbers),
        "hub": datasets.Dataset.from_dict({"n": [1, 2, 3]}),
        "relation": con.sql("SELECT * FROM (VALUES (1), (2), (3)) AS t (n)"),
    }
    for name, kind in kinds.items():
        con.register(name, kind)
        for _ in range(2):
            assert con.sql(f"SELECT sum(n) FROM {name}").fetchall() == [(6,)], name
        con.unregister(name)
    with pytest.raises(picsift.InputError, match="int"):
        con.register("wrong", 3)
    with pytest.raises(picsift.InputError, match="wrong"):
        con.unregister("wrong")


def test_a_reader_is_read_once_and_as_it_is_wanted(con: picsift.Connection) -> None:
    made = []

    def batches() -> Any:
        for number in range(1000):
            made.append(number)
            yield pa.record_batch({"n": [number] * 1000})

    schema = pa.schema({"n": pa.int64()})
    con.register("once", pa.RecordBatchReader.from_batches(schema, batches()))
    assert con.sql("SELECT n FROM once LIMIT 5").fetchall() == [(0,)] * 5
    assert len(made) < 100
    with pytest.raises(picsift.Error, match="register it again"):
        con.sql("SELECT n FROM once").fetchall()
    failing = pa.RecordBatchReader.from_batches(schema, (1 / 0 for _ in range(1)))
    con.register("failing", failing)
    with pytest.raises(picsift.Error, match="division"):
        con.sql("SELECT n FROM failing").fetchall()


def test_images_of_datasets_are_images(con: picsift.Connection, table: pa.Table) -> None:
    images = table["image"].to_pylist()
    hub = datasets.Dataset.from_dict({"image": images[:6]}).cast_column("image", datasets.Image())
    found = con.register("hub_images", hub).sql("SELECT classify(image, 'fish') FROM hub_images").fetchall()
    plain = pa.table({"image": [image["bytes"] for image in images[:6]]})
    assert found == con.register("plain_images", plain).sql("SELECT classify(image, 'fish') FROM plain_images").fetchall()
    # Of a data set whose rows were chosen, only those.
    assert con.register("some", hub.select([3, 1])).sql("SELECT count(*) FROM some").fetchall() == [(2,)]


def test_paths_in_tables_belong_to_the_folder_that_is_said(con: picsift.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted((PHOTOS / "references" / "images").iterdir())[:3]
    paths = pa.table({"image": [image.name for image in images]})
    con.register("paths", paths, base=PHOTOS / "references" / "images")
    assert [row for (row,) in con.sql("SELECT classify(image, 'fish') IS NULL FROM paths").fetchall()] == [False] * 3
    monkeypatch.chdir(images[0].parent)
    assert [row for (row,) in con.sql("SELECT classify(image, 'fish') IS NULL FROM paths").fetchall()] == [False] * 3


def test_images_that_are_lost_are_a_warning(con: picsift.Connection) -> None:
    broken = pa.table({"image": [b"no picture", None]})
    con.register("broken", broken)
    with pytest.warns(picsift.PicsiftWarning, match="1 of 1 images"):
        assert con.sql("SELECT classify(image, 'fish') FROM broken").fetchall() == [(None,), (None,)]


def test_parameters_are_values(con: picsift.Connection, picture: bytes) -> None:
    day, moment = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30, 1)
    values = [1, -2.5, "it's", b"\x00\xff", True, None, day, moment]
    query = "SELECT $1, $2, $3, $4, $5, $6, $7, $8"
    assert con.sql(query, values).fetchall() == [(1, -2.5, "it's", b"\x00\xff", True, None, day, moment)]
    assert con.sql("SELECT classify($1, $2)", [picture, "fish"]).fetchall() == [(True,)]
    with pytest.raises(picsift.InputError, match=r"\$2"):
        con.sql("SELECT $1, $2", [1])
    with pytest.raises(picsift.InputError, match=r"\$1"):
        con.sql("SELECT 1", [1])
    with pytest.raises(picsift.InputError, match="finite"):
        con.sql("SELECT $1", [float("nan")])


def test_values_are_those_of_python(con: picsift.Connection) -> None:
    query = """SELECT arrow_cast(1.25, 'Decimal128(5, 2)') AS d, TIMESTAMP '2024-01-02 03:04:05.678901' AS t,
        arrow_cast(TIMESTAMP '2024-01-02 03:04:05', 'Timestamp(Nanosecond, Some("UTC"))') AS z,
        [1, 2, NULL] AS l, named_struct('a', 1, 'b', 'x') AS s, INTERVAL '1 day' AS i, arrow_cast('u', 'Dictionary(Int32, Utf8)') AS k"""
    (row,) = con.sql(query).fetchall()
    assert row[:5] == (
        decimal.Decimal("1.25"),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 678901),
        datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        [1, 2, None],
        {"a": 1, "b": "x"},
    )
    assert isinstance(row[5], str) and row[6] == "u"


def test_what_changes_something_runs_at_once(con: picsift.Connection, tmp_path: Path) -> None:
    file = tmp_path / "numbers.parquet"
    copied = con.sql(f"COPY (SELECT 1 AS n) TO '{file}'")
    assert file.exists()
    assert copied.fetchall() == copied.fetchall() == [(1,)]
    con.sql("CREATE TABLE things (n BIGINT)")
    con.sql("INSERT INTO things VALUES (1), (2)")
    assert con.sql("SELECT sum(n) FROM things").fetchall() == [(3,)]
    con.sql("SET picsift.model = 'efficientnet-lite0'")
    con.sql("RESET picsift.model")


def test_mistakes_are_errors_of_the_family(con: picsift.Connection) -> None:
    for query, says in [
        ("SELECT", "SQL"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM 'nowhere.parquet'", "nowhere.parquet"),
        (f"SELECT classify(image, 'tree') FROM '{PHOTOS / 'embedded'}'", "tree"),
    ]:
        with pytest.raises(picsift.InputError, match=says) as raised:
            con.sql(query).fetchall()
        assert isinstance(raised.value, (picsift.Error, ValueError))
    with pytest.raises(picsift.ModelError, match="no-such-model"):
        picsift.connect(model="no-such-model")
    with pytest.raises(picsift.InputError, match="warp"):
        picsift.connect(device="warp")
    with pytest.raises(TypeError, match="colour"):
        picsift.connect(colour="red")  # type: ignore[call-arg]
    with pytest.raises(picsift.ModelError, match="no-such-model"):
        con.sql("SET picsift.model = 'no-such-model'")


def test_threads_have_their_own_variables(con: picsift.Connection) -> None:
    def summed(number: int) -> int:
        numbers = pa.table({"n": [number] * 3})
        found: int = con.sql("SELECT sum(n) FROM numbers").fetchall()[0][0]
        return found if numbers else 0

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(summed, range(300))) == [3 * number for number in range(300)]

"""The commands as functions: options by the same names, outcomes as data."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import picsift
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import CATEGORIES, PHOTOS


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> picsift.Manifest:
    folder = tmp_path_factory.mktemp("labelled")
    return picsift.label(PHOTOS / "embedded", folder / "out", categories=CATEGORIES, progress=False)


def test_a_job_says_what_it_wrote(labelled: picsift.Manifest) -> None:
    assert (labelled.rows, labelled.images, labelled.failures) == (221, 221, 0)
    assert list(labelled.held) == CATEGORIES and 25 <= labelled.held["fish"] <= 32
    assert labelled.partial is None and labelled.failed_images is None
    assert labelled.document == json.loads((Path(labelled.output) / "_picsift.json").read_text())
    rows = pq.read_table(labelled.output)
    assert rows.num_rows == 221 and rows["is_fish"].to_pylist().count(True) == labelled.held["fish"]
    assert [Path(labelled.output, file).exists() for file in labelled.files] == [True] * len(labelled.files)


def test_the_same_job_again_has_nothing_to_do(labelled: picsift.Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "picsift"):
        again = picsift.label(PHOTOS / "embedded", labelled.output, categories=CATEGORIES, progress=False)
    assert again == labelled
    assert "nothing" in caplog.text or "done" in caplog.text
    with pytest.raises(picsift.InputError, match="overwrite"):
        picsift.label(PHOTOS / "embedded", labelled.output, categories=["dog"])


def test_options_are_those_of_the_command(tmp_path: Path) -> None:
    job = picsift.label(
        [PHOTOS / "embedded" / "photos.parquet"],
        tmp_path / "out",
        categories="fish",
        model="efficientnet-lite0",
        where="file LIKE '%0.%'",
        limit=7,
        partition_by=["collection", "label"],
        image_column="drop",
        shard_rows=3,
        max_image_pixels=100_000_000,
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    assert job.rows == 7 and len(job.files) > 1 and all("collection=" in file for file in job.files)
    assert job.document["model"]["name"] == "efficientnet-lite0" and (tmp_path / "cache").exists()
    assert "image" not in pq.ParquetFile(Path(job.output, job.files[0])).schema_arrow.names
    part = picsift.label(
        PHOTOS / "embedded", tmp_path / "part", categories="fish", max_images=5, no_cache=True, progress=False
    )
    assert part.partial is not None and part.rows < 221


def test_mistakes_are_found_before_an_image_is_read(tmp_path: Path) -> None:
    def wrong(says: str, **options: object) -> None:
        arguments = {"categories": ["fish"], **options}
        with pytest.raises(picsift.InputError, match=says):
            picsift.label(PHOTOS / "embedded", tmp_path / "out", **arguments)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()

    wrong("tree", categories=["tree"])
    wrong("on-error", on_error="maybe")
    wrong("incremental", incremental=True, overwrite=True)
    wrong("comma", partition_by=["a,b"])
    wrong("nowhere", categories_file="nowhere.toml")
    wrong("LIMIT|limit", limit=0)
    with pytest.raises(picsift.InputError, match="nothing at|there is no"):
        picsift.label(tmp_path / "nothing", tmp_path / "out", categories=["fish"])
    with pytest.raises(TypeError, match=r"label\(\) got an unexpected keyword argument 'colour'"):
        picsift.label(PHOTOS / "embedded", tmp_path / "out", categories=["fish"], colour="red")  # type: ignore[call-arg]
    with pytest.raises(picsift.InputError, match="--output"):
        picsift.label("--output=here", tmp_path / "out", categories=["fish"])


def test_a_job_in_which_all_images_fail_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"no", b"picture"]}), tmp_path / "broken.parquet")
    with pytest.warns(picsift.PicsiftWarning, match="2 of 2"):
        with pytest.raises(picsift.Error, match="all 2 images failed"):
            picsift.label(tmp_path / "broken.parquet", tmp_path / "out", categories=["fish"], progress=False)
    assert pq.read_table(tmp_path / "out").num_rows == 2


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[picsift.Progress] = []
    options = {"categories": CATEGORIES, "no_cache": True, "limit": 60}
    picsift.label(PHOTOS / "embedded", tmp_path / "out", progress=told.append, **options)  # type: ignore[arg-type]
    assert told[-1].done == 60 and told[-1].total == 60
    assert [one.done for one in told] == sorted({one.done for one in told})

    class Enough(Exception):
        pass

    def stop(now: picsift.Progress) -> None:
        if now.done > 3:
            raise Enough

    with pytest.raises(Enough):
        picsift.label(PHOTOS / "embedded", tmp_path / "stopped", progress=stop, **{**options, "limit": 200})  # type: ignore[arg-type]
    assert not (tmp_path / "stopped").exists()
    whole = picsift.label(PHOTOS / "embedded", tmp_path / "stopped", progress=False, **{**options, "limit": 200})  # type: ignore[arg-type]
    assert whole.rows == 200 and whole.asked > 0


def test_a_bar_is_shown_where_it_is_wanted(tmp_path: Path) -> None:
    code = (
        "import picsift, sys; picsift.label(sys.argv[1], sys.argv[2], categories=['fish'], "
        "progress={'True': True, 'False': False, 'None': None}[sys.argv[3]], limit=40)"
    )
    for progress, seen in [("True", True), ("False", False), ("None", False)]:
        words = [sys.executable, "-c", code, str(PHOTOS / "embedded"), str(tmp_path / progress), progress]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and ("40/40" in done.stderr) == seen, done.stderr


def test_an_evaluation_is_data(labelled: picsift.Manifest, tmp_path: Path) -> None:
    found = picsift.eval(labelled.output, truth="truth", sweep=True, min_precision=0.9, seed=3, mistakes=1)
    names = [category["name"] for category in found.categories]
    assert names == CATEGORIES
    assert found["rows"] == 221 and found.categories[0]["recall"]["value"] > 0.8
    assert "fish" in str(found) and "| fish" in found.markdown()
    command = [str(Path(sys.executable).with_name("picsift")), "eval", labelled.output, "--truth", "truth", "--format", "json"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    assert dict(picsift.eval(labelled.output, truth="truth")) == printed
    file = tmp_path / "categories.toml"
    picsift.eval(labelled.output, truth="truth", sweep=True, categories_file=file)
    assert "threshold" in file.read_text()
    with pytest.raises(picsift.InputError, match="truth"):
        picsift.eval(labelled.output)


def test_a_category_is_taught_and_answered(labelled: picsift.Manifest, tmp_path: Path) -> None:
    lesson = picsift.teach(
        PHOTOS / "embedded", tmp_path / "heads.safetensors", truth="truth", categories=["windmill"], model="efficientnet-lite0"
    )
    assert [one["name"] for one in lesson.categories] == ["windmill"] and "windmill" in str(lesson)
    job = picsift.label(
        PHOTOS / "embedded", tmp_path / "out", heads=lesson.output, model="efficientnet-lite0", limit=20, progress=False
    )
    assert job.rows == 20 and list(job.held) == ["windmill"]
    by_hand = picsift.Labeler(heads=lesson.output, model="efficientnet-lite0")
    assert by_hand.categories == ["windmill"]
    with pytest.raises(picsift.InputError, match="categories of its own"):
        picsift.teach(PHOTOS / "embedded", tmp_path / "none.safetensors", truth="no_such_column", model="efficientnet-lite0")
    assert not (tmp_path / "none.safetensors").exists()


def test_a_sample_is_a_table(labelled: picsift.Manifest, tmp_path: Path) -> None:
    drawn = picsift.sample(labelled.output, tmp_path / "sample.parquet", per_category=20, by="random", seed=1)
    assert pq.read_table(drawn.output).num_rows == drawn.rows
    assert drawn.categories["fish"][1] == 221
    with pytest.raises(picsift.InputError, match="overwrite|sample"):
        picsift.sample(labelled.output, tmp_path / "sample.parquet")


def test_a_gallery_is_pages(labelled: picsift.Manifest, tmp_path: Path) -> None:
    told: list[picsift.Progress] = []
    shown = picsift.gallery(labelled.output, tmp_path / "pages", limit=12, pictures=False, truth="truth", progress=told.append)
    assert (shown.rows, shown.without_picture) == (12, 0) and shown.bytes > 0
    assert (Path(shown.output) / "index.html").exists()
    assert told[-1].done == 12


def test_a_gallery_is_shown_and_corrected(labelled: picsift.Manifest, tmp_path: Path) -> None:
    shown = picsift.gallery(labelled.output, tmp_path / "pages", limit=3, pictures=False, progress=False)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with shown.serve() as served:
        assert served.url.startswith("http://") and served.url in repr(served)
        assert browser.open(served.url, timeout=20).status == 200
        host = served.url.split("/?")[0]
        page = browser.open(f"{host}/", timeout=20).read().decode()
        assert "picsift" in page
        token = json.loads(browser.open(f"{host}/data/meta.js", timeout=20).read().decode().split('"serve":', 1)[1].split("}")[0] + "}")
        key = json.loads((tmp_path / "pages" / "data" / "rows-0.js").read_text().split(",", 1)[1].rsplit(")", 1)[0])[0]["key"]
        line = {"key": key, "row": 0, "category": "fish", "was": None, "is": True, "who": "ada", "when": "2026-01-01T00:00:00Z"}
        request = urllib.request.Request(
            f"{host}/corrections",
            data=json.dumps(line).encode() + b"\n",
            headers={"X-Picsift-Token": token["token"], "Content-Type": "application/x-ndjson"},
        )
        assert browser.open(request, timeout=20).status == 200
        assert json.loads(Path(served.corrections).read_text())["who"] == "ada"
        # A port that is taken is said.
        with pytest.raises(picsift.InputError, match="port"):
            shown.serve(port=int(host.rsplit(":", 1)[1]))
    assert "stopped" in repr(served)
    with pytest.raises(OSError):
        browser.open(f"{host}/", timeout=20)
    served.stop()
    served.wait()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(picsift.InputError, match="no gallery"):
        dataclasses.replace(shown, output=str(tmp_path / "nothing")).serve()


PRESS = """
import picsift, signal, sys, threading

def press(now):
    # Before the second time nobody waits for what is under way.
    if now.done > 0:
        signal.raise_signal(signal.SIGINT)

try:
    picsift.label(sys.argv[1], sys.argv[2], categories=["fish"], shard_rows=1, no_cache=True, progress=press)
except picsift.Interrupted as error:
    print(type(error).__name__, error)
    print(isinstance(error, KeyboardInterrupt))
"""


def test_ctrl_c_keeps_what_is_done_and_twice_stops_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-W", "always", "-c", PRESS, str(PHOTOS / "embedded"), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("Interrupted"), done.stderr
    assert done.stdout.endswith("True\n") and "once more stops at once" in done.stderr
    whole = picsift.label(PHOTOS / "embedded", out, categories=["fish"], shard_rows=1, no_cache=True, progress=False)
    assert whole.rows == 221 and 0 < whole.document["counts"]["asked"] <= 221


def rows(output: str) -> list[dict[str, object]]:
    return sorted(pq.read_table(output).drop_columns(["image"]).to_pylist(), key=lambda row: str(row["file"]))


def test_parts_in_several_processes_are_the_job(tmp_path: Path) -> None:
    for number, count in enumerate([90, 70, 61]):
        table = pq.read_table(PHOTOS / "embedded").slice([0, 90, 160][number], count)
        (tmp_path / "photos").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "photos" / f"{number}.parquet")
    alone = picsift.label(tmp_path / "photos", tmp_path / "alone", categories=CATEGORIES, progress=False)
    out = tmp_path / "out"
    same: dict[str, Any] = {"categories": CATEGORIES, "shard_rows": 50}
    first = picsift.label_part(tmp_path / "photos", out, shard="1/2", progress=False, **same)
    assert isinstance(first, picsift.Part) and 0 < first.done < first.units
    now = picsift.status(out)
    assert (now["done"], now["units"]) == (first.done, first.units)
    with pytest.raises(picsift.InputError, match="fish"):
        picsift.label_part(tmp_path / "photos", out, shard="2/2", progress=False, **{**same, "categories": ["dog"]})
    with pytest.raises(picsift.InputError, match="units|done"):
        picsift.publish(out)
    told: list[picsift.Progress] = []
    last = picsift.label_part(tmp_path / "photos", out, lease=5, progress=told.append, **same)
    assert isinstance(last, picsift.Manifest) and last.rows == 221 and last.held == alone.held and told
    assert rows(out.as_posix()) == rows(alone.output)
    assert picsift.publish(out).rows == 221
    with pytest.raises(picsift.InputError, match="16"):
        picsift.label_part(tmp_path / "photos", out, shard="0/16", **same)
    with pytest.raises(TypeError, match="overwrite"):
        picsift.label_part(tmp_path / "photos", out, overwrite=True, **same)  # type: ignore[call-arg]
    with pytest.raises(picsift.InputError, match="neither"):
        picsift.status(tmp_path / "nothing")


def test_an_export_is_a_data_set(labelled: picsift.Manifest, tmp_path: Path) -> None:
    written = picsift.export(
        labelled.output, tmp_path / "set", format="imagefolder", split={"train": 0.7, "test": 0.3}, seed=5
    )
    assert set(written.splits) == {"train", "test"} and sum(written.splits.values()) == written.pictures
    assert len(list((tmp_path / "set").rglob("*.*"))) >= written.pictures
    assert written.left_out and set(written.classes) == set(CATEGORIES)
    with pytest.raises(picsift.InputError, match="zip"):
        picsift.export(labelled.output, tmp_path / "other", format="zip")

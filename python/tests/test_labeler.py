"""The labeller: tables and pictures of every kind, the answers of the job."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import picsift
import polars
import pyarrow as pa
import pytest
from PIL import Image

from conftest import CATEGORIES, PHOTOS


@pytest.fixture(scope="module")
def labeler() -> picsift.Labeler:
    return picsift.Labeler(CATEGORIES)


def test_a_table_has_the_columns_and_answers_of_the_job(
    labeler: picsift.Labeler, table: pa.Table, expected: pa.Table
) -> None:
    labelled = labeler(table)
    assert isinstance(labelled, pa.Table)
    assert labelled.schema.equals(expected.schema, check_metadata=True)
    assert labelled.equals(expected)
    assert labeler.schema(table.schema).equals(labelled.schema)


def test_tables_come_back_as_what_they_were(labeler: picsift.Labeler, table: pa.Table, expected: pa.Table) -> None:
    images = [image["bytes"] for image in table["image"].to_pylist()]
    names = table["file"].to_pylist()
    answers = expected["label"].to_pylist()
    frame = pandas.DataFrame({"file": names, "image": images}, index=range(100, 100 + len(names)))
    labelled = labeler(frame)
    assert isinstance(labelled, pandas.DataFrame) and list(labelled.index) == list(frame.index)
    assert [None if label != label else label for label in labelled["label"]] == answers
    nested = pandas.DataFrame({"image": pandas.Series(table["image"].to_pandas(types_mapper=pandas.ArrowDtype))})
    typed = labeler(nested)
    assert typed["image"].dtype == nested["image"].dtype and list(typed["is_fish"]) == list(labelled["is_fish"])
    bears = labeler(polars.DataFrame({"file": names, "image": images}))
    assert isinstance(bears, polars.DataFrame) and bears["label"].to_list() == answers
    columns = labeler({"file": names, "image": images})
    assert isinstance(columns, dict) and columns["label"] == answers and columns["file"] is names


def test_the_options_of_the_job_hold(table: pa.Table) -> None:
    few = table.slice(0, 6).append_column("other", table["file"].slice(0, 6))
    labeler = picsift.Labeler(
        ["fish"], model="efficientnet-lite0", threshold=0.0, image="image", image_column="drop", embedding=True, no_cache=True
    )
    labelled = labeler(few)
    assert "image" not in labelled.column_names
    assert labelled["is_fish"].to_pylist() == [True] * 6
    assert len(labelled["embedding"][0].as_py()) == labelled.schema.field("embedding").type.list_size
    with pytest.raises(picsift.InputError, match="'other'"):
        picsift.Labeler(["fish"], image="other")(few.drop(["other"]))
    with pytest.raises(picsift.InputError, match="no column looks like images"):
        labeler_of_nothing = picsift.Labeler(["fish"])
        labeler_of_nothing(pa.table({"n": [1]}))


def test_mistakes_are_said_when_it_is_made() -> None:
    with pytest.raises(picsift.InputError, match="tree"):
        picsift.Labeler(["tree"])
    with pytest.raises(picsift.InputError, match="no category"):
        picsift.Labeler()
    with pytest.raises(picsift.ModelError, match="no-such-model"):
        picsift.Labeler(["fish"], model="no-such-model")
    with pytest.raises(picsift.InputError, match="warp"):
        picsift.Labeler(["fish"], device="warp")
    with pytest.raises(picsift.InputError, match="threshold"):
        picsift.Labeler(["fish"], threshold=2.0)


def test_a_picture_has_every_key(labeler: picsift.Labeler, picture: bytes) -> None:
    found = labeler.label_image(picture)
    assert found["label"] == "fish" and "fish" in (found["labels"] or [])
    assert found["answers"] is not None and found["answers"]["fish"] is True
    assert found["scores"] is not None and list(found["scores"]) == CATEGORIES
    assert found["error"] is None
    broken = labeler.label_image(b"no picture")
    assert broken["label"] is None and broken["answers"] is None and "decode" in (broken["error"] or "")
    with pytest.raises(picsift.Error, match="decode"):
        picsift.Labeler(["fish"], on_error="fail").label_image(b"no picture")


def test_pictures_of_every_kind_have_about_the_same_scores(
    labeler: picsift.Labeler, picture: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "fish.jpg"
    file.write_bytes(picture)
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    array = np.asarray(image)
    kinds: dict[str, Any] = {
        "path": file,
        "text": str(file),
        "url": file.as_uri(),
        "bytearray": bytearray(picture),
        "view": memoryview(picture),
        "hub": {"bytes": picture, "path": None},
        "hub path": {"bytes": None, "path": str(file)},
        "pillow": image,
        "lazy": Image.open(file),
        "palette": image.convert("P", palette=Image.Palette.ADAPTIVE),
        "alpha": image.convert("RGBA"),
        "inks": image.convert("CMYK"),
        "array": array,
        "channels first": np.ascontiguousarray(array.transpose(2, 0, 1)),
        "cut": array[:, ::-1][:, ::-1],
        "with alpha": np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
        "tensor": Tensor(array.transpose(2, 0, 1)),
    }
    scores = labeler.label_image(picture)["scores"]
    assert scores is not None
    for name, found in labeler.label_images(kinds).items():
        assert found["error"] is None, (name, found)
        assert found["scores"] is not None and abs(found["scores"]["fish"] - scores["fish"]) < 0.06, name
    grey = labeler.label_image(np.asarray(image.convert("L")))
    assert grey["error"] is None
    assert labeler.label_image(image.convert("L"))["scores"] == grey["scores"]
    assert labeler.label_image(image.convert("I;16") if hasattr(image, "convert") else image)["error"] is None


class Tensor:
    """What the labeller knows of a tensor of torch."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        return self._array


def test_a_turned_picture_of_pillow_is_seen_as_its_file(labeler: picsift.Labeler, picture: bytes) -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(picture)).rotate(90, expand=True).save(turned, "PNG", exif=exif)
    upright = labeler.label_image(Image.open(io.BytesIO(picture)).convert("RGB"))["scores"]
    seen = labeler.label_image(Image.open(turned))["scores"]
    assert upright is not None and seen is not None and abs(seen["fish"] - upright["fish"]) < 0.01


def test_what_is_no_picture_is_said(labeler: picsift.Labeler) -> None:
    for wrong, says in [
        (3, "int"),
        (np.zeros((4, 4, 3)), "uint8"),
        (np.zeros((5, 5, 5), np.uint8), "channels"),
        (np.zeros((1, 2, 3, 3), np.uint8), "dimensions"),
        ({"bytes": None}, "neither"),
    ]:
        with pytest.raises(picsift.InputError, match=says):
            labeler.label_image(wrong)
    with pytest.raises(picsift.InputError, match="label_image"):
        labeler.label_images("one.jpg")


def test_pictures_are_called_by_their_names(labeler: picsift.Labeler, picture: bytes, tmp_path: Path) -> None:
    file = tmp_path / "fish.jpg"
    file.write_bytes(picture)
    found = labeler.label_images([file, picture, Image.open(file)])
    assert list(found) == [str(file), "1"]
    assert labeler.label_images({"mine": picture})["mine"]["label"] == "fish"
    missing = labeler.label_images([tmp_path / "none.jpg"])
    assert "fetch" in (missing[str(tmp_path / "none.jpg")]["error"] or "")
    assert labeler.label_images([]) == {}


def test_a_file_that_changes_is_read_anew(labeler: picsift.Labeler, picture: bytes, tmp_path: Path) -> None:
    file = tmp_path / "changing.jpg"
    file.write_bytes(picture)
    before = labeler.label_image(file)
    Image.new("RGB", (64, 64)).save(file)
    after = labeler.label_image(file)
    assert before["label"] == "fish" and after["scores"] != before["scores"]


def test_it_pickles_as_its_options(labeler: picsift.Labeler, picture: bytes) -> None:
    sent = pickle.dumps(labeler)
    assert len(sent) < 500
    twin = pickle.loads(sent)
    assert repr(twin) == repr(labeler) and twin.categories == CATEGORIES
    assert twin.label_image(picture) == labeler.label_image(picture)


def test_relative_paths_belong_to_the_base(tmp_path: Path, picture: bytes) -> None:
    (tmp_path / "fish.jpg").write_bytes(picture)
    paths = pa.table({"image": ["fish.jpg"]})
    assert picsift.Labeler(["fish"], base=tmp_path)(paths)["label"].to_pylist() == ["fish"]
    with pytest.warns(picsift.PicsiftWarning, match="1 of 1"):
        lost = picsift.Labeler(["fish"], base=PHOTOS)(paths)
    assert lost["label"].to_pylist() == [None]
    assert lost["picsift_error"][0].as_py()["kind"] == "not_found"
    with pytest.raises(picsift.Error, match="fetch|fish.jpg"):
        picsift.Labeler(["fish"], base=PHOTOS, on_error="fail")(paths)


def test_a_person_wins_over_the_model(labeler: picsift.Labeler, table: pa.Table, picture: bytes, tmp_path: Path) -> None:
    few = table.slice(0, 3)
    before = labeler(few)["is_fish"].to_pylist()
    names = [image["path"] for image in few["image"].to_pylist()]
    known = labeler.label_image(picture)
    assert known["answers"] is not None
    (tmp_path / "a.jpg").write_bytes(few["image"][0].as_py()["bytes"])
    of_picture = str(not known["answers"]["fish"]).lower()
    said = [f"{names[0]},fish,{str(not before[0]).lower()}", f"sha256:{hashlib.sha256(picture).hexdigest()},fish,{of_picture}"]
    file = tmp_path / "corrections.csv"
    file.write_text("\n".join(["key,category,is", *said, f"a.jpg,fish,{str(not before[0]).lower()}"]))
    corrected = picsift.Labeler(CATEGORIES, corrections=file, base=tmp_path)
    labelled = corrected(few)
    assert labelled["is_fish"].to_pylist() == [not before[0], *before[1:]]
    assert labelled["label_source"].to_pylist() == ["person", "model", "model"]
    by_content, by_name = corrected.label_image(picture), corrected.label_image(tmp_path / "a.jpg")
    assert by_content["answers"] == {**known["answers"], "fish": not known["answers"]["fish"]}
    assert by_content["scores"] == known["scores"]
    assert by_name["answers"] is not None and by_name["answers"]["fish"] is not before[0]
    assert pickle.loads(pickle.dumps(corrected)).label_image(picture) == by_content


def test_a_name_with_a_comma_is_one_category() -> None:
    with pytest.raises(picsift.InputError, match="fish, red"):
        picsift.Labeler(["fish, red"])

"""The wheel in an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

WHEEL = os.environ.get("PICSIFT_WHEEL", "")
pytestmark = pytest.mark.skipif(not WHEEL, reason="PICSIFT_WHEEL names no wheel")


def test_it_works_where_nothing_else_is(tmp_path: Path, picture: bytes) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "bare")], check=True, timeout=120)
    run = tmp_path / "bare" / "bin"
    install = [str(run / "python"), "-m", "pip", "install", "-q", "--no-index", "--disable-pip-version-check", WHEEL]
    subprocess.run(install, check=True, timeout=120)
    (tmp_path / "fish.jpg").write_bytes(picture)
    code = (
        "import picsift, sys\n"
        "labeler = picsift.Labeler(['fish'])\n"
        "print(labeler.label_image(sys.argv[1])['label'])\n"
        "print(picsift.sql('SELECT classify($1, $2)', [sys.argv[1], 'fish']).fetchall())\n"
        "query = picsift.sql('SELECT path FROM (VALUES ($1)) AS t (path)', [sys.argv[1]])\n"
        "print(len(labeler(query)))\n"
        "print(picsift.label(sys.argv[2], sys.argv[3], categories=['fish'], limit=3).rows)\n"
        "try:\n"
        "    picsift.label(sys.argv[2], sys.argv[3], categories=['fish'], limit=3, progress=True)\n"
        "except picsift.InputError as error:\n"
        "    print('tqdm' in str(error))\n"
    )
    photos = Path(__file__).parents[2] / "datasets" / "photos" / "embedded"
    words = [str(run / "python"), "-c", code, str(tmp_path / "fish.jpg"), str(photos), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout == "fish\n[(True,)]\n1\n3\nTrue\n", done.stderr
    command = [str(run / "picsift"), "image", str(tmp_path / "fish.jpg"), "--categories", "fish"]
    assert '"label":"fish"' in subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def test_the_wheel_has_types_licence_and_one_binary_for_all_pythons() -> None:
    names = zipfile.ZipFile(WHEEL).namelist()
    assert "cp310-abi3" in Path(WHEEL).name
    for part in ("picsift/py.typed", "picsift/_picsift.pyi", "picsift/_picsift.abi3.so"):
        assert part in names
    assert any("licenses/LICENSE" in name for name in names)
    assert not [name for name in names if name.startswith("tests")]

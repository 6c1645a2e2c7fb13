"""The examples of the documentation, one after another as a reader runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import PHOTOS

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "datasets").symlink_to(PHOTOS.parent)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    names: dict[str, object] = {"__name__": "docs"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "221" in said and "flower" in said
    assert (tmp_path / "out" / "answers.json").exists() and (tmp_path / "out" / "pages" / "index.html").exists()

"""The package's types as checkers see them, and that they say what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import picsift
import pytest
from picsift import _picsift

USE = '''
import asyncio
from pathlib import Path

import picsift

con: picsift.Connection = picsift.connect(model="pocket", device="cpu", max_image_pixels=10, no_cache=True)
rows: list[tuple[object, ...]] = con.sql("SELECT $1", [1]).fetchall()
con.register("t", object()).sql("SELECT 1").show()
manifest: picsift.Manifest = picsift.label(
    ["a", Path("b")], Path("out"), categories=["fish"], where="x", cache_dir=Path("c"), progress=lambda now: print(now.done)
)
held: int = manifest.held["fish"]
part: picsift.Manifest | picsift.Part = picsift.label_part("a", "out", shard="1/2", categories="fish", partition_by=["label"])
units: int | None = part.units if isinstance(part, picsift.Part) else None
with picsift.gallery("a", "b").serve() as served:
    link: str = served.url
labeler = picsift.Labeler(["fish"], model="pocket", image="image", host_rate=3, allow_folder=[Path("a")])
found: picsift.Found = labeler.label_image(b"")
label: str | None = found["label"]
async def all_of_them() -> dict[str, picsift.Found]:
    return await labeler.alabel_images(["a.jpg"])
asyncio.run(all_of_them())
export: picsift.Export = picsift.export("a", "b", format="hf", split={"train": 1.0})
try:
    picsift.eval("a", truth="truth").markdown()
except picsift.InputError as error:
    text: str = str(error)
'''

MISUSE = """
import picsift
picsift.label("a", "b", categories=["fish"], colour="red")
picsift.connect(device=3)
picsift.Labeler(["fish"]).label_image(b"")["colour"]
"""


@pytest.fixture(params=["mypy", "pyright"])
def checker(request: pytest.FixtureRequest) -> list[str]:
    tools = {"mypy": ["mypy", "--strict"], "pyright": ["pyright", "--pythonpath", sys.executable]}
    return [sys.executable, "-m", *tools[request.param]]


def test_good_use_is_accepted_and_misuse_is_not(checker: list[str], tmp_path: Path) -> None:
    for text, wrong in [(USE, 0), (MISUSE, 3)]:
        file = tmp_path / "use.py"
        file.write_text(text)
        done = subprocess.run([*checker, str(file)], capture_output=True, text=True, timeout=240)
        assert done.stdout.count("error:") == wrong, done.stdout + done.stderr


def test_the_package_is_typed_throughout(tmp_path: Path) -> None:
    checked = [sys.executable, "-m", "mypy", "--strict", "-p", "picsift", "--ignore-missing-imports"]
    done = subprocess.run(checked, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_stubs_have_what_the_native_half_has() -> None:
    stubs = Path(_picsift.__file__).with_name("_picsift.pyi").read_text()
    for name in dir(_picsift):
        if not name.startswith("_"):
            assert f"def {name}(" in stubs or f"class {name}:" in stubs, name
            kind = getattr(_picsift, name)
            methods = [method for method in dir(kind) if isinstance(kind, type) and not method.startswith("_")]
            assert [method for method in methods if f"def {method}(" not in stubs] == []


def test_everything_public_is_documented() -> None:
    for name in picsift.__all__:
        thing = getattr(picsift, name)
        if name != "__version__":
            assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), name

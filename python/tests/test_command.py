"""The command `picsift` that the wheel brings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import picsift

from conftest import PHOTOS

COMMAND = str(Path(sys.executable).with_name("picsift"))


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


def test_the_command_is_there_with_the_version_of_the_package() -> None:
    assert run("--version").stdout == f"picsift {picsift.__version__}\n"
    module = [sys.executable, "-m", "picsift", "--version"]
    assert subprocess.run(module, capture_output=True, text=True).stdout == f"picsift {picsift.__version__}\n"


def test_results_go_to_standard_output_and_mistakes_have_their_exit_codes(tmp_path: Path) -> None:
    done = run("sql", "--format", "json", "-c", "SELECT 1 AS one")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"one": 1})
    wrong = run("sql", "-c", "SELECT * FROM 'nowhere.parquet'")
    assert wrong.returncode == 2 and "nowhere.parquet" in wrong.stderr and not wrong.stdout
    unknown = run("label", "--colour")
    assert unknown.returncode == 2 and "--colour" in unknown.stderr
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = run("image", str(tmp_path / "broken.jpg"), "--categories", "fish")
    assert broken.returncode == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    query = "SELECT file, image FROM '{}' LIMIT 200".format(PHOTOS / "embedded")
    line = f"{COMMAND} sql --format json -c \"{query}\" | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("0\n") and "Traceback" not in done.stderr


def test_ctrl_c_ends_the_command_as_shells_expect(tmp_path: Path) -> None:
    words = [COMMAND, "label", str(PHOTOS / "embedded"), "-o", str(tmp_path / "out"), "--categories", "person", "--no-cache"]
    job = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(0.6)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said


def test_pictures_can_be_decoded_in_processes_that_can_do_nothing_else() -> None:
    words = ["sql", "--sandbox", "--no-cache", "--format", "json", "-c"]
    query = f"SELECT sum(CASE WHEN classify(image, 'fish') THEN 1 ELSE 0 END) AS n FROM '{PHOTOS / 'embedded'}'"
    inside, outside = run(*words, query), run(*words[:1], *words[2:], query)
    assert inside.returncode == 0, inside.stderr
    assert json.loads(inside.stdout) == json.loads(outside.stdout)


def test_importing_it_needs_nothing_else() -> None:
    code = "import sys, picsift; print(sorted(m for m in ('pyarrow', 'numpy', 'pandas', 'PIL') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout == "[]\n", done.stderr

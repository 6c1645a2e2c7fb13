"""Threads, processes, event loops and Ctrl-C around the package."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import picsift
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import CATEGORIES, PHOTOS


def python(code: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def label_of(labeler: picsift.Labeler, picture: bytes) -> str | None:
    return labeler.label_image(picture)["label"]


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_that_are_spawned_load_their_own(start: str, picture: bytes) -> None:
    labeler = picsift.Labeler(CATEGORIES)
    assert label_of(labeler, picture) == "fish"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(start)) as pool:
        assert list(pool.map(label_of, [labeler] * 4, [picture] * 4)) == ["fish"] * 4


FORKED = """
import multiprocessing, sys, picsift
def work(picture):
    return labeler.label_image(picture)["label"]
labeler = picsift.Labeler(["fish", "person"])
picture = open(sys.argv[1], "rb").read()
if sys.argv[2] == "after":
    assert work(picture) == "fish"
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    try:
        print(pool.map(work, [picture] * 4))
    except picsift.Error as error:
        print("said:", error)
print(work(picture))
"""


def test_a_process_that_is_forked_before_the_first_call_loads_its_own(tmp_path: Path, picture: bytes) -> None:
    (tmp_path / "fish.jpg").write_bytes(picture)
    done = python(FORKED, tmp_path / "fish.jpg", "before")
    assert done.stdout == "['fish', 'fish', 'fish', 'fish']\nfish\n", done.stderr


def test_a_process_that_is_forked_after_it_says_so(tmp_path: Path, picture: bytes) -> None:
    (tmp_path / "fish.jpg").write_bytes(picture)
    done = python(FORKED, tmp_path / "fish.jpg", "after")
    assert "said: picsift was at work before this process was forked" in done.stdout, done.stderr
    assert done.stdout.endswith("fish\n")


def test_threads_share_a_labeler_and_get_their_own_answers(table: pa.Table, expected: pa.Table) -> None:
    labeler = picsift.Labeler(CATEGORIES)
    images = [image["bytes"] for image in table["image"].to_pylist()]
    labels = expected["label"].to_pylist()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: labeler.label_image(images[n % len(images)])["label"], range(10_000)))
    assert found == [labels[n % len(images)] for n in range(10_000)]


def test_other_threads_run_while_a_model_is_asked(table: pa.Table) -> None:
    labeler = picsift.Labeler(CATEGORIES, no_cache=True)
    labeler.load()
    ticks, ended = [0], threading.Event()

    def tick() -> None:
        while not ended.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    watcher = threading.Thread(target=tick)
    watcher.start()
    started = time.monotonic()
    labeler(table)
    seconds = time.monotonic() - started
    ended.set()
    watcher.join()
    assert ticks[0] > seconds * 100


async def test_tasks_run_while_pictures_are_labelled(table: pa.Table, expected: pa.Table) -> None:
    labeler = picsift.Labeler(CATEGORIES, no_cache=True)
    images = [image["bytes"] for image in table["image"].to_pylist()]
    longest, ended = [0.0], False

    async def heartbeat() -> None:
        while not ended:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest[0] = max(longest[0], time.monotonic() - before)

    heart = asyncio.create_task(heartbeat())
    found = await labeler.alabel_images(images)
    ended = True
    await heart
    assert [one["label"] for one in found.values()] == expected["label"].to_pylist()
    assert longest[0] < 0.5
    assert (await labeler.alabel_image(b"no picture"))["error"]


async def test_a_thousand_tasks_are_bounded_and_all_answered(table: pa.Table, expected: pa.Table) -> None:
    labeler = picsift.Labeler(CATEGORIES)
    images = [image["bytes"] for image in table["image"].to_pylist()]
    labels = expected["label"].to_pylist()
    before = threading.active_count()
    found = await asyncio.gather(*(labeler.alabel_image(images[n % len(images)]) for n in range(1000)))
    assert [one["label"] for one in found] == [labels[n % len(images)] for n in range(1000)]
    assert threading.active_count() == before


async def test_a_task_that_is_cancelled_ends_its_work(table: pa.Table) -> None:
    labeler = picsift.Labeler(CATEGORIES, no_cache=True)
    images = [image["bytes"] for image in table["image"].to_pylist()]
    # Distinct to the cache of answers, the same to a decoder.
    images = [image + bytes([n]) for n in range(20) for image in images]
    task = asyncio.create_task(labeler.alabel_images(images))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    started = time.monotonic()
    await labeler.alabel_image(images[0])
    assert time.monotonic() - started < 5
    with pytest.raises(picsift.Error):
        await picsift.Labeler(["fish"], on_error="fail").alabel_images([b"no picture"])


INTERRUPTED = """
import picsift, sys, time, os
calls = {
    "label": lambda: picsift.label(sys.argv[2], sys.argv[3], categories=["person"], no_cache=True, progress=False),
    "sql": lambda: picsift.connect(no_cache=True).sql(f"SELECT classify(image, 'person') FROM '{sys.argv[2]}'").fetchall(),
    "stream": lambda: list(picsift.connect(no_cache=True).sql(f"SELECT classify(image, 'person') FROM '{sys.argv[2]}'").stream()),
    "labeler": lambda: picsift.Labeler("person", no_cache=True)(__import__("pyarrow.parquet").parquet.read_table(sys.argv[2])),
}
print("ready", flush=True)
try:
    calls[sys.argv[1]]()
except KeyboardInterrupt as error:
    print(type(error).__name__, isinstance(error, picsift.Error), error, flush=True)
"""


@pytest.mark.parametrize("call", ["label", "sql", "stream", "labeler"])
def test_ctrl_c_ends_the_work_with_what_is_kept(call: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    many = tmp_path / "many.parquet"
    photos = pq.read_table(PHOTOS / "embedded")
    pq.write_table(pa.concat_tables([photos] * 3), many)
    line = [sys.executable, "-c", INTERRUPTED, call, str(many), str(out)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, warned = process.communicate(timeout=60)
    if call == "stream":
        # Between two batches it is Python itself that hears it.
        assert said.startswith(("Interrupted True", "KeyboardInterrupt")), said
    else:
        assert said.startswith("Interrupted True interrupted; "), said
    assert time.monotonic() - started < 10
    if call == "label":
        assert "the same command goes on" in said
        assert "stopping: what is under way is finished and kept" in warned
        assert picsift.label(many, out, categories=["person"], progress=False).rows == 663


def test_what_it_holds_is_given_back() -> None:
    labeler = picsift.Labeler(["fish"])
    con = picsift.connect()
    numbers = pa.table({"n": [1]})
    con.register("numbers", numbers)
    gone = [weakref.ref(labeler), weakref.ref(con)]
    del labeler, con
    assert [one() for one in gone] == [None, None]


MEMORY = """
import picsift, sys, resource
labeler = picsift.Labeler(["fish"], model="efficientnet-lite0")
pictures = [open(name, "rb").read() for name in sys.argv[2:]]
def peak(): return int(open("/proc/self/statm").read().split()[1]) * 4096
import pyarrow as pa
table = pa.table({"image": pictures})
for n in range(int(sys.argv[1])):
    labeler.label_image(pictures[n % len(pictures)])
    if n % 50 == 0:
        labeler(table)
    if n == int(sys.argv[1]) // 4:
        early = peak()
print(peak() - early)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_stays_flat(tmp_path: Path, picture: bytes) -> None:
    (tmp_path / "fish.jpg").write_bytes(picture)
    done = python(MEMORY, 20_000, tmp_path / "fish.jpg")
    assert int(done.stdout) < 8 << 20, done.stderr


HELD = """
import os, sys, picsift
con = picsift.connect()
query = con.sql("SELECT 1")
query.fetchall()
labeler = picsift.Labeler(["fish"])
child = os.fork()
if child == 0:
    try:
        query.fetchall()
    except picsift.Error as error:
        print("said:", error, flush=True)
    del con, query, labeler
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_can_let_go_of_what_its_parent_made() -> None:
    done = python(HELD)
    assert done.returncode == 0 and "said: this was made by the process" in done.stdout, done.stderr

"""How long Chromium takes to the first page of a gallery, and how much it reads: prints JSON.

Usage: first_page.py GALLERY [TURNS]

Opened from disk, in a fresh profile each turn. A page counts as open when every picture in the window is drawn. Prints the median
and the worst of the turns in seconds, and the bytes of all files that were read. Then how long another order and a filter
take, from the key to the redrawn page.
"""

import json
import pathlib
import shutil
import statistics
import sys
import time

from playwright.sync_api import sync_playwright

gallery = pathlib.Path(sys.argv[1]).resolve()
turns = int(sys.argv[2]) if len(sys.argv) > 2 else 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
DRAWN = """() => document.body.dataset.ready === 'true' && (() => {
    const cards = [...document.querySelectorAll('.card')].filter((card) => card.getBoundingClientRect().top < innerHeight);
    return cards.length > 0 && cards.every((card) => { const i = card.querySelector('img'); return i && i.complete && i.naturalWidth > 0; });
})()"""


def until_drawn(page):
    started = time.monotonic()
    while not page.evaluate(DRAWN):
        if time.monotonic() - started > 60:
            sys.exit("first_page.py: the page is not drawn within a minute")
        time.sleep(0.005)


seconds, read = [], set()
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
    for turn in range(turns):
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.on("request", lambda request: read.add(request.url))
        started = time.monotonic()
        page.goto((gallery / "index.html").as_uri())
        until_drawn(page)
        seconds.append(time.monotonic() - started)
        if turn < turns - 1:
            page.context.close()
    files = {gallery / url.removeprefix(gallery.as_uri() + "/") for url in read}
    steps = {}
    for name, choose in {"order": ("#sort", "high"), "filter": ("#answer", "no")}.items():
        started = time.monotonic()
        page.select_option(*choose)
        until_drawn(page)
        steps[name] = round(time.monotonic() - started, 3)
    browser.close()
print(json.dumps({
    "median_seconds": round(statistics.median(seconds), 3),
    "worst_seconds": round(max(seconds), 3),
    "first_bytes": sum(file.stat().st_size for file in files if file.is_file()),
    "first_files": len(files),
    **{f"{name}_seconds": took for name, took in steps.items()},
}))

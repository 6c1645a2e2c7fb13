"""A real Chromium over a gallery: what a person would do with keyboard and mouse, as checks.

Usage: browser.py GALLERY OUT [--url URL]

GALLERY is a folder, opened from disk, or with --url the address at which it is served. OUT gets screenshots at the widths of a
desktop and a phone, light and dark, and `corrections.jsonl` as it was saved. Prints JSON: what was measured and which
three answers were flipped. The gallery must be of a table with truth and with a category called fish.
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

from playwright.sync_api import sync_playwright

parser = argparse.ArgumentParser()
parser.add_argument("gallery")
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--url")
given = parser.parse_args()
given.out.mkdir(parents=True, exist_ok=True)
ADDRESS = given.url or (pathlib.Path(given.gallery).resolve() / "index.html").as_uri()
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
found = {}


def check(holds, sentence):
    if not holds:
        sys.exit(f"browser.py: {sentence}")


def until(page, condition):
    """Waits for a condition from outside: the page's policy lets nobody evaluate text within it."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        check(time.monotonic() < end, f"this did not become true: {condition}")
        time.sleep(0.02)


def answered(dialog, problems):
    """Leaving with unsaved corrections asks first; no other dialog is the page's."""
    if dialog.type == "beforeunload":
        found["asked_before_leaving"] = True
    else:
        problems.append(f"a dialog says {dialog.message}")
    dialog.accept()


def opened(browser, **options):
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    problems, requests = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: answered(dialog, problems))
    started = time.monotonic()
    page.goto(ADDRESS)
    page.wait_for_selector("body[data-ready=true]")
    until(page, "[...document.querySelectorAll('.card img')].filter(i => i.complete).length > 0 || !document.querySelector('.card')")
    return page, problems, time.monotonic() - started, set(requests)


def shown(page):
    return int(page.inner_text("#shown").split()[0].replace(",", ""))


def texts(page, row):
    return page.inner_text(f"#card-{row} .line")


def selected(page):
    return int(page.get_attribute("[aria-selected=true]", "id").removeprefix("card-"))


def save(page, said):
    page.locator("body").press("s")
    until(page, f"document.querySelector('#unsaved').textContent === '{said}'")


def overtaken(page, kept):
    """Saves begun while another is under way come after it, and what is undone meanwhile is taken back."""
    before = kept.read_text()
    page.evaluate("""() => {
        const real = window.fetch;
        window.under = window.most = 0;
        window.fetch = async (...all) => {
            window.most = Math.max(window.most, ++window.under);
            try { return await real(...all); } finally { window.under -= 1; }
        };
    }""")
    press = """keys => keys.forEach(key => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })))"""
    page.evaluate("picsift.view.select(20, true)")
    row = selected(page)
    # Each key moves on by one picture, so one back before the next word about the same.
    page.evaluate(press, ["y", "s", "k", "n", "s", "s"])
    until(page, "document.querySelector('#unsaved').textContent === '4 saved' && window.under === 0")
    check(page.evaluate("window.most") == 1, f"{page.evaluate('window.most')} saves were under way at once")
    last = json.loads(kept.read_text().splitlines()[-1])
    check((last["row"], last["is"]) == (row, False), f"the last word about row {row} is {last}")
    # Undone until nothing is left of them, the last time while the one before is being sent.
    page.evaluate(press, ["u", "s", "u", "s"])
    until(page, "document.querySelector('#unsaved').textContent === '3 saved' && window.under === 0")
    check(kept.read_text() == before, f"what was undone is still kept: {kept.read_text()}")
    page.evaluate("picsift.view.select(20, true)")
    page.evaluate(press, ["y", "s", "u", "s"])
    until(page, "document.querySelector('#unsaved').textContent === '3 saved' && window.under === 0")
    check(kept.read_text() == before, f"what was undone while it was sent is still kept: {kept.read_text()}")


def reopened(page):
    """A large view that is open again before its close event has come shows its picture as before."""
    page.locator("#card-0").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[open]")
    page.evaluate("picsift.large.close(); picsift.large.open()")
    until(page, "document.querySelectorAll('#answers tbody tr').length >= picsift.meta().categories.length")
    lines = page.locator("#answers tbody tr").count()
    check(lines == page.evaluate("picsift.meta().categories.length"), f"{lines} lines of answers")
    page.keyboard.press("Escape")
    page.wait_for_selector("#large", state="hidden")


def walk(page):
    """Filters, keys, the large view, three corrections, undo and save."""
    rows = shown(page)
    found["rows"] = rows
    page.select_option("#category", label="fish")
    page.select_option("#answer", "1")
    until(page, f"document.querySelector('#shown').textContent.split(' ')[0] < {rows}")
    yes = shown(page)
    check(0 < yes < rows, f"{yes} of {rows} rows are fish")
    check(all(text.startswith("yes") for text in page.locator(".card .line").all_inner_texts()), "a card that is no fish is shown")
    page.select_option("#answer", "all")
    page.fill("#min", "0.9")
    until(page, "[...document.querySelectorAll('.card .score')].every(s => Number(s.textContent) >= 0.9)")
    check(0 < shown(page) <= yes, "the range of scores does not filter")
    page.fill("#min", "0")
    page.check("#disagree")
    until(page, f"Number(document.querySelector('#shown').textContent.split(' ')[0]) < {rows}")
    found["disagree"] = shown(page)
    page.uncheck("#disagree")
    page.select_option("#sort", "high")
    scores = [float(text) for text in page.locator(".card .score").all_inner_texts()[:8]]
    check(scores == sorted(scores, reverse=True) and len(scores) > 1, f"not by score: {scores}")
    page.select_option("#sort", "row")

    # By keyboard alone from here on.
    page.locator("#card-0").focus()
    for key, row in (("ArrowRight", 1), ("j", 2), ("k", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        check(selected(page) == row, f"{key} leads to {selected(page)}, not {row}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[open]")
    until(page, "document.querySelectorAll('#answers tbody tr').length > 1 && document.querySelector('#large-image').complete")
    check(page.get_attribute("#large-image", "alt"), "the picture has no alt text")
    found["large"] = page.inner_text("#large-title")
    page.screenshot(path=given.out / "large.png")
    page.keyboard.press("Escape")
    page.wait_for_selector("#large", state="hidden")

    reopened(page)
    # Three are flipped, of which one is undone and another taken instead.
    flipped = []
    for row in (0, 1, 2, 3):
        page.evaluate("r => picsift.view.select(r, true)", row)
        is_yes = texts(page, row).startswith("yes")
        page.keyboard.press("n" if is_yes else "y")
        check(texts(page, row).startswith("no" if is_yes else "yes"), f"row {row} is not flipped")
        check("person" in texts(page, row), "a correction is not marked")
        if row == 1:
            page.keyboard.press("u")
            check(texts(page, row).startswith("yes" if is_yes else "no"), "undo does not undo")
        else:
            flipped.append({"row": row, "is": not is_yes})
    check(page.inner_text("#unsaved") == "3 unsaved", page.inner_text("#unsaved"))
    # They outlive the page.
    page.reload()
    page.wait_for_selector("body[data-ready=true]")
    check(found.get("asked_before_leaving"), "the page is left with unsaved corrections without a word")
    check(page.inner_text("#unsaved") == "3 unsaved", "a reload loses corrections")
    page.keyboard.press("s")
    page.wait_for_selector("#keys[open]")
    page.fill("#who", "Ada <b>")
    # The next key may come before the dialog's close event does: here it comes in the same task.
    page.evaluate("""document.querySelector("#keys-close").click();
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "s", bubbles: true, cancelable: true }))""")
    check(not page.evaluate("document.querySelector('#keys').open"), "s asks for the name again that it was just told")
    target = given.out / "corrections.jsonl"
    if given.url:
        kept = pathlib.Path(given.gallery) / "corrections.jsonl"
        until(page, "document.querySelector('#unsaved').textContent === '3 saved'")
        # What is undone leaves the file too.
        page.locator("body").press("u")
        check(page.inner_text("#unsaved") == "1 unsaved", page.inner_text("#unsaved"))
        save(page, "2 saved")
        check(len(kept.read_text().splitlines()) == 2, f"kept: {kept.read_text()}")
        last = flipped[-1]
        page.select_option("#sort", "row")
        page.evaluate("r => picsift.view.select(r, true)", last["row"])
        page.keyboard.press("y" if last["is"] else "n")
        save(page, "3 saved")
        shutil.copy(kept, target)
        overtaken(page, kept)
    else:
        with page.expect_download() as download:
            page.locator("body").press("s")
        check(download.value.suggested_filename == "corrections.jsonl", download.value.suggested_filename)
        download.value.save_as(target)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    check([line["row"] for line in lines] == [one["row"] for one in flipped], f"saved: {lines}")
    check(all(line["who"] == "Ada <b>" and line["category"] == "fish" for line in lines), f"saved: {lines}")
    found["flipped"] = [{"key": line["key"], "is": line["is"]} for line in lines]
    page.check("#corrected")
    until(page, "document.querySelector('#shown').textContent.startsWith('3 of')")
    page.uncheck("#corrected")


with sync_playwright() as playwright:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    check(path, "there is no chromium on the PATH")
    browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
    page, problems, seconds, requests = opened(browser, viewport={"width": 1440, "height": 900})
    found["open_seconds"] = round(seconds, 3)
    base = ADDRESS.rsplit("/", 1)[0] + "/"
    names = {name.removeprefix(base) or "index.html" for name in requests}
    files = [pathlib.Path(given.gallery) / name for name in names]
    found["first_bytes"] = sum(file.stat().st_size for file in files if file.is_file())
    found["first_files"] = len(files)
    found["cards"] = page.locator(".card").count()
    check(page.locator(".card img:not([alt])").count() == 0, "an image has no alt text")
    check(not page.evaluate("Boolean(window.hacked)"), "a script of the data ran")
    turned = page.evaluate("[...document.querySelectorAll('.card .name')].filter(n => /[\\u202a-\\u202e]/.test(n.textContent)).length")
    check(turned == 0, "a name turns its line around")
    if found["cards"] and "gpj.exe" in page.inner_text("#grid"):
        check("\\u{202e}gpj.exe" in page.inner_text("#grid"), "a name hides a character")
    page.screenshot(path=given.out / "desktop.png")
    walk(page)
    check(not problems, f"the page had problems: {problems}")
    for name, options in {
        "desktop-dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
        "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
        "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    }.items():
        page, problems, _, _ = opened(browser, **options)
        if given.url:
            # Another browser sees what was saved.
            check(page.inner_text("#unsaved") == "3 saved", f"{name}: {page.inner_text('#unsaved')}")
            page.check("#corrected")
            until(page, "document.querySelector('#shown').textContent.startsWith('3 of')")
            page.uncheck("#corrected")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        check(wide <= 0, f"{name}: the page is {wide} pixels wider than the window")
        page.screenshot(path=given.out / f"{name}.png")
        page.locator(".card").first.click()
        page.wait_for_selector("#large[open]")
        until(page, "document.querySelectorAll('#answers tbody tr').length > 0")
        page.screenshot(path=given.out / f"{name}-large.png")
        check(not problems, f"{name} had problems: {problems}")
    browser.close()
print(json.dumps(found))

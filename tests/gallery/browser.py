"""A real Chromium over a gallery: what a person would do with keyboard, mouse and finger, as checks.

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


def opened(browser, state="", **options):
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    problems, requests = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: answered(dialog, problems))
    started = time.monotonic()
    page.goto(ADDRESS + state)
    page.wait_for_selector("body[data-ready=true]")
    until(page, "[...document.querySelectorAll('.card img')].some(i => i.complete) || !document.querySelector('.card') || document.querySelector('.card .is-error')")
    return page, problems, time.monotonic() - started, set(requests)


def shown(page):
    return int(page.inner_text("#shown").split()[0].replace(",", ""))


def texts(page, row):
    return page.inner_text(f"#card-{row} .line")


def marks(page, row):
    return page.inner_text(f"#card-{row} .marks")


def current(page):
    return int(page.get_attribute(".card.current", "id").removeprefix("card-"))


def picked(page):
    return sorted(int(card.get_attribute("id").removeprefix("card-")) for card in page.locator(".card[aria-selected=true]").all())


def settled(page, said):
    until(page, f"document.querySelector('#unsaved').textContent === '{said}'")


PRESS = """keys => keys.forEach(key => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })))"""


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


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
    page.evaluate("picsift.view.select(20, true)")
    row = current(page)
    # Each word moves on by one picture, so one back before the next about the same.
    page.evaluate(PRESS, ["y", "k", "n", "s"])
    until(page, "document.querySelector('#unsaved').textContent === '4 saved' && window.under === 0")
    check(page.evaluate("window.most") == 1, f"{page.evaluate('window.most')} saves were under way at once")
    last = lines(kept)[-1]
    check((last["row"], last["is"]) == (row, False), f"the last word about row {row} is {last}")
    page.evaluate(PRESS, ["u", "u"])
    until(page, "document.querySelector('#unsaved').textContent === '3 saved' && window.under === 0")
    check(kept.read_text() == before, f"what was undone is still kept: {kept.read_text()}")
    # Undone while it is being sent.
    page.evaluate("picsift.view.select(20, true)")
    page.evaluate("""() => {
        const real = window.fetch;
        window.fetch = (...all) => {
            window.fetch = real;
            const sent = real(...all);
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "u", bubbles: true }));
            return sent;
        };
    }""")
    page.evaluate(PRESS, ["y"])
    until(page, "document.querySelector('#unsaved').textContent === '3 saved' && window.under === 0 && !picsift.corrections.unsaved().length")
    check(kept.read_text() == before, f"what was undone while it was sent is still kept: {kept.read_text()}")


def refused(page, problems):
    """What a server does not take stays with the page, which says so, and is saved by the next try."""
    page.route("**/corrections", lambda route: route.abort())
    page.evaluate("picsift.view.select(25, true)")
    page.keyboard.press("y")
    settled(page, "1 not saved")
    check(page.is_visible("#save") and "does not answer" in page.inner_text("#problem"), page.inner_text("#problem"))
    page.unroute("**/corrections")
    page.click("#save")
    settled(page, "4 saved")
    check(not page.is_visible("#save"), "a gallery that saves by itself asks for it")
    page.keyboard.press("u")
    settled(page, "3 saved")
    # The browser's own line about the request that was cut.
    problems[:] = [problem for problem in problems if "ERR_FAILED" not in problem]


def reopened(page):
    """A large view that is open again before its close event has come shows its picture as before."""
    categories = page.evaluate("picsift.meta().categories.length")
    filled = f"document.querySelectorAll('#answers tbody tr').length === {categories}"
    page.locator("#card-0").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[open]")
    until(page, filled)
    page.evaluate("picsift.large.close(); picsift.large.open(); picsift.large.show()")
    until(page, filled)
    page.keyboard.press("Escape")
    page.wait_for_selector("#large", state="hidden")
    check(page.evaluate("document.activeElement.id") == "card-0", "the focus does not go back to the picture")
    # Nor does the event take the focus away from where somebody has gone meanwhile.
    page.evaluate("""() => new Promise((done) => {
        picsift.large.open();
        document.querySelector("#large").addEventListener("close", () => done(), { once: true });
        picsift.large.close();
        document.querySelector("#find").focus();
    })""")
    check(page.evaluate("document.activeElement.id") == "find", "a closed dialog takes the focus")
    page.locator("#card-0").focus()


def searched(page, rows):
    """By a part of a file's name, whatever its letters' case."""
    page.keyboard.press("/")
    check(page.evaluate("document.activeElement.id") == "find", "/ does not lead to the search")
    part = page.get_attribute("#card-3 .name", "title").rsplit("/", 1)[-1]
    page.keyboard.type(part.upper())
    named = f"[...document.querySelectorAll('.card .name')].every(name => name.title.toLowerCase().includes({json.dumps(part.lower())}))"
    until(page, f"picsift.view.count() < {rows} && {named}")
    check(page.locator("#card-3").count() == 1, f"{part} is not found")
    page.keyboard.press("Enter")
    check(page.evaluate("document.activeElement.matches('.card.current')"), "Enter does not lead to what was found")
    page.fill("#find", "no file has this name")
    page.wait_for_selector("#nothing")
    page.click("#loosen")
    until(page, f"picsift.view.count() === {rows}")


def many(page):
    """Several pictures at once, by keyboard and mouse, and one undo for all of them."""
    page.select_option("#sort", "row")
    until(page, "document.querySelector('.card.current').id === 'card-0'")
    before = [texts(page, row) for row in range(8)]
    saved = page.inner_text("#unsaved")
    page.locator("#card-4").focus()
    page.evaluate("picsift.view.select(4, true)")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    check(picked(page) == [4, 5, 6], f"Shift selects {picked(page)}")
    page.click("#card-7 .thumb", modifiers=["Control"])
    page.click("#card-5 .thumb")
    check(picked(page) == [4, 6, 7] and not page.is_visible("#large"), f"clicks select {picked(page)}")
    check(page.inner_text("#picked-count") == "3 selected", page.inner_text("#picked-count"))
    page.screenshot(path=given.out / "selected.png")
    page.keyboard.press("y")
    check(picked(page) == [] and not page.is_visible("#picked"), "the selection stays after a word about it")
    for row in (4, 6, 7):
        check(texts(page, row).startswith("yes") and "corrected" in marks(page, row), f"row {row}: {texts(page, row)}")
    check("corrected" not in marks(page, 5), "a picture that was not selected is corrected")
    page.keyboard.press("u")
    check([texts(page, row) for row in range(8)] == before, "one undo does not take one word back")
    page.keyboard.press("Control+a")
    check(page.inner_text("#picked-count") == f"{shown(page):,} selected", page.inner_text("#picked-count"))
    # What is not shown any more is not meant any more.
    page.select_option("#answer", "no")
    until(page, "document.querySelector('#picked').hidden")
    page.select_option("#answer", "all")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    check(not page.is_visible("#picked"), "Escape leaves pictures selected")
    settled(page, saved)


def linked(page, browser):
    """The address says what is shown, and leads others to it."""
    page.select_option("#answer", "yes")
    page.select_option("#sort", "high")
    until(page, "document.querySelectorAll('.card').length > 0 && [...document.querySelectorAll('.card .answer')].every(a => a.textContent === 'yes')")
    page.locator(".card.current").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[open]")
    title = page.get_attribute(".card.current .name", "title")
    until(page, f"document.querySelector('#large-title').textContent === {json.dumps(title)}")
    until(page, "location.hash === `#answer=yes&sort=high&picture=${picsift.view.row()}`")
    state = page.evaluate("location.hash")
    check("key=" not in page.url, f"the key stands in the address: {page.url}")
    page.keyboard.press("Escape")
    until(page, "!location.hash.includes('picture=')")
    page.select_option("#answer", "all")
    page.evaluate("state => { location.hash = state; }", state)
    page.wait_for_selector("#large[open]")
    until(page, f"document.querySelector('#large-title').textContent === {json.dumps(title)}")
    check(page.input_value("#answer") == "yes" and page.input_value("#sort") == "high", "the link's filters are not set")
    page.keyboard.press("Escape")
    # Another browser, by the link that was printed.
    other, problems, _, _ = opened(browser, state)
    other.wait_for_selector("#large[open]")
    until(other, f"document.querySelector('#large-title').textContent === {json.dumps(title)}")
    check("key=" not in other.url and "picture=" in other.url, f"the link leads to {other.url}")
    if given.url:
        # Also where the browser is known already.
        other.goto(ADDRESS + state.replace("answer=yes", "answer=no"))
        other.wait_for_selector("body[data-ready=true]")
        check("key=" not in other.url and other.input_value("#answer") == "no", f"the link leads to {other.url}")
    # What means nothing is passed over.
    other.evaluate("location.hash = 'category=%00&answer=maybe&min=x&max=7&picture=99999999&sort=__proto__'")
    until(other, f"picsift.view.count() === {page.evaluate('picsift.meta().rows')}")
    check(not problems, f"a link had problems: {problems}")
    other.context.close()
    page.select_option("#answer", "all")


def walk(page, problems, browser):
    """Filters, keys, the large view, three corrections, undo and save."""
    rows = shown(page)
    found["rows"] = rows
    page.select_option("#category", label="fish")
    page.select_option("#answer", "yes")
    until(page, f"picsift.view.count() < {rows}")
    yes = shown(page)
    check(0 < yes < rows, f"{yes} of {rows} rows are fish")
    check(all(text.startswith("yes") for text in page.locator(".card .line").all_inner_texts()), "a card that is no fish is shown")
    page.select_option("#answer", "all")
    page.fill("#min", "0.9")
    until(page, "[...document.querySelectorAll('.card .score')].every(s => Number(s.textContent) >= 0.9)")
    check(0 < shown(page) <= yes, "the range of scores does not filter")
    page.fill("#min", "0")
    page.check("#disagree")
    until(page, f"picsift.view.count() < {rows}")
    found["disagree"] = shown(page)
    check(all("truth:" in text for text in page.locator(".card .marks").all_inner_texts()), "a disagreement is not marked")
    page.uncheck("#disagree")
    page.select_option("#sort", "high")
    scores = [float(text) for text in page.locator(".card .score").all_inner_texts()[:8]]
    check(scores == sorted(scores, reverse=True) and len(scores) > 1, f"not by score: {scores}")
    page.select_option("#sort", "row")

    # By keyboard alone from here on.
    page.locator("#card-0").focus()
    for key, row in (("ArrowRight", 1), ("j", 2), ("k", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        check(current(page) == row, f"{key} leads to {current(page)}, not {row}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[open]")
    until(page, "document.querySelectorAll('#answers tbody tr').length > 1 && document.querySelector('#large-image').complete")
    check(page.get_attribute("#large-image", "alt"), "the picture has no alt text")
    found["large"] = page.inner_text("#large-title")
    # The table's other columns and what is true stand beside the picture; the model stands elsewhere, once.
    until(page, "[...document.querySelectorAll('#facts dt')].some(name => picsift.meta().columns.includes(name.textContent))")
    check(page.locator("#answers td.of-truth").first.inner_text() in ("yes", "no"), "the truth does not stand in the large view")
    model = page.evaluate("picsift.meta().model")
    check(model is None or model not in page.inner_text("#large") and model in page.text_content("#about"), "the model stands twice, or nowhere")
    image, box = (page.locator(name).bounding_box() for name in ("#large-image", ".picture"))
    check((image["width"], image["height"]) == (box["width"], box["height"]), f"a picture of 512 pixels takes {image} of {box}")
    page.screenshot(path=given.out / "large.png")
    page.keyboard.press("Escape")
    page.wait_for_selector("#large", state="hidden")

    reopened(page)
    searched(page, rows)
    linked(page, browser)
    many(page)
    # Three are flipped, of which one is undone and another taken instead.
    page.select_option("#sort", "row")
    flipped = []
    for row in (0, 1, 2, 3):
        page.evaluate("r => picsift.view.select(r, true)", row)
        is_yes = texts(page, row).startswith("yes")
        page.keyboard.press("n" if is_yes else "y")
        check(texts(page, row).startswith("no" if is_yes else "yes"), f"row {row} is not flipped")
        check("corrected" in marks(page, row), "a correction is not marked")
        if row == 1:
            page.keyboard.press("u")
            check(texts(page, row).startswith("yes" if is_yes else "no"), "undo does not undo")
        else:
            flipped.append({"row": row, "is": not is_yes})
    check(not page.is_visible("#keys"), "a dialog stands in the way")
    target = given.out / "corrections.jsonl"
    if given.url:
        kept = pathlib.Path(given.gallery) / "corrections.jsonl"
        # Nobody has to save.
        settled(page, "3 saved")
        check(all(line["who"] == "" for line in lines(kept)), kept.read_text())
        page.reload()
        page.wait_for_selector("body[data-ready=true]")
        check(page.inner_text("#unsaved") == "3 saved", "a reload loses corrections")
        check(not found.get("asked_before_leaving"), "the page asks before it is left though all is saved")
        named(page)
        # The name stands with what is said from now on.
        page.select_option("#sort", "row")
        for one in flipped:
            page.evaluate("r => { picsift.view.go(r); document.querySelector('.card.current').focus(); }", one["row"])
            page.keyboard.press("Enter")
            page.wait_for_selector("#large[open]")
            page.click("#take-back")
            check(page.is_hidden("#take-back"), "what was taken back still stands")
            page.click("#yes" if one["is"] else "#no")
            page.keyboard.press("Escape")
            page.wait_for_selector("#large", state="hidden")
        settled(page, "3 saved")
        until(page, "!picsift.corrections.unsaved().length")
        shutil.copy(kept, target)
        overtaken(page, kept)
        refused(page, problems)
    else:
        check(page.inner_text("#unsaved") == "3 unsaved", page.inner_text("#unsaved"))
        # They outlive the page.
        page.reload()
        page.wait_for_selector("body[data-ready=true]")
        check(found.get("asked_before_leaving"), "the page is left with unsaved corrections without a word")
        check(page.inner_text("#unsaved") == "3 unsaved", "a reload loses corrections")
        named(page)
        with page.expect_download() as download:
            # The next key may come before the dialog's close event does: here it comes in the same task.
            page.evaluate("picsift.view.select(0, true); document.querySelector('#help').click(); document.querySelector('#keys-close').click()")
            page.evaluate(PRESS, ["s"])
        check(download.value.suggested_filename == "corrections.jsonl", download.value.suggested_filename)
        download.value.save_as(target)
        settled(page, "3 saved")
    check([line["row"] for line in lines(target)] == [one["row"] for one in flipped], f"saved: {lines(target)}")
    check(all(line["who"] == "Ada <b>" and line["category"] == "fish" for line in lines(target)), f"saved: {lines(target)}")
    found["flipped"] = [{"key": line["key"], "is": line["is"]} for line in lines(target)]
    page.check("#corrected")
    until(page, "document.querySelector('#shown').textContent.startsWith('3 of')")
    page.uncheck("#corrected")


def named(page):
    """A name is given once, by Enter or the button, and kept as it is typed."""
    page.click("#name")
    page.wait_for_selector("#keys[open]")
    page.keyboard.type("Ada <b>")
    page.keyboard.press("Enter")
    check(not page.is_visible("#keys") and not page.is_visible("#name"), "the name is asked for again that was just given")


def held(page):
    """A finger that rests on a picture selects it, and further ones are added by a touch."""
    page.evaluate("""() => {
        const card = document.querySelector(".card.current");
        const touch = new Touch({ identifier: 1, target: card });
        card.dispatchEvent(new TouchEvent("touchstart", { touches: [touch], changedTouches: [touch], bubbles: true }));
    }""")
    until(page, "document.querySelectorAll('.card[aria-selected=true]').length === 1")
    page.evaluate("document.querySelector('.card.current').dispatchEvent(new TouchEvent('touchend', { bubbles: true }))")
    page.locator(".card.current").dispatch_event("click")
    check(len(picked(page)) == 1, "the end of a touch takes the selection back")
    page.locator(".card:not(.current)").first.tap()
    check(page.evaluate("picsift.view.picked().length") == 2, "a touch does not select")
    bar = page.locator("#picked").bounding_box()
    check(bar["x"] >= 0 and bar["x"] + bar["width"] <= page.viewport_size["width"], f"the selection's buttons do not fit: {bar}")
    page.screenshot(path=given.out / "phone-selected.png")
    page.tap("#picked-clear")
    check(not page.is_visible("#picked"), "the selection cannot be cleared")


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
    walk(page, problems, browser)
    check(not problems, f"the page had problems: {problems}")
    for name, options in {
        "desktop-dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
        "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
        "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    }.items():
        page, problems, _, _ = opened(browser, **options)
        if given.url:
            # Another browser sees what was saved.
            check(page.inner_text("#unsaved") == "3 saved", f"{name}: {page.inner_text('#unsaved')}")
            page.evaluate("picsift.view.go(0)")
            check("corrected" in marks(page, 0), f"{name}: what was corrected is not marked")
        if name.startswith("phone"):
            # Its first screen is pictures.
            top = page.evaluate("document.querySelector('#grid').getBoundingClientRect().top")
            check(top <= 0.2 * page.viewport_size["height"], f"{name}: the first picture is {top} pixels down")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        check(wide <= 0, f"{name}: the page is {wide} pixels wider than the window")
        page.screenshot(path=given.out / f"{name}.png")
        if name == "phone":
            held(page)
        page.locator(".card .thumb").first.click()
        page.wait_for_selector("#large[open]")
        until(page, "document.querySelectorAll('#answers tbody tr').length > 0")
        page.screenshot(path=given.out / f"{name}-large.png")
        check(not problems, f"{name} had problems: {problems}")
    browser.close()
print(json.dumps(found))

"""What somebody does in a served gallery in their first hour: looks for a category, and corrects three pictures.

Usage: first_hour.py LINK CATEGORY

The first three pictures of the table are said to be what the model says they are not.
"""

import shutil
import sys
import time

from playwright.sync_api import sync_playwright

link, category = sys.argv[1:]


def until(page, condition):
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        if time.monotonic() > end:
            sys.exit(f"first_hour.py: this did not become true: {condition}")
        time.sleep(0.02)


with sync_playwright() as playwright:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
    page = browser.new_page()
    page.goto(link)
    page.wait_for_selector("body[data-ready=true]")
    page.select_option("#category", label=category)
    page.select_option("#sort", "row")
    until(page, "document.querySelector('.card.current')?.id === 'card-0'")
    for row in range(3):
        page.click(f"#card-{row} .thumb")
        page.wait_for_selector("#large[open]")
        page.click("#no" if page.get_attribute("#yes", "aria-pressed") == "true" else "#yes")
        page.keyboard.press("Escape")
        page.wait_for_selector("#large", state="hidden")
    until(page, "document.querySelector('#unsaved').textContent === '3 saved'")
    browser.close()

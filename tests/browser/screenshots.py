"""Screenshots of a page: desktop, phone, dark mode.

python -m tests.browser.screenshots results/NAME/SEED/report/index.html FOLDER
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS

VIEWS = {
    "desktop": (1280, 900, "light"),
    "phone": (390, 844, "light"),
    "dark": (1280, 900, "dark"),
}


def main(page, folder):
    """Write a PNG of each view into a folder, with the first clip played."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS
        )
        for name, (width, height, scheme) in VIEWS.items():
            viewport = {"width": width, "height": height}
            context = browser.new_context(viewport=viewport, color_scheme=scheme)
            tab = context.new_page()
            tab.goto(Path(page).resolve().as_uri())
            tab.wait_for_load_state("load")
            if tab.locator("#clips").count():
                tab.keyboard.press("ArrowDown")
                tab.keyboard.press(" ")
                tab.wait_for_timeout(1500)
                tab.keyboard.press(" ")
            if name == "phone":
                tab.evaluate("document.querySelector('#detail')?.scrollIntoView()")
            tab.screenshot(path=folder / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

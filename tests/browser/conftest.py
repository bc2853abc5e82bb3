"""Chromium without a window, for pages that are opened from disk."""

import shutil

import pytest

collect_ignore = ["screenshots.py"]  # no test, and needs playwright
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--autoplay-policy=no-user-gesture-required"),
]


@pytest.fixture(scope="session")
def chromium():
    """The browser; without one the test is skipped."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: make test-extras installs it"
    )
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium: make test-extras installs it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """`open_page(path, width, height, scheme)`: a page from disk, without a network.

    What it says in the console as an error fails the test at its end.
    """
    contexts, errors = [], []

    def open_page(path, width=1400, height=1000, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            accept_downloads=True,
            reduced_motion="reduce",  # or a click may meet a page that still scrolls
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else 0)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                errors.append(f"asked the network for {request.url}")
                if not request.url.startswith(("file:", "data:", "blob:"))
                else 0
            ),
        )
        page.goto(path.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors

"""A real browser for tests, and axe-core to hold a page against."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)


@contextmanager
def chrome() -> Iterator[webdriver.Chrome]:
    """One that is ended at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1200",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def axe() -> str:
    """axe-core, as the test's own package brings it; of the package nothing is imported."""
    (root,) = importlib.util.find_spec("axe_playwright_python").submodule_search_locations
    return (Path(root) / "axe.min.js").read_text("utf-8")

"""The pictures of the docs, from a finished run: docs/findings.png, page.png, gallery.png, bias.png, pair.png and
neighbours.png.

make repro && python docs/screenshots.py       # needs chromium and chromedriver
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from heml.cli import main as heml
from heml.evaluation.telling import read_pairs
from heml.explanation.metric_tree import MetricTree
from heml.run import Run

WIDTH = 1280
SECTIONS = {"findings": "answer", "bias": "bias", "page": "pair", "gallery": "gallery"}
"""Picture → the page's section; of the pair down to the tree."""


def save(picture: Image.Image, path: Path) -> None:
    """With 256 colours, which is a third of the bytes."""
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def opened(page: Path, width: int = WIDTH, scheme: str = "light") -> Iterator[webdriver.Chrome]:
    """A page in a browser, once its own script has drawn everything."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "hide-scrollbars",
        "disable-dev-shm-usage",
        f"window-size={width},1200",
    ):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        screen = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(page.resolve().as_uri())
        for _ in range(200):
            if browser.execute_script("return document.querySelector('#chosen h3') !== null"):
                break
            time.sleep(0.1)
        yield browser
    finally:
        browser.quit()


def section(browser: webdriver.Chrome, name: str) -> Image.Image:
    """A section as it stands on the page, whole."""
    box = browser.execute_script(
        "const [place, last] = arguments, r = document.getElementById(place).getBoundingClientRect();"
        "const end = document.getElementById(last).getBoundingClientRect().bottom;"
        "return [r.x - 8, r.y + scrollY, r.width + 16, end - r.y + 8]",
        name,
        "tree" if name == "pair" else name,
    )
    clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return Image.open(io.BytesIO(base64.b64decode(shot["data"])))


def page(root: Path, docs: Path) -> None:
    """The page's first sections."""
    with opened(Run(root).index) as browser:
        surprises = browser.find_elements(By.CSS_SELECTOR, "#listed optgroup:last-of-type option")
        Select(browser.find_element(By.ID, "listed")).select_by_value(str(surprises[0].get_attribute("value")))
        time.sleep(1)  # until its photographs have come
        for name, place in SECTIONS.items():
            save(section(browser, place), docs / f"{name}.png")


def figures(root: Path, docs: Path) -> None:
    """What `heml explain` and `heml neighbours` draw, for a telling pair."""
    run = Run(root)
    where = ["--models", str(run.models), "--data", str(run.data)]
    tree = MetricTree.load(run.models, run.data)
    assert tree.gallery is not None
    first, second = read_pairs(run.pairs, tree.gallery.canvases.image_ids)[1]
    leaf = tree.tree.leaves()[0]
    with tempfile.TemporaryDirectory() as folder:
        heml(["explain", first, second, "--out", folder, *where])
        heml(["neighbours", second, "--node", leaf, "--out", folder, *where])
        save(Image.open(Path(folder) / f"{first}--{second}.png"), docs / "pair.png")
        save(Image.open(Path(folder) / f"{second}--{leaf}.png"), docs / "neighbours.png")


def main(argv: list[str] | None = None) -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="folder of a finished run (default: this one)")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parent, help="where pictures go (default: docs)")
    arguments = parser.parse_args(argv)
    page(arguments.root, arguments.docs)
    figures(arguments.root, arguments.docs)


if __name__ == "__main__":
    main()

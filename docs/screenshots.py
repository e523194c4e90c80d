"""The README's pictures, from a finished run: docs/page.png, docs/bias.png, docs/pair.png and docs/neighbours.png.

make repro && python docs/screenshots.py       # needs chromium and chromedriver
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from heml.cli import main as heml
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import telling_pairs

DOCS = Path(__file__).parent
WIDTH = 1280


def save(picture: Image.Image, name: str) -> None:
    """With 256 colours, which is a third of the bytes."""
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)


def page() -> None:
    """The interactive tree with the second listed pair and the node `skin`."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", f"window-size={WIDTH},2400"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        browser.get(Path("reports/index.html").resolve().as_uri())
        explorer = browser.find_element(By.ID, "explorer")
        for _ in range(100):
            if explorer.is_displayed():
                break
            time.sleep(0.1)
        Select(browser.find_element(By.ID, "listed")).select_by_index(2)
        nodes = browser.find_elements(By.CSS_SELECTOR, "#stage .node")
        next(node for node in nodes if node.find_element(By.CLASS_NAME, "name").text == "skin").click()
        save(Image.open(io.BytesIO(explorer.screenshot_as_png)), "page.png")
        save(Image.open(io.BytesIO(browser.find_element(By.ID, "bias").screenshot_as_png)), "bias.png")
    finally:
        browser.quit()


def figures() -> None:
    """What `heml explain` and `heml neighbours` draw, for the second telling pair."""
    tree = MetricTree.load()
    assert tree.gallery is not None
    first, second = telling_pairs(tree.gallery.embeddings, tree.tree, 2)[1]
    with tempfile.TemporaryDirectory() as folder:
        heml(["explain", first, second, "--out", folder])
        heml(["neighbours", second, "--node", "hair", "--out", folder])
        save(Image.open(Path(folder) / f"{first}--{second}.png"), "pair.png")
        save(Image.open(Path(folder) / f"{second}--hair.png"), "neighbours.png")


if __name__ == "__main__":
    page()
    figures()

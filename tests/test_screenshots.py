"""The pictures of the docs come from a command, which works on any run."""

import re
import shutil

import pytest
from conftest import ROOT, docs_script
from PIL import Image
from run_data import make_reports, make_trained, run_params

from heml.reporting.finished import Finished
from heml.reporting.page import write_report
from heml.run import Run

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Chromium and its driver: apt-get install chromium chromium-driver",
)


def test_every_picture_of_the_docs_is_made_and_shows_something(tmp_path):
    root = tmp_path / "run"
    params = run_params()
    make_reports(make_trained(root, params), params)
    write_report(Finished.read(params, Run(root)))
    made = tmp_path / "docs"
    made.mkdir()
    docs_script("screenshots").main(["--root", str(root), "--docs", str(made)])
    names = {path.name for path in made.iterdir()}
    for path in made.iterdir():
        picture = Image.open(path)
        assert picture.width > 500
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    shown = set(
        re.findall(
            r"\]\((?:docs/)?([\w-]+\.png)\)",
            "\n".join(p.read_text("utf-8") for p in [ROOT / "README.md", *ROOT.glob("docs/*.md")]),
        )
    )
    elsewhere = {"price.png", "tutorial_pair.png"}  # which benchmarks/tables.py and docs/tutorial.py draw
    assert shown - elsewhere <= names

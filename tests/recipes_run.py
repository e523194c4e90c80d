"""What the recipes of docs/recipes.md add, run on the smallest finished run; in a copy of the project to which they
have been applied."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
import yaml
from run_data import make_reports, make_trained, run_params

from heml.datasets.adapters import adapter
from heml.datasets.known import known_sources
from heml.params import parse_params
from heml.reporting.finished import Finished
from heml.reporting.page import write_report
from heml.run import Run

torch.set_num_threads(1)
COPY = Path.cwd()


def data_set(root: Path) -> None:
    """What params.yaml says of it is understood, and every question about it has an answer."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["dataset"] = {"name": "sorted", "path": str(root), "label": "kind"}
    (root / "params.yaml").write_text(yaml.safe_dump(raw))
    known = next(known_sources([root / "params.yaml"]))
    assert known.title == f"photographs sorted in {root}"
    found = adapter(parse_params(yaml.safe_dump(raw)).dataset)
    assert found.terms() == ["Your own photographs."]
    assert found.named_classes(root) == []


def finished(root: Path) -> None:
    """The metric's column, the stage's table and the panel."""
    params = run_params()
    make_reports(make_trained(root, params), params)
    table = pd.read_csv(root / "reports" / "nodes.csv")
    assert table["p@4"].between(0, 1).all()
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json", exclude_unset=True)))
    subprocess.run(
        [sys.executable, "-m", "stages.closest"], cwd=root, env=os.environ | {"PYTHONPATH": str(COPY)}, check=True
    )
    closest = pd.read_csv(root / "reports" / "closest.csv")
    splits = pd.read_parquet(root / "data" / "embeddings").drop_duplicates("image_id").set_index("image_id")["split"]
    assert (splits[closest["image_id"]] == "test").all()
    assert (splits[closest["closest"]] == "train").all()
    assert closest["distance"].between(0, 1).all()
    write_report(Finished.read(params, Run(root)))
    page = (root / "reports" / "index.html").read_text("utf-8")
    assert "Parts that are not always there" in page
    assert page.count("of 4 nearest") == 2  # of nodes, and of other methods


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data_set(Path(folder))
        finished(Path(folder))

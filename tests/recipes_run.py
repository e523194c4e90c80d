"""What the recipes of docs/recipes.md add, run on the smallest finished run; in a copy of the project to which they
have been applied."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image
from run_data import make_reports, make_trained, run_params

from heml.datasets.adapters import dataset_terms, open_dataset
from heml.params import parse_params
from heml.reporting.finished import Finished
from heml.reporting.page import write_report
from heml.run import Run

torch.set_num_threads(1)
COPY = Path.cwd()


def data_set(root: Path) -> None:
    """Two folders become two labels."""
    for label in ("cat", "dog"):
        (root / "sorted" / label).mkdir(parents=True)
        for k in range(10):
            Image.fromarray(np.full((20, 24, 3), k, np.uint8)).save(root / "sorted" / label / f"{k}.png")
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["dataset"] = {"name": "sorted", "path": str(root / "sorted"), "label": "kind"}
    params = parse_params(yaml.safe_dump(raw))
    records, description, _ = open_dataset(params.dataset)
    found = list(records)
    assert description.label_names == ["cat", "dog"]
    assert [(r.image_id, r.label) for r in found[::10]] == [("cat_0", 0), ("dog_0", 1)]
    assert len({r.split for r in found}) == 3
    assert dataset_terms(params.dataset)


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
    assert "Parts that are not always there" in (root / "reports" / "index.html").read_text("utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data_set(Path(folder))
        finished(Path(folder))

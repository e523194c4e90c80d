"""A finished run with reports, whose segmenter is a network, so that files are explained too."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from run_data import make_reports, make_trained, run_params

from heml.params import Params, Size
from heml.segmentation.model import new_segmenter, save_segmenter

NASTY = "<script>alert(1)</script>|[x](http://a.b) `c` **d** ![e](f)"
"""What a name from data may hold."""


def write_params(params: Params, root: Path) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))


def make_masked(root: Path) -> Path:
    """The run as its masks made it, with `NASTY` names."""
    params = run_params(NASTY)
    make_reports(make_trained(root, params), params, NASTY)
    write_params(params, root)
    return root


def make_finished(masked: Path, root: Path) -> Path:
    """The same with a (never trained) SegFormer, and the files `a.png` and `b.png`."""
    shutil.copytree(masked, root)
    shutil.rmtree(root / "models" / "segmenter")
    torch.manual_seed(0)
    save_segmenter(
        new_segmenter("tiny", {"background": 0, "left": 1, "right": 2}, Size(height=32, width=32)),
        root / "models/segmenter",
    )
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(root / f"{name}.png")
    return root

"""What the tests share: small data sets made on the spot, and one thread, since networks here are tiny."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from heml.params import Params, parse_params

if TYPE_CHECKING:
    from heml.explanation.metric_tree import MetricTree

ROOT = Path(__file__).parent.parent

torch.set_num_threads(1)  # with more, two processes on two cores wait for each other at every barrier


def docs_script(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def params_dict() -> dict:
    """The committed parameters, to change."""
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def parse() -> Callable[[dict], Params]:
    return lambda raw: parse_params(yaml.safe_dump(raw, sort_keys=False))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Build a `folder` data set: coloured squares whose colour is the label, with exact masks."""

    def build(
        n: int = 20, size: tuple[int, int] = (48, 40), masks: bool = True, splits: bool = True, name: str = "raw"
    ) -> Path:
        root = tmp_path / name
        (root / "images").mkdir(parents=True)
        if masks:
            (root / "masks").mkdir()
            (root / "classes.json").write_text('{"background": 0, "square": 1, "dot": 2}')
        rng = np.random.default_rng(0)
        lines = ["image_id,kind,note" + (",split" if splits else "")]
        for i in range(n):
            width, height = size
            pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
            mask = np.zeros((height, width), np.uint8)
            mask[8:28, 8:28] = 1
            mask[32:38, 30:44] = 2 if i % 4 else 0
            pixels[mask == 1] = (220, 40, 40) if i % 2 else (40, 40, 220)
            pixels[mask == 2] = (40, 220, 40)
            Image.fromarray(pixels).save(root / "images" / f"{i:03d}.png")
            if masks:
                Image.fromarray(mask).save(root / "masks" / f"{i:03d}.png")
            split = ("train", "train", "val", "test")[(i // 2) % 4]
            lines.append(f"{i:03d},{'red' if i % 2 else 'blue'},n{i}" + (f",{split}" if splits else ""))
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
        return root

    return build


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest tree: `data` and `models`. No test changes it."""
    from run_data import make_trained, run_params

    root = tmp_path_factory.mktemp("run")
    make_trained(root, run_params())
    return root


@pytest.fixture(scope="session")
def metric(run: Path) -> MetricTree:
    """That run's tree."""
    from heml.explanation.metric_tree import MetricTree

    return MetricTree.load(run / "models", run / "data")


@pytest.fixture(scope="module")
def browser():
    from browsing import chrome  # which the tests of a page alone need

    with chrome() as driver:
        yield driver

"""Two finished runs, one whose SegFormer (never trained) finds parts in photographs and one that has its data set's own
masks alone, and `heml serve` of both."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from run_data import make_reports, make_trained, run_params

from heml.params import Size
from heml.segmentation.model import new_segmenter, save_segmenter
from serving.servers import Served, ready, start


@pytest.fixture(scope="session")
def masks_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    params = run_params()
    make_reports(make_trained(root, params), params)
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json", exclude_unset=True)))
    return root


@pytest.fixture(scope="session")
def network_run(masks_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("network") / "run"
    shutil.copytree(masks_run, root)
    shutil.rmtree(root / "models" / "segmenter")
    torch.manual_seed(0)
    segmenter = new_segmenter("tiny", {"background": 0, "left": 1, "right": 2}, Size(height=32, width=32))
    segmenter.network.eval()
    rng = np.random.default_rng(0)
    pictures = np.stack([segmenter.resized(_picture(rng, 64)) for _ in range(8)])
    with torch.inference_mode():  # no class before the others, so that it finds a bit of each
        logits = segmenter.network(pixel_values=segmenter.pixel_values(pictures, torch.device("cpu"))).logits
        segmenter.network.decode_head.classifier.bias -= logits.mean((0, 2, 3))
    save_segmenter(segmenter, root / "models/segmenter")
    return root


def _picture(rng: np.random.Generator, height: int) -> Image.Image:
    pixels = rng.integers(0, 256, (height, 64, 3), dtype=np.uint8)
    pixels[10:40, 5:30] = rng.integers(0, 256, 3)
    pixels[14:44, 36:60] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def photographs(network_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files that nobody has seen; the network finds both parts in each."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(29)
    files = []
    for k in range(4):
        files.append(folder / f"photo_{k}.png")
        _picture(rng, 60 + 8 * k).save(files[-1])
    return files


@pytest.fixture(scope="session")
def servers(
    network_run: Path, masks_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("servers")
    runs = {"network": network_run, "masks": masks_run}
    processes = {name: start(root, folder / f"{name}.txt") for name, root in runs.items()}
    try:
        yield {name: ready(process, folder / f"{name}.txt") for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGKILL)
            process.communicate()

"""SegFormer (Xie et al., NeurIPS 2021) by `transformers`: build, load, save. Weights are safetensors; no remote code."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.utils import logging as transformers_logging

from heml.errors import HemlError
from heml.fetch import Repo, fetch, list_files, model_repo
from heml.params import Size

_B: dict[str, dict[str, Any]] = {  # Table 6 of the paper
    "b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "decoder_hidden_size": 768},
    "b3": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 18, 3], "decoder_hidden_size": 768},
    "b4": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 8, 27, 3], "decoder_hidden_size": 768},
    "b5": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 6, 40, 3], "decoder_hidden_size": 768},
}
_TINY: dict[str, Any] = {
    "hidden_sizes": [16, 32, 64, 128],
    "depths": [2, 2, 2, 2],
    "num_attention_heads": [1, 2, 2, 4],
    "decoder_hidden_size": 64,
    "mlp_ratios": [2, 2, 2, 2],
    "initializer_range": 0.1,  # at its default of 0.02 so narrow a network takes epochs to wake up
    "drop_path_rate": 0.0,
    "classifier_dropout_prob": 0.0,
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


if not sys.stderr.isatty():
    transformers_logging.disable_progress_bar()


@dataclass
class Segmenter:
    """A SegFormer with what its input expects."""

    network: Any
    """A `SegformerForSemanticSegmentation`, whose own annotations do not survive its decorators."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    size: Size = field(default_factory=lambda: Size(height=512, width=512))
    """What images are brought to; 512×512 is SegFormer's own."""

    @property
    def classes(self) -> dict[str, int]:
        """Class name → id, as in the label maps."""
        return {name: int(i) for i, name in self.network.config.id2label.items()}

    def pixel_values(self, images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
        """Normalise (B, H, W, 3) uint8 to the (B, 3, H, W) float32 that the network reads."""
        x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)
        return normalise(x, self.mean, self.std)


def normalise(x: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """(x − mean) / std per channel of (B, 3, H, W)."""
    m = torch.tensor(mean, device=x.device).view(1, 3, 1, 1)
    s = torch.tensor(std, device=x.device).view(1, 3, 1, 1)
    return (x - m) / s


def new_segmenter(architecture: str, classes: dict[str, int], size: Size) -> Segmenter:
    """An untrained SegFormer of a known architecture (`tiny`, `b0` to `b5`) for `classes` (name → id)."""
    shape = _TINY if architecture == "tiny" else _B[architecture]
    config = SegformerConfig(**shape)
    _name_classes(config, classes)
    return Segmenter(SegformerForSemanticSegmentation(config), size=size)


def _name_classes(config: SegformerConfig, classes: dict[str, int]) -> None:
    by_id = {i: name for name, i in classes.items()}
    names = {i: by_id.get(i, f"unused_{i}") for i in range(max(classes.values()) + 1)}
    config.id2label = names
    config.label2id = {name: i for i, name in names.items()}


PARTS = ("config.json", "preprocessor_config.json")


def fetch_model(repo: Repo) -> Path:
    """The folder of a hub model's configuration and safetensors weights, on this machine; nothing else is fetched.

    Raises:
        HemlError: not to be had, or without safetensors weights.
    """
    there = list_files(repo)
    weights = [name for name in there if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?", name)]
    if not weights:
        raise HemlError(f"{repo}: has no safetensors weights; pin a commit that has, or another model: pickles are not opened")
    if "config.json" not in there:
        raise HemlError(f"{repo}: has no config.json, so it is no model of the transformers library")
    files = fetch(repo, [*(name for name in PARTS if name in there), *weights])
    return files[0].parent


def load_segmenter(
    model: str | Path, revision: str | None = None, classes: dict[str, int] | None = None, where: str = "segmenter"
) -> Segmenter:
    """Load a `from_pretrained` folder or a hub repository.

    Args:
        revision: commit of the hub repository; required for a hub id, so that a run can be repeated.
        classes: give the network a new head for these classes (name → id), to fine-tune.
        where: the parameter section that errors name.

    Raises:
        HemlError: not found, not a SegFormer, no safetensors, a hub id without a revision.
    """
    repo = model_repo(str(model), revision, where)
    folder = Path(model) if repo is None else fetch_model(repo)
    try:
        config = SegformerConfig.from_pretrained(folder, local_files_only=True)
        _name_classes(config, _own_classes(config) if classes is None else classes)
        network = SegformerForSemanticSegmentation.from_pretrained(
            folder, config=config, use_safetensors=True, ignore_mismatched_sizes=classes is not None, local_files_only=True
        )
        return Segmenter(network, **_preprocessing(folder))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HemlError(f"{where}.model: cannot load {str(model)!r} (revision {revision}): {first}") from error


def _own_classes(config: SegformerConfig) -> dict[str, int]:
    """Class name → id; some hub configurations have blanks around names."""
    names = config.id2label or {}
    own = {str(name).strip(): int(i) for i, name in names.items()}
    if len(own) != len(names) or not all(0 <= i < 255 for i in own.values()):
        raise ValueError("its classes must have distinct names and ids from 0 to 254, since label maps are stored in bytes")
    return own


def _preprocessing(folder: Path) -> dict[str, Any]:
    """Mean, deviation and size the weights were trained with, as far as the folder says so."""
    path = folder / "preprocessor_config.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    known: dict[str, Any] = {
        "mean": tuple(found.get("image_mean", IMAGENET_MEAN)),
        "std": tuple(found.get("image_std", IMAGENET_STD)),
    }
    size = found.get("size")
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        known["size"] = Size(height=size["height"], width=size["width"])
    return known


def save_segmenter(segmenter: Segmenter, folder: Path) -> None:
    """Write a folder that `from_pretrained` opens."""
    segmenter.network.save_pretrained(folder)
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": segmenter.size.model_dump(),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(segmenter.mean),
        "image_std": list(segmenter.std),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n", "utf-8")

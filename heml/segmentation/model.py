"""SegFormer (Xie et al., NeurIPS 2021) by `transformers`: build, load, save. Weights are safetensors; no remote
code."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.utils import logging as transformers_logging

from heml.errors import HemlError, out_of_memory
from heml.fetch import Repo, fetch, list_files, model_repo
from heml.images.void import VOID
from heml.params import Size
from heml.segmentation.preprocessing import FILE, Preprocessing, read_preprocessing, to_json
from heml.segmentation.samples import resize_image

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

HEAD = "decode_head."
"""Tensors of a segmentation head; all others are the encoder's."""
CLASSIFIER = ("decode_head.classifier.weight", "decode_head.classifier.bias")
"""The head's last layer, of one row per class."""


@dataclass
class Segmenter:
    """A SegFormer with what its input expects."""

    network: Any
    """A `SegformerForSemanticSegmentation`, whose own annotations do not survive its decorators."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    @property
    def classes(self) -> dict[str, int]:
        """Class name → id, as in the label maps."""
        return {name: int(i) for i, name in self.network.config.id2label.items()}

    @property
    def size(self) -> Size:
        """What images are brought to."""
        return self.preprocessing.size

    @size.setter
    def size(self, size: Size) -> None:
        self.preprocessing = replace(self.preprocessing, size=size)

    def resized(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 at the network's size."""
        return resize_image(image, self.size, self.preprocessing.resample)

    def pixel_values(self, images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
        """Normalise (B, H, W, 3) uint8 to the (B, 3, H, W) float32 that the network reads."""
        x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)
        return normalise(x, self.preprocessing)


def normalise(x: torch.Tensor, used: Preprocessing) -> torch.Tensor:
    """(x − mean) / deviation per channel of (B, 3, H, W) in [0, 1]."""
    mean = torch.tensor(used.mean, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(used.std, device=x.device).view(1, 3, 1, 1)
    return (x - mean) / std


def new_segmenter(architecture: str, classes: dict[str, int], size: Size) -> Segmenter:
    """An untrained SegFormer of a known architecture (`tiny`, `b0` to `b5`) for `classes` (name → id)."""
    shape = _TINY if architecture == "tiny" else _B[architecture]
    config = SegformerConfig(**shape)
    _name_classes(config, classes)
    return Segmenter(SegformerForSemanticSegmentation(config), Preprocessing(size=size))


def _name_classes(config: SegformerConfig, classes: dict[str, int]) -> None:
    by_id = {i: name for name, i in classes.items()}
    names = {i: by_id.get(i, f"unused_{i}") for i in range(max(classes.values()) + 1)}
    config.id2label = names
    config.label2id = {name: i for i, name in names.items()}


PARTS = ("config.json", FILE)


def fetch_model(repo: Repo) -> Path:
    """The folder of a hub model's configuration and safetensors weights, on this machine; nothing else is fetched.

    Raises:
        HemlError: not to be had, or without safetensors weights.
    """
    there = list_files(repo)
    weights = [name for name in there if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?", name)]
    if not weights:
        raise HemlError(
            f"{repo}: has no safetensors weights; pin a commit that has, or another model: pickles are not opened"
        )
    if "config.json" not in there:
        raise HemlError(f"{repo}: has no config.json, so it is no model of the transformers library")
    files = fetch(repo, [*(name for name in PARTS if name in there), *weights])
    return files[0].parent


def load_segmenter(
    model: str | Path, revision: str | None = None, classes: dict[str, int] | None = None, where: str = "segmenter"
) -> Segmenter:
    """Load a `from_pretrained` folder or a hub repository, in float32 whatever it is saved in.

    Args:
        revision: commit of the hub repository; required for a hub id, so that a run can be repeated.
        classes: give the network a new head for these classes (name → id), to fine-tune.
        where: the parameter section that errors name.

    Raises:
        HemlError: not found, no SegFormer with a segmentation head, no safetensors, a tensor that is missing, left
            over, of another shape or not finite, preprocessing that is not done here, a hub id without a revision.
    """
    repo = model_repo(str(model), revision, where)
    folder = Path(model) if repo is None else fetch_model(repo)
    try:
        config = _config(folder)
        named = len(config.id2label or {})
        _name_classes(config, _own_classes(config) if classes is None else classes)
        preprocessing = read_preprocessing(folder)
        with _quiet():
            loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # told below, and by name
                output_loading_info=True,
                local_files_only=True,
            )
        network, found = loaded
        _check_fit(found, named, new_head=classes is not None)
        _check_finite(network.state_dict())
    except Exception as error:
        if out_of_memory(error):
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        at = f" (revision {revision})" if repo else ""
        raise HemlError(f"{where}.model: cannot load {str(model)!r}{at}: {first}") from error
    return Segmenter(network, preprocessing)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own report of what it loaded, and without its bars."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _config(folder: Path) -> SegformerConfig:
    """The configuration, of a SegFormer and nothing else: of any other the library would take what it can."""
    told = json.loads((folder / "config.json").read_text("utf-8")) if (folder / "config.json").is_file() else None
    if not isinstance(told, dict):
        raise ValueError("has no config.json with a model's configuration")
    if told.get("model_type") != "segformer":
        raise ValueError(f"is no SegFormer: config.json says model_type {json.dumps(told.get('model_type'))}")
    if told.get("num_channels", 3) != 3:
        raise ValueError(
            f"reads images of {told['num_channels']} channels (num_channels in config.json); images here have 3"
        )
    return SegformerConfig.from_pretrained(folder, local_files_only=True)


def _check_fit(found: Mapping[str, Any], named: int, new_head: bool) -> None:
    """What was loaded is the network: no tensor stayed as it was drawn, and none was left over.

    Args:
        found: transformers' `loading_info`.
        named: classes in the configuration.
        new_head: the last layer, or the whole head where there is none, may be new.
    """
    missing, unexpected = set(found["missing_keys"]), set(found["unexpected_keys"])
    mismatched = {key: (tuple(have), tuple(want)) for key, have, want in found["mismatched_keys"]}
    wrong = dict(mismatched)
    headless = bool(missing) and all(key.startswith(HEAD) for key in missing) and set(CLASSIFIER) <= missing
    if new_head:
        wrong = {key: shapes for key, shapes in mismatched.items() if key not in CLASSIFIER}
        if headless:
            missing, unexpected = set(), {key for key in unexpected if not key.startswith("classifier.")}
    elif headless:
        raise ValueError(
            "is a backbone without a segmentation head, which says nothing of pixels; use a SegFormer that was fitted"
            " to masks, or `source: finetune`, which gives it a head"
        )
    elif wrong and set(wrong) <= set(CLASSIFIER):
        have = next(iter(wrong.values()))[0][0]
        raise ValueError(f"config.json names {named} classes (id2label), and its head has {have}; name them all")
    if wrong:
        key, (have, want) = sorted(wrong.items())[0]
        raise ValueError(
            f"{len(wrong)} tensors have another shape than config.json says, such as {key}: {have}, not {want}"
        )
    if missing:
        raise ValueError(f"{len(missing)} tensors of a SegFormer are not in its weights, such as {min(missing)}")
    if unexpected:
        raise ValueError(
            f"{len(unexpected)} tensors of its weights are none of this SegFormer, such as {min(unexpected)}"
        )
    if found.get("error_msgs"):
        raise ValueError(str(next(iter(found["error_msgs"]))))


def _check_finite(state: Mapping[str, torch.Tensor]) -> None:
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"{len(broken)} of its tensors hold NaN or infinity, such as {broken[0]}")


def _own_classes(config: SegformerConfig) -> dict[str, int]:
    """Class name → id; some hub configurations have blanks around names."""
    names = config.id2label or {}
    own = {str(name).strip(): int(i) for i, name in names.items()}
    if len(own) != len(names) or not all(0 <= i < VOID for i in own.values()):
        raise ValueError(
            "its classes must have distinct names and ids from 0 to 254, since label maps are stored in bytes"
        )
    return own


def save_segmenter(segmenter: Segmenter, folder: Path) -> None:
    """Write a folder that `from_pretrained` opens."""
    with _quiet():
        segmenter.network.save_pretrained(folder)
    (folder / FILE).write_text(to_json(segmenter.preprocessing), "utf-8")

"""What is done to an image before a SegFormer reads it: every key of its `preprocessor_config.json` is honoured, or
refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from heml.images.imagenet import MEAN, STD
from heml.params import Size

FILE = "preprocessor_config.json"
OWN_SIZE = Size(height=512, width=512)
"""SegFormer's own, where nothing is said."""

_TYPES = (
    "SegformerImageProcessor",
    "SegformerImageProcessorFast",
    "SegformerImageProcessorPil",
    "SegformerFeatureExtractor",
)
"""Those that share the defaults above."""
_HONOURED = ("do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
_MEANINGLESS = (
    *("image_processor_type", "feature_extractor_type", "processor_class", "transformers_version", "default_to_square"),
    *("do_reduce_labels", "reduce_labels"),  # of masks, whose classes are matched by name here
    *(
        "do_convert_rgb",
        "data_format",
        "input_data_format",
        "return_tensors",
        "device",
        "disable_grouping",
    ),  # images are RGB, rows first
    *(
        "crop_size",
        "pad_size",
        "size_divisor",
    ),  # what is to be cropped or padded at all is said by other keys, which are refused
)
"""Keys that change nothing of an image here, whatever they say."""


@dataclass(frozen=True)
class Preprocessing:
    """Images are stretched to a size; then, of pixels in [0, 1], the mean is taken and the rest divided by the
    deviation, per channel."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    size: Size = OWN_SIZE
    resample: Image.Resampling = Image.Resampling.BILINEAR


def read_preprocessing(folder: Path) -> Preprocessing:
    """Of a model's folder; SegFormer's own where it has no such file. As in transformers, what is null is not done, and
    null is no number.

    Rescaling and normalising are one line per channel, so any of them, or none, comes down to a mean and a deviation.

    Raises:
        ValueError: a key that cannot be honoured, by its name.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{FILE}: is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{FILE}: holds no keys, but {type(found).__name__}")
    _check_keys(found)
    factor = 255 * _number(found, "rescale_factor", 1 / 255) if _switch(found, "do_rescale") else 255.0
    normalised = _switch(found, "do_normalize")
    mean = _channels(found, "image_mean", MEAN) if normalised else (0.0,) * 3
    std = _channels(found, "image_std", STD) if normalised else (1.0,) * 3
    if not factor or not all(std):
        raise _refused(found, "image_std" if factor else "rescale_factor", "0 leaves nothing of an image")
    return Preprocessing(
        tuple(m / factor for m in mean), tuple(s / factor for s in std), _size(found), _resample(found)
    )


def to_json(used: Preprocessing) -> str:
    """The content of the file, for transformers' own image processor too."""
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": used.size.model_dump(),
        "resample": int(used.resample),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(used.mean),
        "image_std": list(used.std),
    }
    return json.dumps(processor, indent=2) + "\n"


def _refused(told: Mapping[str, Any], key: str, why: str) -> ValueError:
    return ValueError(f"{FILE}: {key}: {json.dumps(told[key])}: {why}")


def _check_keys(told: Mapping[str, Any]) -> None:
    for key in ("image_processor_type", "feature_extractor_type"):
        if key in told and told[key] not in (*_TYPES, None):
            raise _refused(told, key, f"expected {_TYPES[0]}, since another means other defaults")
    for key, value in told.items():
        if key not in (*_HONOURED, *_MEANINGLESS) and not key.startswith("_") and value not in (False, None):
            raise _refused(
                told, key, "is not done here; use a model without, or a copy of its folder in which the key is removed"
            )
    if not _switch(told, "do_resize"):
        raise _refused(
            told, "do_resize", "images are always stretched to segmenter.size; in a copy of the folder set it to true"
        )


def _switch(told: Mapping[str, Any], key: str) -> bool:
    value = told.get(key, True)
    if not isinstance(value, bool | None):
        raise _refused(told, key, "expected true or false")
    return bool(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(told: Mapping[str, Any], key: str, default: float) -> float:
    value = told.get(key, default)
    if not _is_number(value):
        raise _refused(told, key, "expected a number")
    return float(value)


def _channels(told: Mapping[str, Any], key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """Three numbers; one number stands for all three."""
    value = told.get(key, default)
    values = [value] * 3 if _is_number(value) else list(value) if isinstance(value, list | tuple) else []
    if len(values) != 3 or not all(map(_is_number, values)):
        raise _refused(told, key, "expected three numbers, of red, green and blue")
    return tuple(float(v) for v in values)


def _size(told: Mapping[str, Any]) -> Size:
    size = told.get("size", OWN_SIZE.model_dump())
    if isinstance(size, int):
        size = [size, size]
    if isinstance(size, list) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    if isinstance(size, dict) and set(size) != {"height", "width"}:
        raise _refused(
            told,
            "size",
            "keeps the aspect ratio, and images are stretched here; in a copy of the folder set it to a height and a"
            " width",
        )
    try:
        return Size.model_validate(size)
    except ValidationError:
        raise _refused(told, "size", "expected a height and a width from 16 to 2048 pixels") from None


def _resample(told: Mapping[str, Any]) -> Image.Resampling:
    try:
        return Image.Resampling(told.get("resample", Image.Resampling.BILINEAR))
    except ValueError:
        raise _refused(told, "resample", f"expected one of Pillow's filters, 0 to {max(Image.Resampling)}") from None

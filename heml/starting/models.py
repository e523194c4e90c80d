"""SegFormers whose classes are known: those of the presets, and one that is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from heml.datasets.adapters import adapter
from heml.errors import HemlError
from heml.params import Segment, Size, load_params


@dataclass(frozen=True)
class Model:
    """A SegFormer to cut parts with."""

    name: str
    """A hub id or a local folder."""
    revision: str | None
    classes: list[str]
    size: Size = field(default_factory=lambda: Size(height=512, width=512))
    segments: dict[str, Segment] = field(default_factory=dict)
    """A preset's; empty: every class is one."""
    preset: str = ""


def preset_models(presets: Path) -> Iterator[Model]:
    """The pretrained SegFormers of a folder of presets, with the classes that each preset's segments and data set
    name.

    Raises:
        HemlError: no presets there, or one that cannot be read.
    """
    paths = sorted(presets.glob("*.yaml"))
    if not paths:
        raise HemlError(
            f"{presets}: no presets here; run this in the project's folder, or name a SegFormer with --model"
        )
    for path in paths:
        params = load_params(path)
        if params.segmenter.source != "pretrained" or params.segmenter.model is None:
            continue
        named = [c for segment in params.segments.values() for c in segment.classes]
        named += adapter(params.dataset).named_classes(presets.parent)
        model, revision, classes = params.segmenter.model, params.segmenter.revision, list(dict.fromkeys(named))
        yield Model(model, revision, classes, params.segmenter.size, dict(params.segments), path.stem)


def named_model(name: str, revision: str | None) -> Model:
    """A SegFormer by a local folder or a hub id at a commit; of the hub only its two files of settings are fetched.

    Raises:
        HemlError: not to be had, or its configuration names no classes.
    """
    from heml.fetch import fetch, model_repo

    repo = model_repo(name, revision)
    files = ("config.json", "preprocessor_config.json")
    config, preprocessor = fetch(repo, files) if repo else (Path(name) / file for file in files)
    try:
        named = json.loads(config.read_text("utf-8"))["id2label"]
        classes = [str(named[key]).strip() for key in sorted(named, key=int)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise HemlError(f"{name}: config.json names no classes (id2label); choose a SegFormer that segments") from None
    return Model(name, revision, classes, _size(preprocessor))


def _size(preprocessor: Path) -> Size:
    """What the network was fitted to, or the size that most were."""
    try:
        return Size.model_validate(json.loads(preprocessor.read_text("utf-8"))["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return Size(height=512, width=512)

"""A parameter file, read as DVC reads it and checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from heml.errors import HemlError
from heml.params.faults import explain
from heml.params.sections import Params
from heml.yaml_text import parse_yaml


def parse_params(text: str, source: str = "params.yaml") -> Params:
    """Check the text of a parameter file.

    Raises:
        HemlError: not YAML, a doubled or unknown key, a value out of range.
    """
    raw = parse_yaml(text, source)
    if not isinstance(raw, dict):
        raise HemlError(f"{source}: expected sections such as dataset, segments and tree")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise HemlError(f"{source}: {explain(error, Params)}") from None


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file; see `parse_params`."""
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; copy one from presets/") from None
    return parse_params(text, str(path))

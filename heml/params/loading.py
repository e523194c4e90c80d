"""A parameter file, read as DVC reads it and checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from heml.errors import HemlError
from heml.params.faults import explain
from heml.params.sections import Params


def parse_params(text: str, source: str = "params.yaml") -> Params:
    """Check the text of a parameter file.

    Raises:
        HemlError: not YAML, a doubled or unknown key, a value out of range.
    """
    try:
        # as DVC reads it: YAML 1.2, where `off` and `no` are words and 1e-3 is a number
        raw = YAML(typ="safe").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        key = str(error.problem).split('"')[1]
        raise HemlError(f"{source}: line {line}: key {key!r} stands twice; remove or rename one") from None
    except YAMLError as error:
        raise HemlError(f"{source}: not valid YAML: {error}") from None
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

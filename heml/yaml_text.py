"""YAML as DVC reads it, by version 1.2: `off` and `no` are words, 1e-3 is a number, and no key stands twice."""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from heml.errors import HemlError


def parse_yaml(text: str | bytes, source: str) -> object:
    """What a file holds.

    Raises:
        HemlError: not YAML, or a doubled key.
    """
    try:
        return YAML(typ="safe").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        key = str(error.problem).split('"')[1]
        raise HemlError(f"{source}: line {line}: key {key!r} stands twice; remove or rename one") from None
    except (YAMLError, ValueError) as error:
        raise HemlError(f"{source}: not valid YAML: {error}") from None

"""Read a YAML file that a data set is described by, and say clearly what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from heml.errors import HemlError
from heml.yaml_text import parse_yaml

M = TypeVar("M", bound=BaseModel)


def read_yaml(kind: type[M], path: str | Path, what: str) -> M:
    """The file at `path`, checked as a `kind`.

    Args:
        what: what `dataset.path` must name, for the message where there is no such file.

    Raises:
        HemlError: missing, not YAML, a key that is unknown or wrong.
    """
    try:
        return kind.model_validate(parse_yaml(Path(path).read_text("utf-8-sig"), str(path)))
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; dataset.path must name {what}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise HemlError(f"{path}: {faults}") from None

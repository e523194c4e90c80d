"""JSON as it is written here: numbers are finite or null, and no file is half-written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heml.atomic import new_file


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers that are not finite are None, paths and arrays' numbers are their own kind no
    longer."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """A value's text, without the end of its last line."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def write_json(path: str | Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write an object; returns it as whoever reads the file has it.

    Raises:
        HemlError: whoever ran this stage has ended.
    """
    with new_file(path) as partial:
        partial.write_text(to_json(found) + "\n", "utf-8")
    told: dict[str, Any] = plain(found)
    return told

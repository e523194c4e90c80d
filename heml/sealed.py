"""A checksum among the fields of a JSON object, as images' and segments' pages have theirs: a digit that changed is no valid number."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

KEY = "crc32"


def _checksum(fields: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())


def seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with their checksum, whatever their order."""
    return {**fields, KEY: _checksum(fields)}


def unseal(found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were sealed; such as have no checksum are taken as they are.

    Raises:
        ValueError: they are others.
    """
    fields = {key: value for key, value in found.items() if key != KEY}
    if KEY in found and found[KEY] != _checksum(fields):
        raise ValueError("its checksum is another")
    return fields

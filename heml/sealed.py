"""What tells that something changed: a file's SHA-256, and a checksum among the fields of a JSON object, as Parquet
pages have theirs."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "crc32"


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

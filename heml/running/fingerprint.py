"""The content of what a parameter names by a path that DVC cannot watch, since it may as well be an id of the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

from heml.sealed import fingerprint as of_file


def fingerprint(name: str | None) -> str | None:
    """SHA-256 of a file, or of a folder's files and their names; None where `name` is neither, such as a hub id."""
    if name is None or not (path := Path(name)).exists():
        return None
    if path.is_file():
        return of_file(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{of_file(file)}\n".encode())
    return digest.hexdigest()

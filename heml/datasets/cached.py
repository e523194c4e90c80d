"""How much of a hub repository is in this machine's cache, in words."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from heml.fetch import Repo, known_files, on_disk


def among(files: dict[str, int], patterns: Iterable[str]) -> dict[str, int]:
    """The files, name → bytes, that match one of the patterns."""
    wanted = list(patterns)
    return {name: size for name, size in files.items() if any(fnmatchcase(name, p) for p in wanted)}


def cached(repo: Repo, patterns: Iterable[str]) -> str:
    """How much of the matching files is there."""
    files = among(known_files(repo) or {}, patterns)
    here = {name: size for name, size in files.items() if on_disk(repo, name)}
    if not here:
        return "nothing"
    return f"{in_words(sum(here.values()))} of {in_words(sum(files.values()))}, {len(here)} of {len(files)} files"


def in_words(number: int) -> str:
    """
    >>> in_words(82_300), in_words(12)
    ('82.3 kB', '12 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"

"""Names that are not there, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable


def unknown_names(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Those of `names` that are not known, each with the nearest that is.

    >>> unknown_names(["hair", "hat", "left eye"], ["Hair", "l_ear", "hat", "left_eye"])
    ['hair (Hair?)', 'left eye (left_eye?)']
    """
    return [f"{name} ({near}?)" if (near := _nearest(name, known)) else name for name in names if name not in known]


def _nearest(name: str, known: Collection[str]) -> str | None:
    """The same name in other letters or with other marks between words, else one that is spelt much like it."""
    plain = {_plain(other): other for other in known}
    if (same := plain.get(_plain(name))) is not None:
        return same
    near = difflib.get_close_matches(_plain(name), plain, 1, 0.79)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()

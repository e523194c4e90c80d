"""Labels as words: what counts as missing, and what is one value spelt in two ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from heml.errors import HemlError

MISSING = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none")
"""The usual marks of a missing value, in any case; as a label each is refused, never learnt."""


def cleaned(word: str) -> str:
    """Without blanks around it, and in composed Unicode (NFC)."""
    return unicodedata.normalize("NFC", word).strip()


def is_missing(word: str) -> bool:
    """Whether a value is one of the usual marks of there being none."""
    return word.strip().casefold() in MISSING


def check_spelling(label: str, words: Iterable[tuple[str, str]]) -> None:
    """
    Args:
        words: where a value stands, as messages call it, and the value.

    Raises:
        HemlError: two values that are one in another case or with other blanks, or the same number in two spellings.
    """
    first: dict[str, tuple[str, str]] = {}
    for where, word in words:
        before = first.setdefault(_key(word), (where, word))
        if before[1] != word:
            raise HemlError(
                f"{where}: {label} is {word!r}, and {before[1]!r} at {before[0]}; if they are one value, spell it in"
                " one way, if they are two, in ways that differ by more than case, blanks or a number's notation"
            )


def _key(word: str) -> str:
    try:
        return repr(float(word)) if "_" not in word else word
    except ValueError:
        return " ".join(unicodedata.normalize("NFKC", word).casefold().split())

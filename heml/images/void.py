"""Pixels without a class: neither learnt nor scored, nor of any segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

VOID = 255
"""What a mask says of such pixels, whether or not its classes declare it."""
VOID_NAMES = ("void", "ignore", "unlabelled", "unlabeled")
"""Classes that mean the same, under whatever id."""


def void_ids(classes: Mapping[str, int]) -> set[int]:
    """Ids that stand for no class: 255, and those of classes that are called so."""
    return {VOID} | {number for name, number in classes.items() if name.strip().casefold() in VOID_NAMES}


def class_faults(classes: Mapping[str, object]) -> list[str]:
    """What is wrong with declared classes, name → id, in words; empty where nothing is."""
    wrong = [
        f"{name}: {number!r}" for name, number in classes.items() if type(number) is not int or not 0 <= number <= VOID
    ]
    if wrong:
        return [f"{wrong[0]} is no id; ids are whole numbers from 0 to {VOID - 1}, and {VOID} for void"]
    found = [
        f"{name!r} has the id {VOID}, which means no class at all, neither learnt nor scored; give it another, or call"
        " it void"
        for name, number in classes.items()
        if number == VOID and name.strip().casefold() not in VOID_NAMES
    ]
    twice = [number for number, count in Counter(classes.values()).items() if count > 1]
    return found + [f"two classes share an id, {number}" for number in twice]

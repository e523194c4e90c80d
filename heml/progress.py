"""One way to show progress: a bar with rate and time left at a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> tqdm[T]:
    """Iterate over `items` under a bar named `what`; `disable=None` is tqdm's own test for a terminal."""
    return tqdm(items, desc=what, total=total, unit=unit, disable=None, leave=False, file=sys.stderr, dynamic_ncols=True)

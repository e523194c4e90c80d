"""One way to show progress: a bar with rate and time left at a terminal, silence elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

FOLDER = "HEML_PROGRESS"
"""Environment variable: a folder in which a stage keeps a file of its own name that says how far it is, for who runs
many at once."""


class _Told(tqdm):  # type: ignore[type-arg]
    """A bar that is a file of one line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        rate = self.format_dict["rate"]
        of = f"/{self.total}" if self.total else ""
        text = f"{self.desc} {self.n}{of} {self.unit}" + (f", {rate:.1f}/s" if rate else "")
        Path(os.environ[FOLDER], os.environ["DVC_STAGE"]).write_text(text, "utf-8")

    def close(self) -> None:
        self.disable = True


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> tqdm[T]:
    """Iterate over `items` under a bar named `what`; `disable=None` is tqdm's own test for a terminal."""
    if FOLDER in os.environ and "DVC_STAGE" in os.environ:
        return _Told(items, desc=what, total=total, unit=unit, mininterval=0.3)
    return tqdm(
        items, desc=what, total=total, unit=unit, disable=None, leave=False, file=sys.stderr, dynamic_ncols=True
    )

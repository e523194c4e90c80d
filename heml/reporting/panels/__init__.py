"""The page's sections. A panel is two files: `<name>.py`, with `PLACE` (its order), `TITLE` (its name in the
navigation) and `context(finished)`, and `<name>.html.j2`, which is rendered with what that returns; None leaves the
panel out."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Protocol

from heml.reporting.finished import Finished


class Panel(Protocol):
    """A module of this package."""

    __name__: str
    PLACE: int
    TITLE: str

    def context(self, finished: Finished) -> dict[str, Any] | None:
        """What the template needs."""
        ...


def panels() -> list[Panel]:
    """All of them, in their order on the page."""
    found: list[Any] = [
        importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    ]
    return sorted(found, key=lambda panel: (panel.PLACE, panel.__name__))

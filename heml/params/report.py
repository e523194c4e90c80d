"""`report`: what the page shows."""

from __future__ import annotations

from pydantic import Field

from heml.params.section import Strict


class Report(Strict):
    """What the report shows."""

    title: str = "HEML"
    """The page's heading."""
    overlays: int = Field(6, ge=1, le=24)
    """Example images with their segments drawn in."""
    pairs: int = Field(2, ge=1, le=6)
    """Example pairs with the distance at every node."""

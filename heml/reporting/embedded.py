"""Pictures as text that stands inside the page: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image


def image_uri(picture: NDArray[np.uint8], scale: int = 1) -> str:
    """A data URI of an (H, W, 3) uint8 picture, enlarged by whole pixels; PNG for small ones, JPEG above 100 pixels."""
    image = Image.fromarray(picture)
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= 100 else "jpeg"
    image.save(buffer, kind, **({"quality": 88} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def webp_uri(picture: NDArray[np.uint8], scale: int = 1) -> str:
    """A data URI of an (H, W, 3) uint8 picture, enlarged by whole pixels, as WebP: what is lost is not seen."""
    image = Image.fromarray(picture)
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def file_uri(path: Path) -> str:
    """A data URI of a PNG file."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def figure_uri(figure: Figure) -> str:
    """A data URI of a figure as SVG, the same bytes every time; closes the figure."""
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "heml", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return svg_uri(buffer.getvalue())


def svg_uri(svg: str) -> str:
    """A data URI of an SVG drawing."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"

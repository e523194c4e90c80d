"""Pictures as text that stands inside the page: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image


def webp_uri(picture: NDArray[np.uint8], scale: int = 1) -> str:
    """A data URI of an (H, W, 3) uint8 picture, enlarged by whole pixels, as WebP: what is lost is not seen."""
    return encoded(_enlarged(picture, scale), "webp", quality=82)


def _enlarged(picture: NDArray[np.uint8], scale: int) -> Image.Image:
    image = Image.fromarray(picture)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS) if scale > 1 else image


def encoded(image: Image.Image, kind: str, **options: Any) -> str:
    """A data URI of an image as Pillow saves it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


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

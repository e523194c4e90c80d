"""Every image once at training size: one memory-mappable array, and how an image is laid on it."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.errors import HemlError, fault
from heml.images.decoding import decode_image
from heml.images.parquet import Stored, checksum, write_table
from heml.images.shards import count_images, read_rows
from heml.params import Canvas
from heml.progress import progress
from heml.run import Run


def placement(width: int, height: int, canvas: Canvas) -> tuple[int, int, int, int]:
    """Where an image of `width`×`height` lies on the canvas: (x0, y0, x1, y1), pixels.

    `stretch` fills the canvas; `pad` keeps the aspect ratio and centres.
    """
    if canvas.fit == "stretch":
        return 0, 0, canvas.width, canvas.height
    scale = min(canvas.width / width, canvas.height / height)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    x0, y0 = (canvas.width - w) // 2, (canvas.height - h) // 2
    return x0, y0, x0 + w, y0 + h


def lay_image(image: Image.Image, canvas: Canvas) -> NDArray[np.uint8]:
    """An RGB image on the canvas: (H, W, 3) uint8, black beside it."""
    x0, y0, x1, y1 = placement(image.width, image.height, canvas)
    laid = np.zeros((canvas.height, canvas.width, 3), np.uint8)
    laid[y0:y1, x0:x1] = np.asarray(image.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return laid


def lay_mask(
    mask: NDArray[np.bool_], size: tuple[int, int], canvas: Canvas, coverage: float = 0.5
) -> NDArray[np.bool_]:
    """A mask on the canvas: (H, W) bool, true where at least `coverage` of a canvas pixel belongs to it.

    Args:
        mask: (h, w) bool, over the whole image at any resolution.
        size: (width, height) of the upright image, which decides its placement.
    """
    x0, y0, x1, y1 = placement(*size, canvas)
    laid = np.zeros((canvas.height, canvas.width), bool)
    if not mask.any():
        return laid
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    shares = np.asarray(grey.resize((x1 - x0, y1 - y0), Image.Resampling.BOX), dtype=np.float32) / 255
    laid[y0:y1, x0:x1] = shares >= coverage - 1e-3
    return laid


CHECKED = 1 << 28
"""Bytes of pixels up to which they are held against their checksum: a quarter of a second; DVC hashes larger ones as
well."""
_FIELDS = [("image_id", pa.string()), ("split", pa.string()), ("label", pa.int64())]


@dataclass(frozen=True)
class Canvases:
    """`data/canvases/`: pixels (N, H, W, 3) uint8, memory-mapped, and who they are, in stored order."""

    pixels: NDArray[np.uint8]
    image_ids: list[str]
    splits: NDArray[np.str_]
    """(N,)"""
    labels: NDArray[np.int64]
    """(N,)"""


def write_canvases(canvas: Canvas, run: Run) -> int:
    """Lay every image of a run on a canvas; returns how many."""
    total = count_images(run.images)
    index: dict[str, list[object]] = {"image_id": [], "split": [], "label": []}
    with new_folder(run.canvases) as partial:
        header = {"descr": "|u1", "fortran_order": False, "shape": (total, canvas.height, canvas.width, 3)}
        # written through: pages of a memory map would count as this process's memory
        with (partial / "canvases.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            rows = read_rows(run.images, ["image_id", "split", "label", "image"])
            for row in progress(rows, "canvases", total, "image"):
                file.write(
                    lay_image(decode_image(row["image"]["bytes"], row["image_id"], float("inf")), canvas).tobytes()
                )
                for key in index:
                    index[key].append(row[key])
        about = {"heml": json.dumps({"crc32": checksum(partial / "canvases.npy")})}
        write_table(partial / "index.parquet", pa.table(index, schema=pa.schema(_FIELDS, metadata=about)))
    return total


def load_canvases(folder: str | Path, start: int = 0, stop: int | None = None) -> Canvases:
    """Open rows `start` to `stop` (all) of `data/canvases`, memory-mapped.

    Raises:
        HemlError: missing or damaged. Pixels are held against their checksum where they take no more than `CHECKED`
            bytes.
    """
    folder = Path(folder)
    stored = canvas_index(folder)
    path = folder / "canvases.npy"
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise HemlError(f"{folder}: no canvases; run `dvc repro canvases` first") from None
    except (OSError, ValueError, EOFError) as error:
        raise fault(path, f"cannot be read ({error})", stored.again) from None
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 4
        or pixels.shape[3] != 3
        or len(pixels) != stored.rows
        or not _sound(path, stored)
    ):
        raise fault(path, f"not the pixels that {stored.path.name} belongs to", stored.again)
    index = stored.table(start=start, stop=stop)
    image_ids: list[str] = index["image_id"].to_pylist()
    stored.distinct(image_ids)
    return Canvases(
        pixels[start:stop],
        image_ids,
        np.array(index["split"].to_pylist()),
        np.array(index["label"].to_pylist(), dtype=np.int64),
    )


def canvas_index(folder: Path) -> Stored:
    """Who the canvases are."""
    return Stored(folder / "index.parquet", _FIELDS, "dvc repro canvases")


def _sound(path: Path, index: Stored) -> bool:
    """Whether pixels are those that were written, as far as it is looked at."""
    size = path.stat().st_size
    return size > CHECKED or _checksum(path, size, path.stat().st_mtime_ns) == index.about.get("crc32")


@functools.cache
def _checksum(path: Path, size: int, changed: int) -> int:
    """Of a file, once for as long as it stays."""
    return checksum(path)

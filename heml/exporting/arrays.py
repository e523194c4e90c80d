"""Embeddings as NumPy arrays and as a folder that TensorBoard's projector opens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.cells import to_cell, write_csv
from heml.evaluation.embeddings import NodeEmbeddings
from heml.explanation.views import Gallery

_SPRITE = 8192
"""Side of the largest sprite that the projector takes, pixels."""
_TILE = 64


def index_table(stored: NodeEmbeddings, rows: NDArray[np.int64], label_names: Sequence[str]) -> pd.DataFrame:
    """Whose vectors stand in the rows: `image_id`, `split`, `label`, `label_name`."""
    labels = stored.labels[rows]
    return pd.DataFrame(
        {
            "image_id": np.array(stored.image_ids, dtype=object)[rows],
            "split": stored.splits[rows],
            "label": labels,
            "label_name": np.array(label_names, dtype=object)[labels],
        }
    )


def write_numpy(gallery: Gallery, nodes: Sequence[str], label_names: Sequence[str], folder: Path) -> None:
    """Write `<node>.npy`, (N, D) float32 with NaN rows where the node is absent, and `index.csv`, whose rows they are
    (text as `heml.cells` has it)."""
    with new_folder(folder) as partial:
        for name in nodes:
            np.save(partial / f"{name}.npy", gallery.embeddings[name].vectors.numpy(), allow_pickle=False)
        root = gallery.embeddings[gallery.tree.root]
        write_csv(index_table(root, np.arange(len(root.image_ids)), label_names), partial / "index.csv")


def write_projector(gallery: Gallery, nodes: Sequence[str], label_names: Sequence[str], folder: Path) -> None:
    """Write what `tensorboard --logdir <folder>` shows under Projector: of each node `<node>.tsv`,
    `<node>-metadata.tsv` and `<node>-sprite.png`, the images that have it; and `projector_config.pbtxt`.

    Thumbnails are left out where all of them would not fit in the largest sprite.
    """
    config = []
    with new_folder(folder) as partial:
        for name in nodes:
            stored = gallery.embeddings[name]
            rows = np.flatnonzero(stored.present)
            pd.DataFrame(stored.vectors[rows].numpy()).to_csv(
                partial / f"{name}.tsv", sep="\t", header=False, index=False
            )
            metadata = index_table(stored, rows, label_names)
            for column in ("image_id", "label_name"):  # the format has no quoting
                metadata[column] = metadata[column].map(to_cell)
            lines = [
                "\t".join(str(value) for value in row)
                for row in [list(metadata.columns), *metadata.to_numpy().tolist()]
            ]
            (partial / f"{name}-metadata.tsv").write_text("\n".join(lines) + "\n", "utf-8")
            entry = [
                f'  tensor_name: "{name}"',
                f'  tensor_path: "{name}.tsv"',
                f'  metadata_path: "{name}-metadata.tsv"',
            ]
            height, width = _thumbnail(gallery.canvases.pixels.shape[1:3])
            across = math.ceil(math.sqrt(max(len(rows), 1)))
            if across * max(height, width) <= _SPRITE:
                _sprite(gallery, rows, across, (height, width)).save(partial / f"{name}-sprite.png")
                entry.append(
                    f'  sprite {{\n    image_path: "{name}-sprite.png"\n    single_image_dim: {width}\n   '
                    f" single_image_dim: {height}\n  }}"
                )
            config.append("embeddings {\n" + "\n".join(entry) + "\n}\n")
        (partial / "projector_config.pbtxt").write_text("".join(config), "utf-8")


def _thumbnail(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(_TILE / max(shape), 1)
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)


def _sprite(gallery: Gallery, rows: NDArray[np.int64], across: int, size: tuple[int, int]) -> Image.Image:
    height, width = size
    sprite = Image.new("RGB", (across * width, across * height))
    for k, row in enumerate(rows.tolist()):
        tile = Image.fromarray(np.asarray(gallery.canvases.pixels[row])).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        sprite.paste(tile, (k % across * width, k // across * height))
    return sprite

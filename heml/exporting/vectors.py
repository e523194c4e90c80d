"""One vector per image, for any vector database: a dot product that ranks as the tree does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heml.atomic import new_folder
from heml.cells import write_csv
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.views import Gallery
from heml.exporting.arrays import index_table


def write_vectors(gallery: Gallery, metric: TreeMetric, label_names: Sequence[str], folder: Path) -> str:
    """Write `vectors.npy`, (N, W) float32, `vectors_int8.npy`, the same in steps of `int8_step`, `signature.npy`, (W,)
    float32 of ±1, `index.csv`, whose rows they are, and `vectors.json`.

    Search by inner product, largest first, with a query's vector times the signature: `threshold` less the product is
    the tree's distance.

    Returns:
        What was written, in words.
    """
    vectors = gallery.vectors(metric).numpy()
    signature = metric.signature(vectors.shape[1]).numpy()
    step = float(np.abs(vectors).max()) / 127 or 1.0
    root = gallery.embeddings[gallery.tree.root]
    about = {
        "rank_by": "inner product of vectors with query * signature, largest first",
        "threshold": metric.threshold,
        "slope": metric.slope,
    }
    with new_folder(folder) as partial:
        np.save(partial / "vectors.npy", vectors, allow_pickle=False)
        np.save(partial / "vectors_int8.npy", (vectors / step).round().astype(np.int8), allow_pickle=False)
        np.save(partial / "signature.npy", signature, allow_pickle=False)
        write_csv(index_table(root, np.arange(len(root.image_ids)), label_names), partial / "index.csv")
        (partial / "vectors.json").write_text(json.dumps(about | {"int8_step": step}, indent=1) + "\n", "utf-8")
    return f"{folder}: {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions"

"""`data/map.parquet`: every node's embeddings, and the whole tree's, laid out in the plane, so that what is alike lies
together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from heml.atomic import new_file
from heml.distances import standardise
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.tree_metric import TreeMetric
from heml.images.parquet import Stored, write_table

MOST = 1000
"""Images that are laid out, evenly over all: the time grows faster than their number."""
WHOLE = ""
"""The tree's name among the nodes'."""
_PERPLEXITY = 30
_ITERATIONS, _ANGLE = 350, 0.8
"""Fewer and coarser than usual: of the embedded data set's images as many stay neighbours (trustworthiness 0.98), in
half the time."""
_FIELDS = [("node", pa.string()), ("image_id", pa.string()), ("x", pa.float32()), ("y", pa.float32())]


def plane(vectors: torch.Tensor) -> NDArray[np.float32]:
    """(N, D) vectors in the plane, (N, 2) in [0, 1]: t-SNE (van der Maaten & Hinton, JMLR 2008), from their principal
    axes on, the same every time; of fewer than ten the principal axes alone."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = vectors.numpy().astype(np.float64)
    with threadpool_limits(1):
        if len(x) and np.ptp(x, 0).max() < 1e-9:
            found = np.zeros((len(x), 2))  # all are the same
        elif len(x) < 10:
            low = min(2, *x.shape)
            found = np.zeros((len(x), 2))
            found[:, :low] = PCA(low, svd_solver="full").fit_transform(x) if len(x) > 1 else 0.0
        else:
            near = min(_PERPLEXITY, (len(x) - 1) / 3)
            tsne = TSNE(perplexity=near, init="pca", max_iter=_ITERATIONS, angle=_ANGLE, random_state=0, n_jobs=1)
            found = tsne.fit_transform(x)
    found = found - found.min(0, initial=np.inf)
    places: NDArray[np.float32] = (found / max(float(found.max(initial=0)), 1e-12)).astype(np.float32)
    return places


def write_map(embeddings: Mapping[str, NodeEmbeddings], metric: TreeMetric, path: str | Path) -> None:
    """Write the places of up to `MOST` images: by the whole tree, of images that show anything of it, then by every
    node."""
    ids = np.array(next(iter(embeddings.values())).image_ids, dtype=object)
    rows = np.unique(np.linspace(0, len(ids) - 1, MOST).astype(int))
    there = np.logical_or.reduce([embeddings[name].present[rows] for name in metric.terms])
    wanted = [(WHOLE, rows[there], metric.vectors(embeddings)[rows[there]])]
    for name, stored in embeddings.items():
        own = rows[stored.present[rows]]
        wanted.append((name, own, standardise(stored.vectors[own])))
    places = (plane(vectors) for *_, vectors in wanted)
    tables = [
        pd.DataFrame({"node": name, "image_id": ids[own], "x": place[:, 0], "y": place[:, 1]})
        for (name, own, _), place in zip(wanted, places, strict=True)
    ]
    with new_file(path) as partial:
        write_table(partial, pa.Table.from_pandas(pd.concat(tables), pa.schema(_FIELDS), preserve_index=False))


def read_map(path: str | Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Node, or `WHOLE` → image_id → (x, y) in [0, 1].

    Raises:
        HemlError: missing or damaged.
    """
    stored = Stored(Path(path), _FIELDS, "dvc repro map", ("node", "image_id", "x", "y"))
    table = stored.table(["node", "image_id", "x", "y"]).to_pandas()
    if not np.isfinite(table[["x", "y"]]).all(axis=None):
        raise stored.fault("holds places that are no finite numbers")
    return {
        str(node): dict(zip(own["image_id"], zip(own["x"].tolist(), own["y"].tolist(), strict=True), strict=True))
        for node, own in table.groupby("node", sort=False)
    }

"""`data/embeddings/node=<node>/part-0.parquet`: every image's embedding at every node, null where the node is
absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.canvas import load_canvases
from heml.images.parquet import Stored, writer
from heml.learning.checkpoints import check_lineage, load_header, load_network, untrained
from heml.learning.inference import embed
from heml.learning.inputs import compose
from heml.machine import best_device
from heml.progress import progress
from heml.row_groups import Each
from heml.run import Run
from heml.sealed import fingerprint
from heml.tree import Node, Tree

ROWS_PER_GROUP = 4096
_FIELDS = [("image_id", pa.string()), ("split", pa.string()), ("label", pa.int64()), ("present", pa.bool_())]


@dataclass(frozen=True)
class NodeEmbeddings:
    """One node's embeddings, N images in stored order."""

    node: str
    image_ids: list[str]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    present: NDArray[np.bool_]
    repeats: list[torch.Tensor]
    """Of every repeat (`train.seeds`), (N, D) float32; rows of absent images are NaN, so that none is used by
    accident."""
    untrained: torch.Tensor
    """The same by the common initialisation, before any training: a floor."""
    distance: str
    """What the node was trained under."""
    weights: str = ""
    """Fingerprint (SHA-256) of the node's file."""
    made_from: Mapping[str, str] = field(default_factory=dict)
    """Child → the fingerprint of the file that the node was trained on."""

    @property
    def vectors(self) -> torch.Tensor:
        """Of the first repeat, the one that explanations use."""
        return self.repeats[0]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split in which the node is present."""
        return np.flatnonzero((self.splits == split) & self.present)


def write_embeddings(tree: Tree, run: Run, each: Each = map) -> None:
    """Embed every image at every node of the tree.

    Args:
        each: how row groups are handed out.
    """
    total = len(load_canvases(run.canvases).image_ids)
    groups = [(node.name, tree.sees(node.name), start) for node in tree for start in range(0, total, ROWS_PER_GROUP)]
    tables = iter(progress(each(partial(_embed_group, run), groups), "embed", len(groups), "group"))
    with new_folder(run.embeddings) as target:
        for node in tree:
            (target / f"node={node.name}").mkdir()
            first = next(tables)
            with writer(target / f"node={node.name}" / "part-0.parquet", first.schema) as file:
                file.write_table(first)
                for _ in range(ROWS_PER_GROUP, total, ROWS_PER_GROUP):
                    file.write_table(next(tables))


def _embed_group(run: Run, group: tuple[str, list[str], int]) -> pa.Table:
    """The rows of one row group of a node that sees some leaves, the one that begins at row `start`."""
    node, leaves, start = group
    device = best_device()
    path = run.node(node)
    header = load_header(path)
    if start == 0:
        check_lineage(header, run, segments=True)
    images = compose(leaves, run, header.box, start, start + ROWS_PER_GROUP)
    rows = np.flatnonzero(images.present)
    vectors = {
        _repeat(k): _column(embed(load_network(path, device, k)[1], images, rows, device), images.present)
        for k in range(len(header.val_p1))
    }
    vectors["untrained"] = _column(embed(untrained(header).to(device), images, rows, device), images.present)
    columns = {
        "image_id": images.image_ids,
        "split": pa.array(images.splits.tolist(), pa.string()),
        "label": images.labels,
        "present": images.present,
        **vectors,
    }
    made_from = {key: value for key, value in header.lineage.items() if key.startswith("node=")}
    about = {"node": node, "distance": header.distance, "weights": fingerprint(path), "made_from": made_from}
    return pa.table(columns).replace_schema_metadata({"heml": json.dumps(about)})


def _repeat(k: int) -> str:
    return f"embedding_{k}" if k else "embedding"


def _column(vectors: torch.Tensor, present: NDArray[np.bool_]) -> pa.Array:
    """Embeddings of the present images as a column of all, null where absent."""
    values = np.zeros((len(present), vectors.shape[1]), np.float32)
    values[present] = vectors.numpy()
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), vectors.shape[1], mask=pa.array(~present))


def read_embeddings(folder: str | Path, node: str) -> NodeEmbeddings:
    """Read one node's embeddings.

    Raises:
        HemlError: no such node in the folder, or what is there is damaged or another node's.
    """
    stored = Stored(
        Path(folder) / f"node={node}" / "part-0.parquet",
        _FIELDS,
        "dvc repro embed",
        ("image_id", "split", "label", "present"),
    )
    about = stored.about
    if about.get("node") != node or not isinstance(about.get("distance"), str):
        raise stored.fault(f"holds the node {about.get('node')!r}, not {node!r}")
    table = stored.table()
    stored.distinct(table["image_id"].to_pylist())
    there = table["present"]
    for name in table.column_names:
        if name.startswith("embedding") or name == "untrained":
            column = table[name]
            if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
                raise stored.fault(f"column {name!r} is {column.type}, no vectors of float32")
            if column.is_valid().to_pylist() != there.to_pylist():
                raise stored.fault(f"column {name!r} has vectors where the node is absent, or none where it is present")
            stored.finite(name, np.from_dlpack(column.combine_chunks().flatten()))
    return _parsed(node, table)


def embed_node(node: str, leaves: Sequence[str], run: Run) -> NodeEmbeddings:
    """One node's embeddings of all images when it sees some leaves, kept in memory alone."""
    total = len(load_canvases(run.canvases).image_ids)
    groups = ((node, list(leaves), start) for start in range(0, total, ROWS_PER_GROUP))
    return _parsed(node, pa.concat_tables([_embed_group(run, group) for group in groups]))


def _parsed(node: str, table: pa.Table) -> NodeEmbeddings:
    about = json.loads(table.schema.metadata[b"heml"])
    present = np.array(table["present"].to_pylist(), dtype=bool)
    return NodeEmbeddings(
        node,
        table["image_id"].to_pylist(),
        np.array(table["split"].to_pylist()),
        np.array(table["label"].to_pylist(), dtype=np.int64),
        present,
        [_vectors(table[name], present) for name in table.column_names if name.startswith("embedding")],
        _vectors(table["untrained"], present),
        about["distance"],
        about["weights"],
        {key.removeprefix("node="): value for key, value in about["made_from"].items()},
    )


def _vectors(column: pa.ChunkedArray, present: NDArray[np.bool_]) -> torch.Tensor:
    array = column.combine_chunks()
    values = np.full((len(present), array.type.list_size), np.nan, np.float32)
    # `flatten` leaves out nulls; to_numpy would import pandas
    values[present] = np.from_dlpack(array.flatten()).reshape(-1, array.type.list_size)
    return torch.from_numpy(values)


def read_all(folder: str | Path, tree: Tree) -> dict[str, NodeEmbeddings]:
    """Every node's embeddings, in the order of the tree.

    Raises:
        HemlError: of one, see `read_embeddings`; of several, that they are not of the same images, or a node not of the
            children there.
    """
    found = {node.name: read_embeddings(folder, node.name) for node in tree}
    root = found[tree.root]
    for name, own in found.items():
        if own.image_ids != root.image_ids or (own.labels != root.labels).any() or (own.splits != root.splits).any():
            raise HemlError(
                f"{folder}: {name!r} and {tree.root!r} are not of the same images in the same order; run `dvc repro"
                " embed`"
            )
        for child, known in own.made_from.items():
            if child in found and found[child].weights != known:
                raise HemlError(
                    f"{folder}: {name!r} was trained on another {child!r} than the one that is embedded; run `dvc"
                    " repro`"
                )
    return found


def stored_tree(run: Run, names: Iterable[str], hidden: Sequence[str] = ()) -> Tree:
    """The tree that stored nodes make up, from their headers alone; others that lie there, of an earlier tree, are left
    alone.

    Args:
        names: in the order that nodes of one level keep, which is that of the metric's terms.
        hidden: leaves that nodes of other leaves do not see.
    """
    headers = [load_header(run.node(name)) for name in names]
    return Tree([Node(h.node, h.level, *(h.children or (None, None))) for h in headers], hidden)

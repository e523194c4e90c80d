"""Images, labels and embeddings as a folder that Hugging Face `datasets` opens: `load_dataset("<folder>")`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from heml.atomic import new_folder
from heml.evaluation.embeddings import NodeEmbeddings
from heml.explanation.views import Gallery
from heml.images.shards import read_description, read_rows

_FILES = {"train": "train", "val": "validation", "test": "test"}
"""Split → the name that `datasets` looks for."""
_ROWS = 128


def write_hub_folder(gallery: Gallery, nodes: Sequence[str], folder: Path) -> None:
    """Write `data/<split>-00000-of-00001.parquet` with the columns image_id, image, label and `embedding_<node>`.

    Images are as they came, labels named; an embedding is null where the node is absent. Rows are written a few at a
    time.
    """
    images = gallery.run.images
    description = read_description(images)
    chosen = {name: gallery.embeddings[name] for name in nodes}
    schema = _schema(description.label_names, chosen)
    order = {image_id: row for row, image_id in enumerate(gallery.embeddings[gallery.tree.root].image_ids)}
    writers: dict[str, pq.ParquetWriter] = {}
    waiting: dict[str, list[dict[str, Any]]] = {}
    with new_folder(folder) as partial:
        (partial / "data").mkdir()
        try:
            for row in read_rows(images, ["image_id", "split", "label", "image"]):
                k = order[row["image_id"]]
                vectors = {
                    f"embedding_{name}": stored.vectors[k].tolist() if stored.present[k] else None
                    for name, stored in chosen.items()
                }
                split = row["split"]
                waiting.setdefault(split, []).append(
                    {"image_id": row["image_id"], "image": row["image"], "label": row["label"], **vectors}
                )
                if split not in writers:
                    writers[split] = pq.ParquetWriter(
                        partial / "data" / f"{_FILES[split]}-00000-of-00001.parquet", schema
                    )
                if len(waiting[split]) == _ROWS:
                    writers[split].write_table(pa.Table.from_pylist(waiting.pop(split), schema=schema))
            for split, rows in waiting.items():
                writers[split].write_table(pa.Table.from_pylist(rows, schema=schema))
        finally:
            for writer in writers.values():
                writer.close()


def _schema(label_names: Sequence[str], nodes: dict[str, NodeEmbeddings]) -> pa.Schema:
    features: dict[str, Any] = {
        "image_id": {"dtype": "string", "_type": "Value"},
        "image": {"_type": "Image"},
        "label": {"names": list(label_names), "_type": "ClassLabel"},
    }
    fields: list[tuple[str, Any]] = [
        ("image_id", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
    ]
    for name, stored in nodes.items():
        length = stored.vectors.shape[1]
        features[f"embedding_{name}"] = {
            "feature": {"dtype": "float32", "_type": "Value"},
            "length": length,
            "_type": "List",
        }
        fields.append((f"embedding_{name}", pa.list_(pa.float32(), length)))
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})

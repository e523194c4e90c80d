"""A run as FiftyOne opens it, without which it is written: `fiftyone.Dataset.from_json("<folder>/samples.json",
rel_dir="<folder>")`."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.evaluation.audit import image_table, mistake_table
from heml.evaluation.pairing import measure
from heml.evaluation.retrieval import nearest_but_itself
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.views import Gallery
from heml.images.canvas import placement
from heml.images.decoding import decode_image, encode_png
from heml.images.shards import SPLITS, read_description, read_rows
from heml.params import Canvas, Evaluate
from heml.progress import progress

_KEPT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""Formats that a browser shows, and the endings of their files."""
_ORIENTATION = 0x0112

_FIELD = "fiftyone.core.fields."
_LABEL = _FIELD + "EmbeddedDocumentField(fiftyone.core.labels.{})"


def write_fiftyone(
    gallery: Gallery, metric: TreeMetric, nodes: Sequence[str], settings: Evaluate, folder: Path
) -> None:
    """Write `samples.json` and `data/`, the images upright.

    A sample's tag is its split. Its fields are `metadata`; `image_id`; `ground_truth`; `segments`, detections with
    masks; and where the tree sees it `nearest` (an image_id), `prediction` (the nearest's label) and `mistake`,
    `evidence_<node>` (log-odds that the two have one label), `blame` (of a mistake on `test`: the node, and its share),
    `wrong_nodes`, `margin`, `doubt` and `outlier` as in `heml.evaluation.audit.image_table`, and its `suggested` where
    that is another label. `embedding_<node>` is null where the node is absent.

    Args:
        nodes: whose embeddings to write.
        settings: how neighbours are searched.
    """
    images = gallery.run.images
    names = read_description(images).label_names
    embedded = {f"embedding_{name}": gallery.embeddings[name] for name in nodes}
    told = _told(gallery, metric, settings, names)
    order = {image_id: row for row, image_id in enumerate(gallery.canvases.image_ids)}
    fields = {
        **dict.fromkeys(("image_id", "nearest"), _FIELD + "StringField"),
        **dict.fromkeys(("ground_truth", "prediction", "blame", "suggested"), _LABEL.format("Classification")),
        "segments": _LABEL.format("Detections"),
        "mistake": _FIELD + "BooleanField",
        "wrong_nodes": _FIELD + "IntField",
        **dict.fromkeys(("margin", "doubt", "outlier", *map(_evidence, gallery.embeddings)), _FIELD + "FloatField"),
        **dict.fromkeys(embedded, _FIELD + "VectorField"),
    }
    head = {"name": "heml", "media_type": "image", "sample_fields": fields, "default_classes": list(names)}
    with new_folder(folder) as partial, (partial / "samples.json").open("w", encoding="utf-8") as file:
        (partial / "data").mkdir()
        file.write(json.dumps(head)[:-1] + ', "samples": [')
        rows = read_rows(images, ["image_id", "split", "label", "image"])
        for number, row in enumerate(progress(rows, "fiftyone", len(order), "image")):
            k = order[row["image_id"]]
            content, ending = _shown(row["image"]["bytes"], row["image_id"])
            metadata = _metadata(content)
            path = f"data/{number:06d}.{ending}"
            (partial / path).write_bytes(content)
            sample = {
                "filepath": path,
                "tags": [row["split"]],
                "metadata": metadata,
                "image_id": row["image_id"],
                "ground_truth": _classification(names[row["label"]]),
                "segments": _detections(gallery, k, (metadata["width"], metadata["height"])),
                **told.get(row["image_id"], {}),
                **{
                    key: _array(stored.vectors[k].numpy()) if stored.present[k] else None
                    for key, stored in embedded.items()
                },
            }
            file.write(("," if number else "") + "\n" + json.dumps(sample, allow_nan=False))
        file.write("\n]}\n")


def _told(gallery: Gallery, metric: TreeMetric, settings: Evaluate, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the tree says of each image that it sees, by image_id."""
    embeddings, tree = gallery.embeddings, gallery.tree
    root, vectors = embeddings[tree.root], gallery.vectors(metric)
    found: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        asked, held = root.rows(split), root.rows(split if settings.search == "within" else "train")
        if len(held) < 2 or not len(asked):
            continue
        near = held[nearest_but_itself(vectors, asked, held, 1, metric.metric)[1][:, 0]]
        evidence = metric.evidence(measure(embeddings, root.labels, asked, near).distances)
        for row, other, parts in zip(asked.tolist(), near.tolist(), evidence.tolist(), strict=True):
            found[root.image_ids[row]] = {
                "nearest": root.image_ids[other],
                "prediction": _classification(names[root.labels[other]]),
                "mistake": bool(root.labels[other] != root.labels[row]),
                **dict(zip(map(_evidence, embeddings), parts, strict=True)),
            }
    for of_image in _records(image_table(embeddings, tree, metric, settings)):
        numbers = {
            key: None if pd.isna(of_image[key]) else float(of_image[key]) for key in ("margin", "doubt", "outlier")
        }
        found[of_image["image_id"]] |= {"wrong_nodes": int(of_image["wrong_nodes"]), **numbers}
        if of_image["suggested"] != of_image["label"]:
            found[of_image["image_id"]]["suggested"] = _classification(names[of_image["suggested"]])
    for mistake in _records(mistake_table(embeddings, tree, metric, settings)):
        found[mistake["image_id"]]["blame"] = _classification(mistake["blame"], float(mistake["blame_share"]))
    return found


def _evidence(node: str) -> str:
    """A field of its own: the sidebar neither shows nor filters what is inside a dictionary."""
    return f"evidence_{node}"


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _classification(label: str, confidence: float | None = None) -> dict[str, Any]:
    return {"_cls": "Classification", "label": label, **({} if confidence is None else {"confidence": confidence})}


def _detections(gallery: Gallery, row: int, size: tuple[int, int]) -> dict[str, Any]:
    """The segments of an image of `size` (width, height) that are there, each with its box as fractions of the image
    and its mask."""
    found = []
    for name, part in gallery.partitions.items():
        if part.present[row]:
            mask = part.mask(row)
            box = _box(mask)
            x0, y0, x1, y1 = box
            detection = {"_cls": "Detection", "label": name, "bounding_box": _fractions(box, size, part.canvas)}
            found.append(detection | {"mask": _array(mask[y0:y1, x0:x1])})
    return {"_cls": "Detections", "detections": found}


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _fractions(box: tuple[int, int, int, int], size: tuple[int, int], canvas: Canvas) -> list[float]:
    """A box of the canvas as (x, y, width, height) in fractions of the image that lies on it."""
    left, top, right, bottom = placement(*size, canvas)
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = box
    return [(x0 - left) / width, (y0 - top) / height, (x1 - x0) / width, (y1 - y0) / height]


def _array(array: NDArray[Any]) -> Mapping[str, Any]:
    """An array as FiftyOne's JSON has it: NumPy's own format, compressed."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "subType": "00"}}


def _shown(data: bytes, image_id: str) -> tuple[bytes, str]:
    """An image as every browser shows it, and the ending of its file: its own bytes where they are upright."""
    with Image.open(io.BytesIO(data)) as image:
        if image.format in _KEPT and image.getexif().get(_ORIENTATION, 1) == 1:
            return data, _KEPT[image.format]
    return encode_png(np.asarray(decode_image(data, image_id, float("inf")))), "png"


def _metadata(content: bytes) -> dict[str, Any]:
    """What `dataset.compute_metadata()` would find in the file."""
    with Image.open(io.BytesIO(content)) as image:
        return {
            "_cls": "ImageMetadata",
            "size_bytes": len(content),
            "mime_type": Image.MIME[image.format or ""],
            "width": image.width,
            "height": image.height,
            "num_channels": len(image.getbands()),
        }

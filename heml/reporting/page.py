"""`reports/index.html`: one self-contained page. Everything that comes from data is escaped by the template."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml

from heml import __version__
from heml.atomic import new_file, new_folder
from heml.baselines.measure import COLUMNS
from heml.datasets.store import Description, read_description
from heml.evaluation.embeddings import NodeEmbeddings, read_all
from heml.explanation.figures import pair_figure, positions
from heml.explanation.pairs import explain_stored, telling_pairs
from heml.explanation.pictures import overlay, palette, segment_picture
from heml.learning.inputs import NodeImages, compose
from heml.learning.store import load_header, node_path
from heml.params import Params
from heml.progress import progress
from heml.reporting.curves import curve_figure, curve_table
from heml.reporting.embedded import figure_uri, file_uri, image_uri
from heml.segmentation.manifest import read_manifest
from heml.segmentation.masks import unpack_mask
from heml.tree import Tree


@dataclass(frozen=True)
class Run:
    """Everything a report is made from."""

    params: Params
    tree: Tree
    description: Description
    embeddings: dict[str, NodeEmbeddings]
    images: dict[str, NodeImages]
    table: pd.DataFrame
    duplicates: pd.DataFrame
    """`reports/duplicates.csv`."""
    metrics: dict[str, float]
    nodes: list[dict[str, Any]]
    """`reports/nodes/*.json`, in the order of the tree."""
    peers: list[dict[str, Any]]
    """`reports/peers/*/row.json`: the tree, then the baselines in their order."""
    segmenter: dict[str, Any]
    segments: Path
    """`data/segments`."""


def load_run(params: Params, root: Path = Path()) -> Run:
    """Read a finished run from the working folder `root`."""
    tree = Tree.from_params(params)
    images = {}
    for node in progress(list(tree), "report: images", unit="node"):
        header = load_header(node_path(root / "models/nodes", node.name))
        images[node.name] = compose(root / "data/canvases", root / "data/segments", header.leaves, header.box)
    return Run(
        params,
        tree,
        read_description(root / "data/images"),
        read_all(root / "data/embeddings", tree),
        images,
        pd.read_csv(root / "reports/nodes.csv"),
        pd.read_csv(root / "reports/duplicates.csv", dtype={"image_a": str, "image_b": str}),
        json.loads((root / "reports/metrics.json").read_text("utf-8")),
        [json.loads((root / "reports/nodes" / f"{node.name}.json").read_text("utf-8")) for node in tree],
        [json.loads((root / "reports/peers" / name / "row.json").read_text("utf-8")) for name in ("tree", *params.baselines)],
        json.loads((root / "reports/segmenter.json").read_text("utf-8")),
        root / "data/segments",
    )


def write_report(run: Run, reports: Path) -> None:
    """Write `index.html` and `plots/` into the folder `reports`."""
    curves = curve_table(run.nodes)
    pairs = _pairs(run)
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=run.params.report.title,
            label=run.description.label,
            search=run.params.evaluate.search,
            label_names=run.description.label_names,
            metrics=run.metrics,
            root=run.table.set_index("node").loc[run.tree.root].to_dict(),
            tree=_tree(run),
            rows=run.table.to_dict("records"),
            has_limit=bool(run.table["limit"].notna().any()),
            segmenter=run.segmenter,
            overlays=_overlays(run),
            curves=figure_uri(curve_figure(curves)),
            cost=_cost(run),
            pairs=[
                {"first": e.first, "second": e.second, "text": str(e), "figure": uri, "peers": _peer_pictures(run, k, reports)}
                for k, (e, uri) in enumerate(pairs)
            ],
            peers=run.peers,
            splits=_splits(run),
            skipped=run.description.skipped,
            repeats=run.params.train.seeds,
            duplicates=run.duplicates.to_dict("records"),
            near_duplicate=run.params.evaluate.near_duplicate,
            params=yaml.safe_dump(run.params.model_dump(mode="json", exclude_none=True), sort_keys=False),
            versions=_versions(),
        )
    )
    with new_folder(reports / "plots") as partial:
        curves.to_csv(partial / "curves.csv", index=False, float_format="%.6g")
        pd.DataFrame(run.peers, columns=COLUMNS).to_csv(partial / "peers.csv", index=False, float_format="%.6g")
        example = explain_stored(pairs[0][0].first, pairs[0][0].second, run.tree, run.embeddings) if pairs else None
        if example:
            figure = pair_figure(example, _segment_pictures(run, example.first, example.second))
            figure.savefig(partial / "pair.png", dpi=110)
            plt.close(figure)
    with new_file(reports / "index.html") as partial:
        partial.write_text(page, "utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("heml.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["share"] = lambda v: "–" if v is None or v != v else f"{v * 100:.1f}"
    environment.filters["decimal"] = lambda v, digits=2: "–" if v is None or v != v else f"{v:.{digits}f}"
    environment.filters["milliseconds"] = lambda v: "–" if v is None or v != v else f"{v * 1000:.0f}"
    environment.filters["megabytes"] = lambda v: f"{v / 1e6:,.0f}"
    return environment


def _example_row(images: NodeImages) -> int:
    """The test image (or any other) in which the node covers about the median area."""
    rows = images.rows("test")
    rows = rows if len(rows) else np.flatnonzero(images.present)
    covered = np.unpackbits(images.packed[rows], axis=1).sum(1)
    return int(rows[np.argsort(covered, kind="stable")[len(rows) // 2]])


def _tree(run: Run) -> dict[str, Any]:
    """Nodes with their place, picture and scores, and the edges between them; pixels of an SVG."""
    across, down, size = 108, 142, 72
    place = positions(run.tree)
    top = max(y for _, y in place.values())
    table = run.table.set_index("node")
    nodes, edges = [], []
    shared = _example_row(run.images[run.tree.root])
    for node in run.tree:
        x, y = place[node.name][0] * across + across / 2, (top - place[node.name][1]) * down + 18
        images = run.images[node.name]
        picture = segment_picture(images, shared if images.present[shared] else _example_row(images))
        scale = min(size / picture.shape[1], size / picture.shape[0])
        row = table.loc[node.name]
        nodes.append(
            {
                "name": node.name,
                "x": x,
                "y": y,
                "width": picture.shape[1] * scale,
                "height": picture.shape[0] * scale,
                "picture": image_uri(picture),
                "p1": row["p@1"],
                "limit": row["limit"],
                "chance": row["chance"],
                "coverage": row["coverage"],
            }
        )
        for child in node.children:
            cx, cy = place[child][0] * across + across / 2, (top - place[child][1]) * down + 18
            edges.append(f"M{x:g} {y + size + 34:g}V{(y + size + 34 + cy - 14) / 2:g}H{cx:g}V{cy - 14:g}")
    return {"nodes": nodes, "edges": edges, "width": len(run.tree.leaves()) * across, "height": (top + 1) * down + 4, "size": size}


def _segment_pictures(run: Run, first: str, second: str) -> dict[str, tuple[Any, Any]]:
    ids = run.embeddings[run.tree.root].image_ids
    a, b = ids.index(first), ids.index(second)
    return {name: (segment_picture(images, a), segment_picture(images, b)) for name, images in run.images.items()}


def _pairs(run: Run) -> list[tuple[Any, str]]:
    found = []
    for first, second in telling_pairs(run.embeddings, run.tree, run.params.report.pairs):
        explanation = explain_stored(first, second, run.tree, run.embeddings)
        found.append((explanation, figure_uri(pair_figure(explanation, _segment_pictures(run, first, second)))))
    return found


def _peer_pictures(run: Run, pair: int, reports: Path) -> list[tuple[str, str]]:
    """Name and picture of every baseline's explanation of a pair."""
    return [(name, file_uri(reports / "peers" / name / f"pair-{pair}.png")) for name in run.params.baselines]


def _overlays(run: Run) -> dict[str, Any]:
    """Test images beside their segments, and the legend."""
    leaves = run.tree.leaves(run.tree.root)
    colours = palette(len(leaves))
    root = run.images[run.tree.root]
    rows = np.flatnonzero(root.splits == "test")
    chosen = rows[np.linspace(0, len(rows) - 1, min(run.params.report.overlays, len(rows))).astype(int)]
    partitions = [read_manifest(run.segments, leaf) for leaf in leaves]
    examples = []
    for row in chosen:
        canvas = np.asarray(root.pixels[row])
        masks = np.stack([unpack_mask(p.packed[row].tobytes(), p.shape) for p in partitions])
        pair = np.concatenate([canvas, overlay(canvas, masks, colours)], axis=1)
        examples.append({"image_id": root.image_ids[row], "picture": image_uri(pair, 2)})
    legend = [
        {"name": leaf, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "present": float(part.present.mean())}
        for leaf, colour, part in zip(leaves, colours.tolist(), partitions, strict=True)
    ]
    return {"examples": examples, "legend": legend}


def _cost(run: Run) -> list[dict[str, Any]]:
    rows = []
    for report in run.nodes:
        x0, y0, x1, y1 = report["box"]
        rows.append(
            {
                "node": report["node"],
                "input": f"{x1 - x0}×{y1 - y0}",
                "start": report["start"],
                "images": report["present"]["train"],
                "epoch": report["best_epoch"],
                "seconds": report["seconds"],
                "rate": report["images_per_second"],
                "peak": report["peak_bytes"],
                "note": report["note"],
            }
        )
    return rows


def _splits(run: Run) -> list[dict[str, Any]]:
    root = run.embeddings[run.tree.root]
    rows = []
    for split in ("train", "val", "test"):
        labels = root.labels[root.splits == split]
        counts = np.bincount(labels, minlength=len(run.description.label_names))
        rows.append({"split": split, "images": len(labels), "counts": counts.tolist()})
    return rows


def _versions() -> Mapping[str, str]:
    packages = ("torch", "torchvision", "transformers", "pytorch-metric-learning", "dvc", "pandas", "pyarrow", "numpy", "pillow")
    return {"heml": __version__, "python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages}

"""`reports/index.html`: one self-contained page. Everything that comes from data is escaped by the template."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from heml import __version__
from heml.atomic import new_file, new_folder
from heml.baselines.measure import COLUMNS
from heml.errors import shown
from heml.evaluation.duplicates import COLUMNS as DUPLICATE_COLUMNS
from heml.evaluation.table import COLUMNS as NODE_COLUMNS
from heml.explanation.drawing import pair_svg, positions, segment_pictures, to_png
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import telling_pairs
from heml.explanation.pictures import overlay, palette
from heml.explanation.views import Gallery
from heml.images.store import SPLITS, Description, read_description
from heml.params import Params
from heml.reading import Numbers, PeerRow, SegmenterReport, fault, read_csv, read_json, read_node_report
from heml.reporting.bias import Bias, bias_section
from heml.reporting.curves import curve_figure, curve_table, reliability_figure
from heml.reporting.embedded import figure_uri, file_uri, image_uri, svg_uri
from heml.reporting.explorer import explorer
from heml.reporting.findings import Audit, findings
from heml.tree import Tree


@dataclass(frozen=True)
class Run:
    """Everything a report is made from."""

    params: Params
    tree: Tree
    description: Description
    metric: MetricTree
    table: pd.DataFrame
    duplicates: pd.DataFrame
    """`reports/duplicates.csv`."""
    audit: Audit
    bias: Bias
    reliability: pd.DataFrame
    """`reports/reliability.csv`."""
    metrics: dict[str, float]
    nodes: list[dict[str, Any]]
    """`reports/nodes/*.json`, in the order of the tree."""
    peers: list[dict[str, Any]]
    """`reports/peers/*/row.json`: the tree, then the baselines in their order."""
    segmenter: dict[str, Any]
    terms: list[str]
    """Of the data set and of the segmenter."""

    @property
    def gallery(self) -> Gallery:
        """The data set's images."""
        assert self.metric.gallery is not None
        return self.metric.gallery


def load_run(params: Params, root: Path = Path()) -> Run:
    """Read a finished run from the working folder `root`."""
    tree = Tree.from_params(params)
    metric = MetricTree.load(root / "models", root / "data")
    assert metric.gallery is not None

    def table(path: str, stage: str, columns: Sequence[str], names: Sequence[str] = ()) -> pd.DataFrame:
        return read_csv(root / "reports" / path, f"dvc repro {stage}", columns, names)

    nodes = table("nodes.csv", "evaluate", NODE_COLUMNS, ["node", "segments"])
    if nodes["node"].tolist() != [node.name for node in tree]:
        raise fault(root / "reports/nodes.csv", "does not list the tree's nodes", "dvc repro evaluate")
    return Run(
        params,
        tree,
        read_description(root / "data/images"),
        metric,
        nodes,
        table("duplicates.csv", "evaluate", DUPLICATE_COLUMNS, [name for name in DUPLICATE_COLUMNS if name[-2:] in ("_a", "_b")]),
        Audit.read(root / "reports/audit", tree, metric.gallery),
        Bias.read(root / "reports/bias", metric.gallery),
        table("reliability.csv", "evaluate", ["said", "found", "share"]),
        read_json(root / "reports/metrics.json", "dvc repro evaluate", Numbers),
        [read_node_report(root / "reports", node.name) for node in tree],
        [read_json(root / "reports/peers" / name / "row.json", "dvc repro", PeerRow) for name in ("tree", *params.baselines)],
        read_json(root / "reports/segmenter.json", "dvc repro segmenter", SegmenterReport),
        [(root / "reports/terms" / f"{name}.txt").read_text("utf-8").strip() for name in ("dataset", "segmenter")],
    )


def write_report(run: Run, reports: Path) -> None:
    """Write `index.html` and `plots/` into the folder `reports`."""
    curves = curve_table(run.nodes)
    pairs = [
        run.metric.explain(run.gallery.find(first), run.gallery.find(second))
        for first, second in telling_pairs(run.gallery.embeddings, run.tree, run.params.report.pairs)
    ]
    drawn = [(e, pair_svg(e, segment_pictures(e, {name: h.box for name, h in run.metric.headers.items()}))) for e in pairs]
    script = _part("page.js")
    with new_folder(reports / "plots") as partial:
        curves.to_csv(partial / "curves.csv", index=False, float_format="%.6g")
        pd.DataFrame(run.peers, columns=COLUMNS).to_csv(partial / "peers.csv", index=False, float_format="%.6g")
        if drawn:
            (partial / "pair.png").write_bytes(to_png(drawn[0][1]))
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            style=_part("page.css"),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            explorer=explorer(run.metric, run.audit.mistakes, run.table, run.nodes, run.params.evaluate.search)
            | {"labels": _label_names(run.description)},
            title=run.params.report.title,
            label=run.description.label,
            search=run.params.evaluate.search,
            label_names=_label_names(run.description),
            metrics=run.metrics,
            root=run.table.set_index("node").loc[run.tree.root].to_dict(),
            tree=_tree(run),
            rows=run.table.to_dict("records"),
            above=run.table.loc[run.table["p@1_low"] > run.table["majority"], "node"].tolist(),
            reliability=figure_uri(reliability_figure(run.reliability)) if len(run.reliability) else "",
            has_limit=bool(run.table["limit"].notna().any()),
            segmenter=run.segmenter,
            overlays=_overlays(run),
            findings=findings(run.audit, run.metric),
            bias=bias_section(run.bias, run.metric, run.params, run.gallery.data),
            curves=figure_uri(curve_figure(curves)),
            cost=_cost(run),
            pairs=[
                {
                    "first": e.first.name,
                    "second": e.second.name,
                    "text": str(e),
                    "figure": svg_uri(svg),
                    "peers": _peers(run, k, reports),
                }
                for k, (e, svg) in enumerate(drawn)
            ],
            peers=run.peers,
            splits=_splits(run),
            skipped=run.description.skipped,
            terms=run.terms,
            repeats=run.params.train.seeds,
            duplicates=run.duplicates.to_dict("records"),
            near_duplicate=run.params.evaluate.near_duplicate,
            params=yaml.safe_dump(run.params.model_dump(mode="json", exclude_none=True), sort_keys=False),
            versions=_versions(),
        )
    )
    with new_file(reports / "index.html") as partial:
        partial.write_text(page, "utf-8")


def _label_names(description: Description) -> list[str]:
    """Names of the label's values for people: “male 1”, where a value is but a number."""
    return [f"{description.label} {name}" if name.lstrip("-").isdigit() else name for name in description.label_names]


def _part(name: str) -> str:
    """A file that stands in the page as it is."""
    return (resources.files("heml.reporting") / name).read_text("utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("heml.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined)
    environment.finalize = lambda value: shown(value, "\n\t") if type(value) is str else value  # what is markup comes from here
    environment.filters["share"] = lambda v: "–" if v is None or v != v else f"{v * 100:.1f}".replace("-", "−")
    environment.filters["decimal"] = lambda v, digits=2: "–" if v is None or v != v else f"{v:.{digits}f}"
    environment.filters["milliseconds"] = lambda v: "–" if v is None or v != v else f"{v * 1000:.0f}"
    environment.filters["megabytes"] = lambda v: f"{v / 1e6:,.0f}"
    return environment


def _example(run: Run, node: str) -> int:
    """The test image (or any other) in which the node covers about the median area."""
    stored = run.gallery.embeddings[node]
    rows = stored.rows("test")
    rows = rows if len(rows) else np.flatnonzero(stored.present)
    covered = sum(run.gallery.partitions[leaf].area[rows] for leaf in run.tree.sees(node))
    return int(rows[np.argsort(covered, kind="stable")[len(rows) // 2]])


def _tree(run: Run) -> dict[str, Any]:
    """Nodes with their place, picture and scores, and the edges between them; pixels of an SVG."""
    across, down, size = 108, 142, 72
    place = positions(run.tree)
    top = max(y for _, y in place.values())
    table = run.table.set_index("node")
    nodes, edges = [], []
    shared = _example(run, run.tree.root)
    for node in run.tree:
        x, y = place[node.name][0] * across + across / 2, (top - place[node.name][1]) * down + 18
        present = run.gallery.embeddings[node.name].present[shared]
        view = run.gallery.view(shared if present else _example(run, node.name))
        picture = view.picture(run.tree.sees(node.name), run.metric.headers[node.name].box)
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


def _peers(run: Run, pair: int, reports: Path) -> list[tuple[str, str]]:
    """Name and picture of every baseline's explanation of a pair."""
    return [(name, file_uri(reports / "peers" / name / f"pair-{pair}.png")) for name in run.params.baselines]


def _overlays(run: Run) -> dict[str, Any]:
    """Test images beside their segments, and the legend."""
    leaves = run.tree.leaves(run.tree.root)
    colours = palette(len(leaves))
    rows = np.flatnonzero(run.gallery.canvases.splits == "test")
    chosen = rows[np.linspace(0, len(rows) - 1, min(run.params.report.overlays, len(rows))).astype(int)]
    partitions = [run.gallery.partitions[leaf] for leaf in leaves]
    examples = []
    for view in (run.gallery.view(int(row)) for row in chosen):
        masks = np.stack([view.masks[leaf] for leaf in leaves])
        pair = np.concatenate([view.canvas, overlay(view.canvas, masks, colours)], axis=1)
        examples.append({"image_id": view.name, "picture": image_uri(pair, 2)})
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
    stored = run.gallery.canvases
    rows = []
    for split in SPLITS:
        labels = stored.labels[stored.splits == split]
        counts = np.bincount(labels, minlength=len(run.description.label_names))
        there = counts[counts > 0]
        of_labels = {"labels": len(there), "fewest": there.min(initial=len(labels)), "most": there.max(initial=0)}
        rows.append({"split": split, "images": len(labels), "counts": counts.tolist()} | of_labels)
    return rows


def _versions() -> Mapping[str, str]:
    packages = ("torch", "torchvision", "transformers", "pytorch-metric-learning", "dvc", "pandas", "pyarrow", "numpy", "pillow")
    return {"heml": __version__, "python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages}

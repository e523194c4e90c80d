"""A finished run as the page needs it: everything read and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from heml.errors import fault
from heml.evaluation.duplicates import COLUMNS as DUPLICATE_COLUMNS
from heml.evaluation.mapping import read_map
from heml.evaluation.table import COLUMNS as NODE_COLUMNS
from heml.evaluation.table import SUMMARY
from heml.explanation.drawing import pair_svg, segment_pictures
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import Explanation
from heml.explanation.views import Gallery
from heml.images.shards import Description, read_description
from heml.params import Params
from heml.reading import ComparisonRow, Numbers, SegmenterReport, check_known, read_csv, read_json, read_node_report
from heml.reporting.audited import Audit
from heml.reporting.biased import Bias
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
    places: dict[str, dict[str, tuple[float, float]]]
    """`data/map.parquet`."""
    metrics: dict[str, float]
    nodes: list[dict[str, Any]]
    """`reports/nodes/*.json`, in the order of the tree."""
    comparison: list[dict[str, Any]]
    """`reports/comparison/*/row.json`: the tree, then the baselines in their order."""
    segmenter: dict[str, Any]
    terms: list[str]
    """Of the data set and of the segmenter."""
    reports: Path
    """The folder `reports`, for what stands in the page as it is."""

    @property
    def labels(self) -> list[str]:
        """Names of the label's values for people."""
        return label_names(self.description)

    @property
    def drawn(self) -> list[tuple[str, str]]:
        """The pairs that are drawn, and that other methods explain too."""
        return self.audit.pairs[: self.params.report.pairs]

    @cached_property
    def drawing(self) -> tuple[Explanation, str] | None:
        """The first of them explained, and as SVG; None where there is none."""
        for first, second in self.drawn[:1]:
            explanation = self.metric.explain(self.gallery.find(first), self.gallery.find(second))
            boxes = {name: header.box for name, header in self.metric.headers.items()}
            return explanation, pair_svg(explanation, segment_pictures(explanation, boxes))
        return None

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
    metrics = read_json(root / "reports/metrics.json", "dvc repro evaluate", Numbers)
    check_known(root / "reports/metrics.json", "dvc repro evaluate", metrics, SUMMARY, "a metric")
    return Run(
        params,
        tree,
        read_description(root / "data/images"),
        metric,
        nodes,
        table(
            "duplicates.csv",
            "duplicates",
            DUPLICATE_COLUMNS,
            [name for name in DUPLICATE_COLUMNS if name[-2:] in ("_a", "_b")],
        ),
        Audit.read(root / "reports/audit", tree, metric.gallery),
        Bias.read(root / "reports/bias", metric.gallery),
        table("reliability.csv", "evaluate", ["said", "found", "share"]),
        read_map(root / "data/map.parquet"),
        metrics,
        [read_node_report(root / "reports", node.name) for node in tree],
        [
            read_json(root / "reports/comparison" / name / "row.json", "dvc repro", ComparisonRow)
            for name in ("tree", *params.baselines)
        ],
        read_json(root / "reports/segmenter.json", "dvc repro segmenter", SegmenterReport),
        [(root / "reports/terms" / f"{name}.txt").read_text("utf-8").strip() for name in ("dataset", "segmenter")],
        root / "reports",
    )


def label_names(description: Description) -> list[str]:
    """Names of the label's values for people: “male 1”, where a value is but a number."""
    return [f"{description.label} {name}" if name.lstrip("-").isdigit() else name for name in description.label_names]

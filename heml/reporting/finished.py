"""A finished run as the page needs it: everything read and checked once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
from heml.run import Run
from heml.tree import Tree

EVALUATE = "dvc repro evaluate"
"""Makes the tables again."""


@dataclass(frozen=True)
class Finished:
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
    run: Run
    """Where it lies, for what stands in the page as it is."""

    @classmethod
    def read(cls, params: Params, run: Run) -> Finished:
        """Read it.

        Raises:
            HemlError: something is missing, damaged or of another tree.
        """
        tree = Tree.from_params(params)
        metric = MetricTree.load(run.models, run.data)
        assert metric.gallery is not None
        nodes = read_csv(run.table, EVALUATE, NODE_COLUMNS, ["node", "segments"])
        if nodes["node"].tolist() != [node.name for node in tree]:
            raise fault(run.table, "does not list the tree's nodes", EVALUATE)
        metrics = read_json(run.metrics, EVALUATE, Numbers)
        check_known(run.metrics, EVALUATE, metrics, SUMMARY, "a metric")
        named = [name for name in DUPLICATE_COLUMNS if name[-2:] in ("_a", "_b")]
        return cls(
            params,
            tree,
            read_description(run.images),
            metric,
            nodes,
            read_csv(run.duplicates, "dvc repro duplicates", DUPLICATE_COLUMNS, named),
            Audit.read(run.audit, tree, metric.gallery),
            Bias.read(run.bias, metric.gallery),
            read_csv(run.reliability, EVALUATE, ["said", "found", "share"]),
            read_map(run.map),
            metrics,
            [read_node_report(run, node.name) for node in tree],
            [
                read_json(run.comparison(name) / "row.json", "dvc repro", ComparisonRow)
                for name in ("tree", *params.baselines)
            ],
            read_json(run.segmenter_report, "dvc repro segmenter", SegmenterReport),
            [run.terms(name).read_text("utf-8").strip() for name in ("dataset", "segmenter")],
            run,
        )

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


def label_names(description: Description) -> list[str]:
    """Names of the label's values for people: “male 1”, where a value is but a number."""
    return [f"{description.label} {name}" if name.lstrip("-").isdigit() else name for name in description.label_names]

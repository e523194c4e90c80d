"""Where everything of a run lies: what `dvc.yaml` names as outs, named once for the code."""

from __future__ import annotations

from pathlib import Path


class Run:
    """The layout of a run; nothing is opened.

    Args:
        root: the folder of params.yaml.
        data, models, reports: its three folders where they lie elsewhere, as those of a published run.

    Example:
        >>> str(Run().segment("hair"))
        'data/segments/segment=hair'
        >>> str(Run("/runs/1").node("hair"))
        '/runs/1/models/nodes/hair.safetensors'
        >>> str(Run(models="/published").metric)
        '/published/metric.json'
    """

    def __init__(
        self,
        root: str | Path = "",
        data: str | Path = "data",
        models: str | Path = "models",
        reports: str | Path = "reports",
    ) -> None:
        self.root = Path(root)
        self.data = self.root / data
        self.models = self.root / models
        self.reports = self.root / reports

        self.named = self.data / "named"
        """Hashes of what params.yaml names by a path."""
        self.images = self.data / "images"
        self.canvases = self.data / "canvases"
        self.labelmaps = self.data / "labelmaps"
        self.segments = self.data / "segments"
        self.recipes = self.data / "recipes"
        self.embeddings = self.data / "embeddings"
        self.map = self.data / "map.parquet"

        self.segmenter = self.models / "segmenter"
        self.checkpoints = self.models / "checkpoints"
        """No out: the segmenter's training so far."""
        self.nodes = self.models / "nodes"
        self.metric = self.models / "metric.json"

        self.segmenter_report = self.reports / "segmenter.json"
        self.table = self.reports / "nodes.csv"
        self.metrics = self.reports / "metrics.json"
        self.reliability = self.reports / "reliability.csv"
        self.duplicates = self.reports / "duplicates.csv"
        self.audit = self.reports / "audit"
        self.pairs = self.audit / "pairs.csv"
        """The telling pairs, which the page and the baselines explain."""
        self.bias = self.reports / "bias"
        self.bias_metrics = self.reports / "bias.json"
        self.plots = self.reports / "plots"
        self.index = self.reports / "index.html"

    def segment(self, name: str) -> Path:
        """A segment's partition of the manifest, a folder."""
        return self.segments / f"segment={name}"

    def recipe(self, segment: str) -> Path:
        """How training exchanges a segment."""
        return self.recipes / f"{segment}.parquet"

    def node(self, name: str) -> Path:
        """A node's weights."""
        return self.nodes / f"{name}.safetensors"

    def report(self, node: str) -> Path:
        """What a node's training tells."""
        return self.reports / "nodes" / f"{node}.json"

    def live(self, kind: str, name: str) -> Path:
        """No out: the curve so far of one of the `nodes`, `students` or `baselines`, while it trains."""
        return self.reports / "live" / kind / f"{name}.json"

    def student(self, name: str) -> Path:
        """A student's weights."""
        return self.models / "students" / f"{name}.safetensors"

    def student_report(self, name: str) -> Path:
        """What a student's training tells, and what it reaches and costs beside its teacher."""
        return self.reports / "students" / f"{name}.json"

    def baseline(self, name: str) -> Path:
        """A baseline's weights."""
        return self.models / "baselines" / f"{name}.safetensors"

    def baseline_report(self, name: str) -> Path:
        """What a baseline's training tells."""
        return self.reports / "baselines" / f"{name}.json"

    def comparison(self, name: str) -> Path:
        """What a baseline, or the `tree`, reaches, costs and points at, a folder."""
        return self.reports / "comparison" / name

    def terms(self, name: str) -> Path:
        """Licence and terms of the `dataset` or of the `segmenter`."""
        return self.reports / "terms" / f"{name}.txt"

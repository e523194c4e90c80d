"""All sections of `params.yaml`, and what one asks of another."""

from __future__ import annotations

from pydantic import Field, ValidationError, model_validator

from heml.errors import HemlError
from heml.meant import meant
from heml.params.baselines import Baseline
from heml.params.bias import Bias, Recompose
from heml.params.dataset import Dataset
from heml.params.evaluation import Embed, Evaluate, Metric
from heml.params.faults import explain
from heml.params.methods import WITH_CENTRES
from heml.params.report import Report
from heml.params.section import Name, Strict
from heml.params.segmenter import Segmenter
from heml.params.segments import Canvas, Segment
from heml.params.students import Student
from heml.params.training import Train
from heml.params.tree import Tree


class Params(Strict):
    """The whole of `params.yaml`. Every section and every level stands there, if only as `{}`: DVC looks each of them
    up."""

    dataset: Dataset
    segmenter: Segmenter
    segments: dict[Name, Segment] = Field(min_length=2, max_length=64)
    canvas: Canvas
    tree: Tree
    train: Train
    students: dict[Name, Student]
    baselines: dict[Name, Baseline]
    embed: Embed
    metric: Metric
    evaluate: Evaluate
    bias: Bias
    recompose: dict[Name, Recompose]
    report: Report

    @property
    def _nodes(self) -> list[str]:
        return [name for level in self.tree.levels() for name in level]

    def _known(self, name: str) -> str:
        return f"it has {', '.join(self._nodes)}{meant(name, self._nodes)}"

    @model_validator(mode="after")
    def _mirrors_are_mutual(self) -> Params:
        for name, segment in self.segments.items():
            if segment.mirror is not None and (
                segment.mirror not in self.segments or self.segments[segment.mirror].mirror != name
            ):
                raise ValueError(
                    f"segments.{name}.mirror: {segment.mirror!r} must be a segment whose mirror is {name!r}"
                )
        return self

    @model_validator(mode="after")
    def _teachers_are_nodes(self) -> Params:
        for name, student in self.students.items():
            if student.teacher not in self._nodes:
                raise ValueError(
                    f"students.{name}.teacher: {student.teacher!r} is no node of the tree;"
                    f" {self._known(student.teacher)}"
                )
        return self

    @model_validator(mode="after")
    def _new_labels_are_found_among_themselves(self) -> Params:
        if self.dataset.split_by == "label" and self.evaluate.search != "within":
            raise ValueError(
                "evaluate.search: must be `within` with dataset.split_by: label, since no image of train has a label of"
                " test"
            )
        return self

    @model_validator(mode="after")
    def _recomposed_are_leaves(self) -> Params:
        for name in self.recompose:
            if name not in (leaves := self.tree.level_0):
                raise ValueError(
                    f"recompose.{name}: no leaf of the tree; it has {', '.join(leaves)}{meant(name, leaves)}"
                )
        return self

    @model_validator(mode="after")
    def _balanced_are_segments(self) -> Params:
        for name in self.metric.balance:
            if name not in self.segments:
                near = meant(name, self.segments)
                raise ValueError(f"metric.balance: {name!r} is no segment; there are {', '.join(self.segments)}{near}")
        return self

    @model_validator(mode="after")
    def _off_are_nodes(self) -> Params:
        for name in self.metric.off:
            if name not in self._nodes:
                raise ValueError(f"metric.off: {name!r} is no node of the tree; {self._known(name)}")
        return self

    @model_validator(mode="after")
    def _baselines_can_be_trained(self) -> Params:
        if "tree" in self.baselines:
            raise ValueError("baselines.tree: the tree itself has this name in the report; choose another")
        for name, baseline in self.baselines.items():
            train = self.baseline(name)
            if baseline.method == "grouping":
                if train.loss in WITH_CENTRES:
                    raise ValueError(
                        f"baselines.{name}.loss: {train.loss!r} has class centres, which groups cannot share; choose"
                        " another"
                    )
                if train.embedding_dim < baseline.groups:
                    raise ValueError(
                        f"baselines.{name}.groups: at most embedding_dim ({train.embedding_dim}), not {baseline.groups}"
                    )
        return self

    def node(self, name: str) -> Train:
        """The training parameters of one node: `train`, with what the node overrides."""
        for k, level in enumerate(self.tree.levels()):
            if name in level:
                own = level[name].overrides()
                if self.train.epochs and "epochs" not in own:
                    own["epochs"] = max(round(self.train.epochs * self.train.epochs_decay**k), 1)
                return self._train(own, f"tree.level_{k}.{name}")
        raise HemlError(f"params.yaml: tree has no node {name!r}; {self._known(name)}")

    def baseline(self, name: str) -> Train:
        """The training parameters of one baseline: `train`, with what the baseline overrides."""
        if name not in self.baselines:
            raise HemlError(f"params.yaml: baselines has no {name!r}; it has {', '.join(self.baselines) or 'none'}")
        return self._train(self.baselines[name].overrides(), f"baselines.{name}")

    def _train(self, own: dict[str, object], where: str) -> Train:
        if own.get("loss", self.train.loss) != self.train.loss:  # what `train` says is meant for its own
            own = {"loss_options": {}, "margin": None, "miner": None, "distance": None} | own
        try:
            return Train.model_validate(self.train.model_dump() | own)
        except ValidationError as error:
            raise HemlError(f"params.yaml: {explain(error, Train, where)}") from None

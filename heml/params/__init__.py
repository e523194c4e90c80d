"""Every parameter of the pipeline: its type, default, unit and meaning, a module a section. `params.yaml` is checked
against this on every read."""

from heml.losses import MINERS
from heml.params.baselines import (
    METHOD_KINDS,
    AvslSettings,
    Baseline,
    BaselineBase,
    DimlSettings,
    GroupingSettings,
    TraditionalSettings,
)
from heml.params.bias import Bias, Recompose
from heml.params.dataset import (
    AvatarsDataset,
    Dataset,
    DatasetBase,
    FolderDataset,
    HubDataset,
    Limit,
    OwnImages,
    Rule,
    Split,
)
from heml.params.evaluation import Embed, Evaluate, Metric
from heml.params.loading import load_params, parse_params
from heml.params.methods import DEPTHS, EMBEDDERS, LOSSES, OF_PARTS, TRUNKS, WITH_CENTRES, Trunk, split_trunk
from heml.params.report import Report
from heml.params.section import Distance, Name, Size, Strict
from heml.params.sections import Params
from heml.params.segmenter import Segmenter
from heml.params.segments import Canvas, Segment
from heml.params.students import Student
from heml.params.training import Train
from heml.params.tree import LEVELS, Inner, Leaf, Tree

__all__ = [
    "DEPTHS",
    "EMBEDDERS",
    "LEVELS",
    "LOSSES",
    "METHOD_KINDS",
    "MINERS",
    "OF_PARTS",
    "TRUNKS",
    "WITH_CENTRES",
    "AvatarsDataset",
    "AvslSettings",
    "Baseline",
    "BaselineBase",
    "Bias",
    "Canvas",
    "Dataset",
    "DatasetBase",
    "DimlSettings",
    "Distance",
    "Embed",
    "Evaluate",
    "FolderDataset",
    "GroupingSettings",
    "HubDataset",
    "Inner",
    "Leaf",
    "Limit",
    "Metric",
    "Name",
    "OwnImages",
    "Params",
    "Recompose",
    "Report",
    "Rule",
    "Segment",
    "Segmenter",
    "Size",
    "Split",
    "Strict",
    "Student",
    "TraditionalSettings",
    "Train",
    "Tree",
    "Trunk",
    "load_params",
    "parse_params",
    "split_trunk",
]

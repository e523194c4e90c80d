"""Every parameter of the pipeline: its type, default, unit and meaning. `params.yaml` is checked against this on every
read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from heml.errors import HemlError
from heml.meant import meant

LEVELS = 8
"""Levels a tree can have: `level_0` (leaves) to `level_7`. DVC needs one stage definition per level."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
"""A segment's or node's name: it becomes a file, a folder and a DVC stage name."""

NotNegative = Annotated[float, Field(ge=0)]


class Strict(BaseModel):
    """A section that rejects unknown keys, so that a typing error is found rather than ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Split(Strict):
    """Fractions of the images in each split, used where the data set brings none."""

    train: float = Field(0.6, gt=0, lt=1)
    """To learn from."""
    val: float = Field(0.15, gt=0, lt=1)
    """To choose epochs and fit the tree's weights on."""
    test: float = Field(0.25, gt=0, lt=1)
    """To be judged on."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {self.train + self.val + self.test:g}")
        return self


class DatasetBase(Strict):
    """What every data set has."""

    path: Path
    """Where the images come from; DVC watches it."""
    label: str = Field(min_length=1)
    """The label whose metric is learnt."""
    seed: int = Field(0, ge=0)
    """Of whatever is drawn: splits, subsets, and the avatars themselves."""
    split: Split = Split()
    """Fractions of the images in each split, where the data set brings none; they sum to 1."""
    split_by: Literal["image", "label"] = "image"
    """`label`: no label is in two splits, so that a metric is judged on classes that it has never seen; `split` is then
    of labels."""


class AvatarsDataset(DatasetBase):
    """Illustrated people drawn from known probability tables; `path` is the file that holds the tables."""

    name: Literal["avatars"]
    label: Literal["persona"] = "persona"
    """The only one that they have."""
    images: int = Field(1000, ge=20, le=1_000_000)
    """How many are drawn."""
    size: int = Field(128, ge=32, le=1024)
    """Side of an image, pixels."""
    bias: float = Field(0.9, ge=0.5, le=1)
    """Probability that, in `train` only, the biased part takes a colour of its label's half; 0.5 plants no bias."""
    personas: int | None = Field(None, ge=6)
    """So many identities instead of two kinds of people: of fixed appearance, in varied pose, light, expression,
    clothes and glasses."""

    @model_validator(mode="after")
    def _identities_have_images_and_no_bias(self) -> AvatarsDataset:
        if self.personas is not None:
            if "bias" in self.model_fields_set and self.bias != 0.5:
                raise ValueError(
                    "bias: ties a part to one of two kinds of people, and with `personas` there are none; remove one of"
                    " the two"
                )
            if self.images < 2 * self.personas:
                raise ValueError(
                    f"personas: {self.personas} identities need two images each, so at least {2 * self.personas}, not"
                    f" {self.images}"
                )
        return self


class Size(Strict):
    """Height and width, pixels."""

    height: int = Field(ge=16, le=2048)
    """Pixels."""
    width: int = Field(ge=16, le=2048)
    """Pixels."""


class Rule(Strict):
    """A label that is read off the image: whether some classes cover enough of it."""

    classes: list[str] = Field(min_length=1)
    """Classes of the masks or of `model`, by name, whose pixels are counted together."""
    area: float = Field(0.005, gt=0, lt=1)
    """At least this fraction of the image's pixels."""
    model: str | None = None
    """The SegFormer that says so, a hub id or local folder; null: the data set's own masks."""
    revision: str | None = None
    """Commit of the hub repository `model`."""
    size: Size = Size(height=512, width=512)
    """What images are brought to for `model`."""
    batch_size: int = Field(8, ge=1)
    """Of `model`."""

    @model_validator(mode="after")
    def _network_options_need_a_network(self) -> Rule:
        idle = sorted(self.model_fields_set & {"revision", "size", "batch_size"})
        if self.model is None and idle:
            raise ValueError(
                f"{', '.join(idle)}: of a `model`, which is not named; name it, or remove them to read the masks"
            )
        return self


class _OwnImages(DatasetBase):
    """What data sets of encoded images have in common."""

    rule: Rule | None = None
    """How `label` is read off the images; null: it is a column."""
    on_bad_image: Literal["error", "skip"] = "error"
    """What a corrupt image or mask does: end the run, or be left out and listed in the report."""
    masks: Literal["upright", "stored"] | None = None
    """How masks lie over images that EXIF turns: over the image as it is shown, or over its pixels as they are stored;
    null: the run ends where there are such, and asks."""
    max_megapixels: float = Field(50, gt=0)
    """An image with more pixels is taken for a decompression bomb."""


class FolderDataset(_OwnImages):
    """A folder of images: `images/`, `labels.csv` (not needed with `rule`) and, for masks, `masks/` and
    `classes.json`."""

    name: Literal["folder"]


Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A git commit in full: a branch or tag may move, and a run could not be repeated."""


class Limit(Strict):
    """How many images of a split are used at most, drawn by `dataset.seed`, each label with its share; null: all.
    By `split_by: label`, labels as a whole but for the last."""

    train: int | None = Field(None, ge=4)
    """Images."""
    val: int | None = Field(None, ge=2)
    """Images."""
    test: int | None = Field(None, ge=2)
    """Images."""


class HubDataset(_OwnImages):
    """Parquet files of a data set on the Hugging Face hub; `path` is the card that says which files, columns and
    classes."""

    name: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    """Id of the repository, as owner/name."""
    revision: Commit
    """The commit, all 40 digits of its hash."""
    limit: Limit = Limit()
    """How many images of a split are used at most; null: all."""


Dataset = Annotated[AvatarsDataset | FolderDataset | HubDataset, Field(discriminator="name")]


class Segmenter(Strict):
    """Where the segments come from."""

    source: Literal["masks", "finetune", "pretrained"] = "finetune"
    """`masks`: the data set's own; `finetune`: fit a SegFormer to them; `pretrained`: load one."""
    size: Size = Size(height=128, width=128)
    """Images are brought to this size for the SegFormer; label maps are kept at it (`masks`: at most it)."""
    batch_size: int = Field(32, ge=1)
    """Images at a time, in the fit and when all are segmented."""
    model: str | None = None
    """`pretrained`: hub id or local folder. `finetune`: weights to start from (default: none, from scratch)."""
    revision: str | None = None
    """Commit of the hub repository `model`; required for a hub id, so that a run can be repeated."""
    architecture: Literal["tiny", "b0", "b1", "b2", "b3", "b4", "b5"] = "tiny"
    """`finetune` without `model`: `tiny` has 0.5 M parameters and a stride of 2; B0 to B5 are the paper's."""
    epochs: int = Field(20, ge=1)
    """`finetune`: passes over the training images."""
    lr: float = Field(2e-3, gt=0)
    """`finetune`: peak learning rate of AdamW under a one-cycle schedule."""
    class_weight_power: float = Field(0.5, ge=0, le=1)
    """`finetune`: a class's weight is (1 / its share of the pixels) to this power; 0 weighs all alike."""
    coarse: float = Field(0.0, ge=0, le=1)
    """`finetune`: share of the epochs, the first ones, that see images at half their size, for half the cost."""
    threads: int = Field(2, ge=1, le=256)
    """`finetune`: CPU threads; the last bits of the weights depend on it."""
    augment: bool = True
    """`finetune`: random scale, shift, brightness, contrast and colour. Never mirrored: left and right are classes."""
    seed: int = Field(0, ge=0)
    """`finetune`: of weights, order and augmentation."""

    @model_validator(mode="after")
    def _model_where_needed(self) -> Segmenter:
        if self.source == "pretrained" and not self.model:
            raise ValueError("source 'pretrained' needs `model`: a hub id or a local folder")
        if self.source == "masks" and self.model:
            raise ValueError("source 'masks' uses no `model`; remove it, or set source to 'pretrained' or 'finetune'")
        smallest = 64 if self.coarse else 32
        if self.source == "finetune" and min(self.size.height, self.size.width) < smallest:
            raise ValueError(
                f"size: must be {smallest} or more a side, since a SegFormer reads 32 at least, and `coarse` halves"
                " them"
            )
        return self


class Segment(Strict):
    """One segment: the segmenter classes that make it up."""

    classes: list[str] = Field(min_length=1)
    """Their names, as the segmenter or `classes.json` has them."""
    dilate: int = Field(0, ge=0, le=64)
    """Grow the mask by so many canvas pixels."""
    min_area: float = Field(0.0005, ge=0, lt=1)
    """A smaller mask (fraction of the canvas) counts as absent."""
    mirror: Name | None = None
    """The segment this one becomes in a mirrored image, as l_eye and r_eye; null: itself."""
    coverage: float = Field(0.5, gt=0, le=1)
    """A canvas pixel belongs to the segment when at least this fraction of it does; lower keeps thin parts."""


class Canvas(Size):
    """Every image at training size."""

    height: int = Field(64, ge=16, le=1024)
    """Pixels."""
    width: int = Field(64, ge=16, le=1024)
    """Pixels."""
    fit: Literal["pad", "stretch"] = "pad"
    """Keep the aspect ratio and pad, or stretch."""


LOSSES: dict[str, dict[str, float]] = {
    "triplet_margin": {"margin": 0.1},
    "batch_hard_triplet": {"margin": 0.1},
    "snr": {"margin": 0.1, "regularizer": 0.1},
    "contrastive": {"pos_margin": 0.0, "neg_margin": 1.0},
    "margin": {"margin": 0.2, "beta": 1.2, "nu": 0.0},
    "angular": {"alpha": 40.0},
    "multi_similarity": {"alpha": 2.0, "beta": 50.0, "base": 0.5},
    "ntxent": {"temperature": 0.07},
    "circle": {"relaxation": 0.4, "scale": 80.0},
    "proxy_anchor": {"margin": 0.1, "alpha": 32.0},
    "subcenter_arcface": {"angle": 28.6, "scale": 64.0, "sub_centers": 3.0},
    "group": {"iterations": 1.0, "anchors": 2.0, "scale": 10.0, "temperature": 10.0},
}
"""Losses, their options and the options' defaults; docs/methods.md says where each comes from."""

WITH_CENTRES = ("proxy_anchor", "subcenter_arcface", "group")
"""Losses that have a centre per class, in the dimensions of the whole embedding."""

MINERS = ("all", "semihard", "hard", "batch_hard", "distance_weighted", "multi_similarity", "angular", "none")

TRUNKS = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *(
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_v2_s",
        "efficientnet_lite0",
    ),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "convnext_tiny", "convnext_small"),
)

DEPTHS = (1, 2, 3)
"""Where a trunk can end early, as in `resnet18:3`: at a quarter, an eighth or a sixteenth of the image's size."""


def split_trunk(name: str) -> tuple[str, int | None]:
    """A trunk's whole name and where it ends; None: it is whole.

    >>> split_trunk("resnet18:3"), split_trunk("resnet18")
    (('resnet18', 3), ('resnet18', None))
    """
    whole, _, depth = name.partition(":")
    return whole, int(depth) if depth else None


EMBEDDERS: dict[str, dict[str, float]] = {
    "plain": {},
    "batch_drop_block": {},
    "horde": {"orders": 5.0, "dims": 8192.0},
    "global_descriptors": {},
    "divide_conquer": {"learners": 8.0, "together": 0.05, "every": 2.0},
}
"""Embedders, their options and the options' defaults, which are their papers'; docs/methods.md says what they mean."""

OF_PARTS = ("batch_drop_block", "divide_conquer")
"""Embedders whose losses see a part of the dimensions each."""

Distance = Annotated[str, Field(pattern=r"^(snr|euclidean|cosine|l[1-9][0-9]*(\.[0-9]+)?)$")]
"""`snr`, `euclidean`, `cosine`, or an Lp distance as `l1`, `l3`, `l1.5` …"""


def _one_of(names: Iterable[str], shown: str = "") -> AfterValidator:
    known = list(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"choose from {shown or ', '.join(known)}")
        return value

    return AfterValidator(check)


Trunk = Annotated[
    str,
    _one_of(
        [*TRUNKS, *(f"{name}:{depth}" for name in TRUNKS for depth in DEPTHS)],
        f"{', '.join(TRUNKS)}; each may end early, as in resnet18:3 (1 to 3)",
    ),
]


class Train(Strict):
    """How a node learns. Any key but `epochs_decay` and the last eight can be overridden for one node in `tree`."""

    epochs: int = Field(5, ge=0, le=1000)
    """Passes over the node's training images; 0: it stays as it starts."""
    epochs_decay: float = Field(1.0, gt=0, le=1)
    """A node of level k trains for `epochs` · `epochs_decay`^k, rounded, at least 1, unless the tree gives it its
    own."""
    validate_every: int = Field(1, ge=0)
    """P@1 on `val` is measured after the last epoch and every so many before it, and the best measured epoch is kept;
    it costs as many forward passes as an epoch's training. The start is measured too where this is 1. 0: never, and the
    last epoch is kept."""
    patience: int | None = Field(None, ge=1)
    """End after so many epochs without a better P@1 on `val`; null: never."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """`sgd` has Nesterov's momentum of 0.9."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(1e-2, ge=0)
    """Of the network's weights; a loss's own have none."""
    schedule: Literal["one_cycle", "cosine", "cyclic", "constant"] = "one_cycle"
    """Of the learning rate, per step. `cyclic`: a triangle per epoch between a tenth of `lr` and `lr`."""
    warmup: float = Field(0.3, ge=0, lt=1)
    """Fraction of the steps in which the rate rises: linearly, for `one_cycle` along a cosine; without effect on
    `cyclic`."""
    clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; null: any."""
    swa: float = Field(0.0, ge=0, lt=1)
    """Stochastic weight averaging: the last so many of the epochs (fraction) are averaged, BatchNorm measured anew, and
    the average is kept if it does at least as well on `val` as the best epoch."""
    batch_size: int = Field(32, ge=4)
    """Images at a time; a multiple of `per_class`, and at least twice it."""
    per_class: int = Field(8, ge=2)
    """Images of each class in a batch (P×K sampling: `batch_size` = P classes × K `per_class`)."""
    loss: Annotated[str, _one_of(LOSSES)] = "snr"
    """What is minimised."""
    margin: float | None = Field(None, ge=0)
    """Of the losses that have a `margin` in `LOSSES`; null: the loss's own default."""
    loss_options: dict[str, float] = {}
    """The loss's other options, by name (`LOSSES`)."""
    loss_lr: float = Field(1e-2, gt=0)
    """Learning rate of a loss's own weights: proxies, class centres, β."""
    miner: Annotated[str, _one_of(MINERS)] | None = None
    """Which triplets or pairs of a batch are used; null: what suits the loss."""
    distance: Distance | None = None
    """What the loss compares under, and `val` is scored under; null: the loss's own."""
    flip: bool = True
    """Mirror half of the images with their masks. A node that holds one of two mirrored segments
    (`segments.<name>.mirror`) and not the other is never mirrored: a mirrored l_eye is no l_eye."""
    shift: float = Field(0.05, ge=0, le=0.5)
    """Move the segment by up to this fraction of the input's height and width."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Turn by up to so many degrees, either way."""
    crop: float = Field(0.0, ge=0, lt=1)
    """Enlarge a random part that leaves out up to this fraction of height and width."""
    color: float = Field(0.0, ge=0, le=1)
    """Change brightness, contrast and saturation by up to this fraction."""
    blur: float = Field(0.0, ge=0, le=5)
    """Gaussian blur with a standard deviation of up to so many pixels, for half of the images."""
    erase: float = Field(0.0, ge=0, le=1)
    """Probability that a random rectangle (2 to 33 % of the area) is erased."""
    init: Literal["average", "scratch", "best_child"] = "average"
    """Inner nodes: start from the children's weighted average, from the common initialisation, or the better child."""
    weighting: Literal["uniform", "val_p1", "area"] = "uniform"
    """Inner nodes, `average`: what the children's weights are proportional to."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward and backward pass on a GPU; weights and validation stay float32. A CPU always trains in float32:
    oneDNN's bfloat16 convolutions give wrong numbers on maps one pixel wide."""
    threads: int = Field(1, ge=1, le=256)
    """CPU threads of a node's training. The last bits of the weights depend on it, so it is a parameter and not the
    machine's number of cores; nodes side by side (`heml repro`) fill the cores, and two of one thread do more than one
    of two."""
    stored: Literal["float32", "float16", "bfloat16"] = "float16"
    """Of the matrices and convolutions in the files of weights; parents start from them, and everything computes in
    float32."""
    trunk: Trunk = "resnet18"
    """The network below the embedding; `:1` to `:3` end it early."""
    weights: str | None = None
    """The trunk's weights to start from: `imagenet`, a local .safetensors, .pth or .pt file, or null: none."""
    embedder: Annotated[str, _one_of(EMBEDDERS)] = "plain"
    """What makes an embedding of the trunk's features, with the feature augmentation that belongs to it."""
    embedder_options: dict[str, float] = {}
    """The embedder's options, by name (`EMBEDDERS`)."""
    hidden_dim: int = Field(128, ge=1)
    """Width of the layer between trunk and embedding."""
    embedding_dim: int = Field(64, ge=2)
    """Dimensions of an embedding."""
    seed: int = Field(0, ge=0)
    """Of the common initialisation, batches and augmentation."""
    seeds: int = Field(1, ge=1, le=32)
    """Grow the tree so many times, from `seed`, `seed` + 1, …; the tables then have mean and standard deviation of
    P@1."""

    @model_validator(mode="after")
    def _batch_holds_two_classes(self) -> Train:
        if self.batch_size % self.per_class or self.batch_size < 2 * self.per_class:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of per_class ({self.per_class}) and at least"
                " twice it"
            )
        return self

    @model_validator(mode="after")
    def _what_needs_a_score_has_one(self) -> Train:
        needs = {"patience": self.patience, "weighting": self.weighting == "val_p1", "init": self.init == "best_child"}
        if not self.validate_every and any(needs.values()):
            raise ValueError(
                f"validate_every: 0 measures no P@1 on val, which {', '.join(k for k, v in needs.items() if v)} needs"
            )
        return self

    @model_validator(mode="after")
    def _options_are_the_losss(self) -> Train:
        known = LOSSES[self.loss]
        for name in self.loss_options:
            if name not in known:
                raise ValueError(f"loss_options: {self.loss!r} has no {name!r}; its options: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _options_are_the_embedders(self) -> Train:
        known = EMBEDDERS[self.embedder]
        for name, value in self.embedder_options.items():
            if name not in known:
                raise ValueError(
                    f"embedder_options: {self.embedder!r} has no {name!r}; its options: {', '.join(known) or 'none'}"
                )
            if value <= 0:
                raise ValueError(f"embedder_options: {name} must be above 0, not {value:g}")
        learners = self.of_embedder.get("learners", 1)
        if self.embedding_dim < 2 * learners:
            raise ValueError(
                f"embedding_dim ({self.embedding_dim}) must be at least 2 for each of the {learners:g} learners"
            )
        return self

    @model_validator(mode="after")
    def _parts_share_no_centres(self) -> Train:
        if self.embedder in OF_PARTS and self.loss in WITH_CENTRES:
            raise ValueError(
                f"embedder {self.embedder!r} trains parts of the embedding, for which {self.loss!r} has no class"
                " centres"
            )
        return self

    @property
    def options(self) -> dict[str, float]:
        """Every option of the loss."""
        options = LOSSES[self.loss] | self.loss_options
        return options | {"margin": self.margin} if self.margin is not None and "margin" in options else options

    @property
    def of_embedder(self) -> dict[str, float]:
        """Every option of the embedder."""
        return EMBEDDERS[self.embedder] | self.embedder_options


_SHARED = (
    "epochs_decay",
    "trunk",
    "weights",
    "embedder",
    "embedder_options",
    "hidden_dim",
    "embedding_dim",
    "seed",
    "seeds",
)
"""What all nodes must share for their weights to be averaged."""


class _Node(Strict):
    def overrides(self) -> dict[str, Any]:
        """The training parameters this node sets for itself."""
        return self.model_dump(exclude={"left", "right"}, exclude_unset=True)


def _optional(keys: Iterable[str]) -> dict[str, Any]:
    """Keys of `Train` as fields that may be left out."""
    fields = {key: Train.model_fields[key] for key in keys}
    return {
        key: (Annotated[field.annotation, *field.metadata] | None if field.metadata else field.annotation | None, None)  # type: ignore[operator]
        for key, field in fields.items()
    }


_overridable = _optional(key for key in Train.model_fields if key not in _SHARED)
Leaf: Any = create_model("Leaf", __base__=_Node, **_overridable)
Inner: Any = create_model("Inner", __base__=_Node, left=(Name, ...), right=(Name, ...), **_overridable)
_levels: dict[str, Any] = {f"level_{k}": (dict[Name, Inner], ...) for k in range(LEVELS)} | {
    "level_0": (dict[Name, Leaf], ...)
}
Tree: Any = create_model("Tree", __base__=Strict, **_levels)


class Student(Strict):
    """A small network that learns the loss of `train`, and the metric of a trained node beside it (Yu et al., CVPR
    2019)."""

    teacher: Name
    """The node, most often the root."""
    trunk: Trunk = "mobilenet_v3_small"
    """The student's own."""
    hidden_dim: int = Field(128, ge=1)
    """Width of the layer between trunk and embedding."""
    epochs: int = Field(20, ge=1, le=1000)
    """Passes over the training images."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    absolute: float = Field(0.0, ge=0)
    """λ of the distance between the two embeddings of an image, beside the student's own loss of weight 1."""
    relative: float = Field(0.3, ge=0)
    """λ of the difference between the two distances of a pair."""


class _Baseline(Strict):
    """Another method on the same images; its other training keys, where given, override those of `train`."""

    background: bool = False
    """See the whole image; false: what lies in any of `segments`, which is what the root of a tree over all of them
    sees."""
    epochs: int = Field(25, ge=0, le=1000)
    """Passes over the training images."""

    def overrides(self) -> dict[str, Any]:
        """The training parameters this baseline sets for itself."""
        given = self.model_dump(exclude_unset=True) | self.model_dump(include={"epochs", "loss"}, exclude_none=True)
        own = {key: value for key, value in given.items() if key in Train.model_fields}
        if self.method == "traditional":  # type: ignore[attr-defined]
            return own
        return own | {"embedder": "plain", "embedder_options": {}}


class TraditionalSettings(Strict):
    """One trunk and embedder: deep metric learning as usual."""

    method: Literal["traditional"]


class AvslSettings(Strict):
    """Attributable visual similarity learning (Zhang et al., CVPR 2022)."""

    method: Literal["avsl"]
    loss: Literal["triplet_margin", "proxy_anchor"] = "triplet_margin"
    """Of every level, and of the mended distance."""
    links: int | None = Field(None, ge=1)
    """Links kept from each node to the level below; null: a quarter of `embedding_dim`."""
    gate_lr: float = Field(0.1, gt=0)
    """Peak learning rate of the gates, without weight decay; a hundred times the trunk's."""
    level_weights: tuple[NotNegative, NotNegative, NotNegative] = (0.5, 1.0, 0.5)
    """Weight of the loss of each level, lowest first; the mended distance's is 1."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Weight of the past in the running average of the links."""


class DimlSettings(Strict):
    """Structural matching (Zhao et al., ICCV 2021) on top of what `traditional` trains."""

    method: Literal["diml"]
    grid: int = Field(4, ge=2, le=16)
    """Cells on each side that are matched, or those of the trunk's last map where it has fewer."""
    rerank: int = Field(100, ge=1)
    """How many of the nearest by the whole image are ranked anew."""
    smoothing: float = Field(0.05, gt=0)
    """Entropic regularisation of the matching."""
    iterations: int = Field(100, ge=1)
    """Sinkhorn iterations."""


class GroupingSettings(Strict):
    """Attentive grouping (Xu et al., arXiv 2011.08877)."""

    method: Literal["grouping"]
    groups: int = Field(3, ge=2, le=64)
    """Learned queries; each makes an equal part of the embedding, which has `embedding_dim` dimensions or the few less
    that divide."""
    diversity: float = Field(0.02, ge=0)
    """Weight of the loss that keeps groups apart."""


class Evaluate(Strict):
    """How retrieval is measured."""

    distance: Distance | Literal["trained"] = "snr"
    """`trained`: each node's own, which its loss was trained under."""
    near_duplicate: float = Field(0.98, gt=0, le=1)
    """Images of different splits whose canvases correlate at least so (grey, 16×16 pixels) are listed as
    near-duplicates."""
    search: Literal["train", "within"] = "train"
    """Neighbours of a held-out image are searched in `train`, or within its own split."""
    bootstrap: int = Field(1000, ge=0, le=100_000)
    """Resamples behind the 95 % interval; 0 leaves it out."""


class Embed(Strict):
    """How images are embedded."""

    hide: list[Name] = []
    """Segments that nodes of other segments do not see when they embed an image: what else these nodes know stays.
    Nothing trains again."""


class Metric(Strict):
    """The tree's own metric: what each node's distance weighs in its answer."""

    weights: Literal["learned", "uniform", "root"] = "learned"
    """`learned` on pairs of `val`, as near to uniform as they allow; `uniform`: every node the same; `root`: that node
    alone."""
    balance: list[Name] = []
    """Segments whose looks are to say nothing of the label: the pairs that weights are fitted on count so that every
    look is as common with one label as with another. Nothing trains again."""
    off: list[Name] = []
    """Parts that the answer is not to depend on: every node that sees any of their segments is left out of it. Nothing
    trains again."""


class Recompose(Strict):
    """How a segment that has nothing to do with the label is exchanged between training images."""

    rate: float = Field(1.0, gt=0, le=1)
    """Share of the training images that show another's segment, each time they are read."""
    draws: int = Field(4, ge=1, le=100)
    """Donors that are drawn for each image; which of them it gets is drawn when it is read."""
    candidates: int = Field(8, ge=1)
    """Of so many donors drawn, the one whose segment fits the image best in size is taken; 1: any."""
    presence: bool | None = None
    """Whether images without the segment take part, as bases that are given one and donors that take it away; null:
    where its presence goes with the label."""
    how: Literal["pour", "lay"] | None = None
    """`pour`: the image's own outline is filled with the donor's pixels; `lay`: the donor's segment, outline and all,
    is laid where the image's own was, which is no longer seen. Null: `lay` where presence, size or proportions go with
    the label, else `pour`."""
    donors: Literal["any", "same"] = "any"
    """`any`: of every label as often; `same`: of the image's own, which breaks no tie: a control for what recomposing
    itself does."""
    seed: int = Field(0, ge=0)
    """Of the donors that are drawn."""


class Bias(Strict):
    """How parts are looked at that may tell the label in `train` alone."""

    columns: list[str] | None = None
    """Columns of the table that are looked at beside the parts; null: all that group the images."""
    groups: int = Field(6, ge=2, le=20)
    """Groups of a part's colours or shapes, at most."""
    fdr: float = Field(0.05, gt=0, lt=1)
    """Share of false names among those named, at most, in the mean (Benjamini & Hochberg, 1995)."""
    pairs: int = Field(100, ge=0)
    """Pairs of test images of different labels that exchange each part; 0: none."""


_OF_TREES = ("epochs", "epochs_decay", "seeds", "init", "weighting", "embedder", "embedder_options")
METHOD_KINDS = tuple(
    create_model(
        settings.__name__.removesuffix("Settings"),
        __base__=(settings, _Baseline),
        **_optional(key for key in Train.model_fields if key not in (*_OF_TREES, *unused)),
    )
    for settings, unused in (
        (TraditionalSettings, ()),
        (AvslSettings, ("loss", "miner", "distance", "hidden_dim")),
        (DimlSettings, ()),
        (GroupingSettings, ("hidden_dim",)),
    )
)
Baseline: Any = Annotated[Union[METHOD_KINDS], Field(discriminator="method")]  # noqa: UP007 (a tuple)


class Report(Strict):
    """What the report shows."""

    title: str = "HEML"
    """The page's heading."""
    overlays: int = Field(6, ge=1, le=24)
    """Example images with their segments drawn in."""
    pairs: int = Field(2, ge=1, le=6)
    """Example pairs with the distance at every node."""


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
        return [name for k in range(LEVELS) for name in getattr(self.tree, f"level_{k}")]

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
    def _off_are_nodes(self) -> Params:
        for name in self.recompose:
            if name not in (leaves := getattr(self.tree, f"level_{0}")):
                raise ValueError(
                    f"recompose.{name}: no leaf of the tree; it has {', '.join(leaves)}{meant(name, leaves)}"
                )
        for name in self.metric.balance:
            if name not in self.segments:
                near = meant(name, self.segments)
                raise ValueError(f"metric.balance: {name!r} is no segment; there are {', '.join(self.segments)}{near}")
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
        for k in range(LEVELS):
            level = getattr(self.tree, f"level_{k}")
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

    def _train(self, own: dict[str, Any], where: str) -> Train:
        if own.get("loss", self.train.loss) != self.train.loss:  # what `train` says is meant for its own
            own = {"loss_options": {}, "margin": None, "miner": None, "distance": None} | own
        try:
            return Train.model_validate(self.train.model_dump() | own)
        except ValidationError as error:
            raise HemlError(f"params.yaml: {_explain(error, where)}") from None


def _explain(error: ValidationError, section: str = "") -> str:
    """One line per fault: the key below `section`, what is wrong with it and what is allowed."""
    lines = []
    for fault in error.errors():
        keys, _ = _walk(fault["loc"])
        key = ".".join([*filter(None, [section]), *keys]) or "(whole file)"
        if fault["type"] == "extra_forbidden":
            _, kind = _walk(fault["loc"][:-1])
            allowed = sorted(kind.model_fields)
            lines.append(f"{key}: unknown key; allowed here: {', '.join(allowed)}{meant(keys[-1], allowed)}")
        elif fault["type"] == "missing":
            lines.append(f"{key}: missing")
        else:
            value = fault["input"]
            shown = "" if isinstance(value, dict) else f" (got {value!r})"
            lines.append(f"{key}: {fault['msg'].removeprefix('Value error, ')}{shown}")
    return "; ".join(lines)


def _walk(location: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """The keys of a pydantic location as they stand in the file, and the type of the section there.

    Where a section is one of several kinds, the location names the kind, which is no key; neither is `[key]`.
    """
    keys: list[str] = []
    section: Any = Params
    for part in location:
        kinds = {get_args(kind.model_fields[name].annotation)[0]: kind for kind, name in _kinds(section)}
        if part in kinds:
            section = kinds[part]
            continue
        if part == "[key]":
            continue
        keys.append(str(part))
        if isinstance(section, type) and issubclass(section, BaseModel):
            field = section.model_fields.get(str(part))
            section = field and (Annotated[field.annotation, field] if field.discriminator else field.annotation)
        elif get_origin(section) is dict:  # any key leads to its value type
            section = get_args(section)[1]
    return keys, section


def _kinds(section: Any) -> list[tuple[type[BaseModel], str]]:
    """The kinds that a section can be of, each with the key that tells which."""
    if get_origin(section) is not Annotated:
        return []
    union, *metadata = get_args(section)
    name = next((m.discriminator for m in metadata if getattr(m, "discriminator", None)), None)
    return [(kind, name) for kind in get_args(union)] if name else []


def parse_params(text: str, source: str = "params.yaml") -> Params:
    """Check the text of a parameter file.

    Raises:
        HemlError: not YAML, a doubled or unknown key, a value out of range.
    """
    try:
        raw = YAML(typ="safe").load(
            text
        )  # as DVC reads it: YAML 1.2, where `off` and `no` are words and 1e-3 is a number
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        key = str(error.problem).split('"')[1]
        raise HemlError(f"{source}: line {line}: key {key!r} stands twice; remove or rename one") from None
    except YAMLError as error:
        raise HemlError(f"{source}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise HemlError(f"{source}: expected sections such as dataset, segments and tree")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise HemlError(f"{source}: {_explain(error)}") from None


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file; see `parse_params`."""
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; copy one from presets/") from None
    return parse_params(text, str(path))

"""`train`: how a node learns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from heml.losses import MINERS
from heml.params.methods import EMBEDDERS, LOSSES, OF_PARTS, WITH_CENTRES, Trunk
from heml.params.section import Distance, Strict, one_of


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
    loss: Annotated[str, one_of(LOSSES)] = "snr"
    """What is minimised."""
    margin: float | None = Field(None, ge=0)
    """Of the losses that have a `margin` in `LOSSES`; null: the loss's own default."""
    loss_options: dict[str, float] = Field({})
    """The loss's other options, by name (`LOSSES`)."""
    loss_lr: float = Field(1e-2, gt=0)
    """Learning rate of a loss's own weights: proxies, class centres, β."""
    miner: Annotated[str, one_of(MINERS)] | None = None
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
    embedder: Annotated[str, one_of(EMBEDDERS)] = "plain"
    """What makes an embedding of the trunk's features, with the feature augmentation that belongs to it."""
    embedder_options: dict[str, float] = Field({})
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


def optional(keys: Iterable[str]) -> dict[str, Any]:
    """Keys of `Train` as fields that may be left out."""
    found: dict[str, Any] = {}
    for key in keys:
        field = Train.model_fields[key]
        own: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        found[key] = (own | None, None)
    return found

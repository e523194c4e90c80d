"""`dataset`: where the images come from, one of several kinds told by `name`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from heml.params.section import Size, Strict


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


MEGAPIXELS = 50
"""What an image has at most, unless the parameters say otherwise."""


class DatasetBase(Strict):
    """What every data set has. What is asked of one without its images stands here, so that nobody asks for its
    kind."""

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

    @property
    def label_rule(self) -> Rule | None:
        """How `label` is read off the images, where it is."""
        return None

    @property
    def subset(self) -> Limit:
        """How many images of a split are used at most."""
        return Limit()

    @property
    def most_megapixels(self) -> float:
        """What has more is no image of this data set's kind."""
        return MEGAPIXELS


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


class OwnImages(DatasetBase):
    """What data sets of encoded images have in common."""

    rule: Rule | None = None
    """How `label` is read off the images; null: it is a column."""
    on_bad_image: Literal["error", "skip"] = "error"
    """What a corrupt image or mask does: end the run, or be left out and listed in the report."""
    masks: Literal["upright", "stored"] | None = None
    """How masks lie over images that EXIF turns: over the image as it is shown, or over its pixels as they are stored;
    null: the run ends where there are such, and asks."""
    max_megapixels: float = Field(MEGAPIXELS, gt=0)
    """An image with more pixels is taken for a decompression bomb."""

    @property
    def label_rule(self) -> Rule | None:
        return self.rule

    @property
    def most_megapixels(self) -> float:
        return self.max_megapixels


class FolderDataset(OwnImages):
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


class HubDataset(OwnImages):
    """Parquet files of a data set on the Hugging Face hub; `path` is the card that says which files, columns and
    classes."""

    name: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    """Id of the repository, as owner/name."""
    revision: Commit
    """The commit, all 40 digits of its hash."""
    limit: Limit = Limit()
    """How many images of a split are used at most; null: all."""

    @property
    def subset(self) -> Limit:
        return self.limit


Dataset = Annotated[AvatarsDataset | FolderDataset | HubDataset, Field(discriminator="name")]

"""`baselines`: other methods on the same images, one of several kinds told by `method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field, create_model

from heml.params.section import NotNegative, Strict
from heml.params.training import Train, optional


class BaselineBase(Strict):
    """Another method on the same images; its other training keys, where given, override those of `train`."""

    background: bool = False
    """See the whole image; false: what lies in any of `segments`, which is what the root of a tree over all of them
    sees."""
    epochs: int = Field(25, ge=0, le=1000)
    """Passes over the training images."""

    def overrides(self) -> dict[str, object]:
        """The training parameters this baseline sets for itself."""
        given = self.model_dump(exclude_unset=True) | self.model_dump(include={"epochs", "loss"}, exclude_none=True)
        own = {key: value for key, value in given.items() if key in Train.model_fields}
        return own | self._fixed()

    def _fixed(self) -> dict[str, object]:
        """What the method brings its own of, whatever `train` says."""
        return {"embedder": "plain", "embedder_options": {}}


class TraditionalSettings(BaselineBase):
    """One trunk and embedder: deep metric learning as usual."""

    method: Literal["traditional"]

    def _fixed(self) -> dict[str, object]:
        return {}


class AvslSettings(BaselineBase):
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


class DimlSettings(BaselineBase):
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


class GroupingSettings(BaselineBase):
    """Attentive grouping (Xu et al., arXiv 2011.08877)."""

    method: Literal["grouping"]
    groups: int = Field(3, ge=2, le=64)
    """Learned queries; each makes an equal part of the embedding, which has `embedding_dim` dimensions or the few less
    that divide."""
    diversity: float = Field(0.02, ge=0)
    """Weight of the loss that keeps groups apart."""


_OF_TREES = ("epochs", "epochs_decay", "seeds", "init", "weighting", "embedder", "embedder_options")
METHOD_KINDS = tuple(
    create_model(
        settings.__name__.removesuffix("Settings"),
        __base__=settings,
        **optional(key for key in Train.model_fields if key not in (*_OF_TREES, *unused)),
    )
    for settings, unused in (
        (TraditionalSettings, ()),
        (AvslSettings, ("loss", "miner", "distance", "hidden_dim")),
        (DimlSettings, ()),
        (GroupingSettings, ("hidden_dim",)),
    )
)
if TYPE_CHECKING:  # as in `tree`
    Baseline = TraditionalSettings | AvslSettings | DimlSettings | GroupingSettings
else:
    Baseline = Annotated[Union[METHOD_KINDS], Field(discriminator="method")]  # noqa: UP007 (a tuple)

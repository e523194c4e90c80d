"""`segmenter`: how an image is cut into classes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from heml.params.section import Size, Strict


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

"""`tree`: the nodes of every level, each with the keys of `train` that it has for itself."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from heml.params.section import Name, Strict
from heml.params.training import Train, optional

LEVELS = 8
"""Levels a tree can have: `level_0` (leaves) to `level_7`. DVC needs one stage definition per level."""


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
    def overrides(self) -> dict[str, object]:
        """The training parameters this node sets for itself."""
        return self.model_dump(exclude={"left", "right"}, exclude_unset=True)


# `Any`: models that are made of `Train`'s fields when this is imported are no types to a type checker
_overridable = optional(key for key in Train.model_fields if key not in _SHARED)
Leaf: Any = create_model("Leaf", __base__=_Node, **_overridable)
Inner: Any = create_model("Inner", __base__=_Node, left=(Name, ...), right=(Name, ...), **_overridable)
_levels: dict[str, Any] = {f"level_{k}": (dict[Name, Inner], ...) for k in range(LEVELS)} | {
    "level_0": (dict[Name, Leaf], ...)
}
Tree: Any = create_model("Tree", __base__=Strict, **_levels)

"""`tree`: the nodes of every level, each with the keys of `train` that it has for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import create_model

from heml.params.section import Name, Strict
from heml.params.training import Train, optional

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


class _Join(_Node):
    left: Name
    right: Name


if TYPE_CHECKING:  # models made of `Train`'s fields when this is imported are no types to a type checker
    Leaf = _Node
    Inner = _Join
else:
    _overridable = optional(key for key in Train.model_fields if key not in _SHARED)
    Leaf = create_model("Leaf", __base__=_Node, **_overridable)
    Inner = create_model("Inner", __base__=_Join, **_overridable)


class Tree(Strict):
    """`dvc.yaml` has a stage for every level."""

    level_0: dict[Name, Leaf]
    """Leaves, by the name of their segment."""
    level_1: dict[Name, Inner]
    level_2: dict[Name, Inner]
    level_3: dict[Name, Inner]
    level_4: dict[Name, Inner]
    level_5: dict[Name, Inner]
    level_6: dict[Name, Inner]
    level_7: dict[Name, Inner]

    def levels(self) -> list[Mapping[str, Leaf | Inner]]:
        """The nodes of every level by name, leaves first."""
        return [getattr(self, level) for level in Tree.model_fields]


LEVELS = len(Tree.model_fields)
"""Levels a tree can have."""

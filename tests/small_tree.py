"""A tree of two leaves and random embeddings of it, for tests of what is said of pairs."""

from __future__ import annotations

import numpy as np
import torch

from heml.evaluation.embeddings import NodeEmbeddings
from heml.tree import Node, Tree

TREE = Tree([Node("a", 0), Node("b", 0), Node("ab", 1, "a", "b")])


def embeddings(n: int = 40) -> dict[str, NodeEmbeddings]:
    """Of `n` images; two do not show `b`."""
    generator = torch.Generator().manual_seed(0)
    result = {}
    for name in ("a", "b", "ab"):
        vectors = torch.randn(n, 8, generator=generator)
        present = np.ones(n, bool)
        if name == "b":
            present[[0, 5]] = False
            vectors[[0, 5]] = torch.nan
        ids = [f"i{k}" for k in range(n)]
        labels = np.arange(n) // 2 % 2
        result[name] = NodeEmbeddings(
            name, ids, np.array(["train", "test"] * (n // 2)), labels, present, [vectors], vectors, "snr"
        )
    return result

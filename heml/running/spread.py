"""The row groups of a stage: one after another, or as tasks of the cluster on which the stage runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

ADDRESS = "HEML_RAY"
"""Environment of a stage that runs on a cluster: the cluster's address."""


def spread(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """`map`; on a cluster its calls run on any node, and their results come in order all the same."""
    work = list(items)
    if ADDRESS not in os.environ or len(work) < 2:
        return map(function, work)
    from heml.running.cluster import on_nodes

    return on_nodes(function, work)

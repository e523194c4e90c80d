"""How work that goes by row groups is handed out: one after another here, or, in the same order, to whoever the caller
knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Each(Protocol):
    """`map`: a function that can be pickled and what it is called on → its results, in order."""

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]: ...

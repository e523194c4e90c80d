"""The row groups of a stage: as tasks of the cluster on which it runs, side by side on this machine's cores, or one
after another.

Each is worked on by a process of one thread, since what comes out must not depend on how many cores a machine has.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from heml.lifetime import end_with
from heml.machine import CLUSTER, cores, visible_gpus

A = TypeVar("A")
B = TypeVar("B")


def across_nodes(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """`map`; on a cluster its calls run on any node, and their results come in order all the same."""
    work = list(items)
    if CLUSTER not in os.environ or len(work) < 2:
        return map(function, work)
    from heml.running.cluster import on_nodes

    return on_nodes(function, work)


def across_cores(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
    """The same; without a cluster, and without a GPU, which would do all the work, its calls run on all cores: for a
    stage beside which nothing else could run."""
    work = list(items)
    if CLUSTER in os.environ:
        yield from across_nodes(function, work)
        return
    processes = min(cores(), len(work))
    if processes < 2 or visible_gpus() or "fork" not in multiprocessing.get_all_start_methods():
        _one_thread()
        yield from map(function, work)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _begin, (os.getpid(),)) as pool:
        yield from pool.map(function, work)


def _begin(stage: int) -> None:
    end_with([stage])  # whose other children would keep its pipe open, and this one waiting
    _one_thread()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # which torch reads when it is imported
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)

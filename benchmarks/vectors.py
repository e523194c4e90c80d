"""Search by the tree's metric, one vector per image: here against FAISS, and what eight bits keep.

    python -m benchmarks.vectors             # about a minute; pip install 'heml[dev]' has faiss-cpu

100,000 made-up images at the default tree's width (15 nodes of 64 dimensions, some absent), 1,000 queries of ten
neighbours each, one thread, in turn in one run, medians of three. "the same": the share of queries whose ten neighbours
are those of the tree, a node at a time in double precision; neighbours at distances that a float cannot tell apart may
change places.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import nearest, standardise
from heml.evaluation.tree_metric import Term, TreeMetric

NODES, DIMS, NEIGHBOURS = 15, 64, 10


def images(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Embeddings at every node, (count, DIMS), of two loose groups; every fifth node lacks a third of the images."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(0, 2, (count, 1), generator=generator)
    found = {}
    for n in range(NODES):
        x = torch.randn(count, DIMS, generator=generator) + 2 * group * (torch.arange(DIMS) < 8)
        if n % 5 == 0:
            x[torch.rand(count, generator=generator) < 1 / 3] = torch.nan
        found[f"node_{n}"] = x
    return found


def exactly(
    metric: TreeMetric, queries: dict[str, torch.Tensor], references: dict[str, torch.Tensor]
) -> NDArray[np.int64]:
    """The ten nearest by the definition: node by node, in double precision."""
    total = torch.zeros(len(next(iter(queries.values()))), len(next(iter(references.values()))), dtype=torch.float64)
    for name, term in metric.terms.items():
        d = (1 - standardise(queries[name].double()) @ standardise(references[name].double()).T) / 2
        total += term.weight * d.nan_to_num(term.threshold)
    found: NDArray[np.int64] = total.topk(NEIGHBOURS, largest=False).indices.numpy()
    return found


def timed(search: Callable[[], NDArray[np.int64]], rounds: int) -> tuple[float, NDArray[np.int64]]:
    """Median seconds, and what was found."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - began)
    return median(seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    metric = TreeMetric(
        {f"node_{n}": Term((n + 1) / 120, 0, 1, n + 1.0, 0.2 + 0.02 * n, []) for n in range(NODES)}, "learned", None, []
    )
    stored, asked = images(arguments.images, 0), images(arguments.queries, 1)
    base, queries = metric.vectors(stored).numpy(), metric.vectors(asked).numpy()
    signed = np.ascontiguousarray(queries * metric.signature(base.shape[1]).numpy())
    step = float(np.abs(base).max()) / 127
    eight = (base / step).round().astype(np.int8)
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(base)

    def ours() -> NDArray[np.int64]:
        found: NDArray[np.int64] = nearest(
            torch.from_numpy(queries), torch.from_numpy(base), NEIGHBOURS, metric.metric
        )[1].numpy()
        return found

    def by_faiss() -> NDArray[np.int64]:
        found: NDArray[np.int64] = index.search(signed, NEIGHBOURS)[1]
        return found

    truth = np.concatenate(
        [
            exactly(metric, {k: v[i : i + 100] for k, v in asked.items()}, stored)
            for i in range(0, arguments.queries, 100)
        ]
    )
    rows = [("here", *timed(ours, arguments.rounds)), ("FAISS, flat", *timed(by_faiss, arguments.rounds))]
    index.reset()
    index.add(eight.astype(np.float32) * step)
    rows.append(("FAISS, flat, from int8", *timed(by_faiss, 1)))
    print(
        f"{base.shape[0]:,} vectors of {base.shape[1]} dimensions, {base.nbytes / 1e6:.0f} MB ({eight.nbytes / 1e6:.0f}"
        " MB as int8)\n"
    )
    print("| | queries/s | the same | recall at 10 |\n|---|---|---|---|")
    for name, seconds, found in rows:
        same = np.mean([set(a) == set(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
        recall = np.mean(
            [len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
        )
        print(f"| {name} | {arguments.queries / seconds:.0f} | {100 * same:.1f} % | {100 * recall:.2f} % |")


if __name__ == "__main__":
    main()

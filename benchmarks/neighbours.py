"""Nearest neighbours and retrieval metrics against pytorch-metric-learning's own, side by side in one run.

    python -m benchmarks.neighbours          # about 5 minutes on two cores

60,000 embeddings of 64 dimensions, each asking all others, 600 classes of 100: P@1, R-precision and MAP@R by
`heml.evaluation.retrieval.score`, and by the library's `AccuracyCalculator` with its own k-NN (`CustomKNN`, plain
torch; its default needs faiss). Each runs in a process of its own, so that peak memory is its own; numbers are compared
too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F


def data(n: int) -> tuple[torch.Tensor, np.ndarray]:
    """Embeddings of length 1 around a centre per class, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % max(n // 100, 1)
    centres = torch.randn(int(labels.max()) + 1, 64, generator=generator)
    return F.normalize(centres[labels] + torch.randn(n, 64, generator=generator), dim=1), labels.numpy()


def ours(x: torch.Tensor, y: np.ndarray) -> dict[str, float]:
    """By this project."""
    from heml.evaluation.retrieval import score

    found = score(x, y, x, y, "euclidean", within=True)
    return {"p@1": found["p@1"].mean(), "r_precision": found["r_precision"].mean(), "map@r": found["map@r"].mean()}


def library(x: torch.Tensor, y: np.ndarray) -> dict[str, float]:
    """By pytorch-metric-learning."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    names = {"p@1": "precision_at_1", "r_precision": "r_precision", "map@r": "mean_average_precision_at_r"}
    # batched, since without a batch size it asks for 60,000 × 60,000 distances at once
    knn = CustomKNN(LpDistance(normalize_embeddings=False), batch_size=2048)
    calculator = AccuracyCalculator(
        include=tuple(names.values()), k="max_bin_count", knn_func=knn, device=torch.device("cpu")
    )
    found = calculator.get_accuracy(x, torch.from_numpy(y))
    return {ours: found[theirs] for ours, theirs in names.items()}


def measure(which: str, n: int) -> None:
    """Print seconds, memory above that of the data and the imports, and the metrics, as JSON."""
    x, y = data(n)
    run = {"ours": ours, "library": library}[which]
    run(x[:500], y[:500])  # imports, and the first use of threads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    found = run(x, y)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "mib": memory / 1024, **{key: float(value) for key, value in found.items()}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=["ours", "library"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.embeddings)
        return
    print(
        f"{arguments.embeddings:,} × 64, {torch.get_num_threads()} threads, torch {torch.__version__}, median of"
        f" {arguments.rounds}\n"
    )
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "library": []}
    for _ in range(arguments.rounds):
        for which, found in runs.items():
            command = [
                sys.executable,
                "-m",
                "benchmarks.neighbours",
                "--measure",
                which,
                "--embeddings",
                str(arguments.embeddings),
            ]
            found.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print(f"{'':10}{'seconds':>9}{'MiB':>8}{'P@1':>9}{'R-prec.':>9}{'MAP@R':>9}")
    middle = {
        which: {key: float(np.median([f[key] for f in found])) for key in found[0]} for which, found in runs.items()
    }
    for which, row in middle.items():
        scores = "".join(f"{row[key]:9.5f}" for key in ("p@1", "r_precision", "map@r"))
        print(f"{which:10}{row['seconds']:9.1f}{row['mib']:8.0f}{scores}")
    faster, memory = (
        middle["library"]["seconds"] / middle["ours"]["seconds"],
        middle["ours"]["mib"] / middle["library"]["mib"],
    )
    print(f"\n{faster:.2f} times as fast, {memory:.2f} of the memory")


if __name__ == "__main__":
    main()

"""What a method reaches and what it costs: the rows that stand side by side in the report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.baselines.build import Network
from heml.distances import Metric, bounded_snr
from heml.evaluation.retrieval import floors, interval, score
from heml.learning.embedding import embed
from heml.learning.inputs import NodeImages, compose, prepare
from heml.learning.store import Header, load_network, node_path
from heml.params import Evaluate
from heml.tree import Tree

SCORES = ["p@1", "p@1_low", "p@1_high", "p@2", "p@8", "r_precision", "map@r", "chance", "majority", "queries"]
COSTS = [
    *("train_seconds", "best_seconds", "train_images_per_second", "images_per_second", "peak_bytes", "bytes", "explanation_seconds"),
]
COLUMNS = ["name", "method", *SCORES, *COSTS]

_TIMED_PAIRS = 10


def score_baseline(network: Network, header: Header, images: NodeImages, settings: Evaluate, device: torch.device) -> dict[str, Any]:
    """Retrieval on `test`, as nodes are scored: AVSL and DIML under their own distance, the others under `evaluate.distance`.

    With them, the images/s of embedding.
    """
    named = header.distance if settings.distance == "trained" else settings.distance
    metric: Metric = getattr(network, "metric", named)
    asked, train = images.rows("test"), images.rows("train")
    within = settings.search == "within"
    held = asked if within else train
    began = time.perf_counter()
    queries = embed(network, images, asked, device)
    rate = len(asked) / (time.perf_counter() - began)
    references = queries if within else embed(network, images, held, device)
    network.cpu()  # representations are compared there
    scores = score(queries, images.labels[asked], references, images.labels[held], metric, within)
    low, high = interval(scores.p_at_1, settings.bootstrap)
    chance, majority = floors(images.labels[asked], images.labels[held])
    return {
        "p@1": scores.p_at_1.mean(),
        "p@1_low": low,
        "p@1_high": high,
        "p@2": scores.p_at_2.mean(),
        "p@8": scores.p_at_8.mean(),
        "r_precision": scores.r_precision.mean(),
        "map@r": scores.map_at_r.mean(),
        "chance": chance,
        "majority": majority,
        "queries": len(asked),
        "images_per_second": rate,
    }


def training_cost(report: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of training, as a whole and to the best epoch, validation included, of a node's or baseline's report."""
    epochs = report["history"][1:]
    return {
        "train_seconds": report["seconds"],
        "best_seconds": sum(row["seconds"] for row in epochs[: report["best_epoch"]]),
        "train_images_per_second": report["images_per_second"],
        "peak_bytes": report["peak_bytes"],
    }


def baseline_row(
    name: str, network: Network, header: Header, report: Mapping[str, Any], path: Path, images: NodeImages, settings: Evaluate
) -> dict[str, Any]:
    """One row of `COLUMNS`."""
    device = next(network.parameters()).device
    row = {"name": name, "method": report["method"]} | training_cost(report) | {"bytes": path.stat().st_size}
    row |= score_baseline(network, header, images, settings, device)
    network.to(device)

    def explain(a: int, b: int) -> None:
        first, second = prepared_pair(images, a, b, device)
        network.evidence(first, second)

    return row | {"explanation_seconds": _seconds(explain, images)}


def tree_row(
    tree: Tree, table: pd.DataFrame, reports: Sequence[Mapping[str, Any]], canvases: Path, segments: Path, models: Path
) -> dict[str, Any]:
    """The tree's row of `COLUMNS`: the root's scores, the costs of all nodes.

    Args:
        table: of `heml.evaluation.table`. reports: `reports/nodes/*.json`.
    """
    top: Mapping[Any, Any] = table.set_index("node").loc[tree.root].to_dict()
    costs = pd.DataFrame([training_cost(report) for report in reports])
    seen = np.array([report["present"]["train"] * max(len(report["history"]) - 1, 0) for report in reports])
    trained = costs["train_images_per_second"] > 0
    row: dict[str, Any] = {"name": "tree", "method": "heml"} | {key: top[key] for key in SCORES}
    row |= {
        "train_seconds": float(costs["train_seconds"].sum()),
        "best_seconds": float(costs["best_seconds"].sum()),
        "train_images_per_second": float(seen[trained].sum() / (seen / costs["train_images_per_second"])[trained].sum())
        if trained.any()
        else float("nan"),
        "peak_bytes": int(costs["peak_bytes"].max()),
        "bytes": sum(node_path(models, node.name).stat().st_size for node in tree),
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nodes = []
    for node in tree:
        header, network = load_network(node_path(models, node.name), device)
        nodes.append((compose(canvases, segments, header.leaves, header.box), network))
    root_images, root = nodes[-1]
    asked = root_images.rows("test")
    began = time.perf_counter()
    embed(root, root_images, asked, device)
    row["images_per_second"] = len(asked) / (time.perf_counter() - began)

    @torch.inference_mode()
    def explain(a: int, b: int) -> None:
        for images, network in nodes:
            if images.present[a] and images.present[b]:
                first, second = network(torch.cat(prepared_pair(images, a, b, device)))
                bounded_snr(first, second).item()

    return row | {"explanation_seconds": _seconds(explain, root_images)}


def prepared_pair(images: NodeImages, a: int, b: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows as a network sees them, (1, 3, h, w) each."""
    pixels, masks = images.batch(np.array([a, b]))
    first, second = prepare(pixels.to(device), masks.to(device)).split(1)
    return first, second


def _seconds(explain: Callable[[int, int], None], images: NodeImages) -> float:
    """Median time of explaining one pair of test images, from their canvases on."""
    rows: NDArray[np.int64] = images.rows("test")
    if len(rows) < 2:
        return float("nan")
    pairs = np.random.default_rng(0).choice(rows, (_TIMED_PAIRS + 1, 2))
    times = []
    for a, b in pairs.tolist():
        began = time.perf_counter()
        explain(a, b)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])  # the first warms up

"""What a method reaches and what it costs: the rows that stand side by side in the report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from heml.atomic import new_folder
from heml.distances import Metric, correlation_distance
from heml.evaluation.retrieval import SHOWN, floors, interval, reported, search_in
from heml.json_file import write_json
from heml.learning.checkpoints import Header, load_network
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, compose, prepare
from heml.machine import best_device
from heml.params import Evaluate, Params
from heml.reading import read_node_report
from heml.run import Run
from heml.tree import Tree

if TYPE_CHECKING:  # at run time it would bring all that trains into evaluation and report
    from heml.baselines.build import Network

SCORES = ["p@1", "p@1_low", "p@1_high", *SHOWN, "chance", "majority", "queries"]
COSTS = [
    *"train_seconds best_seconds train_images_per_second images_per_second peak_bytes bytes".split(),
    "explanation_seconds",
]
COLUMNS = ["name", "method", *SCORES, *COSTS]

_TIMED_PAIRS = 10


def score_baseline(
    network: Network, header: Header, images: NodeImages, settings: Evaluate, device: torch.device
) -> dict[str, Any]:
    """Retrieval on `test`, as nodes are scored: AVSL and DIML under their own distance, the others under
    `evaluate.distance`.

    With them, the images/s of embedding.
    """
    metric: Metric = getattr(network, "metric", reported(settings, header.distance))
    search = search_in(images.rows, "test", settings.search)
    row = dict.fromkeys(SCORES, float("nan")) | {"queries": len(search.asked)}
    row["images_per_second"] = _rate(network, images, search.asked, device)
    row["chance"], row["majority"] = floors(images.labels[search.asked], images.labels[search.held])
    if not search.possible:
        return row
    known = np.union1d(search.asked, search.held)
    embedded = embed(network, images, known, device)
    vectors = torch.full((len(images.image_ids), embedded.shape[1]), torch.nan)
    vectors[torch.from_numpy(known)] = embedded
    scores = search.score(vectors, images.labels, metric)
    row["p@1_low"], row["p@1_high"] = interval(scores["p@1"], settings.bootstrap)
    return row | {name: float(scores[name].mean()) for name in ("p@1", *SHOWN)}


def _rate(network: nn.Module, images: NodeImages, rows: NDArray[np.int64], device: torch.device) -> float:
    """Images/s of embedding, after a first batch that warms up; NaN without images."""
    embed(network, images, rows[:128], device)
    began = time.perf_counter()
    embed(network, images, rows, device)
    return len(rows) / (time.perf_counter() - began) if len(rows) else float("nan")


def training_cost(report: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of training, as a whole and to the best epoch, validation included, of a node's or baseline's report.

    Of a node that was trained several times (`train.seeds`), the mean and the first.
    """
    epochs = report["history"][1:]
    return {
        "train_seconds": report["seconds"] / len(report.get("repeats", [0])),
        "best_seconds": sum(row["seconds"] for row in epochs[: report["best_epoch"]]),
        "train_images_per_second": report["images_per_second"],
        "peak_bytes": report["peak_bytes"],
    }


def baseline_row(
    name: str,
    network: Network,
    header: Header,
    report: Mapping[str, Any],
    path: Path,
    images: NodeImages,
    settings: Evaluate,
) -> dict[str, Any]:
    """One row of `COLUMNS`."""
    device = next(network.parameters()).device
    row = {"name": name, "method": report["method"]} | training_cost(report) | {"bytes": path.stat().st_size}
    row |= score_baseline(network, header, images, settings, device)

    def explain(a: int, b: int) -> None:
        first, second = prepared_pair(images, a, b, device)
        network.evidence(first, second)

    return row | {"explanation_seconds": _seconds(explain, images)}


def tree_row(tree: Tree, scores: Mapping[str, float], reports: Sequence[Mapping[str, Any]], run: Run) -> dict[str, Any]:
    """The tree's row of `COLUMNS`: its scores, and the costs of all nodes; `images_per_second` is the root's alone.

    Args:
        scores: of `heml.evaluation.table.tree_scores`. reports: `reports/nodes/*.json`.
    """
    costs = pd.DataFrame([training_cost(report) for report in reports])
    seen = np.array([report["present"]["train"] * max(len(report["history"]) - 1, 0) for report in reports])
    trained = costs["train_images_per_second"] > 0
    row: dict[str, Any] = {"name": "tree", "method": "heml"} | {key: scores[key] for key in SCORES}
    row |= {
        "train_seconds": float(costs["train_seconds"].sum()),
        "best_seconds": float(costs["best_seconds"].sum()),
        "train_images_per_second": (
            float(seen[trained].sum() / (seen / costs["train_images_per_second"])[trained].sum())
            if trained.any()
            else float("nan")
        ),
        "peak_bytes": int(costs["peak_bytes"].max()),
        "bytes": sum(
            run.node(node.name).stat().st_size // len(r["repeats"]) for node, r in zip(tree, reports, strict=True)
        ),
    }
    device = best_device()
    nodes = []
    for node in tree:
        header, network = load_network(run.node(node.name), device)
        nodes.append((compose(header.leaves, run, header.box), network))
    root_images, root = nodes[-1]
    row["images_per_second"] = _rate(root, root_images, root_images.rows("test"), device)

    @torch.inference_mode()
    def explain(a: int, b: int) -> None:
        for images, network in nodes:
            if images.present[a] and images.present[b]:
                first, second = network(torch.cat(prepared_pair(images, a, b, device)))
                correlation_distance(first, second).item()

    return row | {"explanation_seconds": _seconds(explain, root_images)}


def write_tree(scores: Mapping[str, float], params: Params, run: Run) -> dict[str, Any]:
    """Measure the whole tree as one of the methods and write it beside them; returns its row.

    Args:
        scores: of `heml.evaluation.table.tree_scores`.
    """
    tree = Tree.from_params(params)
    reports = [read_node_report(run, node.name) for node in tree]
    row = tree_row(tree, scores, reports, run)
    with new_folder(run.comparison("tree")) as partial:
        write_json(partial / "row.json", row)
    return row


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

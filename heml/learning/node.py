"""Algorithm 1 of HEML for one node: compose its images, start from its children, train, store."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import torch

from heml.errors import HemlError
from heml.json_file import write_json
from heml.learning.averaging import average, reestimate_batchnorm
from heml.learning.checkpoints import Header, load_header, load_state, save_node
from heml.learning.inputs import NodeImages, compose, prepared_batches
from heml.learning.live import live_curve
from heml.learning.networks import Architecture, MetricNetwork, new_network
from heml.learning.recipes import read_recipes
from heml.learning.training import Training, reproducible, train_node, untrainable
from heml.params import Train
from heml.run import Run
from heml.sealed import fingerprint
from heml.tree import Node


def build_node(node: Node, settings: Train, run: Run) -> dict[str, Any]:
    """Train `node` and write its weights and its report; returns the report.

    The leaves of an inner node are read from its children's headers. Segments are exchanged where the run has recipes
    for them. While it trains, `run.live` has the epochs of this repeat so far.

    Raises:
        HemlError: a child is missing or of another shape, the segments are in no training image, NaN in the loss.
    """
    began, cpu = time.perf_counter(), time.process_time()
    device = reproducible(settings)
    children = [load_header(run.node(child)) for child in node.children]
    leaves = [leaf for child in children for leaf in child.leaves] or [node.name]
    images = compose(leaves, run, recompose=True)
    results, starts = [], []
    for repeat in range(settings.seeds):
        own = settings.model_copy(update={"seed": settings.seed + repeat})
        network = new_network(own, images.classes, images.size)
        starts.append(_start(network, node, children, settings, repeat, run, images, device))
        with live_curve(run.live("nodes", node.name), node.name) as watch:
            results.append(train_node(node.name, network, images, own, device, watch=watch))

    lineage = {f"segment={leaf}": fingerprint(run.segment(leaf) / "part-0.parquet") for leaf in leaves}
    made = {leaf: run.recipe(leaf) for leaf in leaves}
    lineage |= {
        f"recipes={leaf}": fingerprint(path) for leaf, path in made.items() if read_recipes(path, images.image_ids)
    }
    lineage |= {f"node={child.node}": fingerprint(run.node(child.node)) for child in children}
    header = Header(
        node=node.name,
        level=node.level,
        leaves=leaves,
        children=[child.node for child in children],
        canvas=images.canvas,
        segments=images.segments,
        box=images.box,
        architecture=Architecture.of(settings, images.classes),
        weights=settings.weights,
        seed=settings.seed,
        distance=str(results[0].distance),
        val_p1=[result.known_p1 for result in results],
        area=images.area,
        lineage=lineage,
    )
    save_node(run.node(node.name), header, [result.state for result in results], settings.stored)
    report = _report(header, images, results, starts[0], device) | {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    return write_json(run.report(node.name), report)


def _start(
    network: MetricNetwork,
    node: Node,
    children: list[Header],
    settings: Train,
    repeat: int,
    run: Run,
    images: NodeImages,
    device: torch.device,
) -> str:
    """Load the node's initial weights into `network`, and say what they are."""
    if not children:
        return "common initialisation"
    if settings.init == "scratch":
        return "scratch"
    own = (Architecture.of(settings, images.classes), settings.weights, settings.seed, settings.seeds)
    for child in children:
        theirs = (child.architecture, child.weights, child.seed, len(child.val_p1))
        if theirs != own:
            raise HemlError(
                f"node {node.name!r}: child {child.node!r} has architecture, weights, seed and seeds {theirs}, not"
                f" {own}; averaging needs one common initialisation, so train all nodes alike, or set init: scratch"
            )
    states = [load_state(run.node(child.node), repeat) for child in children]
    scores = [child.val_p1[repeat] for child in children]
    if settings.init == "best_child":
        best = int(np.argmax(scores))
        network.load_state_dict(states[best])
        start = children[best].node
    else:
        weights = {"uniform": [1.0, 1.0], "val_p1": scores, "area": [c.area for c in children]}[settings.weighting]
        network.load_state_dict(average(states, weights))
        total = sum(weights) or 1.0
        start = " + ".join(f"{w / total:.2f} {c.node}" for w, c in zip(weights, children, strict=True))
    network.to(device)
    # where somebody sees them before training replaces them
    if not settings.epochs or settings.validate_every == 1 or untrainable(images):
        reestimate_batchnorm(network, prepared_batches(images, images.rows("train"), device))
    return start


def _report(
    header: Header, images: NodeImages, results: list[Training], start: str, device: torch.device
) -> dict[str, Any]:
    result = results[0]
    return {
        "node": header.node,
        "level": header.level,
        "leaves": header.leaves,
        "children": header.children,
        "start": start,
        "box": list(header.box),
        "present": {split: len(images.rows(split)) for split in ("train", "val", "test")},
        "best_epoch": result.best_epoch,
        "val_p1": result.val_p1,
        "note": result.note,
        "history": result.history,
        "device": str(device),
        "peak_bytes": peak_bytes(device),
        "images_per_second": result.images_per_second,
        "repeats": [
            {"seed": header.seed + k, "best_epoch": r.best_epoch, "val_p1": header.val_p1[k]}
            for k, r in enumerate(results)
        ],
    }


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: of the GPU if `device` is one, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

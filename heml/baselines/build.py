"""Train one baseline as a node is trained, and store it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from heml.baselines.avsl import Avsl
from heml.baselines.diml import Diml
from heml.baselines.grouping import AttentiveGrouping
from heml.baselines.traditional import Traditional
from heml.json_file import write_json
from heml.learning.checkpoints import Header, load_header, load_state, save_node
from heml.learning.inputs import NodeImages, compose, uncovered
from heml.learning.live import live_curve
from heml.learning.networks import Architecture
from heml.learning.node import peak_bytes
from heml.learning.training import reproducible, train_node
from heml.learning.trunks import load_pretrained
from heml.params import Baseline, Params
from heml.run import Run
from heml.sealed import fingerprint

Network = Traditional | Avsl | Diml | AttentiveGrouping


def new_baseline(settings: Baseline, architecture: Architecture, size: tuple[int, int]) -> Network:
    """The network of a baseline, untrained.

    Args:
        settings: an entry of `baselines` in the parameters.
        size: height and width of the images.

    Raises:
        HemlError: the images are too small for the method.
    """
    if settings.method == "avsl":
        return Avsl(architecture, size, settings)
    if settings.method == "diml":
        return Diml(architecture, size, settings.grid, settings.rerank, settings.smoothing, settings.iterations)
    if settings.method == "grouping":
        return AttentiveGrouping(architecture, size, settings.groups, settings.diversity)
    return Traditional(architecture, size)


def baseline_images(settings: Baseline, leaves: Sequence[str], run: Run) -> NodeImages:
    """What a baseline sees: the input of a root over `leaves`, or the same images whole."""
    images = compose(leaves, run)
    return uncovered(images) if settings.background else images


def build_baseline(name: str, params: Params, run: Run) -> dict[str, Any]:
    """Train a baseline on all segments and write its weights and its report; returns the report.

    Raises:
        HemlError: a loss or trunk that the method cannot work with, images too small for it, a loss that is not finite.
    """
    settings, train, leaves = params.baselines[name], params.baseline(name), list(params.segments)
    began, cpu = time.perf_counter(), time.process_time()
    device = reproducible(train)
    images = baseline_images(settings, leaves, run)
    architecture = Architecture.of(train, images.classes)
    torch.manual_seed(train.seed)  # the first drawn is the trunk: the same for all methods
    network = new_baseline(settings, architecture, images.size)
    if isinstance(network, Diml):  # it adds nothing to train
        torch.manual_seed(train.seed)
        network = Traditional(architecture, images.size)
    if train.weights:
        load_pretrained(network.trunk, train.trunk, train.weights)
    with live_curve(run.live("baselines", name), name) as watch:
        result = train_node(name, network, images, train, device, network.aim(train, images.classes), watch)
    header = Header(
        node=name,
        level=0,
        leaves=leaves,
        children=[],
        canvas=images.canvas,
        segments=images.segments,
        box=images.box,
        architecture=architecture,
        weights=train.weights,
        seed=train.seed,
        distance=result.distance if isinstance(result.distance, str) else settings.method,
        val_p1=[result.known_p1],
        area=images.area,
        lineage={f"segment={leaf}": fingerprint(run.segment(leaf) / "part-0.parquet") for leaf in leaves},
    )
    save_node(run.baseline(name), header, [result.state], train.stored)
    report = {
        "baseline": name,
        "method": settings.method,
        "loss": train.loss,
        "best_epoch": result.best_epoch,
        "val_p1": result.val_p1,
        "note": result.note,
        "history": result.history,
        "device": str(device),
        "peak_bytes": peak_bytes(device),
        "images_per_second": result.images_per_second,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    return write_json(run.baseline_report(name), report)


def load_baseline(settings: Baseline, path: Path, device: torch.device) -> tuple[Header, Network]:
    """A stored baseline, ready to compare images."""
    header = load_header(path)
    x0, y0, x1, y1 = header.box
    network = new_baseline(settings, header.architecture, (y1 - y0, x1 - x0))
    network.load_state_dict(load_state(path))
    network.to(device).eval()
    return header, network

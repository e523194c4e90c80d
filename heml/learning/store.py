"""`models/nodes/<node>.safetensors`: a node's weights, with what it is and what it was made from in the header."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from heml.atomic import new_file
from heml.errors import HemlError
from heml.learning.averaging import State
from heml.learning.inputs import Box
from heml.learning.networks import Architecture, MetricNetwork
from heml.params import Canvas, Segment


@dataclass(frozen=True)
class Header:
    """What a stored node says of itself."""

    node: str
    level: int
    leaves: list[str]
    """Segments it sees, left to right."""
    children: list[str]
    canvas: Canvas
    segments: dict[str, Segment]
    """How each leaf's segment is cut, so that new images can be cut alike."""
    box: Box
    architecture: Architecture
    weights: str | None
    """What the trunk started from: `imagenet`, a file, or nothing."""
    seed: int
    """Of the common initialisation."""
    distance: str
    """The distance its loss was trained under."""
    val_p1: float
    """P@1 on `val` of the chosen epoch; 0 where it cannot be measured."""
    area: float
    """Mean share of the canvas its segments cover in `train`."""
    lineage: dict[str, str]
    """Fingerprints (SHA-256) of what it was made from: `segment=<leaf>` and `node=<child>`."""


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def node_path(folder: str | Path, node: str) -> Path:
    """Where a node is stored."""
    return Path(folder) / f"{node}.safetensors"


def save_node(folder: str | Path, header: Header, state: State) -> None:
    """Write a node. The header is one string: safetensors does not keep several in order, and equal nodes are equal bytes."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    fields = asdict(header) | {
        "canvas": header.canvas.model_dump(),
        "segments": {name: segment.model_dump() for name, segment in header.segments.items()},
    }
    with new_file(node_path(folder, header.node)) as partial:
        save_file(tensors, partial, metadata={"heml": json.dumps(fields, sort_keys=True)})


def load_header(path: str | Path) -> Header:
    """Read a node's header alone.

    Raises:
        HemlError: missing, not safetensors, or not written by this project.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        fields: dict[str, Any] = json.loads(metadata["heml"])
        fields["box"], fields["canvas"] = tuple(fields["box"]), Canvas(**fields["canvas"])
        fields["architecture"] = Architecture(**fields["architecture"])
        fields["segments"] = {name: Segment(**segment) for name, segment in fields["segments"].items()}
        return Header(**fields)
    except FileNotFoundError:
        raise HemlError(f"{path}: no such node; run `dvc repro` first") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HemlError(f"{path}: not a node of this project ({error})") from None


def load_state(path: str | Path) -> State:
    """Read a node's weights."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


def load_network(path: str | Path, device: torch.device) -> tuple[Header, MetricNetwork]:
    """A stored node, ready to embed."""
    header = load_header(path)
    x0, y0, x1, y1 = header.box
    network = MetricNetwork(header.architecture, (y1 - y0, x1 - x0))
    network.load_state_dict(load_state(path))
    return header, network.to(device).eval()


def untrained(header: Header) -> MetricNetwork:
    """The network that a node had before any training, with random weights in its trunk too."""
    x0, y0, x1, y1 = header.box
    torch.manual_seed(header.seed)
    return MetricNetwork(header.architecture, (y1 - y0, x1 - x0)).eval()

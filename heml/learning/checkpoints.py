"""`models/nodes/<node>.safetensors`: a node's weights, with what it is and what it was made from in the header."""

from __future__ import annotations

import copy
import functools
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from heml.atomic import new_file
from heml.errors import HemlError, fault
from heml.learning.averaging import State
from heml.learning.inputs import Box
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.trunks import lay_out
from heml.params import Canvas, Segment
from heml.run import Run
from heml.sealed import fingerprint, seal, unseal


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
    """Of the common initialisation; repeat k has `seed` + k."""
    distance: str
    """The distance its loss was trained under."""
    val_p1: list[float]
    """P@1 on `val` of the chosen epoch, for each repeat; 0 where it cannot be measured."""
    area: float
    """Mean share of the canvas its segments cover in `train`."""
    lineage: dict[str, str]
    """Fingerprints (SHA-256) of what it was made from: `segment=<leaf>`, `recipes=<leaf>` and `node=<child>`."""


def save_node(path: Path, header: Header, states: Sequence[State], stored: str = "float32") -> None:
    """Write a node: the weights of every repeat, the first under their own names, repeat k's as `repeat<k>.<name>`.

    The header is one string: safetensors does not keep several in order, and equal nodes are equal bytes.

    Args:
        stored: the precision of the matrices and convolutions, `float32`, `float16` or `bfloat16`; what has one
            dimension, such as BatchNorm's statistics, whose range is the data's, keeps its own.
    """
    kind: torch.dtype = getattr(torch, stored)
    kept = [{key: _stored(value, kind) for key, value in state.items()} for state in states]
    tensors = {_prefix(k) + key: value for k, state in enumerate(kept) for key, value in state.items()}
    fields = asdict(header) | {
        "checksums": [_checksum(state) for state in kept],
        "canvas": header.canvas.model_dump(),
        "segments": {name: segment.model_dump() for name, segment in header.segments.items()},
    }
    with new_file(path) as partial:
        save_file(tensors, partial, metadata={"heml": json.dumps(seal(fields), sort_keys=True)})


def _stored(value: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(kind) if value.is_floating_point() and value.ndim > 1 else value


def _checksum(state: State) -> int:
    """CRC-32 of the tensors as they are stored, in the order of their names; safetensors has none of its own."""
    found = 0
    for key in sorted(state):
        found = zlib.crc32(state[key].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(key.encode(), found))
    return found


def load_header(path: str | Path) -> Header:
    """Read a node's header alone.

    Raises:
        HemlError: missing, not safetensors, or not written by this project.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        fields = unseal(json.loads(metadata["heml"]))
        fields.pop("checksums", None)  # of the tensors, which are not read here
        fields["box"], fields["canvas"] = tuple(fields["box"]), Canvas(**fields["canvas"])
        fields["architecture"] = Architecture(**fields["architecture"])
        fields["segments"] = {name: Segment(**segment) for name, segment in fields["segments"].items()}
        header = Header(**fields)
    except FileNotFoundError:
        raise HemlError(f"{path}: no such node; run `dvc repro` first") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise fault(path, f"not a node of this project ({error})", "dvc repro") from None
    if header.node != Path(path).stem:
        raise fault(path, f"holds the node {header.node!r}", "dvc repro")
    return header


def check_lineage(header: Header, run: Run, segments: bool = False) -> None:
    """Hold a node of a run against the children that it was made from.

    Args:
        segments: against its segments too.

    Raises:
        HemlError: a child or a segment is another than the one that it was trained on.
    """
    for made_from, known in header.lineage.items():
        kind, _, name = made_from.partition("=")
        path = run.node(name) if kind == "node" else run.segment(name) / "part-0.parquet"
        if (kind == "node" or (kind == "segment" and segments)) and (not path.is_file() or fingerprint(path) != known):
            raise HemlError(
                f"{run.node(header.node)}: was trained on another {kind} {name!r} than {path}; run `dvc repro`"
                " to train it again, or `dvc pull` what belongs together"
            )


def _prefix(repeat: int) -> str:
    return f"repeat{repeat}." if repeat else ""  # so that a node without repeats has the network's own names


def load_state(path: str | Path, repeat: int = 0) -> State:
    """Read the weights of one of a node's repeats, float32 whatever they are stored as.

    Raises:
        HemlError: not safetensors, another content than was written, or values that are no finite numbers.
    """
    prefix = _prefix(repeat)
    try:
        with safe_open(path, "pt") as file:
            own = (f"{prefix}trunk.", f"{prefix}embedder.")
            names = [key for key in file.keys() if key.startswith(own)]  # noqa: SIM118
            found = {key.removeprefix(prefix): file.get_tensor(key) for key in names}
            checksums = json.loads((file.metadata() or {}).get("heml", "{}")).get("checksums")
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise fault(path, f"cannot be read ({error})", "dvc repro") from None
    if checksums is not None and checksums[repeat : repeat + 1] != [_checksum(found)]:
        raise fault(path, "its weights are not those that were written", "dvc repro")
    state = {key: value.float() if value.is_floating_point() else value for key, value in found.items()}
    wild = [key for key, value in state.items() if not value.isfinite().all()]
    if wild:
        raise fault(path, f"{wild[0]} holds values that are no finite numbers", "dvc repro")
    return state


def load_network(path: str | Path, device: torch.device, repeat: int = 0) -> tuple[Header, MetricNetwork]:
    """A stored node, ready to embed."""
    header = load_header(path)
    empty = _empty(header.architecture)
    # Tensors are not copied with it: all of them are replaced.
    network = copy.deepcopy(empty, {id(tensor): tensor for tensor in empty.state_dict(keep_vars=True).values()})
    try:
        network.load_state_dict(load_state(path, repeat), assign=True)
    except RuntimeError as error:
        told = str(error).splitlines()[-1].strip()
        raise fault(path, f"its weights do not fit its header ({told})", "dvc repro") from None
    lay_out(network.trunk)
    return header, network.to(device).eval()


@functools.cache
def _empty(architecture: Architecture) -> MetricNetwork:
    """A network without weights: random ones that are replaced at once would cost most of the time of loading."""
    with _no_initialisation():
        return MetricNetwork(architecture, (128, 128))  # a stored node has seen that its box is large enough


@contextmanager
def _no_initialisation() -> Iterator[None]:
    """Within, new modules are not filled with random numbers. (Modules on torch's meta device, which have none, bring a
    computer algebra system to tell their shapes.)"""
    own = {name: value for name, value in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")}
    try:
        for name in own:
            setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        yield
    finally:
        for name, value in own.items():
            setattr(nn.init, name, value)


def untrained(header: Header) -> MetricNetwork:
    """The network that a node had before any training, with random weights in its trunk too."""
    x0, y0, x1, y1 = header.box
    torch.manual_seed(header.seed)
    return MetricNetwork(header.architecture, (y1 - y0, x1 - x0)).eval()

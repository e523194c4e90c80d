"""Read the reports' JSON and CSV back: what is missing, damaged or another is one error, with the command that makes it
again."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from heml.cells import from_cell
from heml.errors import HemlError, fault
from heml.run import Run

if TYPE_CHECKING:
    import pandas as pd

Numbers = dict[str, float | None]
"""Of what compares experiments; null where there is none."""


class Repeat(TypedDict):
    """One of a node's trainings."""

    seed: int
    best_epoch: int
    val_p1: float


class Training(TypedDict):
    """What a training tells, of a node or of a baseline, as far as others read it."""

    best_epoch: int
    note: str
    history: list[Numbers]
    """Per epoch, 0 being the start: `epoch`, `loss`, `triplets`, `val_p1`, `seconds`."""
    peak_bytes: int
    images_per_second: float
    seconds: float
    repeats: NotRequired[list[Repeat]]


class NodeReport(Training):
    """`reports/nodes/<node>.json`."""

    node: str
    level: int
    start: str
    box: tuple[int, int, int, int]
    present: dict[str, int]


class BaselineReport(Training):
    """`reports/baselines/<name>.json`."""

    method: str


class ComparisonRow(BaseModel, extra="allow"):
    """`reports/comparison/<name>/row.json`; the scores and costs that it has besides are numbers or null."""

    __pydantic_extra__: dict[str, float | None]
    name: str
    method: str


class SegmenterReport(TypedDict):
    """`reports/segmenter.json`."""

    source: str
    iou: NotRequired[Numbers]
    miou: NotRequired[float]
    notes: NotRequired[list[str]]
    history: NotRequired[list[Numbers]]


class Found(TypedDict):
    """A finding of `reports/bias/findings.json`."""

    part: str
    kind: str
    sentence: str
    told: dict[str, str]
    typical: dict[str, list[str]]


class Findings(TypedDict):
    """`reports/bias/findings.json`."""

    findings: list[Found]
    caveats: list[str]
    chance: float | None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_json(path: Path, again: str, kind: Any) -> dict[str, Any]:
    """A JSON object.

    Args:
        kind: the type that it must be of; numbers are finite, and keys that the type does not name are kept.

    Raises:
        HemlError: missing, damaged, or of another kind.
    """
    try:
        found = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; run `{again}` first") from None
    except (OSError, ValueError) as error:
        raise fault(path, f"is damaged ({error})", again) from None
    if not isinstance(found, dict):
        raise fault(path, "is no JSON object", again)
    try:
        _adapter(kind).validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise fault(path, f"has no valid {key!r} ({first['msg']})", again) from None
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def read_node_report(run: Run, node: str) -> dict[str, Any]:
    """What a node's training tells, a `NodeReport`.

    Raises:
        HemlError: missing, damaged, or of another node.
    """
    path = run.report(node)
    found = read_json(path, "dvc repro", NodeReport)
    if found["node"] != node:
        raise fault(path, f"is the report of {found['node']!r}", "dvc repro")
    return found


def read_csv(path: Path, again: str, columns: Sequence[str], words: Collection[str] = ()) -> pd.DataFrame:
    """A table.

    Args:
        columns: that it must have.
        words: columns that are text, whatever they look like; all others hold finite numbers, or truth values, or
            nothing.

    Raises:
        HemlError: missing, damaged, or of other columns.
    """
    import numpy as np  # which who reads JSON alone need not wait for
    import pandas as pd

    try:
        text = path.read_text("utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        # pandas would fill up, or take a column for an index
        if not text.endswith("\n") or any(len(row) != len(header) for row in rows):
            raise ValueError("a row is not complete")
        found = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; run `{again}` first") from None
    except (ValueError, OSError, csv.Error) as error:
        raise fault(path, f"is damaged ({error})", again) from None
    missing = [name for name in columns if name not in found.columns]
    if missing:
        raise fault(path, f"has no column {missing[0]!r}", again)
    for name in found.columns:
        if name in words:
            found[name] = found[name].map(from_cell, na_action="ignore")
        elif found[name].dtype.kind not in "biuf" or np.isinf(found[name]).any():
            kinds = {type(value).__name__ for value in found[name].dropna()}
            if not kinds <= {"bool"}:  # truth values and nothing
                raise fault(path, f"column {name!r} holds something else than finite numbers", again)
    return found


def check_known(path: Path, again: str, values: Iterable[Any], known: Collection[Any], what: str) -> None:
    """Hold what a file names against what there is.

    Raises:
        HemlError: a value is none of `known`.
    """
    unknown = next((value for value in values if value not in known), None)
    if unknown is not None:
        raise fault(path, f"names {what} {unknown!r}, and there is none", again)

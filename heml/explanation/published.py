"""A run as it is published: the folder `models` and a card. Nothing of it is trusted: names are checked, and only such
files are opened as a run has."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from heml.errors import HemlError
from heml.evaluation.tree_metric import TreeMetric, read_metric
from heml.learning.checkpoints import Header
from heml.params import Name
from heml.run import Run

METRIC = "metric.json"
SEGMENTER = (
    r"segmenter/(config\.json|preprocessor_config\.json|SHA256SUMS|model(-\d+-of-\d+)?\.safetensors(\.index\.json)?)"
)
"""What a segmenter consists of: configurations and safetensors."""

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def published_run(source: str | Path, revision: str | None = None) -> tuple[Run, TreeMetric]:
    """A published run on this machine, fetched where it is a hub repository's, and its metric.

    Args:
        source: a local folder, or a hub id, owner/name.
        revision: of a hub id, the commit, all 40 digits of its hash.

    Raises:
        HemlError: neither a folder nor a hub id with a commit, not to be had, no run, or names that are none of nodes.
    """
    if Path(source).is_dir():
        if revision is not None:
            raise HemlError(f"{source}: is a folder here, which has no revisions; leave `revision` out")
        run = Run(models=source)
        return run, _named(run.metric, str(source))
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(source)):
        raise HemlError(f"{str(source)[:200]!r}: no folder here and no hub id (owner/name)")
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        raise HemlError(
            f"{source}: name the commit to use, `revision` with all 40 digits of its"
            f" hash{f', instead of {revision!r}, which may move' if revision else ''}: so what is opened is what you"
            " have looked at"
        )
    from heml.fetch import Repo, fetch, list_files  # the hub's client is for those who use the hub

    repo = Repo(str(source), str(revision), "model")
    there = list_files(repo)
    if METRIC not in there:
        raise HemlError(
            f"{repo}: has no {METRIC}, so it is no metric tree; `heml export hub` makes a folder that is one"
        )
    (path,) = fetch(repo, [METRIC])
    metric = _named(path, str(repo))
    nodes = [f"nodes/{name}.safetensors" for name in metric.terms]
    fetch(repo, [*nodes, *(name for name in there if re.fullmatch(SEGMENTER, name))])
    return Run(models=path.parent), metric


def _named(path: Path, source: str) -> TreeMetric:
    """The metric, whose nodes' names are names of files."""
    metric = read_metric(path)
    for name in (*metric.terms, *(metric.hidden if isinstance(metric.hidden, list) else [metric.hidden])):
        _check_name(name, source)
    return metric


def check_header(header: Header, source: str) -> None:
    """Hold the names in a node's header against what a name may be: they lead to files.

    Raises:
        HemlError: one is none.
    """
    made_from = (name.partition("=")[2] for name in header.lineage)
    for name in (header.node, *header.leaves, *header.children, *header.segments, *made_from):
        _check_name(name, source)


def _check_name(name: object, source: str) -> None:
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError:
        raise HemlError(
            f"{source}: names {str(name)[:80]!r}, which is no name of a node or a segment; do not use it"
        ) from None

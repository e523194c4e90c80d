"""Which stages there are, and which each waits for: DVC's graph by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo

Plan = dict[str, list[str]]
"""Stage → the stages it reads from, in an order in which they can run."""


def plan(repo: Repo, targets: Sequence[str] = ()) -> Plan:
    """The stages that `dvc repro <targets>` would look at, all without a target.

    Raises:
        HemlError: no such stage.
    """
    import networkx
    from dvc.exceptions import DvcException

    from heml.errors import HemlError

    graph = repo.index.graph
    wanted = set(graph)
    if targets:
        try:
            named = [stage for target in targets for stage in repo.stage.collect(target)]
        except DvcException as error:
            raise HemlError(f"{', '.join(targets)}: {error}; `dvc stage list` names all stages") from None
        wanted = set(named).union(*(networkx.descendants(graph, stage) for stage in named))
    order = networkx.dfs_postorder_nodes(graph.subgraph(wanted))
    return {stage.addressing: [below.addressing for below in graph.successors(stage)] for stage in order}


def urgency(stages: Plan) -> dict[str, int]:
    """How many stages come one after another from each to the end: what has most before it goes first."""
    above: dict[str, int] = dict.fromkeys(stages, 1)
    for stage in reversed(stages):
        for below in stages[stage]:
            above[below] = max(above[below], above[stage] + 1)
    return above

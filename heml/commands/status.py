"""What is stale and why, and what a run would cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from heml.commands.common import Commands
from heml.commands.screen import FAINT, STRONG, WARN, Screen, add_output, table, text

if TYPE_CHECKING:
    from heml.running.staleness import Reason, Standing

MOST = 12
"""Reasons that are named; a screen holds them and the table."""


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("status", help="what is stale and why, and what a run would cost")
    add_output(parser, "the stages that a run would look at, those first that others wait for")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.params import load_params
    from heml.running.staleness import standing
    from heml.tree import Tree

    screen = Screen.of(arguments)
    Tree.from_params(load_params())  # a mistake is told before anything is looked at
    found = standing()
    would = found.would_run
    if would:
        _say(screen, found)
    else:
        screen.say(text(("up to date", "green"), f": {_counted(found.stages)}; a run would do nothing"))
    if arguments.quiet and would:
        screen.result(*(text(name) for name in would))
    screen.document(
        {
            "up_to_date": not would,
            "stale": [
                {"stage": name, "reasons": [{"where": r.where, "key": r.what or None, "how": r.how} for r in reasons]}
                for name, reasons in found.stale.items()
            ],
            "after": found.after,
            "would_run": [{"stage": name, "seconds": found.seconds.get(name)} for name in would],
            "seconds": sum(found.seconds.values()),
            "unknown": len(would) - len(found.seconds),
        }
    )


def _say(screen: Screen, found: Standing) -> None:
    by_reason: dict[Reason, list[str]] = {}
    for name, reasons in found.stale.items():
        for reason in reasons:
            by_reason.setdefault(reason, []).append(name)
    # Paths of which the same is to be said are one line.
    alike: dict[tuple[str, ...], list[str]] = {}
    for reason, stages in by_reason.items():
        said = f"{reason.what} {reason.how}".strip()
        alike.setdefault((reason.where if reason.what else "", said, *stages), []).append(reason.where)
    told = sorted(alike.items(), key=lambda item: -len(item[0]))
    for (_, said, *stages), where in told[:MOST]:
        screen.say(text((f"{', '.join(where)}: ", STRONG), said, " → ", (_again(stages, found), WARN)))
    if len(told) > MOST:
        screen.say(text((f"and {len(told) - MOST} more (--json names all)", FAINT)))
    if found.after:
        screen.say(text(f"then, unless what they read comes out the same: {_counted(found.after)}"))
    groups: dict[str, list[str]] = {}
    for name in found.would_run:
        groups.setdefault(name.partition("@")[0], []).append(name)
    rows = []
    for group, stages in groups.items():
        known = [found.seconds[name] for name in stages if name in found.seconds]
        missing = len(stages) - len(known)
        cost = _time(sum(known)) if known else "unknown"
        rows.append([group, str(len(stages)), cost + (f", {missing} unknown" if known and missing else "")])
    screen.say("", table(rows, ("stage", "runs", "took last time"), right=[1]))
    total, unknown = sum(found.seconds.values()), len(found.would_run) - len(found.seconds)
    rest = f", and {unknown} stages of which no report says" if unknown else ""
    screen.say(
        text("\na run: ", (f"at most about {_time(total)}", STRONG), f" of work, one after another{rest}")
        if found.seconds
        else text(f"\na run: no report says how long its {len(found.would_run)} stages take")
    )
    screen.say(text("next: ", ("heml repro", STRONG)))


def _again(stages: list[str], found: Standing) -> str:
    """What runs again, in words."""
    nodes = [name for name in stages if name.startswith("train_level_")]
    others = [name for name in stages if name not in nodes]
    # what trains below a node trains it too
    above = [name for name in found.after if name.startswith("train_level_")] if nodes else []
    told = []
    if nodes:
        told.append(f"{_nodes(nodes)} train{'s' * (len(nodes) == 1)} again")
        if above:
            told[0] += f", then {_nodes(above)} above"
    if others:
        told.append(f"{_counted(others)} run{'s' * (len(others) == 1)} again")
    return ", ".join(told)


def _nodes(names: list[str]) -> str:
    return f"the node {names[0].partition('@')[2]}" if len(names) == 1 else f"{len(names)} nodes"


def _counted(names: Iterable[str]) -> str:
    """Names of stages; those of one kind as their number."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        group = name.partition("@")[0]
        kinds.setdefault("nodes" if group.startswith("train_level_") else group, []).append(name)
    return ", ".join(
        own[0] if len(own) == 1 else f"{len(own)} {kind if kind == 'nodes' else f'× {kind}'}"
        for kind, own in kinds.items()
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

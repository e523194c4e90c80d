"""What is stale and why, as `dvc status` sees it, from dvc.yaml, params.yaml and dvc.lock alone.

DVC would take longer to import than this to look. Content is compared by DVC's own hashes: MD5 of a file, and of a
folder that of its files' names and hashes. Hashes are remembered by a file's size, time and number, as DVC remembers
them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heml.atomic import new_file
from heml.errors import HemlError
from heml.progress import progress
from heml.running.definition import Definition, Yaml, all_names, read_yaml

MEMORY = Path(".dvc/tmp/heml-hashes.json")
"""Hashes of files that did not change since; may be removed at any time."""

MISSING = "not there"

ALWAYS = ("check",)
"""Stages that run every time, in half a second."""


@dataclass(frozen=True)
class Reason:
    """One thing that is not as dvc.lock has it."""

    where: str
    """`params.yaml`, a path, dvc.yaml, or `what it writes`: nothing of that is there."""
    what: str
    """Of a parameter its key; otherwise empty."""
    how: str
    """`changed`, `new`, `gone`, `never ran`, with values where they are short."""

    def __str__(self) -> str:
        return f"{self.where}: {f'{self.what} ' if self.what else ''}{self.how}"


@dataclass(frozen=True)
class Standing:
    """Where the pipeline stands."""

    stages: list[str]
    """All, in an order in which they can run, but those that always do."""
    stale: dict[str, list[Reason]]
    """Stages that something changed for."""
    after: list[str]
    """Stages that read what those write: they run too, unless it comes out the same."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of stages that would run, how long the last time took, where a report says."""

    @property
    def would_run(self) -> list[str]:
        """Both, in order."""
        return [name for name in self.stages if name in self.stale or name in self.after]


def standing(root: Path = Path()) -> Standing:
    """Compare the project with its dvc.lock.

    Args:
        root: the project's folder.

    Raises:
        HemlError: no project there, or a file of it that cannot be read.
    """
    pipeline, params = (read_yaml(_read(root / name), name) for name in ("dvc.yaml", "params.yaml"))
    lock = read_yaml(_read(root / "dvc.lock"), "dvc.lock").get("stages", {}) if (root / "dvc.lock").is_file() else {}
    definitions = {name: Definition.of(name, pipeline, params) for name in all_names(pipeline, params)}
    hashes = Hashes(root)
    stale = {}
    for name, definition in progress(definitions.items(), "stages", len(definitions), "stage"):
        found = list(_reasons(definition, _command(pipeline, name), lock.get(name), params, hashes))
        if found and name not in ALWAYS:
            stale[name] = found
    hashes.remember()
    order, below = _order(definitions)
    reached = set(stale)
    for name in order:
        if not reached.isdisjoint(below[name]):
            reached.add(name)
    order = [name for name in order if name not in ALWAYS]
    after = [name for name in order if name in reached and name not in stale]
    return Standing(order, stale, after, {name: s for name in reached if (s := _seconds(name, root)) is not None})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HemlError(f"{path}: cannot be read ({error.strerror}); run this in a project's folder") from None


def _command(pipeline: Yaml, name: str) -> str:
    stage = pipeline["stages"][name.partition("@")[0]]
    return str(stage.get("do", stage)["cmd"])


def _reasons(definition: Definition, command: str, locked: Any, params: Yaml, hashes: Hashes) -> Iterator[Reason]:
    if not isinstance(locked, Mapping):
        yield Reason("dvc.lock", "", "never ran")
        return
    if definition.outs and all(hashes.of(out) is None for out in definition.outs):
        yield Reason("what it writes", "", MISSING)
        return
    if command != locked.get("cmd"):
        yield Reason("dvc.yaml", "cmd", "changed")
    then = (locked.get("params") or {}).get("params.yaml") or {}
    for key, value in definition.parameters(params).items():
        yield from (Reason("params.yaml", path, how) for path, how in _differences(key, then.get(key), value))
    for kind, paths in (("deps", definition.deps), ("outs", definition.outs)):
        known = {
            entry["path"]: entry.get("md5")
            for entry in locked.get(kind) or []
            if isinstance(entry, Mapping) and "path" in entry
        }
        for path in paths:
            now = hashes.of(path)
            if now != known.get(path):
                yield Reason(
                    path,
                    "",
                    MISSING if now is None else "changed" if path in known else "new among what it reads",
                )


def _differences(key: str, then: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Dotted keys whose values differ, and how."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in [*then, *(name for name in now if name not in then)]:
            if name not in now:
                yield f"{key}.{name}", "gone"
            elif name not in then:
                yield f"{key}.{name}", "new"
            else:
                yield from _differences(f"{key}.{name}", then[name], now[name])
    elif then != now:
        values = (json.dumps(value, default=str, ensure_ascii=False) for value in (then, now))
        told = " → ".join(values)
        yield key, f"changed ({told})" if len(told) <= 60 else "changed"


class Hashes:
    """The content of files and folders, as DVC names it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, str | None] = {}
        try:
            found = json.loads((root / MEMORY).read_text("utf-8"))
        except (OSError, ValueError):
            found = {}
        self._known: dict[str, list[Any]] = found if isinstance(found, dict) else {}
        self._now: dict[str, list[Any]] = {}

    def of(self, path: str) -> str | None:
        """A file's or folder's hash; None where there is neither."""
        if path not in self._paths:
            self._paths[path] = self._hash(self.root / path)
        return self._paths[path]

    def _hash(self, path: Path) -> str | None:
        if path.is_dir():
            files = sorted((file.relative_to(path).as_posix(), file) for file in _walk(path))
            listing = [{"md5": self._file(file), "relpath": name} for name, file in files]
            return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
        return self._file(path) if path.is_file() else None

    def _file(self, path: Path) -> str:
        state, name = path.stat(), str(path)
        stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
        known = self._known.get(name)
        if isinstance(known, list) and known[:3] == stamp and len(known) == 4 and isinstance(known[3], str):
            digest = known[3]
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        self._now[name] = [*stamp, digest]
        return digest

    def remember(self) -> None:
        """Keep the hashes of what was looked at."""
        if (self.root / MEMORY).parent.is_dir() and self._now != self._known:
            with new_file(self.root / MEMORY) as partial:
                partial.write_text(json.dumps(self._now), "utf-8")


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder as DVC sees them, without what Python leaves beside code."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git", ".hg", ".dvc")]
        yield from (Path(place, name) for name in names if not name.endswith(".pyc") and name != ".dvcignore")


def _order(definitions: Mapping[str, Definition]) -> tuple[list[str], dict[str, list[str]]]:
    """Stages in an order in which they can run, and those that each reads from."""
    writer = {out: name for name, definition in definitions.items() for out in definition.outs}
    folders: dict[str, list[str]] = {}
    for out, name in writer.items():
        for parent in Path(out).parents:
            folders.setdefault(parent.as_posix(), []).append(name)
    below: dict[str, list[str]] = {}
    for name, definition in definitions.items():
        found: dict[str, None] = {}
        for dep in definition.deps:
            holders = [writer[place] for p in (Path(dep), *Path(dep).parents) if (place := p.as_posix()) in writer]
            found |= dict.fromkeys([*holders, *folders.get(Path(dep).as_posix(), [])])
        below[name] = [other for other in found if other != name]
    order: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...] = ()) -> None:
        if name in path:
            raise HemlError(f"dvc.yaml: {name} reads what it writes")
        if name not in order:
            for other in below[name]:
                visit(other, (*path, name))
            order[name] = None

    for name in definitions:
        visit(name)
    return list(order), below


def _seconds(name: str, root: Path) -> float | None:
    """How long a stage took the last time, where its report says."""
    group, _, key = name.partition("@")
    kind = "nodes" if group.startswith("train_level_") else {"baseline": "baselines", "student": "students"}.get(group)
    path = root / "reports" / (f"{kind}/{key}.json" if kind else f"{group}.json")
    if not kind and group != "segmenter":
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        if kind:
            return float(found["seconds"])
        return float(sum(epoch["seconds"] for epoch in found["history"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

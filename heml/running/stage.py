"""The frame of a stage's script: what it is for, what it read, and whether that still lies there when it ends.

DVC notes dependencies when a command has ended. Of what was edited meanwhile it would note the new state beside the old
outs, and serve them for it ever after. So a stage looks at its parameters, code and other dependencies, as dvc.yaml
declares them, before it imports any of it and again at its end, and fails if they differ. An edit in the moment between
that look and DVC's is not seen.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heml.errors import HemlError, exit_on_error
from heml.lifetime import end_with_caller
from heml.running.definition import Definition, read_yaml

_begun: dict[str, Inputs] = {}
"""Stage → what it depended on when its first line ran."""


def begin() -> None:
    """Where DVC runs this process, end with it, and note what its stage depends on. Called before anything of it is
    imported."""
    if name := _stage():
        end_with_caller()
        with suppress(HemlError):  # told when the stage runs
            _begun[name] = Inputs.of(name)


@contextmanager
def stage() -> Iterator[str]:
    """What a stage's script does stands in this block; it yields the stage's key, such as a node's name, empty where it
    has none.

    By hand, without DVC, the key is the script's argument, and nothing is compared.

    Raises:
        SystemExit: with status 1 and one message, for an error that a user can act on or a dependency that changed
            meanwhile. The stage's outs are removed then, and DVC records nothing.
    """
    with exit_on_error():
        name = _stage()
        if not name:
            yield sys.argv[1] if len(sys.argv) > 1 else ""
            return
        before = _begun.pop(name, None) or Inputs.of(name)
        yield name.partition("@")[2]
        atexit._run_exitfuncs()
        if changed := before.changed():
            before.remove_outs()
            raise HemlError(
                f"{', '.join(changed)}: changed while {name} ran, which had read what was there before; "
                "its results are of neither and were removed: run the same command again"
            )
        leave()


def leave() -> None:
    """End this process at once: tearing down what was imported takes longer than DVC's look, and an edit meanwhile
    would not be seen."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _stage() -> str:
    """The name by which DVC runs this process; it has the path of dvc.yaml before it where `dvc` was called
    elsewhere."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2]


@dataclass(frozen=True)
class Inputs:
    """The state of everything that a stage depends on."""

    definition: Definition
    text: bytes
    """Of params.yaml."""
    files: Mapping[str, tuple[Any, ...]]
    """Path → size, time and number of the file; of code also the hash, since a checkout renews times."""

    @classmethod
    def of(cls, name: str) -> Inputs:
        """As it is now.

        Raises:
            HemlError: dvc.yaml has no such stage, or dvc.yaml or params.yaml cannot be read.
        """
        text = _read("params.yaml")
        definition = Definition.of(name, read_yaml(_read("dvc.yaml"), "dvc.yaml"), read_yaml(text, "params.yaml"))
        return cls(definition, text, {path: (*_state(path), _hash(path)) for path in _files(definition.deps)})

    def changed(self) -> list[str]:
        """What is no longer as it was, in words."""
        found = []
        text = _read("params.yaml")
        if text != self.text:
            now = self.definition.parameters(read_yaml(text, "params.yaml"))
            then = self.definition.parameters(read_yaml(self.text, "params.yaml"))
            found += [f"{key} in params.yaml" for key in then if then[key] != now[key]]
        paths = set(_files(self.definition.deps))
        found += sorted(path for path in paths | set(self.files) if path not in paths or self._differs(path))
        return found[:3] + [f"and {len(found) - 3} more"] * (len(found) > 3)

    def _differs(self, path: str) -> bool:
        *state, digest = self.files.get(path, ("new", b""))
        return state != list(_state(path)) and (not digest or digest != _hash(path))

    def remove_outs(self) -> None:
        """As DVC does before it runs a stage."""
        for out in map(Path, self.definition.outs):
            if out.is_dir():
                shutil.rmtree(out)
            else:
                out.unlink(missing_ok=True)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise HemlError(f"{path}: cannot be read ({error.strerror})") from None


def _files(deps: list[str]) -> Iterator[str]:
    """The files that dependencies consist of, as DVC sees them."""
    for dep in deps:
        if not os.path.isdir(dep):  # noqa: PTH112 (a data set may have millions of files)
            if os.path.exists(dep):  # noqa: PTH110
                yield dep
            continue
        for folder, folders, names in os.walk(dep, followlinks=True):
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (f"{folder}/{name}" for name in names if not name.endswith(".pyc"))


def _state(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return (0, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _hash(path: str) -> bytes:
    """Of a file of code; empty for others."""
    if not path.endswith(".py"):
        return b""
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).digest()
    return b""

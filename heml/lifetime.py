"""A process ends with those for whom it works: what nobody waits for any more writes nothing.

A stage whose `dvc` was killed would otherwise go on, and replace an out while the next `dvc` is at it. Two things
prevent it: a thread that the system wakes when one of them ends (Linux), and a look at the chain of parents before an
    out is put in place (`heml.atomic`).
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from heml.errors import HemlError

CHAIN = "HEML_CHAIN"
"""Environment of a stage that was forked ahead: the process that asked for it, and that one's parents, as
`heml.running.client` says."""

_SHELLS = ("sh", "bash", "dash", "zsh", "fish", "ash", "ksh")

_chain: list[int] = []
"""Process, its parent, the parent's parent …, each of which must stay the next one's child."""


def end_with(pids: Sequence[int]) -> None:
    """End this process, as by SIGKILL, as soon as one of those processes has ended; where the system cannot tell, do
    nothing."""
    if not hasattr(os, "pidfd_open"):
        return
    poll = select.poll()
    for pid in pids:
        try:
            poll.register(os.pidfd_open(pid), select.POLLIN)
        except ProcessLookupError:
            _end()
        except OSError:  # an older kernel
            return
    threading.Thread(target=_end_after, args=(poll,), daemon=True).start()


def _end_after(poll: select.poll) -> None:
    poll.poll()
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_with_caller() -> None:
    """For a stage that DVC runs: end with DVC, with the shell in which it runs commands, and with the process that
    forked the stage."""
    me, parent = os.getpid(), os.getppid()
    if told := os.environ.pop(CHAIN, ""):
        end_with([parent])
        chain = [int(pid) for pid in told.split()]
    else:
        chain = [me, *_callers(parent)]
    if not _holds(chain) or (chain[-1] == 1 and _name(1) not in (*_SHELLS, "python", "dvc", "heml")):
        _end()  # adopted by the system before it could look
    end_with(chain[1:])
    _chain[:] = chain


def _callers(parent: int) -> list[int]:
    """A parent, and where that is a shell, who runs it."""
    above = _parent(parent) if _name(parent) in _SHELLS else 0
    return [parent, above] if above else [parent]


def insist() -> None:
    """Look whether this process is still wanted.

    Raises:
        HemlError: it runs for one that has ended.
    """
    if not _holds(_chain):
        raise HemlError("who ran this stage has ended; nothing was put in place: run `dvc repro` again")


def _holds(chain: Sequence[int]) -> bool:
    return all(_parent(child) in (parent, None) for child, parent in pairwise(chain))


def _parent(pid: int) -> int | None:
    """The parent of a process; 0 where the process has ended, None where the system does not tell."""
    if pid == os.getpid():
        return os.getppid()
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0 if Path("/proc/self/stat").exists() else None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip().rstrip("0123456789.")
    except OSError:
        return ""

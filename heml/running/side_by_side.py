"""`dvc repro`, several stages at a time on one machine.

Each of N workers is a process that has imported DVC and does what `dvc --wait-for-lock repro --single-item <stage>` does, which is safe
side by side in one workspace: DVC holds its lock while it looks and writes, not while a command runs. A stage is given out when all that
it reads from has ended. The outputs are those of `dvc repro`, since DVC runs the same commands on the same inputs, and no result
depends on what else runs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from heml.errors import HemlError
from heml.running.board import Board, board
from heml.running.plan import Plan, plan, urgency
from heml.running.warm import shim

_LOOK = 0.5
"""Seconds after which the screen is renewed."""


def repro(targets: Sequence[str], jobs: int) -> None:
    """Bring the pipeline up to date with `jobs` stages at a time.

    Raises:
        HemlError: a stage failed; what had ended stays, and the next run goes on from there.
    """
    with shim() as folder, _workers(jobs, folder) as workers:
        from dvc.repo import Repo

        with Repo(_wait_for_lock=True) as repo:
            stages = plan(repo, targets)
        with board(len(stages)) as shown:
            run_all(stages, workers, shown)


def run_all(stages: Plan, workers: list[Worker], shown: Board) -> None:
    """Give stages to workers until all have ended, one fails, or somebody interrupts.

    Raises:
        HemlError: a stage failed, or a worker ended by itself.
        KeyboardInterrupt: after the running stages were told and have ended.
    """
    order = sorted(stages, key=urgency(stages).__getitem__, reverse=True)
    left, idle = dict.fromkeys(order), list(workers)
    busy: dict[Any, tuple[Worker, str]] = {}
    ended: set[str] = set()
    failed: list[str] = []
    try:
        while busy or (left and not failed):
            while idle and not failed and (stage := next((s for s in left if ended.issuperset(stages[s])), None)):
                del left[stage]
                worker = idle.pop(0)
                worker.pipe.send(stage)
                busy[worker.pipe] = worker, stage
                shown.start(stage)
            for pipe in wait(list(busy), timeout=_LOOK if shown.live else None):
                worker, stage = busy.pop(pipe)
                outcome, output = worker.answer()
                shown.end(stage, outcome, output)
                if outcome == "failed":
                    failed.append(stage)
                else:
                    ended.add(stage)
                    idle.append(worker)
            shown.draw()
    except KeyboardInterrupt:
        for worker, _ in busy.values():
            worker.interrupt()
        for worker, _ in busy.values():
            worker.answer()
        raise
    if failed:
        rest = f"; {len(left)} stages wait for a run that goes on from here" if left else ""
        raise HemlError(f"{', '.join(failed)} failed (see above); what ended before is kept{rest}")


class Worker:
    """A process that reproduces one stage after another."""

    def __init__(self, number: int, jobs: int, path: Path) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        life = (self.pipe, theirs, _environment(number, jobs, path))
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=life, daemon=True)
        self.process.start()
        theirs.close()

    def answer(self) -> tuple[str, str]:
        """What became of its stage (`ran`, `restored`, `unchanged`, `failed`), and what was printed."""
        try:
            found: tuple[str, str] = self.pipe.recv()
        except EOFError:
            self.process.join()
            status = self.process.exitcode
            return "failed", f"the worker ended with status {status}: killed, most likely for want of memory; try fewer --jobs"
        return found

    def interrupt(self) -> None:
        """Interrupt its command, as Ctrl-C would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGINT)


def _environment(number: int, jobs: int, path: Path) -> dict[str, str]:
    """What a worker's commands see: the warm Python, one thread each where the jobs fill the cores, a GPU of their own by turns."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(cores // jobs, 1))
    if gpus := visible_gpus():
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return found


def visible_gpus() -> list[str]:
    """The GPUs that may be used: those of CUDA_VISIBLE_DEVICES, or all that the driver knows; without asking torch."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(k) for k in range(len(list(folder.iterdir())))] if folder.is_dir() else []


@contextlib.contextmanager
def _workers(jobs: int, path: Path) -> Any:
    workers = [Worker(number, jobs, path) for number in range(jobs)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.pipe.close()  # it ends when it reads that nothing more comes
        for worker in workers:
            worker.process.join()


def _work(parents: Connection, pipe: Connection, environment: dict[str, str]) -> None:
    """A worker's life. Its process group is its own, so that Ctrl-C reaches it by `Worker.interrupt` alone, once."""
    os.setpgid(0, 0)
    parents.close()  # so that the pipe ends with the parent
    signal.signal(signal.SIGINT, lambda *_: None)  # a handler, unlike SIG_IGN, is not passed on to commands
    os.environ.update(environment)
    import dvc.lock
    from dvc.repo import Repo

    dvc.lock.DEFAULT_TIMEOUT = 0.12  # it looks six times in this for a lock; a stage of seconds should not wait half of one
    while True:
        try:
            stage = pipe.recv()
        except EOFError:
            return
        with tempfile.TemporaryFile("w+") as file, _captured(file):
            outcome = reproduce(stage, lambda: Repo(_wait_for_lock=True))
            sys.stdout.flush()
            sys.stderr.flush()
            file.seek(0)
            output = file.read()
        with contextlib.suppress(BrokenPipeError):
            pipe.send((outcome, output))


def reproduce(stage: str, open_repo: Callable[[], Any], **options: Any) -> str:
    """Reproduce one stage by DVC and say what became of it. Its command prints; DVC's own words are printed if it fails."""
    from dvc.exceptions import DvcException

    said = io.StringIO()
    logger = logging.getLogger("dvc")
    logger.handlers, logger.propagate = [logging.StreamHandler(said)], False
    logger.setLevel(logging.INFO)
    try:
        with open_repo() as repo:
            changed = repo.reproduce(stage, single_item=True, **options)
    except DvcException as error:
        print(said.getvalue() + "error: " + ": ".join(str(cause) for cause in (error, error.__cause__) if cause))
        return "failed"
    if not changed:
        return "unchanged"
    return "restored" if "is cached - skipping run" in said.getvalue() else "ran"


@contextlib.contextmanager
def _captured(file: Any) -> Any:
    """Standard output and error of this process and its commands, into a file."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)

"""`dvc repro`, several stages at a time on one machine.

Each of N workers is a process that has imported DVC and does what `dvc --wait-for-lock repro --single-item <stage>`
does, which is safe side by side in one workspace: DVC holds its lock while it looks and writes, not while a command
runs. A stage is given out when all that it reads from has ended. The outputs are those of `dvc repro`, since DVC runs
the same commands on the same inputs, and no result depends on what else runs.
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
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from heml.lifetime import end_with
from heml.machine import cores, visible_gpus
from heml.running.board import Ended, board
from heml.running.plan import plan
from heml.running.schedule import Outcome, run_all
from heml.running.warm import shim


def repro(targets: Sequence[str], jobs: int, silent: bool = False) -> list[Ended]:
    """Bring the pipeline up to date with `jobs` stages at a time; returns what became of each, in the order in which
    they ended.

    Raises:
        HemlError: a stage failed; what had ended stays, and the next run goes on from there.
    """
    import dvc  # noqa: F401 (that it is missing is told here, not by every worker)

    with shim() as folder, _workers(jobs, folder) as workers:
        from dvc.repo import Repo

        with Repo(_wait_for_lock=True) as repo:
            stages = plan(repo, targets)
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def run(stage: str, below: Sequence[str]) -> Outcome:
            worker = idle.get()
            try:
                return worker.run(stage)
            finally:
                idle.put(worker)

        def interrupt() -> None:
            for worker in workers:
                worker.interrupt()

        with board(len(stages), silent) as shown:
            run_all(stages, run, jobs, shown, interrupt)
        return shown.ended


class Worker:
    """A process that reproduces one stage after another."""

    def __init__(self, number: int, jobs: int, path: Path) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        life = (self.pipe, theirs, _environment(number, jobs, path), os.getpid())
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=life, daemon=True)
        self.process.start()
        theirs.close()

    def run(self, stage: str) -> Outcome:
        """Reproduce a stage."""
        try:
            self.pipe.send(stage)
            found: Outcome = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            self.process.join()
            status = self.process.exitcode
            return (
                "failed",
                f"the worker ended with status {status}: killed, most likely for want of memory; try fewer --jobs",
            )
        return found

    def interrupt(self) -> None:
        """Interrupt its command, as Ctrl-C would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGINT)


def _environment(number: int, jobs: int, path: Path) -> dict[str, str]:
    """What a worker's commands see: the warm Python, one thread each where the jobs fill the cores, a GPU of their own
    by turns."""
    found = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(cores() // jobs, 1))
    if gpus := visible_gpus():
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return found


@contextlib.contextmanager
def _workers(jobs: int, path: Path) -> Iterator[list[Worker]]:
    workers = [Worker(number, jobs, path) for number in range(jobs)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.pipe.close()  # it ends when it reads that nothing more comes
        for worker in workers:
            worker.process.join()


def _work(parents: Connection, pipe: Connection, environment: dict[str, str], caller: int) -> None:
    """A worker's life. Its process group is its own, so that Ctrl-C reaches it by `Worker.interrupt` alone, once."""
    os.setpgid(0, 0)
    end_with([caller])
    parents.close()  # so that the pipe ends with the parent
    signal.signal(signal.SIGINT, lambda *_: None)  # a handler, unlike SIG_IGN, is not passed on to commands
    os.environ.update(environment)
    import dvc.lock
    import dvc.repo  # while the first stage is looked for

    # it looks six times in this for a lock; a stage of seconds should not wait half of one
    dvc.lock.DEFAULT_TIMEOUT = 0.12
    while True:
        try:
            stage = pipe.recv()
        except EOFError:
            return
        with captured() as printed:
            outcome, said = reproduce(stage)
        with contextlib.suppress(BrokenPipeError):
            pipe.send((outcome, printed.read() + said))


def reproduce(stage: str, **options: Any) -> Outcome:
    """Reproduce one stage by DVC: what became of it, and DVC's words if it failed. Its command prints as it likes."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    said = io.StringIO()
    logger = logging.getLogger("dvc")
    logger.handlers, logger.propagate = [logging.StreamHandler(said)], False
    logger.setLevel(logging.INFO)
    try:
        with Repo(_wait_for_lock=True) as repo:
            changed = repo.reproduce(stage, single_item=True, **options)
    except DvcException as error:
        return "failed", said.getvalue() + "error: " + ": ".join(
            str(cause) for cause in (error, error.__cause__) if cause
        )
    if not changed:
        return "unchanged", ""
    return "restored" if "is cached - skipping run" in said.getvalue() else "ran", ""


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """Standard output and error of this process and its commands; to be read afterwards."""
    found, kept = io.StringIO(), [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield found
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            found.write(file.read().decode("utf-8", "replace"))
            found.seek(0)

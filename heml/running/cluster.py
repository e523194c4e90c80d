"""`dvc repro` on a Ray cluster: every stage is a task on some node, in a workspace of that node at the state of this
one.

Hosts do not share DVC's locks, so each has a workspace of its own, unpacked once from the files that git knows here.
They share
results: through a cache that all can reach (`cache.dir`), or through a DVC remote. A task writes `dvc.lock` as it is
    here, checks out
what its stage reads and reproduces the stage; here DVC then finds the run in the run cache and restores its outputs. So
this workspace ends as after `dvc repro`, whatever becomes of the others; a task whose node is lost runs again
elsewhere.

`segment`, `manifest` and `embed` go further: their row groups are tasks, put together in order by the stage.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import queue
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from heml.errors import HemlError
from heml.machine import CLUSTER
from heml.running.board import Ended, board
from heml.running.plan import plan
from heml.running.schedule import Outcome, run_all
from heml.running.side_by_side import captured, reproduce

A = TypeVar("A")
B = TypeVar("B")

HERE = ("check", "download")
"""Stages that run in this workspace: they read files that only this machine may have."""

SPREAD = ("segment", "manifest", "embed")
"""Stages whose row groups are tasks of their own. They take no core themselves, or could wait for cores that they
hold."""

GPU_SHARE = 0.25
"""Of a GPU for each task, where the cluster has GPUs: four nodes train on one at a time."""

STATE = "HEML_RAY_STATE"
"""Environment of a task's stage: the file that holds the state of the workspace."""


@dataclass(frozen=True)
class State:
    """What a node must know to make a workspace."""

    archive: bytes
    """A tar of the files that git tracks or would, as they are here, less dvc.lock."""
    cache: str | None
    """The folder of the shared cache; None: results travel through the default remote."""
    address: str

    @property
    def name(self) -> str:
        """A name for workspaces at this state."""
        return hashlib.sha256(self.archive + str(self.cache).encode()).hexdigest()[:16]


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise HemlError("--ray needs Ray, on this machine as on the cluster's: `pip install heml[ray]`") from None
    return ray


def repro(targets: Sequence[str], address: str, silent: bool = False) -> list[Ended]:
    """Bring the pipeline up to date by the nodes of a cluster; returns what became of each stage.

    Args:
        address: of the cluster, as `ray start` prints it, or `auto`.

    Raises:
        HemlError: no Ray, no cluster at the address, no shared cache or remote, a stage that failed.
    """
    ray = _ray()
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo:
        stages = plan(repo, targets)
        state = _state(repo, address)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError, RuntimeError) as error:
        raise HemlError(f"--ray {address}: no cluster there ({error}); start one with `ray start --head`") from None
    try:
        resources = ray.cluster_resources()
        shared = ray.put(state)
        run = _Runner(ray, shared, state, share=GPU_SHARE if resources.get("GPU") else 0.0)
        with board(len(stages), silent) as shown:
            run_all(stages, run, max(int(resources.get("CPU", 1)), 1), shown, run.interrupt)
        return shown.ended
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See that somebody listens at HOST:PORT, for which Ray itself would wait minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and host and "//" not in host:
        socket.create_connection((host, int(port)), timeout=5).close()


def _state(repo: Any, address: str) -> State:
    """This workspace as other nodes need it."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        raise HemlError(
            f"{Path.cwd()}: not a git repository, whose files are what other nodes get ({listed.stderr.strip()})"
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(set(filter(None, listed.stdout.split("\0"))) - {"dvc.lock"}):
            if Path(name).is_file():
                info = archive.gettarinfo(name)
                info.mtime = 0  # equal files are an equal state
                with Path(name).open("rb") as file:
                    archive.addfile(info, file)
    cache = repo.config["cache"].get("dir")
    if cache is None and not repo.config["core"].get("remote"):
        raise HemlError(
            "--ray: nodes must share results: a folder that all of them see (`dvc cache dir --local /mnt/shared/cache`)"
            " or a default remote (`dvc remote add -d team s3://…`)"
        )
    return State(
        buffer.getvalue(), None if cache is None else str(repo.cache.local.path).removesuffix("/files/md5"), address
    )


class _Runner:
    """Runs a stage on the cluster, then restores it here."""

    def __init__(self, ray: Any, shared: Any, state: State, share: float) -> None:
        self.ray, self.shared, self.state, self.share = ray, shared, state, share
        self.here = threading.Lock()
        """DVC works for one stage at a time in this workspace."""
        self.waiting: dict[str, Any] = {}

    def __call__(self, stage: str, below: Sequence[str]) -> Outcome:
        """Reproduce one stage; what it reads from is up to date here."""
        kind = stage.partition("@")[0]
        if kind not in HERE and self._stale(stage):
            lock = Path("dvc.lock").read_text("utf-8")
            cores = {"num_cpus": 0 if kind in SPREAD else 1, "num_gpus": self.share}
            task = self.ray.remote(_on_a_node).options(max_retries=-1, scheduling_strategy="SPREAD", **cores)
            self.waiting[stage] = task.remote(self.shared, stage, list(below), lock)
            try:
                outcome, output = self.ray.get(self.waiting.pop(stage))
            except self.ray.exceptions.RayError as error:
                return "failed", str(error)
            if outcome == "failed":
                return outcome, output
            restored, said = self._here(stage)
            return outcome if restored == "restored" else restored, output + said
        outcome, said = self._here(stage)
        if outcome != "failed" and self.state.cache is None:
            with self.here:
                _push(stage)
        return outcome, said

    def _stale(self, stage: str) -> bool:
        from dvc.repo import Repo

        with self.here, Repo(_wait_for_lock=True) as repo:
            return bool(repo.status([stage]))

    def _here(self, stage: str) -> Outcome:
        with self.here:
            return reproduce(stage, pull=self.state.cache is None)

    def interrupt(self) -> None:
        """Cancel what runs."""
        for task in list(self.waiting.values()):
            self.ray.cancel(task, force=True)


def _on_a_node(state: State, stage: str, below: Sequence[str], lock: str) -> Outcome:
    """One stage in this node's workspace."""
    from dvc.exceptions import DvcException

    try:
        return _in_workspace(state, stage, below, lock)
    except DvcException as error:  # does not travel: another node could not read it
        return "failed", f"error: {error}"


def _in_workspace(state: State, stage: str, below: Sequence[str], lock: str) -> Outcome:
    with _workspace(state, below, lock):
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            CLUSTER: state.address,
            STATE: str(Path("../state").resolve()),
        }
        os.environ.update(environment)
        with captured() as printed:
            outcome, said = reproduce(stage)
        if outcome != "failed" and state.cache is None:
            _push(stage)
        return outcome, printed.read() + said


def _push(stage: str) -> None:
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo:
        repo.push([stage], run_cache=True)


@contextmanager
def _workspace(state: State, below: Iterable[str], lock: str) -> Iterator[None]:
    """This node's workspace at that state, with what the stages `below` have written; the working folder meanwhile."""
    ray = _ray()
    folder = Path(tempfile.gettempdir()) / "heml-ray" / ray.get_runtime_context().get_node_id() / state.name
    workspace = folder / "workspace"
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    with (folder / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _unpack(state, folder)
        os.chdir(workspace)
        try:
            _catch_up(yaml.safe_load(lock), below, pull=state.cache is None)
        except BaseException:
            os.chdir(before)
            raise
    try:
        yield
    finally:
        os.chdir(before)


def _unpack(state: State, folder: Path) -> None:
    workspace = folder / "workspace"
    with tarfile.open(fileobj=io.BytesIO(state.archive)) as archive:
        archive.extractall(workspace, filter="data")
    lines = ["[core]", "    no_scm = true", "    autostage = false"]
    if state.cache:
        lines += ["[cache]", f"    dir = {state.cache}"]
    (workspace / ".dvc" / "config.local").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "state").write_bytes(state.archive)
    (folder / "ready").touch()


def _catch_up(theirs: Mapping[str, Any], below: Iterable[str], pull: bool) -> None:
    """Put what is known elsewhere into dvc.lock, and the outputs of some stages into the workspace."""
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo:
        with repo.lock:
            path = Path("dvc.lock")
            own = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {"schema": "2.0", "stages": {}}
            own["stages"] |= theirs["stages"]
            partial = path.with_name(f".dvc.lock.{os.getpid()}")
            partial.write_text(yaml.safe_dump(own, sort_keys=False), "utf-8")
            partial.replace(path)
        if targets := list(below):
            if pull:
                repo.fetch(targets)
            repo.checkout(targets, force=True)


def on_nodes(function: Callable[[A], B], work: Sequence[A]) -> Iterator[B]:
    """A function's results on the row groups of this stage, made by as many tasks at a time as the cluster has cores,
    in order.

    Args:
        function: of what lies in the workspace; each node checks out what the stage reads.
    """
    ray = _ray()
    ray.init(address=os.environ[CLUSTER], log_to_driver=False, logging_level="warning")
    try:
        yield from _in_order(ray, function, work)
    finally:
        ray.shutdown()


def _in_order(ray: Any, function: Callable[[A], B], work: Sequence[A]) -> Iterator[B]:
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo, repo.lock:  # other stages of this workspace write dvc.lock in place
        below = plan(repo, [os.environ["DVC_STAGE"]])[os.environ["DVC_STAGE"]]
        cache = repo.config["cache"].get("dir")
        lock = Path("dvc.lock").read_text("utf-8")
    state = ray.put(State(Path(os.environ[STATE]).read_bytes(), cache, os.environ[CLUSTER]))
    task = ray.remote(_group).options(max_retries=-1, scheduling_strategy="SPREAD")
    waiting = queue.SimpleQueue[Any]()
    most = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)  # the next ones wait at the workers' doors
    for item in work:
        if waiting.qsize() == most:
            yield ray.get(waiting.get())
        waiting.put(task.remote(state, function, item, below, lock))
    while waiting.qsize():
        yield ray.get(waiting.get())


def _group(state: State, function: Callable[[A], B], item: A, below: Sequence[str], lock: str) -> B:
    with _workspace(state, below, lock):
        return function(item)

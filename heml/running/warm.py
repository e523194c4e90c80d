"""A process that has imported what stages import, and forks one for every stage: none of them waits for torch.

It lives as long as the command that started it and holds nothing of this project: a stage imports `heml` and `stages`
itself, as they are at that moment, and runs the same code as a fresh Python would. The stages find it by the name of
`python`: `shim` is a folder to put first on the PATH, in which `python -m …` asks the warm process and everything else
is Python itself.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heml.lifetime import end_with

IMPORTED = (
    *("numpy", "yaml", "pydantic", "tqdm", "PIL.Image", "pyarrow.parquet", "safetensors.torch", "pandas"),
    *("torch", "torch.optim.swa_utils", "torchvision.models.resnet"),
    *(
        "pytorch_metric_learning.losses",
        "pytorch_metric_learning.miners",
        "pytorch_metric_learning.samplers.m_per_class_sampler",
    ),
)
"""What is imported before the first stage; nothing of it depends on the project."""

_TICK = 0.02
"""Seconds between two looks at whether a stage has ended."""


@contextmanager
def shim() -> Iterator[Path]:
    """A folder with a `python` that asks a warm process; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="heml-") as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        python = folder / "bin" / "python"
        client = Path(__file__).with_name("client.py").read_text("utf-8")
        python.write_text(
            f"#!{sys.executable} -IS\n{client}\n\nask({sys.executable!r}, {str(folder / 'socket')!r})\n", "utf-8"
        )
        python.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listener:  # from the start, so that whoever asks early waits
            listener.bind(str(folder / "socket"))
            listener.listen(64)
            command = [
                sys.executable,
                "-c",
                f"from heml.running.warm import serve; serve({listener.fileno()}, {os.getpid()})",
            ]
            server = subprocess.Popen(
                command, stdin=subprocess.PIPE, start_new_session=True, pass_fds=[listener.fileno()]
            )
        try:
            yield folder / "bin"
        finally:
            assert server.stdin is not None
            server.stdin.close()  # which ends it
            server.wait()


def serve(number: int, caller: int) -> None:
    """Listen on a Unix socket, an open file of this process, until standard input ends; every request is a stage."""
    end_with([caller])
    # not ignored: one that reaches a stage before its handler stands waits
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    with socket.socket(fileno=number) as listener:
        _import()
        running: dict[int, socket.socket] = {}
        while True:
            watched = [sys.stdin, listener, *running.values()]
            ready = select.select(watched, [], [], _TICK if running else None)[0]
            if sys.stdin in ready:
                for pid in running:
                    _stop(pid)
                return
            if listener in ready:
                connection, _ = listener.accept()
                pid = _start(connection, [listener, *running.values()])
                running[pid] = connection
            for pid, connection in list(running.items()):
                if connection in ready and not connection.recv(1):  # whoever asked is gone
                    _stop(pid)
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with contextlib.suppress(OSError):
                        connection.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode() + b"\n")
                    running.pop(pid).close()


def _stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _import() -> None:
    import heml.learning  # noqa: F401 (it defers what a stage would defer)

    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "heml"]:
        del sys.modules[name]


def _start(connection: socket.socket, others: list[socket.socket]) -> int:
    """Fork a process for one request; returns its number."""
    data, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 20)
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        connection.sendall(f"{pid}\n".encode())
        return pid
    code = 1
    try:
        for other in (connection, *others):
            other.close()
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        code = _become(**json.loads(data))
    except BaseException:  # noqa: BLE001 (as Python itself would, whatever it is)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(module: str, arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    """What `python -m module arguments` does; its exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = [module, *arguments], folder
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    if (threads := environment.get("OMP_NUM_THREADS", "")).isdigit() and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))  # which otherwise read it when it was imported
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0

"""Processes end with those for whom they work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heml import lifetime
from heml.atomic import new_file
from heml.errors import HemlError

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone tells when a process ends")

CALLER = """
import subprocess, sys
shell = "{shell}"
command = [sys.executable, "-c", sys.argv[1]]
process = subprocess.Popen([shell, "-c", '"$0" -c "$1"; true', sys.executable, sys.argv[1]] if shell else command)
process.wait()
"""
WORKER = """
import os, time
from heml.lifetime import end_with_caller
from heml.running import spread
spread.cores, spread.visible_gpus = lambda: 2, lambda: []
end_with_caller()
def work(item):
    open(f"worker{item}", "w").write(str(os.getpid()))
    time.sleep(60)
open("stage", "w").write(str(os.getpid()))
list(spread.across_cores(work, range(2)))
"""


def lives(file: Path) -> bool:
    try:
        return Path(f"/proc/{file.read_text()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("shell", ["", "sh"])
@pytest.mark.parametrize("victim", ["caller", "stage"])
def test_a_stage_ends_with_its_caller_and_its_workers_with_it(tmp_path, shell, victim):
    caller = subprocess.Popen([sys.executable, "-c", CALLER.format(shell=shell), WORKER], cwd=tmp_path)
    files = [tmp_path / name for name in ("stage", "worker0", "worker1")]
    deadline = time.monotonic() + 30
    while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(lives, files))
    os.kill(caller.pid if victim == "caller" else int(files[0].read_text()), signal.SIGKILL)
    while any(map(lives, files)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(lives, files))
    caller.wait(30)


def test_who_has_lost_its_caller_puts_nothing_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(lifetime, "_chain", [os.getpid(), os.getppid()])
    with new_file(tmp_path / "kept") as partial:
        partial.touch()
    monkeypatch.setattr(lifetime, "_chain", [os.getpid(), os.getppid() + 1])
    with pytest.raises(HemlError, match="has ended; nothing was put in place"), new_file(tmp_path / "lost") as partial:
        partial.touch()
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]

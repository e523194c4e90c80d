"""The warm process is `python -m …`: the same output, status, environment and folder, of the code as it is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heml.running.warm import shim

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

PROGRAM = """
import os, sys, torch
print("out", sys.argv[1:], os.environ["SAID"], os.getcwd(), __name__)
print("in", sys.stdin.read())
print("threads", torch.get_num_threads())
print("err", file=sys.stderr)
sys.exit({"0": 0, "7": 7, "text": "a message", "none": None}.get(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def warm():
    with shim() as folder:
        yield folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def call(folder: Path, *arguments: str, path: Path | None = None, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"SAID": "so", "OMP_NUM_THREADS": "1"}
    if path:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    python = "python" if path else sys.executable
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, input="asked", **options
    )


@pytest.mark.parametrize("argument", ["0", "7", "text", "none"])
def test_it_does_what_python_does(warm, program, argument):
    cold, forked = (
        call(program, "-m", "program", argument, "b"),
        call(program, "-m", "program", argument, "b", path=warm),
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_an_exception_has_its_traceback_and_status_1(warm, tmp_path):
    (tmp_path / "wrong.py").write_text("raise ValueError('what went wrong')")
    done = call(tmp_path, "-m", "wrong", path=warm)
    assert done.returncode == 1
    assert "ValueError: what went wrong" in done.stderr


def test_code_that_changed_in_between_runs_as_it_is(warm, tmp_path):
    for word in ("one", "two"):
        (tmp_path / "changing.py").write_text(f"import heml\nprint({word!r}, heml.__file__)")
        (tmp_path / "heml.py").write_text("")  # the folder's own, not the one that serves
        done = call(tmp_path, "-m", "changing", path=warm)
        assert done.stdout.split() == [word, str(tmp_path / "heml.py")]


def test_anything_but_a_module_is_pythons_own(warm, tmp_path):
    assert call(tmp_path, "-c", "import sys; print('torch' in sys.modules)", path=warm).stdout == "False\n"


def test_an_interrupt_reaches_the_stage(warm, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\ntry:\n    print('begun', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n   "
        " print('told')\n    raise\n"
    )
    environment = os.environ | {"PATH": f"{warm}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["python", "-m", "slow"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "told\n"
    assert process.returncode == 130


def test_it_ends_with_who_started_it(tmp_path):
    (tmp_path / "slow.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    with shim() as folder:
        environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        process = subprocess.Popen(
            ["python", "-m", "slow"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        pid = int(process.stdout.readline())
    assert not folder.exists()
    process.wait(20)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()

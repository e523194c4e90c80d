"""An interrupted write leaves what was there, and nothing half-written."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from heml.atomic import UNFINISHED, clear_unfinished, new_file, new_folder
from heml.errors import HemlError, exit_on_error


def test_a_failed_write_keeps_the_old_file_and_folder(tmp_path):
    (tmp_path / "f").write_text("old")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("old")
    with pytest.raises(RuntimeError), new_file(tmp_path / "f") as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), new_folder(tmp_path / "d") as partial:
        (partial / "x").write_text("half")
        raise RuntimeError
    assert (tmp_path / "f").read_text() == "old"
    assert (tmp_path / "d" / "x").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "f"]


def test_a_finished_folder_replaces_the_old_one_whole(tmp_path):
    for name in ("a", "b"):
        with new_folder(tmp_path / "d") as partial:
            (partial / name).write_text(name)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["b"]


def test_within_a_project_nothing_unfinished_lies_beside_an_out(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    out = tmp_path / "models" / "nodes" / "hair.safetensors"
    with new_file(out) as first, new_folder(out.parent / "d") as second, new_file(out) as third:
        assert len({first, second, third}) == 3
        assert first.name == out.name
        assert not list(out.parent.iterdir())
        first.touch()
        third.touch()
    assert sorted(p.name for p in out.parent.iterdir()) == ["d", "hair.safetensors"]
    assert not list((tmp_path / UNFINISHED).iterdir())


def test_what_dead_processes_left_is_cleared_and_what_living_ones_write_is_not(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    program = "import os; from heml.atomic import new_file\nwith new_file('f') as p: p.touch(); os._exit(9)"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert len(list((tmp_path / UNFINISHED).iterdir())) == 1
    with new_file(tmp_path / "g") as partial:
        partial.touch()
        clear_unfinished(tmp_path)
        assert [p.parent for p in (tmp_path / UNFINISHED).glob("*/*")] == [partial.parent]
    assert [p.name for p in tmp_path.glob("[fg]")] == ["g"]


def test_a_full_disk_is_one_message_with_the_file(tmp_path):
    with pytest.raises(SystemExit) as stop, exit_on_error(), new_file(tmp_path / "big") as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "no space left while writing" in str(stop.value)
    assert str(tmp_path / "big") in str(stop.value)
    assert not list(tmp_path.iterdir())


def test_a_really_full_device_is_reported(tmp_path):
    with (
        pytest.raises(SystemExit, match="no space left while writing"),
        exit_on_error(),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x" * 100_000)


def test_a_users_error_is_one_line_and_a_bug_keeps_its_traceback():
    with pytest.raises(SystemExit, match="error: no such thing"), exit_on_error():
        raise HemlError("no such thing")
    with pytest.raises(KeyError), exit_on_error():
        raise KeyError

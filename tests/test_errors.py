"""How a command ends when a disk or memory is full or a name too long, and what of data reaches a terminal."""

import errno
import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from node_data import make_node_data
from run_data import run_params

from heml.atomic import new_file
from heml.errors import HemlError, exit_on_error, out_of_memory, out_of_space, shown
from heml.images.shards import Description, ImageRecord, read_rows, write_images

WRITERS = {
    "torch": "import torch; torch.save({'a': torch.randn(100_000)}, path)",
    "safetensors": (
        "import torch; from safetensors.torch import save_file; save_file({'a': torch.randn(100_000)}, path)"
    ),
    "numpy": "import numpy as np; np.save(path.open('wb'), np.random.randn(100_000))",
    "parquet": (
        "import numpy as np, pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'a':"
        " np.random.randn(100_000)}), path)"
    ),
    "csv": "import numpy as np, pandas as pd; pd.DataFrame({'a': np.random.randn(100_000)}).to_csv(path)",
    "png": "import os; from PIL import Image; Image.frombytes('L', (500, 500), os.urandom(250_000)).save(path, 'png')",
    "text": "path.write_text('x' * 1_000_000)",
}


def limited(code: str, folder: Path, *arguments: str, largest: int = 100_000) -> subprocess.CompletedProcess:
    """Run code in a process that cannot write a file of more bytes than `largest`, as on a full disk."""
    before = (
        f"import resource, runpy, sys\nfrom pathlib import Path\nresource.setrlimit(resource.RLIMIT_FSIZE, ({largest},"
        f" {largest}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", before + textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def one_line(done: subprocess.CompletedProcess) -> str:
    """The last line of stderr, which must be an error and no traceback."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


@pytest.mark.parametrize("library", WRITERS)
def test_every_library_that_writes_says_that_the_disk_is_full(tmp_path, library):
    code = f"""
    from heml.atomic import new_file
    from heml.errors import exit_on_error
    with exit_on_error(), new_file(Path("out/file")) as path:
        {WRITERS[library]}
    """
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    said = one_line(limited(code, tmp_path))
    assert "no space left while writing out/file" in said
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("file", "old")]


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_one_line_where_a_node_trains(tmp_path):
    make_node_data(tmp_path, n=24)
    params = run_params().model_dump(mode="json", exclude_none=True)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    before = left(tmp_path)
    assert "no space left while writing models/nodes/left.safetensors" in one_line(
        limited("runpy.run_module('stages.train', run_name='__main__', alter_sys=False)", tmp_path, "left")
    )
    assert left(tmp_path) == before


def test_a_full_disk_is_one_line_where_a_segmenter_is_fitted(tmp_path):
    make_node_data(tmp_path, n=16)
    rows = list(read_rows(tmp_path / "data/images", ["image_id", "split", "label", "image", "mask"]))
    records = [
        ImageRecord(r["image_id"], r["split"], r["label"], r["image"]["bytes"], "x.png", r["mask"]["bytes"])
        for r in rows
    ]
    write_images(
        tmp_path / "data/images", records, Description("t", "y", ["a", "b"], {"background": 0, "left": 1, "right": 2})
    )
    params = run_params().model_dump(mode="json", exclude_none=True)
    params["segmenter"] = {"source": "finetune", "epochs": 1, "size": {"height": 32, "width": 32}, "batch_size": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    before = left(tmp_path)
    done = limited("runpy.run_module('stages.segmenter', run_name='__main__')", tmp_path)
    assert re.search(r"no space left while writing models/(checkpoints/segmenter-\w+\.pt|segmenter)", one_line(done))
    assert left(tmp_path) == before


def test_every_stage_ends_so():
    for script in (ROOT / "stages").glob("*.py"):
        if script.name != "__init__.py":
            assert re.search(r"^    with (stage|exit_on_error)\(\)", script.read_text(), re.MULTILINE), script


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.zeros(10**15),
        lambda: torch.zeros(10**15),
        lambda: pa.allocate_buffer(10**17),
        lambda: bytearray(10**17),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")),
        lambda: (_ for _ in ()).throw(OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
)
def test_memory_that_ran_out_is_one_line_and_nothing_is_left(tmp_path, ask):
    with (
        pytest.raises(
            SystemExit, match="error: memory ran out; nothing half-written was kept: lower the batch_size"
        ) as stop,
        exit_on_error(),
        new_file(tmp_path / "out") as partial,
    ):
        partial.write_text("half")
        ask()
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.iterdir())


def test_other_errors_are_neither():
    for error in (
        RuntimeError("shape mismatch"),
        ValueError("3 requested"),
        OSError(errno.EACCES, "no"),
        KeyError("memory"),
    ):
        assert not out_of_memory(error)
        assert not out_of_space(error)
        with pytest.raises(type(error)), exit_on_error():
            raise error


def test_a_process_that_was_ended_is_told_and_a_name_of_256_bytes_too(tmp_path):
    with pytest.raises(SystemExit, match="a process of this stage was ended from outside"), exit_on_error():
        raise BrokenProcessPool
    with (
        pytest.raises(
            SystemExit, match=r"error: .*é….*the name is too long for a file; shorten it to at most 255 bytes"
        ),
        exit_on_error(),
    ):
        (tmp_path / ("é" * 128)).write_text("x")  # 128 letters, 256 bytes
    with (
        pytest.raises(SystemExit, match="the name is too long"),
        exit_on_error(),
        new_file(tmp_path / ("é" * 128)) as partial,
    ):
        partial.write_text("x")


NASTY = "a\x1b[2J\x1b]0;title\x07\r\x9bb\u202e\u2066c\x00\u2028d"


@given(st.text())
def test_what_is_shown_controls_nothing(text):
    found = shown(text)
    assert len(found) == len(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", found)
    assert all(a in (b, "\ufffd") for a, b in zip(found, text, strict=True))
    found.encode()


@pytest.mark.parametrize("text", ["Zoë 猫 ∙ наука", "می‌خواهم", "👩‍👩‍👧", "a\u00a0b"])
def test_words_of_any_language_are_shown_as_they_are(text):
    assert shown(text) == text


def test_whatever_is_printed_or_raised_reaches_no_terminal_raw(capsys):
    with pytest.raises(SystemExit) as stop, exit_on_error():
        print("one\ttwo\nthree", NASTY)
        raise HemlError(f"{NASTY}: bad")
    printed = capsys.readouterr().out
    assert printed.startswith("one\ttwo\nthree a\ufffd[2J")
    for text in (printed, str(stop.value)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)

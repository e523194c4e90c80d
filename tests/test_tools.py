"""Every block of docs/tools.md is run, in the order in which it stands there, but for what says that it is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from published_run import make_finished, make_masked

TEXT = (ROOT / "docs" / "tools.md").read_text("utf-8")
BLOCKS = [(kind, code) for kind, code in re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
RUN = [(kind, code) for kind, code in BLOCKS if "not run by the tests" not in code and "psycopg" not in code]
SHOWN = """
import json
for name in ("rows", "nearest"):
    if name in globals():
        print(json.dumps(np.asarray(globals()[name], dtype=object).tolist()))
"""
"""Printed after a Python block: what it found."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tools")
    return make_finished(make_masked(root / "masked"), root / "run")


def run(project: Path, kind: str, code: str) -> str:
    """What a block prints; a Python block also what it found."""
    if kind == "sh":
        code = code.replace("heml ", f"{sys.executable} -m heml.cli ")
        command = ["bash", "-euo", "pipefail", "-c", code]
    else:
        command = [sys.executable, "-c", code + SHOWN]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(project / "cache")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(project) -> dict[str, str]:
    """Block → what it printed."""
    return {code: run(project, kind, code) for kind, code in RUN}


def told(printed: dict[str, str], word: str) -> str:
    (found,) = [out for code, out in printed.items() if word in code]
    return found


def test_blocks_are_run_and_those_that_are_not_say_so(printed):
    assert len(printed) >= 14
    assert {kind for kind, _ in BLOCKS} == {"sh", "python"}
    assert all(kind == "python" or "heml export" in code or "not run by the tests" in code for kind, code in BLOCKS)


def test_faiss_and_duckdb_find_what_the_tree_finds(project, printed):
    import heml

    tree = heml.MetricTree.load(project / "models", project / "data")
    gallery = tree.gallery
    first = gallery.view(0)
    apart = gallery.distances(first, tree.metric).numpy()
    train = np.flatnonzero((gallery.embeddings["both"].splits == "train") & np.isfinite(apart))
    nearest = train[np.argsort(apart[train], kind="stable")[:2]]
    found = json.loads(told(printed, "duckdb.connect"))
    # itself first: it is of train
    assert [row[0] for row in found[:2]] == [gallery.canvases.image_ids[k] for k in (0, nearest[0])]
    assert found[1][2] == pytest.approx(apart[nearest[0]], abs=1e-5)
    rows = json.loads(told(printed, "faiss"))[0]
    assert rows[0] == 0
    everyone = np.argsort(np.nan_to_num(apart, nan=np.inf), kind="stable")
    assert rows[1] == everyone[0]


def test_a_published_tree_explains_files_and_views(printed):
    assert told(printed, '"a.png", "b.png"').startswith("a.png and b.png: ")
    assert " and " in told(printed, "import View").splitlines()[0]


@pytest.mark.skipif("DATABASE_URL" not in os.environ or not find_spec("psycopg"), reason="no server with pgvector")
def test_pgvector_finds_what_duckdb_finds(project, printed):
    (code,) = [code for _, code in BLOCKS if "psycopg" in code]
    found, known = json.loads(run(project, "python", code)), json.loads(told(printed, "duckdb.connect"))
    assert [row[2] for row in found] == pytest.approx([row[2] for row in known], abs=1e-5)

"""The committed run is a fact: what is drawn from params.yaml has its hashes, and what differs is named."""

import shutil

import pytest
import yaml
from conftest import ROOT

from benchmarks.reproduced import artifacts, compared, main

pytestmark = pytest.mark.pipeline


def test_images_and_canvases_have_the_hashes_of_the_committed_run(project):
    """They are integers throughout, the same on any machine; weights are the same on like ones (`make repro` says)."""
    shutil.copy(ROOT / "params.yaml", project.root)
    project.repro("canvases")
    committed = artifacts(yaml.safe_load((ROOT / "dvc.lock").read_text("utf-8")))
    ours = project.hashes("data/images", "data/canvases")
    assert ours == {name: value for name, value in committed.items() if name in ("data/images", "data/canvases")}
    assert len(ours) == 2


def test_a_run_again_from_nothing_is_reproduced_and_another_seed_named(project, capsys):
    """Timings apart, nothing differs; of another image, its artifact and all that follow do."""
    before = artifacts(yaml.safe_load((project.root / "dvc.lock").read_text("utf-8")))
    assert main(project.root) == 0
    assert f"{len(before)} of {len(before)} artifacts" in capsys.readouterr().out
    project.repro("--force", "--no-run-cache", "train_level_0@hair")
    assert main(project.root) == 0
    lock = yaml.safe_load((project.root / "dvc.lock").read_text("utf-8"))
    lock["stages"]["train_level_0@hair"]["outs"][0]["md5"] = "0" * 32
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert main(project.root) == 1
    assert "models/nodes/hair.safetensors differs" in capsys.readouterr().out
    (project.root / "params.yaml").write_text((project.root / "params.yaml").read_text() + "\n# another\n")
    assert main(project.root) == 0
    assert "not the committed parameters" in capsys.readouterr().out


def test_what_one_of_two_runs_lacks_differs():
    assert compared({"a": "1", "b": "2"}, {"a": "1", "c": "3"}) == (["a"], ["b", "c"])
    lock = {
        "stages": {"s": {"outs": [{"path": "reports/nodes/hair.json", "md5": "1"}, {"path": "data/x", "md5": "2"}]}}
    }
    assert artifacts(lock) == {"data/x": "2"}

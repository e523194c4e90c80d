"""What a change re-runs, read from what DVC ran."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from heml.learning.checkpoints import load_header

pytestmark = pytest.mark.pipeline

END = {"embed", "audit", "map", "weigh", "evaluate", "bias", "report"}
HAIR_PATH = {"train_level_0@hair", "train_level_2@all"}


def test_the_first_run_made_everything_and_a_second_runs_nothing(finished):
    for name in ("index.html", "metrics.json", "nodes.csv", "segmenter.json", "plots/curves.csv", "audit/mistakes.csv"):
        assert (finished.root / "reports" / name).is_file()
    assert {p.stem for p in (finished.root / "models" / "nodes").iterdir()} == {"hair", "eyes", "mouth", "face", "all"}
    assert finished.repro() == set()
    assert not [p for p in finished.root.rglob("*.partial")]


def test_one_leafs_epochs_train_that_leaf_and_its_ancestors(project):
    project.set(tree__level_0__hair={"epochs": 2})
    assert project.repro() == HAIR_PATH | END


def test_a_part_that_is_switched_off_weighs_and_reports_anew_and_trains_nothing(project):
    project.set(metric={"off": ["mouth"]})
    assert project.repro() == {"weigh", "audit", "map", "evaluate", "bias", "report"}
    terms = json.loads((project.root / "models" / "metric.json").read_text())["terms"]
    assert {name for name, term in terms.items() if not term["slope"]} >= {"mouth", "face", "all"}
    assert sum(term["weight"] for term in terms.values()) == pytest.approx(1)


def test_a_hidden_part_is_embedded_anew_and_trains_nothing(project):
    before = project.hashes("data/embeddings")
    project.set(embed={"hide": ["mouth"]})
    assert project.repro() == END
    changed = {path for path, value in project.hashes("data/embeddings").items() if before[path] != value}
    assert changed == {"data/embeddings"}
    assert json.loads((project.root / "models" / "metric.json").read_text())["hidden"] == ["mouth"]
    mouth, face = (
        pd.read_csv(project.root / "reports/nodes.csv").set_index("node").loc[n, "segments"] for n in ("mouth", "face")
    )
    assert (mouth, face) == ("mouth", "eyes")


def test_a_recomposed_segment_trains_the_nodes_that_hold_it_and_no_other(project):
    before = project.hashes("data/segments", "models/nodes")
    project.set(recompose={"hair": {}})
    assert project.repro() == {"recompose"} | HAIR_PATH | END
    changed = {path for path, value in project.hashes("data/segments", "models/nodes").items() if before[path] != value}
    assert changed == {"models/nodes/hair.safetensors", "models/nodes/all.safetensors"}
    header = load_header(project.root / "models" / "nodes" / "all.safetensors")
    assert "recipes=hair" in header.lineage
    assert "recipes=eyes" not in header.lineage
    project.set(recompose={})
    assert project.repro() == set()  # all of it comes out of the run cache
    assert project.hashes("models/nodes") == {
        path: value for path, value in before.items() if path.startswith("models")
    }


def test_balanced_weights_train_nothing(project):
    project.set(metric={"balance": ["eyes"]})
    ran = project.repro()
    assert "weigh" in ran
    assert ran <= {"weigh", "audit", "map", "evaluate", "bias", "report"}


def test_a_baseline_trains_alone_and_a_leafs_settings_leave_it_be(project):
    project.set(baselines={"usual": {"method": "traditional", "epochs": 1}})
    assert project.repro() == {"baseline@usual", "compare@usual", "report"}
    assert (project.root / "reports" / "comparison" / "usual" / "pair-0.png").is_file()
    assert pd.read_csv(project.root / "reports" / "plots" / "comparison.csv")["name"].tolist() == ["tree", "usual"]
    chosen = (project.root / "reports" / "audit" / "pairs.csv").read_bytes()
    project.set(tree__level_0__hair={"epochs": 2})
    ran = project.repro()
    others = (project.root / "reports" / "audit" / "pairs.csv").read_bytes() != chosen
    assert ran == HAIR_PATH | END | ({"compare@usual"} if others else set())  # which explains the pairs of `audit`
    project.set(metric={"off": ["mouth"]})
    assert project.repro() == END - {"embed"}  # other answers on the same pairs
    project.set(baselines={}, metric={})
    project.repro()
    assert "usual" not in (project.root / "reports" / "index.html").read_text()


def test_one_segments_dilation_cuts_that_partition_and_trains_that_path(project):
    before = project.hashes("data/segments")
    project.set(segments__hair__dilate=1)
    assert project.repro() == {"manifest@hair", "recompose"} | HAIR_PATH | END
    changed = {path for path, value in project.hashes("data/segments").items() if before[path] != value}
    assert changed == {"data/segments/segment=hair"}


def test_an_edit_of_the_reporting_code_makes_only_the_report(project):
    path = project.root / "heml" / "reporting" / "curves.py"
    path.write_text(path.read_text() + "\n# an edit\n")
    assert project.repro() == {"report"}


def test_one_mask_of_one_segment_trains_only_that_path(project):
    """The stages that read the whole data set run, but their outs for the other segments come out the same."""
    path = project.root / "data" / "raw" / "masks" / "005.png"
    mask = np.array(Image.open(path))
    mask[24:27, 11:15] = 0  # a bite out of the mouth
    Image.fromarray(mask).save(path)
    before = project.hashes("data/segments", "models/nodes")
    ran = project.repro()
    trained = {stage for stage in ran if stage.startswith("train_")}
    assert trained == {"train_level_0@mouth", "train_level_1@face", "train_level_2@all"}
    changed = {path for path, value in project.hashes("data/segments", "models/nodes").items() if before[path] != value}
    nodes = {f"models/nodes/{node}.safetensors" for node in ("mouth", "face", "all")}
    assert changed == {"data/segments/segment=mouth"} | nodes


def test_bad_input_stops_the_run_and_leaves_no_half_written_out(project):
    (project.root / "data" / "raw" / "images" / "007.png").write_bytes(b"")
    output = project.run("dvc", "repro", ok=False)
    assert "007.png: the file is empty (0 bytes)" in output
    assert "Traceback" not in output
    assert not (project.root / "data" / "images").exists()
    project.set(dataset__on_bad_image="skip")
    project.repro()
    page = (project.root / "reports" / "index.html").read_text()
    assert "1 skipped" in page
    assert "007.png: the file is empty" in page


def test_an_unknown_key_stops_every_stage(project):
    project.set(train__epoch=3)
    output = project.run("dvc", "repro", ok=False)
    assert "train.epoch: unknown key; allowed here: " in output
    assert "Traceback" not in output


def test_a_student_trains_alone_and_repeats_train_everything_again(project):
    project.set(students={"small": {"teacher": "all", "trunk": "mobilenet_v2", "epochs": 1}})
    assert project.repro() == {"student@small", "report"}  # the page shows the parameters
    report = json.loads((project.root / "reports" / "students" / "small.json").read_text())
    assert set(report["networks"]) == {"teacher", "student"}
    project.set(students={}, train__seeds=2)
    assert {stage for stage in project.repro() if stage.startswith("train_")} == {
        "train_level_0@hair", "train_level_0@eyes", "train_level_0@mouth", "train_level_1@face", "train_level_2@all"
    }  # fmt: skip
    nodes = pd.read_csv(project.root / "reports" / "nodes.csv")
    assert nodes["p@1_sd"].notna().all()

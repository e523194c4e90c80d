"""`--json` and `--quiet` of every command, against what the library says."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from run_data import make_reports, make_trained, run_params

from heml import __version__
from heml.cli import main
from heml.explanation.metric_tree import MetricTree
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import load_params
from heml.segments.labelmaps import LabelMap, write_labelmaps
from heml.tree import Tree

CLASSES = {"background": 0, "Left-shoe": 1, "Right-shoe": 2, "no": 3, "bed ": 4, "chest: of drawers": 5, "never": 6}


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Path:
    """A finished run with its reports."""
    root = tmp_path_factory.mktemp("reported")
    params = run_params()
    make_reports(make_trained(root, params), params)
    return root


def finished(run) -> list[str]:
    return ["--models", str(run / "models"), "--data", str(run / "data")]


def document(capsys, *command: str) -> dict:
    main([*command, "--json"])
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def lines(capsys, *command: str) -> list[str]:
    main([*command, "--quiet"])
    return capsys.readouterr().out.splitlines()


def test_one_of_the_two(capsys):
    with pytest.raises(SystemExit):
        main(["tree", "--json", "--quiet"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "a", "b", "--models", "nowhere"],
        ["neighbours", "a", "--models", "nowhere"],
        ["classes", "--data", "nowhere"],
        ["bias", "--reports", "nowhere"],
        ["export", "numpy", "out", "--models", "nowhere"],
        ["init", "nowhere"],
        ["tree", "--params", "nowhere.yaml"],
        ["tree", "--pair", "a,a"],
        ["repro"],
        ["status"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_command_that_fails_prints_a_document_with_the_error(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(command)
    assert capsys.readouterr().out == ""
    line = str(end.value.code).removeprefix("error: ")
    with pytest.raises(SystemExit, match=r"^error: ") as end:  # a string: exit status 1
        main([*command, "--json"])
    assert json.loads(capsys.readouterr().out) == {"error": line}
    with pytest.raises(SystemExit):
        main([*command, "--quiet"])
    assert capsys.readouterr().out == ""


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"heml {__version__}\n")


def test_what_is_wrongly_typed_is_a_document_too(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["explain", "one_image", "--json"])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert json.loads(told.out) == {"error": "heml explain: the following arguments are required: second"}
    assert told.err.startswith("usage: heml explain")
    with pytest.raises(SystemExit):
        main(["explain", "one_image"])
    assert not capsys.readouterr().out


def test_tree(capsys):
    path = ROOT / "presets" / "faces.yaml"
    tree = Tree.from_params(load_params(path))
    found = document(capsys, "tree", "--params", str(path))
    assert {node["name"]: tuple(node["children"]) for node in found["nodes"]} == {
        node.name: node.children for node in tree
    }
    assert found["root"] == "portrait"
    assert next(node for node in found["nodes"] if node["name"] == "portrait")["sets"] == {"epochs": 2}
    assert lines(capsys, "tree", "--params", str(path)) == [node.name for node in tree]
    assert document(capsys, "tree", "--pair", "a,b,c")["leaves"] == ["a", "b", "c"]
    section = yaml.safe_load("\n".join(lines(capsys, "tree", "--pair", "a,b,c")))
    assert section["tree"]["level_1"] == {"a_b": {"left": "a", "right": "b"}}


def test_explain(run, tmp_path, capsys):
    command = ["explain", "i003", "i006", "--distance", "cosine", "--out", str(tmp_path / "out"), *finished(run)]
    found = document(capsys, *command)
    written = json.loads((tmp_path / "out" / "i003--i006.json").read_text())
    assert {key: found[key] for key in written} == written
    files = [str(tmp_path / "out" / f"i003--i006.{kind}") for kind in ("png", "svg", "json")]
    assert sorted(found["files"]) == sorted(files)
    assert lines(capsys, *command) == found["files"]


def test_a_counterfactual(run, tmp_path, capsys):
    tree = MetricTree.load(run / "models", run / "data")
    pair = next(
        pair
        for pair in (("i003", other) for other in ("i006", "i008", "i011", "i012", "i004"))
        if tree.counterfactual(*pair)
    )
    command = ["explain", *pair, "--counterfactual", "--out", str(tmp_path), *finished(run)]
    found, expected = document(capsys, *command), tree.counterfactual(*pair)
    assert found["counterfactual"]["segments"] == list(expected.segments)
    assert found["counterfactual"]["decision"] != found["decision"]
    assert found["files"][-1].endswith("--changed.png")
    assert all(Path(file).is_file() for file in lines(capsys, *command))


def test_no_counterfactual_is_an_answer(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(MetricTree, "counterfactual", lambda *_: None)
    command = ["explain", "i003", "i006", "--counterfactual", "--out", str(tmp_path), *finished(run)]
    found = document(capsys, *command)
    assert found["counterfactual"] is None
    assert found["sentence"]
    main(command)
    assert "no exchange of up to four parts turns the decision" in capsys.readouterr().out


def test_neighbours(run, tmp_path, capsys):
    command = ["neighbours", "i003", "--node", "right", "--count", "4", "--out", str(tmp_path), *finished(run)]
    found = document(capsys, *command)
    apart = [n["distance"] for n in found["neighbours"]]
    assert len(apart) == 4
    assert apart == sorted(apart)
    assert found["by"] == "right"
    assert Path(found["files"][0]).is_file()
    assert all(d["percentiles"][0] < d["percentiles"][1] for d in found["disagreements"])
    assert lines(capsys, *command) == [n["image_id"] for n in found["neighbours"]]


def test_neighbours_by_a_speck_say_so(run, tmp_path, capsys, monkeypatch):
    command = ["neighbours", "i003", "--node", "right", "--out", str(tmp_path), *finished(run)]
    main(command)
    assert "too few to compare" not in capsys.readouterr().out
    monkeypatch.setattr("heml.explanation.pairs.SPECK", 10_000)
    main(command)
    assert re.search(r"it shows \d+ pixels of right: too few to compare by", capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["vectors", "numpy", "projector", "datasets"])
def test_export(run, tmp_path, capsys, kind):
    found = document(capsys, "export", kind, str(tmp_path / "a"), *finished(run))
    assert found["to"] == str(tmp_path / "a")
    assert found["nodes"] == ["left", "right", "both"]
    assert lines(capsys, "export", kind, str(tmp_path / "b"), *finished(run)) == [str(tmp_path / "b")]
    assert any((tmp_path / "b").iterdir())


def test_export_of_networks_prints_no_warning_of_the_exporter(run, tmp_path, capsys, recwarn):
    found = document(capsys, "export", "onnx", str(tmp_path / "a"), "--node", "left", *finished(run))
    assert found["networks"][0]["difference"] < 1e-4
    assert Path(found["networks"][0]["file"]).is_file()
    assert lines(capsys, "export", "onnx", str(tmp_path / "b"), "--node", "left", *finished(run)) == [
        str(tmp_path / "b" / "left.onnx")
    ]
    assert not [w for w in recwarn if "axis name" in str(w.message)]


def test_bias(reported, capsys):
    told = json.loads((reported / "reports/bias/findings.json").read_text())
    command = ["bias", "--reports", str(reported / "reports")]
    assert document(capsys, *command) == told
    assert lines(capsys, *command) == list(dict.fromkeys(finding["part"] for finding in told["findings"]))
    ties = document(capsys, *command, "--all")["associations"]
    table = pd.read_csv(reported / "reports/bias/associations.csv")
    assert {(tie["part"], tie["kind"], tie["v_train"]) for tie in ties} == set(
        zip(table["part"], table["kind"], table["v_train"], strict=True)
    )
    assert [tie["v_train"] for tie in ties] == sorted((tie["v_train"] for tie in ties), reverse=True)


def test_classes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    maps = [LabelMap(f"i{i}", 10, 10, rng.choice(6, (20, 20)).astype(np.uint8), None) for i in range(4)]
    write_images(
        tmp_path / "images",
        [ImageRecord(m.image_id, "train", 0, b"x", "x.png") for m in maps],
        Description("t", "y", ["a"]),
    )
    write_labelmaps(tmp_path / "labelmaps", maps, CLASSES)
    found = document(capsys, "classes", "--data", str(tmp_path))
    assert {c["name"]: c["present"] for c in found["classes"]} == {name: float(name != "never") for name in CLASSES}
    assert found["segments"]["chest_of_drawers"] == "chest: of drawers"
    sections = yaml.safe_load("\n".join(lines(capsys, "classes", "--data", str(tmp_path))))
    assert list(sections) == ["segments", "tree"]
    assert set(sections["segments"]) == set(found["segments"]) == set(found["tree"]["leaves"])
    assert (
        document(capsys, "classes", "--data", str(tmp_path), *(a for c in CLASSES for a in ("--without", c)))["tree"]
        is None
    )


def test_datasets(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = [path.stem for path in sorted((ROOT / "presets").glob("*.yaml"))]
    found = document(capsys, "datasets")
    assert [preset["preset"] for preset in found["presets"]] == [*names, "params"]
    assert lines(capsys, "datasets") == [*names, "params"]


def test_a_name_with_a_slip_is_answered_with_the_one_meant(run, tmp_path):
    for command, near in (
        (["explain", "i003", "i0006"], "did you mean 'i006'?"),
        (["neighbours", "i003", "--node", "rihgt"], "did you mean 'right'?"),
        (["neighbours", "i003", "--against", "Bth"], "did you mean 'both'?"),
        (["export", "numpy", str(tmp_path / "x"), "--node", "lefft"], "did you mean 'left'?"),
    ):
        with pytest.raises(SystemExit, match=near.replace("?", r"\?")):
            main([*command, *finished(run)])


def test_what_bias_found_is_named_for_scripts(tmp_path, capsys):
    """Also: names that look like markup, or would control a terminal."""
    finding = {
        "part": "[red]hat",
        "kind": "colour",
        "sentence": "[red]hat: colour\x1b[2J tells",
        "told": {"[b]": "a"},
        "typical": {},
    }
    (tmp_path / "bias").mkdir()
    told = {"findings": [finding], "caveats": [], "chance": None}
    (tmp_path / "bias" / "findings.json").write_text(json.dumps(told))
    assert lines(capsys, "bias", "--reports", str(tmp_path)) == ["[red]hat"]
    main(["bias", "--reports", str(tmp_path)])
    assert capsys.readouterr().out.startswith("[red]hat: colour\ufffd[2J tells\n  tied in train: [b] → a\n")

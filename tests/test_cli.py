"""The command line as a person sees it."""

import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from heml.cli import main
from heml.commands.common import file_name
from heml.explanation.pairs import signed


def test_heml_tree_prints_the_tree_and_what_a_node_overrides(capsys):
    main(["tree", "--params", str(ROOT / "presets" / "faces.yaml")])
    out = capsys.readouterr().out
    assert out.startswith("portrait  epochs: ")
    assert "31 nodes, 16 leaves, 5 levels" in out


def test_heml_tree_pair_proposes_levels(capsys):
    main(["tree", "--pair", "hair, hat,l_eye,r_eye"])
    out = capsys.readouterr().out
    assert "level_1: {hair_hat: {left: hair, right: hat}, eyes: {left: l_eye, right: r_eye}}" in out


def test_errors_exit_with_one_message(tmp_path, capsys):
    (tmp_path / "p.yaml").write_text("tree: 3")
    with pytest.raises(SystemExit, match=r"error: .*p\.yaml: .*dataset: missing"):
        main(["tree", "--params", str(tmp_path / "p.yaml")])
    with pytest.raises(SystemExit, match="error: segment 'a' is given twice"):
        main(["tree", "--pair", "a,a"])
    with pytest.raises(SystemExit, match="error:"):
        main(["explain", "a.jpg", "b.jpg", "--models", str(tmp_path)])


def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -c 'from heml.cli import main; main([\"datasets\"])' | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("celeba: ")
    assert "Traceback" not in done.stderr


def finished(run) -> list[str]:
    return ["--models", str(run / "models"), "--data", str(run / "data")]


def test_heml_explain_prints_the_tree_and_writes_its_files(run, tmp_path, capsys):
    main(["explain", "i003", "i006", "--distance", "cosine", "--out", str(tmp_path / "out"), *finished(run)])
    out = capsys.readouterr().out
    assert out.startswith("i003 and i006: ")
    assert "├─ left  " in out
    assert "cosine 0." in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"i003--i006.{kind}" for kind in ("png", "svg", "json")}
    stored = json.loads((tmp_path / "out" / "i003--i006.json").read_text())
    assert f"left  {signed(stored['nodes']['left']['evidence'])}" in out
    assert stored["sentence"] in out


def test_heml_neighbours_lists_the_nearest_and_where_nodes_disagree(run, tmp_path, capsys):
    main(
        [
            "neighbours",
            "i003",
            "--node",
            "right",
            "--count",
            "4",
            "--split",
            "train",
            "--out",
            str(tmp_path),
            *finished(run),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("nearest to i003 by right")
    assert len([line for line in lines if line.endswith("(train)")]) == 4
    assert any(": near by " in line and ", far by " in line for line in lines)
    assert (tmp_path / "i003--right.png").read_bytes().startswith(b"\x89PNG")
    main(["neighbours", "i003", "--against", "left", "--out", str(tmp_path), *finished(run)])
    told = [line for line in capsys.readouterr().out.splitlines() if ": near by " in line]
    assert told
    assert not any("right" in line for line in told)


@pytest.mark.parametrize(
    ("kind", "file"), [("numpy", "left.npy"), ("projector", "left.tsv"), ("datasets", "data"), ("onnx", "left.onnx")]
)
def test_heml_export_writes_every_format(run, tmp_path, capsys, kind, file):
    main(["export", kind, str(tmp_path / "out"), "--node", "left", *finished(run)])
    assert (tmp_path / "out" / file).exists()
    assert not [p for p in (tmp_path / "out").rglob("*both*")]
    assert str(tmp_path / "out") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["explain", "i003", "nobody"], "nobody: no such file, and no image of the data set"),
        (["neighbours", "i005", "--node", "right"], "i005: shows nothing of 'right'"),
        (["neighbours", "i003", "--node", "nose"], "no node 'nose'; known are left, right, both"),
        (["export", "numpy", "out", "--node", "nose"], "no node 'nose'; known are left, right, both"),
    ],
)
def test_a_wrong_name_is_named(run, command, message):
    with pytest.raises(SystemExit, match=f"error: .*{re.escape(message)}"):
        main([*command, *finished(run)])


def test_a_wrong_option_says_what_is_allowed(run, capsys):
    for command, message in (
        (["explain", "a", "b", "--distance", "l0"], "choose snr, euclidean, cosine, l1, l2"),
        (["neighbours", "a", "--count", "0"], "expected a number from 1 to 100"),
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert message in capsys.readouterr().err


def test_without_data_there_are_no_neighbours(run, tmp_path):
    with pytest.raises(SystemExit, match="no embeddings there; run `dvc repro embed`"):
        main(["neighbours", "i003", "--models", str(run / "models"), "--data", str(tmp_path)])


def test_an_export_never_replaces_what_is_there(run, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    for kind in ("numpy", "projector", "datasets", "onnx"):
        with pytest.raises(SystemExit, match="exists and is not an empty folder; name a new one"):
            main(["export", kind, str(tmp_path), "--node", "left", *finished(run)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["猫" * 100, "é" * 200, "x" * 300, "a/b" * 90, "👩" * 80])
def test_a_name_of_any_length_becomes_the_name_of_a_file(tmp_path, name):
    stem = file_name(name)
    assert len(stem.encode()) <= 80
    assert file_name(name + "y") != stem
    (tmp_path / f"{stem}--{file_name(name + 'y')}--changed.png").touch()


@pytest.mark.parametrize("command", [["explain", "i003", "x" * 300], ["neighbours", "é" * 3000]])
def test_an_image_whose_name_is_too_long_for_a_file_is_not_there(run, command):
    with pytest.raises(SystemExit, match="error: .*no such file, and no image of the data set"):
        main([*command, *finished(run)])

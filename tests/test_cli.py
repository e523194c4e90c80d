"""The command line as a person sees it."""

import pytest
from conftest import ROOT

from heml.cli import main


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

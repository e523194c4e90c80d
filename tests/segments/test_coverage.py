"""What the segmenter found, against a naive count, and a proposal that the parameters accept."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT

from heml.cli import main
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import parse_params
from heml.segments.coverage import Coverage, proposed_segments, segments_yaml
from heml.segments.labelmaps import LabelMap, write_labelmaps
from heml.starting.parts import measured, part_of

CLASSES = {"background": 0, "Left-shoe": 1, "Right-shoe": 2, "no": 3, "bed ": 4, "chest: of drawers": 5, "never": 6}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    maps = []
    for i in range(12):
        labels = rng.choice(6, (20, 10 + i), p=[0.7, 0.1, 0.1, 0.04, 0.04, 0.02]).astype(np.uint8)
        if i % 3 == 0:
            labels[labels == 5] = 0
        maps.append(LabelMap(f"i{i:02d}", 10, 10, labels, None))
    write_images(
        tmp_path / "images",
        [ImageRecord(m.image_id, "train", 0, b"x", "x.png") for m in maps],
        Description("t", "y", ["a"]),
    )
    write_labelmaps(tmp_path / "labelmaps", maps, CLASSES)
    return tmp_path, maps


def coverage(root):
    classes, found = measured(root / "images", root / "labelmaps")
    return {name: part_of(name, found, [number]) for name, number in classes.items()}


def test_coverage_is_a_count(data, capsys):
    root, maps = data
    found = {name: part.coverage for name, part in coverage(root).items()}
    for name, i in CLASSES.items():
        areas = [sum(int(v) == i for v in m.labels.ravel()) / m.labels.size for m in maps]
        there = [a for a in areas if a >= 0.0005]
        assert found[name].present == pytest.approx(len(there) / 12)
        assert found[name].area == pytest.approx(np.mean(there) if there else 0, abs=1e-6)
    main(["classes", "--data", str(root), "--json"])
    told = json.loads(capsys.readouterr().out)["classes"]
    assert [c["name"] for c in told] == [c.name for c in sorted(found.values(), key=lambda c: (-c.present, c.name))]
    assert told[-1] == {"name": "never", "present": 0, "area": 0}


def test_the_proposal_is_a_parameter_file(data, capsys):
    root, _ = data
    covered = sorted((part.coverage for part in coverage(root).values()), key=lambda c: (-c.present, c.name))
    segments = proposed_segments(covered, 0.5)
    assert list(segments) == ["left_shoe", "right_shoe", "bed", "no_part", "chest_of_drawers"]
    assert [c.name for c in segments.values()] == ["Left-shoe", "Right-shoe", "bed ", "no", "chest: of drawers"]
    main(["classes", "--data", str(root), "--least", "0.5", "--quiet"])
    text = capsys.readouterr().out
    assert text.startswith("\n".join(segments_yaml(segments)))
    raw = yaml.safe_load((ROOT / "params.yaml").read_text()) | yaml.safe_load(text)
    params = parse_params(yaml.safe_dump(raw))
    assert params.segments["left_shoe"].mirror == "right_shoe"
    assert params.segments["no_part"].classes == ["no"]
    assert params.segments["chest_of_drawers"].classes == ["chest: of drawers"]
    main(["classes", "--data", str(root), "--least", "0.5"])
    out = capsys.readouterr().out
    assert text.splitlines()[1] in out
    assert "never" in out.split("# For params.yaml")[0]
    small = [name for name, c in segments.items() if c.area < 0.01]
    assert [name for name in segments if params.segments[name].coverage == 0.3] == small
    main(["classes", "--data", str(root), "--least", "0.5", "--without", "bed "])
    assert "bed:" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="unknown sofa; the classes are those above"):
        main(["classes", "--data", str(root), "--without", "sofa"])
    main(["classes", "--data", str(root), "--least", "1"])
    with pytest.raises(SystemExit):
        main(["classes", "--data", str(root), "--least", "2"])


def test_class_names_in_other_scripts_and_long_ones_make_names_that_are_allowed():
    found = [Coverage(name, 1.0, 0.5) for name in ("Höhe", "x" * 80, "x" * 79 + "y", "空", "3d")]
    names = list(proposed_segments(found, 0.5))
    assert names == ["h_he", "x" * 59]


def test_before_segmentation_the_error_says_what_to_run(tmp_path):
    with pytest.raises(SystemExit, match="run `dvc repro segment` first"):
        main(["classes", "--data", str(tmp_path)])

"""What the server answers, against MetricTree on the same files."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from heml.errors import HemlError
from heml.explanation.neighbours import neighbours
from heml.images.decoding import BadImage
from heml.params import load_params
from heml.reporting.explorer import NEIGHBOURS, explorer
from heml.reporting.finished import Finished
from heml.run import Run
from heml.serving.explainer import NAME, Explainer, Forgotten


@pytest.fixture(scope="module")
def run(network_run):
    return Finished.read(load_params(network_run / "params.yaml"), Run(network_run))


@pytest.fixture(scope="module")
def data(run):
    return explorer(run)


@pytest.fixture
def explainer(run, data):
    return Explainer(run, data, kept=3)


def test_photographs_are_explained_as_files_are(run, data, explainer, photographs):
    first, second = (explainer.add(file.read_bytes(), file.name) for file in photographs[:2])
    told = explainer.pair(first["number"], second["number"])
    found = run.metric.explain(*photographs[:2])
    assert not any(np.isnan(node.distance) for node in found.nodes.values())
    order = [node["name"] for node in data["nodes"]]
    assert told["evidence"] == pytest.approx([found.nodes[name].evidence for name in order], abs=1e-4)
    assert told["distance"] == pytest.approx([found.nodes[name].distance for name in order], abs=1e-4)
    assert told["share"] == pytest.approx([found.nodes[name].share for name in order], abs=1e-4)
    assert (told["sentence"], told["logOdds"]) == (found.sentence, pytest.approx(found.log_odds, abs=1e-4))
    change = run.metric.counterfactual(*photographs[:2])
    assert (told["change"] is None) == (change is None)
    if change is not None:
        assert told["change"]["logOdds"] == pytest.approx(change.log_odds, abs=1e-3)


def test_a_pair_of_the_gallery_is_that_of_the_page(data, explainer):
    for listed in data["listed"]:
        told = explainer.pair(listed["first"], listed["second"])
        assert told == {key: value for key, value in listed.items() if key not in ("first", "second", "kind")}


def test_what_the_page_has_of_an_image_it_has_of_a_photograph(run, data, explainer, photographs):
    found, view = explainer.add(photographs[2].read_bytes(), "a.png"), run.metric.view(photographs[2])
    assert found["number"] == len(data["images"])
    assert found["image"] == {"id": "a.png", "split": "yours", "label": None}
    assert found["pixels"] == [int(view.masks[leaf].sum()) for leaf in data["leaves"]]
    assert any(found["pixels"])
    assert [bool(outline) for outline in found["outlines"]] == [pixels > 0 for pixels in found["pixels"]]
    assert found["photo"].startswith("data:image/webp;base64,")
    ids = [image["id"] for image in data["images"]]
    assert run.params.evaluate.search != "within"
    near = neighbours(view, run.gallery, run.metric.metric, NEIGHBOURS, "train")
    assert [ids[i] for i in found["nearWhole"]] == [n.image_id for n in near]
    for node, here in zip(data["nodes"], found["near"], strict=True):
        expected = neighbours(view, run.gallery, node["name"], NEIGHBOURS, "train") if view.has(node["name"]) else []
        assert [ids[i] for i in here] == [n.image_id for n in expected]


def test_a_photograph_called_as_an_image_is_another(data, explainer, photographs):
    """The image whose name it bears is as near to it as it is under any other name."""
    found = explainer.add(photographs[0].read_bytes(), "another")
    image_id = data["images"][found["nearWhole"][0]]["id"]
    same = explainer.add(photographs[0].read_bytes(), image_id)
    assert same["image"]["id"] == image_id
    assert (same["nearWhole"], same["near"]) == (found["nearWhole"], found["near"])


def test_the_oldest_is_forgotten_and_the_page_told(explainer, photographs):
    first, *others = (explainer.add(photographs[k % 4].read_bytes(), "a.png") for k in range(4))
    numbers = [found["number"] for found in (first, *others)]
    assert len(set(numbers)) == 4
    assert [found["held"] for found in (first, *others)] == [numbers[:1], numbers[:2], numbers[:3], numbers[1:]]
    explainer.pair(others[0]["number"], others[2]["number"])
    with pytest.raises(Forgotten, match="only the last 3"):
        explainer.pair(first["number"], others[0]["number"])
    for number in (-1, others[2]["number"] + 1):
        with pytest.raises(HemlError, match="no image has this number"):
            explainer.pair(0, number)


def test_names_are_text_and_not_long(explainer, photographs):
    data = photographs[0].read_bytes()
    assert explainer.add(data, "\x1b[2J\u202e<b>")["image"]["id"] == "\ufffd[2J\ufffd<b>"
    assert explainer.add(data, "x" * 10_000)["image"]["id"] == "x" * NAME
    assert explainer.add(data, " \n")["image"]["id"] == "\ufffd"
    assert explainer.add(data, "  ")["image"]["id"] == "photograph"


def test_too_many_pixels_and_what_is_no_image(explainer):
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    with pytest.raises(BadImage, match="huge.png: 10000×6000 is 60 megapixels"):
        explainer.add(buffer.getvalue(), "huge.png")
    with pytest.raises(BadImage, match=r"a\.png: not a readable"):
        explainer.add(b"<svg onload='x'>", "a.png")
    with pytest.raises(BadImage, match="0 bytes"):
        explainer.add(b"", "a.png")
    assert explainer.photographs == {}


opened: list[tuple[str, str]] | None = None


def _listen(event, arguments):
    if opened is not None and event in ("open", "os.mkdir", "os.rename"):
        opened.append((str(arguments[0]), str(arguments[1])))


def test_no_file_is_written_and_none_opened_that_a_name_names(explainer, photographs):
    global opened
    explainer.warm()
    sys.addaudithook(_listen)  # cannot be taken away again
    named, opened = str(photographs[0]), []
    try:
        first, second = (
            explainer.add(photographs[1].read_bytes(), named),
            explainer.add(photographs[2].read_bytes(), "../../etc/passwd"),
        )
        explainer.pair(first["number"], second["number"])
        seen = list(opened)
        named_open = open(named)  # noqa: SIM115, PTH123 (the hook hears this one)
        named_open.close()
        assert (named, "r") in opened
    finally:
        opened = None
    assert [what for what in seen if "etc/passwd" in what[0] or what[0] == named] == []
    assert [what for what in seen if any(letter in what[1] for letter in "wax+")] == []


def test_a_run_of_masks_says_that_it_cannot_segment(masks_run):
    run = Finished.read(load_params(masks_run / "params.yaml"), Run(masks_run))
    explainer = Explainer(run, explorer(run))
    assert not explainer.segments
    explainer.warm()
    assert explainer.pair(0, 1)["sentence"]

"""The page: self-contained, and everything from data is escaped."""

import base64
import hashlib
import json
import re

import pandas as pd
import pytest
from run_data import make_reports, make_trained, run_params

from heml.reading import read_csv
from heml.reporting.curves import curve_figure
from heml.reporting.explorer import NEIGHBOURS
from heml.reporting.finished import Finished
from heml.reporting.inline import figure_uri
from heml.reporting.page import write_report
from heml.reporting.panels import panels
from heml.run import Run

NASTY = '<script>alert("x")</script>'
NASTY += "\x1b[2J\u202e"  # and what a terminal obeys


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A run with a hostile image_id, label and class name, and its page."""
    baselines = {
        "usual": {"method": "traditional", "epochs": 1},
        "graph": {"method": "avsl", "loss": "proxy_anchor", "epochs": 1},
    }
    params = run_params(NASTY, baselines)
    root = tmp_path_factory.mktemp("run")
    make_reports(make_trained(root, params, NASTY), params, NASTY)
    write_report(Finished.read(params, Run(root)))
    return root, (root / "reports" / "index.html").read_text()


def test_nothing_from_data_is_markup(reported):
    _, page = reported
    assert re.findall(r"<script[^>]*>", page.lower()) == [
        '<script type="application/json" id="explorer-data">',
        "<script>",
    ]
    assert page.count("</script>") == 2
    assert page.count("&lt;script&gt;") >= 7
    assert "near-duplicates</b>" in page


def test_no_table_and_no_drawing_holds_control_characters_and_ids_come_back(reported):
    root, page = reported
    texts = [path.read_text("utf-8") for path in (root / "reports").rglob("*.csv")]
    texts += [base64.b64decode(found).decode() for found in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]
    texts.append(page)
    assert len(texts) > 10
    assert not any(re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text) for text in texts)
    ids = read_csv(root / "reports/audit/images.csv", "x", ["image_id"], ["image_id", "split"])["image_id"]
    assert ids.str.endswith(NASTY).all()


def test_what_the_iou_leaves_out_is_said(reported):
    _, page = reported
    assert "No IoU of &lt;b&gt;: the network has no class of that name." in page
    assert "No held-out masks" not in page


def test_only_the_projects_own_script_may_run(reported):
    _, page = reported
    script = page.split("<script>")[1].split("</script>")[0]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page


def test_the_interactive_tree_has_every_node_and_test_image(reported):
    _, page = reported
    data = json.loads(page.split('id="explorer-data">')[1].split("</script>")[0])
    assert [node["name"] for node in data["nodes"]] == ["both", "left", "right"]
    assert data["nodes"][0]["children"] == [1, 2]
    assert data["tests"] == 12
    assert [image["split"] for image in data["images"][:12]] == ["test"] * 12
    assert data["images"][0]["id"].endswith(NASTY)
    assert {pair["kind"] for pair in data["listed"]} <= {"telling", "mistake"}
    assert len(data["images"]) == 48
    assert set(map(int, data["photos"])) >= set(range(12))
    assert all(uri.startswith("data:image/webp;base64,") for uri in data["photos"].values())
    assert [len(image) for image in data["outlines"]] == [2] * 48
    for seen, outlined in zip(data["pixels"], data["outlines"], strict=True):
        assert [bool(pixels) for pixels in seen] == [bool(outline) for outline in outlined]
    for node in (*data["nodes"], data):
        assert len(base64.b64decode(node["near"])) == 2 * 48 * NEIGHBOURS
        assert len(base64.b64decode(node["map"])) == 2 * 48 * 2
    for node in data["nodes"]:
        assert len(base64.b64decode(node["pairs"])) == 2 * 12 * 11 / 2
    for pair in data["listed"]:
        assert sum(pair["evidence"]) == pytest.approx(pair["logOdds"], abs=1e-6)
        assert pair["share"][1] + pair["share"][2] == pytest.approx(pair["logOdds"], abs=1e-5)
        for node, distance, evidence in zip(data["nodes"], pair["distance"], pair["evidence"], strict=True):
            expected = 0 if distance is None else node["slope"] * (node["threshold"] - distance)
            assert evidence == pytest.approx(expected, abs=1e-6)


def test_nothing_is_loaded_from_anywhere(reported):
    _, page = reported
    assert "default-src 'none'" in page
    assert all(link.startswith(("data:image/", "#")) for link in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.findall(r"url\(", page.split('id="explorer-data"')[0])


def test_every_node_every_epoch_and_both_pairs_are_there(reported):
    root, page = reported
    for name in ("left", "right", "both", "tree"):
        assert f'<th scope="row">{name}</th>' in page
    for name, method in (("usual", "traditional"), ("graph", "avsl")):
        assert f'<th scope="row">{name} <span class="soft">({method})</span></th>' in page
    assert page.count('alt="How graph explains') == 2
    methods = pd.read_csv(root / "reports" / "plots" / "comparison.csv")
    assert methods["name"].tolist() == ["tree", "graph", "usual"]
    metrics = json.loads((root / "reports" / "metrics.json").read_text())
    assert methods.loc[0, "p@1"] == pytest.approx(metrics["tree_p@1"], abs=1e-5)
    assert page.count("As text, with percentiles") == 1
    assert re.search(rf"<b>{100 * metrics['tree_p@1']:.1f} %</b>\s*<span>of the test images", page)
    assert 'id="probabilities"' in page
    assert "truncated" in page
    curves = pd.read_csv(root / "reports" / "plots" / "curves.csv")
    assert curves.groupby("node")["epoch"].max().to_dict() == {"left": 1, "right": 1, "both": 1}
    assert (root / "reports" / "plots" / "pair.png").stat().st_size > 1000


def test_the_first_sentences_are_the_runs(reported):
    """What was found, in words, against the tables that it was read from."""
    root, page = reported
    answer = page.split('<section id="answer"')[1].split("</section>")[0]
    told = json.loads((root / "reports/bias/findings.json").read_text())["findings"]
    assert ("Looks like a bias" in answer) == bool(told)
    mistakes = len(pd.read_csv(root / "reports/audit/mistakes.csv"))
    assert (f"{mistakes} of 12 test images" if mistakes else "None of the 12 test images") in answer
    table = pd.read_csv(root / "reports/nodes.csv").set_index("node").loc[["left", "right"]]
    sure = table[table["p@1_low"] > table["majority"]]
    if len(sure):
        best = sure["p@1"].idxmax()
        assert f"Of all parts, {best} tells" in answer
        assert f"for {100 * sure.loc[best, 'p@1']:.1f} % of the test images" in answer
    else:
        assert "No single part surely tells" in answer
    assert "look like the same picture" in answer or "looks like the same picture" in answer
    assert answer.count("<img") >= 1


def test_a_panel_is_a_module_and_a_template_and_has_its_section(reported):
    _, page = reported
    names = [panel.__name__.rpartition(".")[2] for panel in panels()]
    assert names[:4] == ["answer", "pair", "bias", "gallery"]
    assert [found for found in re.findall(r'<section id="(\w+)" aria-label', page)] == names
    assert [panel.PLACE for panel in panels()] == sorted({panel.PLACE for panel in panels()})


def test_a_figure_is_the_same_bytes_every_time(reported):
    root, _ = reported
    curves = pd.read_csv(root / "reports" / "plots" / "curves.csv")
    assert figure_uri(curve_figure(curves)) == figure_uri(curve_figure(curves))

"""The page: self-contained, and everything from data is escaped."""

import json
import re

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from node_data import make_node_data

from heml.baselines.build import build_baseline
from heml.baselines.measure import write_tree
from heml.baselines.peers import write_peer
from heml.datasets.store import Description, ImageRecord, read_description, read_rows, write_images
from heml.evaluation.duplicates import COLUMNS
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.table import node_table, summary
from heml.learning.node import build_node
from heml.params import Evaluate, parse_params
from heml.reporting.curves import curve_figure
from heml.reporting.embedded import figure_uri
from heml.reporting.page import load_run, write_report
from heml.tree import Tree

NASTY = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A run with a hostile image_id, label and class name, and its page."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["segments"] = {name: {"classes": [name]} for name in ("left", "right")}
    raw["tree"] = {f"level_{k}": {} for k in range(8)}
    raw["tree"]["level_0"] = {"left": {}, "right": {}}
    raw["tree"]["level_1"] = {"both": {"left": "left", "right": "right"}}
    raw["report"]["title"] = NASTY
    raw["train"] |= {"epochs": 1, "batch_size": 8, "per_class": 4, "hidden_dim": 16, "embedding_dim": 8, "miner": None}
    raw["baselines"] = {"usual": {"method": "traditional", "epochs": 1}, "graph": {"method": "avsl", "loss": "proxy_anchor", "epochs": 1}}
    params = parse_params(yaml.safe_dump(raw))

    root = tmp_path_factory.mktemp("run")
    data = make_node_data(root / "data", absent_every=5, nasty=NASTY)
    tree = Tree.from_params(params)
    for node in tree:
        report = root / "reports" / "nodes" / f"{node.name}.json"
        build_node(node, params.train, data.canvases, data.segments, root / "models" / "nodes", report)
    write_embeddings(tree, data.canvases, data.segments, root / "models" / "nodes", root / "data" / "embeddings")
    records = [
        ImageRecord(r["image_id"], r["split"], r["label"], r["image"]["bytes"], "x.png")
        for r in read_rows(root / "data" / "images", ["image_id", "split", "label", "image"])
    ]
    skipped = [{"image_id": "gone", "reason": f"gone{NASTY}.png: truncated"}]
    write_images(root / "data" / "images", records, Description("t", NASTY, ["red", NASTY], {}, skipped))
    table = node_table(
        tree, read_all(root / "data" / "embeddings", tree), params.segments, read_description(root / "data/images"), Evaluate()
    )
    table.to_csv(root / "reports" / "nodes.csv", index=False)
    same = pd.DataFrame([(f"i000{NASTY}", "train", f"i002{NASTY}", "val", 0.99, True)], columns=COLUMNS)
    same.to_csv(root / "reports" / "duplicates.csv", index=False)
    (root / "reports" / "metrics.json").write_text(json.dumps(summary(table, "both") | {"tree_p@1": 0.875}))
    iou = {"source": "finetune", "model": None, "parameters": 5, "split": "test", "miou": 0.5, "iou": {NASTY: 0.5, "right": None}}
    (root / "reports" / "segmenter.json").write_text(json.dumps(iou))
    write_tree(table, params, root)
    for name in params.baselines:
        report = root / "reports" / "baselines" / f"{name}.json"
        leaves = tree.leaves(tree.root)
        build_baseline(
            name, params.baselines[name], params.baseline(name), leaves, data.canvases, data.segments, root / "models/baselines", report
        )
        write_peer(name, params, root)
    write_report(load_run(params, root), root / "reports")
    return root, (root / "reports" / "index.html").read_text()


def test_nothing_from_data_is_markup(reported):
    _, page = reported
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") >= 7
    assert "near-duplicates</b>" in page


def test_nothing_is_loaded_from_anywhere(reported):
    _, page = reported
    assert "default-src 'none'" in page
    assert all(link.startswith(("data:image/", "#")) for link in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.findall(r"url\(", page)


def test_every_node_every_epoch_and_both_pairs_are_there(reported):
    root, page = reported
    for name in ("left", "right", "both", "tree"):
        assert f"<td>{name}</td>" in page
    for name, method in (("usual", "traditional"), ("graph", "avsl")):
        assert f'<td>{name} <span class="soft">({method})</span></td>' in page
    assert page.count('alt="How graph explains') == 2
    peers = pd.read_csv(root / "reports" / "plots" / "peers.csv")
    assert peers["name"].tolist() == ["tree", "graph", "usual"]
    assert peers.loc[0, "p@1"] == pytest.approx(pd.read_csv(root / "reports" / "nodes.csv").set_index("node").loc["both", "p@1"])
    assert page.count("As text, with percentiles") == 2
    assert "<b>87.5 %</b><span>P@1 of the whole tree" in page
    assert "truncated" in page
    curves = pd.read_csv(root / "reports" / "plots" / "curves.csv")
    assert curves.groupby("node")["epoch"].max().to_dict() == {"left": 1, "right": 1, "both": 1}
    assert (root / "reports" / "plots" / "pair.png").stat().st_size > 1000


def test_a_figure_is_the_same_bytes_every_time(reported):
    root, _ = reported
    curves = pd.read_csv(root / "reports" / "plots" / "curves.csv")
    assert figure_uri(curve_figure(curves)) == figure_uri(curve_figure(curves))

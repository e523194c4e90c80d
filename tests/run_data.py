"""A finished run of the smallest tree, as the stages leave it: `both` joins `left` and `right`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml
from conftest import ROOT
from node_data import make_node_data

from heml.baselines.build import build_baseline
from heml.baselines.comparison import write_comparison
from heml.baselines.measure import write_tree
from heml.bias.write import write_bias
from heml.cells import write_csv
from heml.evaluation.audit import write_audit
from heml.evaluation.duplicates import COLUMNS
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.mapping import write_map
from heml.evaluation.table import node_table, summary, tree_scores
from heml.evaluation.tree_metric import read_metric, write_metric
from heml.evaluation.weighing import weigh
from heml.images.shards import Description, ImageRecord, read_description, read_rows, write_images
from heml.learning.node import build_node
from heml.params import Evaluate, Params, parse_params
from heml.run import Run
from heml.segmentation.segment import write_mask_segmenter
from heml.tree import Tree


def run_params(title: str = "A run", baselines: dict | None = None) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["segments"] = {name: {"classes": [name]} for name in ("left", "right")}
    raw["tree"] = {f"level_{k}": {} for k in range(8)}
    raw["tree"]["level_0"] = {"left": {}, "right": {}}
    raw["tree"]["level_1"] = {"both": {"left": "left", "right": "right"}}
    raw["report"]["title"] = title
    raw["train"] |= {
        "epochs": 1,
        "validate_every": 1,
        "batch_size": 8,
        "per_class": 4,
        "hidden_dim": 16,
        "embedding_dim": 8,
        "miner": None,
    }
    raw["baselines"] = baselines or {}
    return parse_params(yaml.safe_dump(raw))


def make_trained(root: Path, params: Params, nasty: str = "") -> Run:
    """`data` and `models` under a folder: everything up to the tree's metric."""
    data = make_node_data(root, absent_every=5, nasty=nasty)
    tree, run = Tree.from_params(params), data.run
    for node in tree:
        build_node(node, params.train, run)
    write_embeddings(tree, run)
    write_metric(run.metric, weigh(read_all(run.embeddings, tree), tree, params.metric, "train"))
    write_mask_segmenter(run.segmenter, {"background": 0, "left": 1, "right": 2})
    return run


def make_reports(run: Run, params: Params, nasty: str = "") -> None:
    """What the page is made of, `nasty` wherever a name comes from data."""
    tree = Tree.from_params(params)
    records = [
        ImageRecord(r["image_id"], r["split"], r["label"], r["image"]["bytes"], "x.png")
        for r in read_rows(run.images, ["image_id", "split", "label", "image"])
    ]
    skipped = [{"image_id": "gone", "reason": f"gone{nasty}.png: truncated"}]
    write_images(run.images, records, Description("t", nasty or "colour", ["red", nasty or "blue"], {}, skipped))
    embeddings = read_all(run.embeddings, tree)
    metric = read_metric(run.metric)
    table = node_table(
        tree, embeddings, metric, params.segments, read_description(run.images), Evaluate(), params.metric
    )
    scores, reliability = tree_scores(embeddings, tree, metric, Evaluate())
    write_csv(reliability, run.reliability)
    write_csv(table, run.table)
    write_audit(embeddings, tree, metric, params.evaluate, run.audit)
    write_bias(params, run)
    write_map(embeddings, metric, run.map)
    same = pd.DataFrame([(f"i000{nasty}", "train", f"i002{nasty}", "val", 0.99, True)], columns=COLUMNS)
    write_csv(same, run.duplicates)
    run.metrics.write_text(json.dumps(summary(table, "both", scores)))
    iou = {
        "source": "finetune",
        "model": None,
        "parameters": 5,
        "split": "test",
        "miou": 0.5,
        "iou": {nasty or "left": 0.5, "right": None},
    }
    iou["notes"] = ["no IoU of <b>: the network has no class of that name"]
    run.segmenter_report.write_text(json.dumps(iou))
    for name in ("dataset", "segmenter"):
        run.terms(name).parent.mkdir(exist_ok=True)
        run.terms(name).write_text(f"Terms of the {name}{nasty}\n")
    write_tree(scores, params, run)
    for name in params.baselines:
        build_baseline(name, params, run)
        write_comparison(name, params, run)

"""A whole run's tables and findings, on a data set whose bias is planted."""

import json

import numpy as np
import pandas as pd
import pytest
from run_data import make_trained, run_params

from heml.bias.reliance import exchanges, pairs_of_two_labels
from heml.bias.write import write_bias
from heml.cli import main
from heml.explanation.exchange import exchange
from heml.explanation.metric_tree import MetricTree
from heml.images.shards import Description, ImageRecord, read_rows, write_images
from heml.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    params = run_params()
    make_trained(root, params)
    records = [
        ImageRecord(r["image_id"], r["split"], r["label"], r["image"]["bytes"], "x.png", None,
                    {"camera": "ab"[r["label"]] if r["split"] == "train" else "ab"[k // 8 % 2]})
        for k, r in enumerate(read_rows(root / "data/images", ["image_id", "split", "label", "image"]))
    ]  # fmt: skip
    write_images(root / "data/images", records, Description("t", "colour", ["red", "blue"]), ["camera"])
    return root, params, write_bias(params, Run(root))


def test_a_column_that_follows_the_label_in_train_alone_is_named(run):
    root, _, found = run
    assert [(f.part, f.kind) for f in found] == [("camera", "column")]
    assert found[0].sentence.startswith(
        "camera: its value tells the label in train (V 1.00), not in val (0.00) or test (0.00)"
    )
    assert found[0].told == {"a": "red", "b": "blue"}
    told = json.loads((root / "reports/bias/findings.json").read_text())
    assert told["findings"][0]["sentence"] == found[0].sentence
    assert json.loads((root / "reports/bias.json").read_text())["findings"] == 1


def test_the_tables_hold_every_attribute(run):
    root, _, _ = run
    known = pd.read_csv(root / "reports/bias/associations.csv")
    counts = pd.read_csv(root / "reports/bias/attributes.csv")
    assert set(counts["part"]) == set(known["part"])
    left = counts[(counts["part"] == "left") & (counts["kind"] == "colour")]
    assert left[["train", "val", "test"]].to_numpy().sum() == 48
    assert set(pd.read_csv(root / "reports/bias/reliance.csv")["part"]) == {"left", "right"}


def test_an_exchange_of_many_pairs_is_that_of_each(run):
    root, _, _ = run
    tree = MetricTree.load(root / "models", root / "data")
    rows = tree.gallery.embeddings["both"].rows("test")
    labels = tree.gallery.embeddings["both"].labels
    pairs = pairs_of_two_labels(rows, labels, 4)
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    for part in exchanges(pairs, tree.gallery.view, tree.tree, tree.metric, tree.made):
        rise = part.after - part.before
        for a, b in pairs.tolist():
            ends = [k for k, end in enumerate(part.ends.tolist()) if sorted(end) == sorted((a, b))]
            if ends:
                alone = exchange(tree.gallery.view(a), tree.gallery.view(b), tree.tree, tree.metric, tree.made)
                assert np.mean(rise[ends]) == pytest.approx(alone[part.part], abs=1e-4)


def test_the_command_prints_the_finding_and_everything_on_request(run, capsys):
    root, _, found = run
    main(["bias", "--reports", str(root / "reports"), "--all"])
    printed = capsys.readouterr().out
    assert found[0].sentence in printed
    assert "a → red, b → blue" in printed
    assert "left colour" in printed
    assert "no part shows it" in printed  # of a column
    assert "deflate it" not in printed
    with pytest.raises(SystemExit):
        main(["bias", "--reports", str(root / "nowhere")])

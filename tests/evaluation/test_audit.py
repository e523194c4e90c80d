"""What the audit finds, against loops, and on planted faults."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from heml.distances import correlation_distance, snr
from heml.evaluation.audit import (
    IMAGES,
    MISTAKES,
    SIBLINGS,
    _nearest_of_label,
    image_table,
    mistake_table,
    sibling_table,
    write_audit,
)
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.telling import PAIRS
from heml.evaluation.tree_metric import Term, TreeMetric
from heml.params import Evaluate
from heml.tree import Node, Tree

TREE = Tree([Node("a", 0), Node("b", 0), Node("ab", 1, "a", "b")])
SETTINGS = Evaluate(bootstrap=50)
METRIC = TreeMetric(
    {name: Term(w, w, w, 10 * w, 0.3, []) for name, w in {"a": 0.2, "b": 0.3, "ab": 0.5}.items()}, "learned", 0.1, []
)
N = 60


def embeddings(noise: float = 1.0, flip: int | None = None, seed: int = 0) -> dict[str, NodeEmbeddings]:
    """`ab` is the two leaves side by side; image `flip` has the other label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 2
    splits = np.array(["train", "train", "val", "test"] * (N // 4))
    parts = {}
    for name in ("a", "b"):
        parts[name] = rng.normal(size=(N, 8)) * noise
        parts[name][:, 0] += 4 * (2 * labels - 1)
    parts["ab"] = np.concatenate([parts["a"], parts["b"]], 1)
    present = {name: np.ones(N, bool) for name in parts}
    present["b"][::9] = False
    if flip is not None:
        labels = labels.copy()
        labels[flip] = 1 - labels[flip]
    found = {}
    for name, values in parts.items():
        vectors = torch.from_numpy(np.where(present[name][:, None], values, np.nan).astype(np.float32))
        found[name] = NodeEmbeddings(
            name, [f"i{i}" for i in range(N)], splits, labels, present[name], [vectors], vectors, "snr"
        )
    return found


def tree_distance(stored: dict[str, NodeEmbeddings], i: int, j: int) -> float:
    """By the definition, a node at a time."""
    total = 0.0
    for name, term in METRIC.terms.items():
        both = stored[name].present[i] and stored[name].present[j]
        d = float(correlation_distance(stored[name].vectors[i], stored[name].vectors[j])) if both else term.threshold
        total += term.weight * d
    return total


def hit(node: NodeEmbeddings, i: int) -> float:
    if not node.present[i]:
        return float("nan")
    held = [j for j in range(N) if node.splits[j] == "train" and node.present[j]]
    near = min(held, key=lambda j: float(snr(node.vectors[i], node.vectors[j])))
    return float(node.labels[near] == node.labels[i])


def test_siblings_by_a_loop():
    stored = embeddings(noise=2.5)
    row = sibling_table(stored, TREE, SETTINGS).iloc[0]
    tests = [i for i in range(N) if stored["ab"].splits[i] == "test"]
    hits = np.array([[hit(stored[name], i) for name in ("a", "b", "ab")] for i in tests])
    hits = hits[~np.isnan(hits).any(1)]
    assert row["images"] == len(hits) < len(tests)
    assert row["both"] == pytest.approx((hits[:, :2].sum(1) == 2).mean())
    assert row["only_left"] == pytest.approx(((hits[:, 0] == 1) & (hits[:, 1] == 0)).mean())
    assert row["both"] + row["only_left"] + row["only_right"] + row["neither"] == pytest.approx(1)
    assert row["gain"] == pytest.approx(hits[:, 2].mean() - hits[:, :2].mean(0).max())
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    pairs = [
        (i, j) for k, i in enumerate(tests) for j in tests[k + 1 :] if stored["b"].present[i] and stored["b"].present[j]
    ]
    left, right = (
        [float(correlation_distance(stored[n].vectors[i], stored[n].vectors[j])) for i, j in pairs] for n in ("a", "b")
    )
    assert row["correlation"] == pytest.approx(spearmanr(left, right).statistic, abs=1e-6)


def test_mistakes_are_the_wrong_nearest_neighbours_and_the_guilty_leaf_is_blamed():
    stored = embeddings(noise=0.2)
    assert mistake_table(stored, TREE, METRIC, SETTINGS).empty
    image = 7  # of test, label 1: its `b` is made to look like label 0
    vectors = stored["b"].vectors.clone()
    vectors[image] = vectors[10] + 0.01
    joined = stored["ab"].vectors.clone()
    joined[image, 8:] = vectors[image]
    joined[image, :8] = joined[image, :8] / 6  # so that `b` outweighs `a`
    stored["b"].repeats[0] = vectors
    stored["ab"].repeats[0] = joined
    table = mistake_table(stored, TREE, METRIC, SETTINGS)
    assert table["image_id"].tolist() == ["i7"]
    row = table.iloc[0]
    assert row["blame"] in ("b", "ab")
    assert 0 < row["blame_share"] <= 1
    gap = row["right_distance"] - row["distance"]
    near, far = (tree_distance(stored, 7, int(row[end][1:])) for end in ("nearest", "right"))
    assert gap == pytest.approx(far - near, abs=1e-6)
    assert row["label"] != row["nearest_label"]
    assert row["distance"] < row["right_distance"]
    assert row["nearest_split"] == "train"


def test_a_planted_label_error_is_the_most_doubtful_image():
    for flip in (6, 7, 8):  # val, test, train
        table = image_table(embeddings(noise=0.3, flip=flip), TREE, METRIC, SETTINGS).set_index("image_id")
        assert table["doubt"].idxmax() == f"i{flip}"
        row = table.loc[f"i{flip}"]
        assert row["doubt"] == 1
        assert row["suggested"] == 1 - row["label"]
        assert row["margin"] < 0
        assert row["wrong_nodes"] == row["nodes"]


def test_an_image_unlike_all_others_is_the_outlier():
    stored = embeddings(noise=0.3)
    for name in ("a", "b", "ab"):
        vectors = stored[name].repeats[0].clone()
        vectors[11] = torch.arange(vectors.shape[1]).float() * torch.tensor([1.0, -1.0]).repeat(vectors.shape[1] // 2)
        stored[name].repeats[0] = vectors
    table = image_table(stored, TREE, METRIC, SETTINGS)
    assert table.sort_values("outlier").iloc[-1]["image_id"] == "i11"
    assert table["outlier"].between(0, 1).all()


def test_margins_by_a_loop():
    stored = embeddings(noise=2.5)
    table = image_table(stored, TREE, METRIC, SETTINGS).set_index("image_id")
    root = stored["ab"]
    held = [j for j in range(N) if root.splits[j] == "train"]
    for i in (0, 3, 6):
        nearest = {}
        for own in (True, False):
            others = [j for j in held if j != i and (root.labels[j] == root.labels[i]) == own]
            nearest[own] = min(tree_distance(stored, i, j) for j in others)
        expected = (nearest[False] - nearest[True]) / (nearest[False] + nearest[True])
        assert table.loc[f"i{i}", "margin"] == pytest.approx(expected, abs=1e-5)


def test_the_files_have_the_columns_even_where_there_is_nothing_to_say(tmp_path):
    stored = embeddings()
    for node in stored.values():
        node.splits[:] = "val"
    write_audit(stored, TREE, METRIC, SETTINGS, tmp_path / "audit")
    for name, columns in {"siblings": SIBLINGS, "mistakes": MISTAKES, "images": IMAGES, "pairs": PAIRS}.items():
        assert pd.read_csv(tmp_path / "audit" / f"{name}.csv").columns.tolist() == columns


@pytest.mark.parametrize("same", [True, False])
def test_the_nearest_of_a_label_by_a_loop(same):
    """Also for a label that one searched image alone has, and one that none has."""
    stored = embeddings(noise=2.5)["ab"]
    held = np.flatnonzero(stored.splits == "train")
    labels = stored.labels.copy()
    labels[held[0]], labels[np.flatnonzero(stored.splits == "test")[0]] = 5, 6
    stored = replace(stored, labels=labels)
    rows = np.arange(N)
    found = _nearest_of_label(stored.vectors, labels, rows, held, "snr", same)
    for i in rows:
        others = [j for j in held if j != i and (labels[j] == labels[i]) == same]
        expected = min(others, key=lambda j: float(snr(stored.vectors[i], stored.vectors[j]))) if others else -1
        assert found[i] == expected

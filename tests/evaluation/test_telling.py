"""Telling pairs: where leaves disagree most with the root, chosen once and read back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_tree import TREE, embeddings

from heml.cells import write_csv
from heml.distances import correlation_distance
from heml.errors import HemlError
from heml.evaluation.telling import PAIRS, read_pairs, telling_pairs


def test_telling_pairs_are_test_images_used_once():
    pairs = telling_pairs(embeddings(), TREE, 4)
    used = [name for pair in pairs for name in pair]
    assert len(used) == len(set(used)) == 8
    assert all(int(name[1:]) % 2 for name in used)
    assert pairs == telling_pairs(embeddings(), TREE, 4)


def test_telling_pairs_do_not_mind_how_a_node_stretches_its_distances():
    """A leaf whose distances are all a hundred times smaller still disagrees with the root as much."""
    plain, stretched = embeddings(), embeddings()
    constant = torch.zeros(8).index_fill(0, torch.arange(4), 30.0)
    vectors = stretched["a"].vectors
    stretched["a"] = replace(stretched["a"], repeats=[vectors - vectors.mean(1, keepdim=True) + constant])
    first = correlation_distance(plain["a"].vectors[1], plain["a"].vectors[3])
    assert correlation_distance(stretched["a"].vectors[1], stretched["a"].vectors[3]) < first / 20
    rows = [int(name[1:]) for name in telling_pairs(stretched, TREE, 2)[0]]
    tests = np.flatnonzero(stretched["ab"].splits == "test")
    a, b = (tests[index] for index in np.triu_indices(len(tests), 1))

    def percentile(node):
        every = correlation_distance(stretched[node].vectors[a], stretched[node].vectors[b]).numpy()
        own = float(correlation_distance(stretched[node].vectors[rows[0]], stretched[node].vectors[rows[1]]))
        return 100 * (every[~np.isnan(every)] < own).mean()

    assert percentile("ab") < 30
    assert max(percentile("a"), np.nan_to_num(percentile("b"))) > 70


def test_fewer_pairs_are_the_first_of_more():
    more = telling_pairs(embeddings(), TREE, 6)
    assert len(more) == 6
    assert telling_pairs(embeddings(), TREE, 2) == more[:2]


def test_what_was_chosen_is_read_and_what_is_no_pair_of_images_is_refused(tmp_path):
    path, images = tmp_path / "pairs.csv", {"=1", "NA", "007"}
    chosen = [("=1", "NA"), ("007", "=1")]
    write_csv(pd.DataFrame(chosen, columns=PAIRS), path)
    assert read_pairs(path, images) == chosen
    write_csv(pd.DataFrame([], columns=PAIRS), path)
    assert read_pairs(path, images) == []
    for table, said in (
        (pd.DataFrame([("=1", "gone")], columns=PAIRS), "names image 'gone'"),
        (pd.DataFrame({"first": ["=1"]}), "has no column 'second'"),
    ):
        write_csv(table, path)
        with pytest.raises(HemlError, match=f"pairs.csv: {said}.*`dvc repro audit`"):
            read_pairs(path, images)
    path.unlink()
    with pytest.raises(HemlError, match="pairs.csv: no such file; run `dvc repro audit` first"):
        read_pairs(path, images)

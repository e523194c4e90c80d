"""What deflating without training would do, against the stages' own way of doing it."""

import numpy as np
import pandas as pd
import pytest
from node_data import linked
from run_data import make_trained, run_params

from heml.bias.attributes import Attribute
from heml.bias.group_scores import leaning_row, tree_hits
from heml.bias.remedies import REMEDIES, remedies, remedy_table
from heml.bias.ties import Labelled
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.weighing import weigh
from heml.params import Metric
from heml.tree import Tree


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    params = run_params()
    trained = make_trained(tmp_path_factory.mktemp("run"), params)
    embeddings = read_all(trained.embeddings, Tree.from_params(params))
    labels, splits = embeddings["both"].labels, embeddings["both"].splits
    rng = np.random.default_rng(0)
    values = np.where(splits == "train", labels, rng.integers(0, 2, len(labels)))
    attribute = Attribute("right", "colour", ["red", "blue"], values, [[], []])
    return trained, params, embeddings, attribute, Labelled(labels, splits, ["red", "blue"])


def test_every_way_is_what_the_stages_would_have_made_of_it(run, tmp_path):
    trained, params, embeddings, attribute, images = run
    table = remedy_table(list(remedies(attribute, images, embeddings, params, trained))).set_index("remedy")
    assert table["now"].to_dict() == {name: name == "nothing" for name in table.index}
    assert table.loc["hidden, and left out", "setting"] == "metric: {off: [right]}, embed: {hide: [right]}"
    tree = Tree(list(Tree.from_params(params)), ["right"])
    other = linked(trained, tmp_path / "hidden")
    write_embeddings(tree, other)
    found = read_all(other.embeddings, tree)
    metric = weigh(found, tree, Metric(off=["right"]), "train")
    row = leaning_row(attribute, images, tree_hits(found, tree, metric, params.evaluate), "")
    told = table.loc["hidden, and left out"]
    assert told["p@1"] == pytest.approx(row["test"])
    assert (told["with"], told["against"]) == pytest.approx((row["with"], row["against"]))


def test_another_way_that_is_gone_now_is_told_too(run):
    trained, params, embeddings, attribute, images = run
    other = params.model_copy(update={"metric": Metric(off=["left"])})
    table = remedy_table(list(remedies(attribute, images, embeddings, other, trained)))
    assert list(table.columns) == REMEDIES
    last = table.iloc[-1]
    assert (last["remedy"], last["setting"], last["now"]) == ("as it is now", "metric: {off: [left]}", True)
    assert pd.Series(table["now"]).sum() == 1

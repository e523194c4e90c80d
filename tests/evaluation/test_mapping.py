"""Places in the plane: what is alike lies together, the same every time, and what is read is what was written."""

import numpy as np
import pandas as pd
import pytest
import torch
from run_data import run_params
from sklearn.manifold import trustworthiness

from heml.errors import HemlError
from heml.evaluation.embeddings import read_all
from heml.evaluation.mapping import WHOLE, plane, read_map, write_map
from heml.evaluation.tree_metric import read_metric
from heml.tree import Tree


def test_neighbours_stay_neighbours_and_the_bytes_the_same():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 5, (4, 16))
    x = np.repeat(centres, 25, 0) + rng.normal(0, 1, (100, 16))
    found = plane(torch.tensor(x, dtype=torch.float32))
    assert found.shape == (100, 2)
    assert found.min() >= 0
    assert found.max() <= 1
    assert trustworthiness(x, found, n_neighbors=10) > 0.9
    groups = found.reshape(4, 25, 2)
    within = np.linalg.norm(groups - groups.mean(1, keepdims=True), axis=-1).max()
    between = min(np.linalg.norm(a - b) for k, a in enumerate(groups.mean(1)) for b in groups.mean(1)[:k])
    assert within < between
    assert (plane(torch.tensor(x, dtype=torch.float32)) == found).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 10, 12])
def test_few_images_have_places_too(count):
    found = plane(torch.randn(count, 8, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (count, 2)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("count", [5, 30])
def test_equal_embeddings_lie_on_one_point(count):
    found = plane(torch.ones(count, 8))
    assert (found == found[0]).all()
    some = torch.ones(count, 8)
    some[: count // 2] = torch.arange(8.0)
    assert np.isfinite(plane(some)).all()


def test_every_node_has_those_that_show_it_and_the_tree_all(run, tmp_path):
    tree = Tree.from_params(run_params())
    embeddings = read_all(run / "data/embeddings", tree)
    path = tmp_path / "map.parquet"
    write_map(embeddings, read_metric(run / "models/metric.json"), path)
    found = read_map(path)
    assert list(found) == [WHOLE, "left", "right", "both"]
    for name, stored in embeddings.items():
        assert set(found[name]) == {
            image_id for image_id, there in zip(stored.image_ids, stored.present, strict=True) if there
        }
    assert len(found[WHOLE]) == sum(np.logical_or.reduce([stored.present for stored in embeddings.values()]))
    table = pd.read_parquet(path)
    table.loc[0, "x"] = np.nan
    table.astype({"x": "float32", "y": "float32"}).to_parquet(path, index=False)
    with pytest.raises(HemlError, match=r"map\.parquet: .*dvc repro map"):
        read_map(path)

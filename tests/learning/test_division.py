"""Divide and conquer: who trains on what, and when."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from node_data import make_node_data

from heml.learning.checkpoints import load_network
from heml.learning.division import Division, cluster_batches, matched, new_division, pooled
from heml.learning.inference import embed
from heml.learning.inputs import compose, prepare
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.learning.training import train_node
from heml.params import Train
from heml.run import Run
from heml.tree import Node

CPU = torch.device("cpu")


def settings(**options):
    own = {"learners": 2, "every": 1} | options.pop("embedder_options", {})
    given = {
        "epochs": 4,
        "batch_size": 8,
        "per_class": 4,
        "hidden_dim": 16,
        "embedding_dim": 8,
        "trunk": "resnet18:1",
        "lr": 2e-3,
    }
    return Train(embedder="divide_conquer", embedder_options=own, **given | options)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_keep_the_number_with_most_images_in_common(seed):
    """Against all permutations."""
    rng = np.random.default_rng(seed)
    previous = rng.integers(0, 5, 60)
    shuffle = rng.permutation(5)
    noise = np.where(rng.random(60) < 0.4, rng.integers(0, 5, 60), shuffle[previous])
    kept = matched(noise, previous, 5)
    assert (kept == previous).sum() == max(
        (np.array(p)[noise] == previous).sum() for p in itertools.permutations(range(5))
    )
    # renumbered, not regrouped
    assert len({(a, b) for a, b in zip(noise, kept, strict=True)}) == len(set(noise.tolist()))
    assert np.array_equal(matched(shuffle[previous], previous, 5), previous)


def test_what_is_clustered_are_the_trunks_features_pooled_and_of_length_1(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run)
    network = new_network(settings(), 2, images.size).train()
    rows = images.rows("train")[:5]
    found = pooled(network, images, rows, CPU)
    assert network.training
    assert all(m.training for m in network.trunk.modules())
    with torch.no_grad():
        maps = network.eval().trunk(prepare(*images.batch(rows)))
    for row, feature_map in zip(found, maps, strict=True):
        mean = np.array([float(channel.mean()) for channel in feature_map])
        assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_batches_are_of_one_cluster_by_turns_and_hopeless_clusters_have_none():
    labels = np.arange(64) % 2
    labels[60:] = 0
    clusters = np.repeat([0, 1, 2], [30, 30, 4])  # the last is of one class
    drawn = list(itertools.islice(cluster_batches(labels, clusters, 8, 4, 0), 20))
    for cluster, batch in drawn:
        assert set(clusters[batch].tolist()) == {cluster}
        assert Counter(labels[batch].tolist()) == {0: 4, 1: 4}
    assert [sorted(c for c, _ in drawn[i : i + 2]) for i in range(0, 20, 2)] == [[0, 1]] * 10
    assert len(set(np.concatenate([b for _, b in drawn]).tolist())) > 50  # epoch after epoch of each
    assert not list(cluster_batches(labels, labels, 8, 4, 0))


@pytest.mark.parametrize(("epochs", "together"), [(1, 0.25), (2, 0.25), (4, 0.25), (4, 0.05), (10, 0.05)])
def test_all_dimensions_train_in_the_last_share_of_the_batches_alone(tmp_path, epochs, together):
    data = make_node_data(tmp_path, n=128, informative=False)
    images = compose(["left"], data.run)
    train = settings(epochs=epochs, embedder_options={"together": together})
    network = new_network(train, 2, images.size)
    rows = images.rows("train")
    division = new_division(network, train, len(rows))
    learners = []
    for epoch in range(1, epochs + 1):
        for batch in division.batches(network, images, rows, epoch, epoch, CPU):
            learner = network.embedder.learner
            learners.append(learner)
            assert Counter(images.labels[rows][batch].tolist()) == {0: 4, 1: 4}
            if learner is not None:
                assert set(division.clusters[batch].tolist()) == {learner}
    steps = epochs * (len(rows) // 8)
    apart = sum(learner is not None for learner in learners)
    assert len(learners) == steps
    assert apart == pytest.approx(steps * (1 - together), abs=1)
    assert all(learner is None for learner in learners[apart:])
    assert all(learner is not None for learner in learners[:apart])


def test_it_clusters_as_often_as_asked_and_a_learner_keeps_its_images(tmp_path, monkeypatch):
    data = make_node_data(tmp_path, n=128, informative=False)
    images = compose(["left"], data.run)
    seen = []
    divide = Division.divide

    def spy(self, features):
        before = self.clusters
        divide(self, features)
        if before is not None:
            seen.append(((before == self.clusters).mean(), (before == 1 - self.clusters).mean()))
        else:
            seen.append(None)

    monkeypatch.setattr(Division, "divide", spy)
    for every, times in ((1, 4), (2, 2), (3, 2)):
        seen.clear()
        train = settings(embedder_options={"every": every})
        train_node("left", new_network(train, 2, images.size), images, train, CPU)
        assert len(seen) == times
        assert all(kept >= swapped for kept, swapped in filter(None, seen))


def test_too_few_images_train_all_dimensions(tmp_path):
    train = settings()
    network = new_network(train, 2, (32, 32))
    assert new_division(network, train, 15) is None
    assert new_division(network, train, 16) is not None
    assert new_division(new_network(Train(), 2, (32, 32)), Train(), 1000) is None


def test_the_learners_of_a_node_are_stored_and_its_slices_normalised_when_it_is_loaded(tmp_path):
    data = make_node_data(tmp_path)
    train = settings(epochs=1)
    build_node(Node("left", 0), train, data.run)
    header, network = load_network(Run(tmp_path).node("left"), CPU)
    assert dict(header.architecture.options) == {"learners": 2, "every": 1}
    images = compose(["left"], data.run, header.box)
    embedded = embed(network, images, images.rows("test"), CPU)
    assert torch.allclose(embedded[:, :4].norm(dim=1), torch.full((len(embedded),), 0.5**0.5), atol=1e-5)
    assert torch.allclose(embedded[:, 4:].norm(dim=1), torch.full((len(embedded),), 0.5**0.5), atol=1e-5)

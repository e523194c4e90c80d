"""A student learns its teacher's metric."""

import itertools
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from node_data import make_node_data
from torch.nn import functional as F

from heml.bias.recomposing import make_recipes
from heml.learning import distillation, training
from heml.learning.checkpoints import load_network
from heml.learning.distillation import _measure, build_student, distillation_loss
from heml.learning.inference import embed
from heml.learning.inputs import compose
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.learning.objectives import Objective
from heml.learning.recipes import write_recipes
from heml.params import Recompose, Student, Train
from heml.run import Run
from heml.sealed import fingerprint
from heml.segments.manifest import read_manifest
from heml.tree import Node

CPU = torch.device("cpu")


def test_the_loss_against_a_naive_loop():
    torch.manual_seed(0)
    s, t = (F.normalize(torch.randn(6, 5), dim=1) for _ in range(2))
    absolute = sum(float((s[i] - t[i]).norm()) for i in range(6)) / 6
    pairs = list(itertools.combinations(range(6), 2))
    relative = sum(abs(float((s[i] - s[j]).norm() - (t[i] - t[j]).norm())) for i, j in pairs) / len(pairs)
    assert float(distillation_loss(s, t, 0.7, 0.3)) == pytest.approx(0.7 * absolute + 0.3 * relative, rel=1e-5)
    turned = t @ torch.linalg.qr(torch.randn(5, 5))[0]
    assert float(distillation_loss(turned, t, 0, 1)) == pytest.approx(0, abs=1e-5)  # distances do not know of rotations
    assert float(distillation_loss(t, t, 1, 1)) == 0
    assert float(
        distillation_loss(s, t, Student.model_fields["absolute"].default, Student.model_fields["relative"].default)
    ) == (pytest.approx(0.3 * relative, rel=1e-5))


def test_a_student_learns_its_own_loss_beside_the_teachers_distances(tmp_path, monkeypatch):
    """The first batch's loss by hand: the loss of `train` plus 0.3 times the relative term, and proxies learn too."""
    data = make_node_data(tmp_path, n=96)
    train = Train(epochs=1, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8, loss="proxy_anchor")
    build_node(Node("left", 0), train, data.run)
    seen, terms, optimized = [], [], []
    own, apart, made = Objective.__call__, distillation.distillation_loss, training.new_optimizer

    def aimed(self, embeddings, labels):
        value = own(self, embeddings, labels)
        seen.append((value[0].item(), Counter(labels.tolist())))
        return value

    def distilled(student, teacher, absolute, relative):
        value = apart(student, teacher, absolute, relative)
        assert float(value) == pytest.approx(
            0.3 * float((torch.pdist(student) - torch.pdist(teacher)).abs().mean()), rel=1e-5
        )
        terms.append(value.item())
        return value

    def optimizer(network, extra, settings):
        optimized.extend(extra)
        return made(network, extra, settings)

    monkeypatch.setattr(Objective, "__call__", aimed)
    monkeypatch.setattr(distillation, "distillation_loss", distilled)
    monkeypatch.setattr(training, "new_optimizer", optimizer)
    settings = Student(teacher="left", trunk="resnet18:2", hidden_dim=16, epochs=1)
    report = build_student("small", settings, train, data.run)
    assert len(seen) == len(terms) == 6
    assert report["history"][1]["loss"] == pytest.approx(
        np.mean([value for value, _ in seen]) + np.mean(terms), rel=1e-5
    )
    assert all(counts == {0: 4, 1: 4} for _, counts in seen)
    ((proxies, rate),) = optimized
    assert [tuple(p.shape) for p in proxies] == [(2, 8)]
    assert rate == train.loss_lr


def test_a_student_is_smaller_and_keeps_the_neighbours(tmp_path):
    data = make_node_data(tmp_path, n=192)
    train = Train(epochs=2, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8, lr=2e-3)
    build_node(Node("left", 0), train, data.run)
    settings = Student(teacher="left", trunk="mobilenet_v3_small", hidden_dim=16, epochs=12, lr=3e-3)
    report = build_student("small", settings, train, data.run)
    assert json.loads(data.run.student_report("small").read_text())["networks"] == report["networks"]
    teacher, student = report["networks"]["teacher"], report["networks"]["student"]
    assert student["parameters"] < teacher["parameters"] / 5
    assert student["bytes"] == data.run.student("small").stat().st_size < teacher["bytes"] / 5
    assert student["p@1"] >= 0.9
    assert report["history"][-1]["loss"] < report["history"][1]["loss"]
    header, network = load_network(data.run.student("small"), CPU)
    assert header.lineage == {"node=left": fingerprint(Run(tmp_path).node("left"))}
    assert header.val_p1 == [max(row["val_p1"] for row in report["history"][1:])]
    images = compose(["left"], data.run, header.box)
    assert embed(network, images, images.rows("test"), CPU).shape == (48, 8)


def test_a_student_of_a_deflated_teacher_sees_recomposed_images(tmp_path, monkeypatch):
    data = make_node_data(tmp_path)
    train = Train(epochs=1, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8)
    build_node(Node("left", 0), train, data.run)
    settings = Student(teacher="left", trunk="resnet18:2", hidden_dim=16, epochs=1)
    seen, kept = [], distillation.train_node

    def trained(name, network, images, *rest):
        rows = images.rows("train")
        pixels = images.training_batch(rows, np.random.default_rng(0))[0]
        seen.append((pixels != images.batch(rows)[0]).any().item())
        return kept(name, network, images, *rest)

    monkeypatch.setattr(distillation, "train_node", trained)
    build_student("small", settings, train, data.run)
    partitions = {name: read_manifest(data.run.segments, name) for name in ("left", "right")}
    made = make_recipes("left", partitions, Recompose())
    data.run.recipes.mkdir()
    write_recipes(data.run.recipe("left"), made, partitions["left"].image_ids)
    build_student("small", settings, train, data.run)
    assert seen == [False, True]


def test_labels_that_train_has_not_are_sought_among_the_other_test_images(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run)
    new = replace(images, labels=np.where(images.splits == "train", images.labels, images.labels + 2))
    network = new_network(Train(embedding_dim=8, hidden_dim=16), 4, images.size).eval()
    (tmp_path / "weights").write_bytes(b"x")
    found = _measure(network, tmp_path / "weights", new, "cosine", CPU)
    rows = images.rows("test")
    embedded = embed(network, images, rows, CPU)
    close = torch.cdist(embedded, embedded)
    close.fill_diagonal_(torch.inf)
    expected = (images.labels[rows][close.argmin(1).numpy()] == images.labels[rows]).mean()
    assert found["p@1"] == expected > 0

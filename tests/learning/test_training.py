"""Training a node: it learns what can be learnt, chooses by P@1 on val, and is the same twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from node_data import make_node_data
from torch.optim.swa_utils import AveragedModel

from heml.distances import snr
from heml.errors import HemlError
from heml.evaluation.retrieval import score
from heml.learning.checkpoints import load_header, load_network, load_state
from heml.learning.inference import embed
from heml.learning.inputs import compose
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.learning.training import precision_at_1, train_node
from heml.params import EMBEDDERS, Train
from heml.run import Run
from heml.sealed import fingerprint
from heml.tree import Node

CPU = torch.device("cpu")
SETTINGS = Train(epochs=3, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8, lr=2e-3, stored="float32")
LEFT, RIGHT, BOTH = Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")


def build(data, node, root, **options):
    settings = SETTINGS.model_copy(update=options)
    return build_node(node, settings, Run(root, data=data.run.data))


def test_labels_that_train_has_none_of_are_found_among_themselves(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run)
    x0, y0, x1, y1 = images.box
    network = new_network(SETTINGS, images.classes, (y1 - y0, x1 - x0))
    new = replace(images, labels=np.where(images.splits == "val", images.labels + 5, images.labels))
    rows = new.rows("val")
    with torch.inference_mode():
        vectors = embed(network, new, rows, CPU)
    hits = []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        nearest = min(others, key=lambda j: float(snr(vectors[i], vectors[j])))
        hits.append(new.labels[rows[nearest]] == new.labels[rows[i]])
    assert precision_at_1(network, new, "snr", CPU) == pytest.approx(np.mean(hits))


def test_a_tree_of_three_nodes_learns_and_the_root_starts_from_its_children(tmp_path):
    data = make_node_data(tmp_path)
    left = build(data, LEFT, tmp_path)
    build(data, RIGHT, tmp_path)
    both = build(data, BOTH, tmp_path)
    assert left["val_p1"] == 1
    assert both["val_p1"] >= 0.9
    assert both["start"] == "0.50 left + 0.50 right"
    header = load_header(Run(tmp_path).node("both"))
    assert header.leaves == ["left", "right"]
    assert header.lineage["node=left"] == fingerprint(Run(tmp_path).node("left"))
    assert header.lineage["segment=right"] == fingerprint(data.run.segment("right") / "part-0.parquet")
    report = json.loads(data.run.report("both").read_text())
    assert [h["epoch"] for h in report["history"]] == [0, 1, 2, 3]
    scores = [h["val_p1"] for h in report["history"][1:]]
    assert report["val_p1"] == max(scores)
    assert report["best_epoch"] == 3 - scores[::-1].index(max(scores))  # of equals the last


def test_two_runs_give_equal_bytes_and_changed_leaf_data_changes_the_parents(tmp_path):
    one, two, other = (make_node_data(tmp_path / name, absent_every=n) for name, n in (("a", 0), ("b", 0), ("c", 12)))
    prints = []
    for data, root in ((one, tmp_path / "a"), (two, tmp_path / "b"), (other, tmp_path / "c")):
        for node in (LEFT, RIGHT, BOTH):
            build(data, node, root, epochs=1)
        prints.append([fingerprint(Run(root).node(n)) for n in ("left", "right", "both")])
    assert prints[0] == prints[1]
    assert prints[0][1] != prints[2][1]
    assert prints[0][2] != prints[2][2]


@pytest.mark.parametrize(("weighting", "said"), [("val_p1", "left + "), ("area", "left + ")])
def test_weights_of_the_children_follow_the_rule(tmp_path, weighting, said):
    data = make_node_data(tmp_path)
    for node in (LEFT, RIGHT):
        build(data, node, tmp_path, epochs=1)
    headers = [load_header(Run(tmp_path).node(n)) for n in ("left", "right")]
    report = build(data, BOTH, tmp_path, epochs=0, weighting=weighting)
    values = [h.val_p1[0] if weighting == "val_p1" else h.area for h in headers]
    share = values[0] / sum(values)
    assert report["start"] == f"{share:.2f} left + {1 - share:.2f} right"
    states = [load_state(Run(tmp_path).node(n)) for n in ("left", "right", "both")]
    key = "embedder.out.weight"
    assert torch.allclose(states[2][key], share * states[0][key] + (1 - share) * states[1][key], atol=1e-6)


def test_other_starts(tmp_path):
    data = make_node_data(tmp_path)
    for node in (LEFT, RIGHT):
        build(data, node, tmp_path, epochs=1)
    key = "trunk.conv1.weight"
    build(data, BOTH, tmp_path, epochs=0, init="scratch")
    common = new_network(SETTINGS.model_copy(update={"seed": 0}), 2, (32, 32)).state_dict()[key]
    assert torch.equal(load_state(Run(tmp_path).node("both"))[key], common)
    report = build(data, BOTH, tmp_path, epochs=0, init="best_child")
    assert torch.equal(
        load_state(Run(tmp_path).node("both"))[key],
        load_state(Run(tmp_path).node(report["start"]))[key],
    )
    with pytest.raises(HemlError, match="averaging needs one common initialisation"):
        build(data, BOTH, tmp_path, seed=5)
    build(data, BOTH, tmp_path, epochs=0, seed=5, init="scratch")


def test_validation_is_measured_as_often_as_asked_and_changes_no_weight(tmp_path):
    data = make_node_data(tmp_path, n=96)
    images = compose(["right"], data.run)
    found = {}
    for every in (1, 2, 3, 9):
        network = new_network(SETTINGS, 2, images.size)
        result = train_node(
            "right", network, images, SETTINGS.model_copy(update={"epochs": 5, "validate_every": every}), CPU
        )
        scores = {row["epoch"]: row["val_p1"] for row in result.history}
        found[every] = {epoch: score for epoch, score in scores.items() if not np.isnan(score)}
        assert result.val_p1 == max(score for epoch, score in found[every].items() if epoch)
    assert {every: sorted(scores) for every, scores in found.items()} == {
        1: [0, 1, 2, 3, 4, 5],
        2: [1, 3, 5],
        3: [2, 5],
        9: [5],
    }
    for scores in found.values():
        assert scores.items() <= found[1].items()


def test_without_validation_the_last_epoch_is_kept_and_what_needs_a_score_is_refused(tmp_path):
    data = make_node_data(tmp_path)
    last = build(data, LEFT, tmp_path, epochs=3, validate_every=3)
    kept = load_state(Run(tmp_path).node("left"))
    report = build(data, LEFT, tmp_path, epochs=3, validate_every=0)
    assert last["best_epoch"] == report["best_epoch"] == 3
    assert report["val_p1"] is None
    assert all(torch.equal(value, kept[key]) for key, value in load_state(Run(tmp_path).node("left")).items())
    for needs in ({"patience": 1}, {"weighting": "val_p1"}, {"init": "best_child"}):
        with pytest.raises(
            ValueError, match=f"validate_every: 0 measures no P@1 on val, which {next(iter(needs))} needs"
        ):
            Train(validate_every=0, **needs)


def test_the_history_tells_cpu_seconds_that_add_up_to_the_reports(tmp_path):
    report = build(make_node_data(tmp_path), LEFT, tmp_path)
    spent = sum(row["cpu_seconds"] for row in report["history"][1:])
    assert 0 < spent <= report["cpu_seconds"]


def test_batches_held_by_a_device_are_those_from_disk(tmp_path):
    """Held by the CPU, as they would be by a GPU: training does not notice."""
    data = make_node_data(tmp_path, absent_every=5)
    images = compose(["left", "right"], data.run)
    held = images.held_by(CPU)
    rows = np.array([3, 1, 40, 3])
    for a, b in zip(images.batch(rows), held.batch(rows), strict=True):
        assert torch.equal(a, b)
    states = [
        train_node("both", new_network(SETTINGS, 2, images.size), source, SETTINGS, CPU).state
        for source in (images, held)
    ]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert images.on(CPU) is images


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_half_precision_is_kept_for_matrices_alone_and_parents_start_from_it(tmp_path, stored):
    data = make_node_data(tmp_path)
    for node in (LEFT, RIGHT):
        build(data, node, tmp_path / "full", epochs=1)
        build(data, node, tmp_path, epochs=1, stored=stored)
    full, half = (load_state(Run(root).node("left")) for root in (tmp_path / "full", tmp_path))
    kind = getattr(torch, stored)
    for key, value in full.items():
        expected = value.to(kind).float() if value.is_floating_point() and value.ndim > 1 else value
        assert half[key].dtype == value.dtype
        assert torch.equal(half[key], expected), key
    sizes = [Run(root).node("left").stat().st_size for root in (tmp_path / "full", tmp_path)]
    assert sizes[1] < 0.52 * sizes[0]
    build(data, BOTH, tmp_path, epochs=0, stored="float32")
    states = [load_state(Run(tmp_path).node(name)) for name in ("left", "right", "both")]
    key = "embedder.out.weight"
    assert torch.equal(states[2][key], ((states[0][key].double() + states[1][key].double()) / 2).float())


def test_absent_images_give_no_free_hits_no_nan_and_no_collapse(tmp_path):
    """Every other image lacks the right segment. Embedded alike, absent images would find each other at distance 0."""
    data = make_node_data(tmp_path, n=96, absent_every=2)
    report = build(data, RIGHT, tmp_path)
    assert report["present"] == {"train": 24, "val": 0, "test": 24}
    assert report["val_p1"] is None
    header, network = load_network(Run(tmp_path).node("right"), CPU)
    images = compose(["right"], data.run, header.box)
    rows = images.rows("train")
    vectors = embed(network, images, rows, CPU)
    assert torch.isfinite(vectors).all()
    assert vectors.var(0).sum() > 1e-4
    asked = images.rows("test")
    scores = score(embed(network, images, asked, CPU), images.labels[asked], vectors, images.labels[rows], "snr")
    assert scores["p@1"].mean() < 0.9  # the right segment's colour is noise
    assert len(scores["p@1"]) == 24


def test_a_segment_with_too_few_images_keeps_its_start_and_says_so(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run)
    one_class = images.labels == 0
    images.present[:] = images.present & one_class
    network, common = (new_network(SETTINGS, 2, (32, 32)) for _ in range(2))
    result = train_node("left", network, images, SETTINGS, CPU)
    assert "no two classes" in result.note
    assert all(torch.equal(v, common.state_dict()[k]) for k, v in result.state.items())


def test_val_p1_is_a_naive_search(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run)
    network = new_network(SETTINGS.model_copy(update={"seed": 3}), 2, (32, 32))
    for distance in ("snr", "euclidean"):
        queries, references = images.rows("val"), images.rows("train")
        q, r = embed(network, images, queries, CPU), embed(network, images, references, CPU)
        hits = 0
        for i in range(len(q)):
            d = (q[i] - r).var(1) / q[i].var() if distance == "snr" else (q[i] - r).norm(dim=1)
            hits += images.labels[references[int(d.argmin())]] == images.labels[queries[i]]
        assert precision_at_1(network, images, distance, CPU) == pytest.approx(hits / len(q))


def test_a_loss_that_is_not_finite_names_the_node(tmp_path):
    data = make_node_data(tmp_path)
    with pytest.raises(HemlError, match=r"training 'left': the loss is nan in epoch \d; lower lr"):
        build(data, LEFT, tmp_path, lr=1e30)
    assert not (tmp_path / "nodes").exists() or not list((tmp_path / "nodes").iterdir())


def test_what_is_no_node_is_named(tmp_path):
    with pytest.raises(HemlError, match="no such node"):
        load_header(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"junk")
    with pytest.raises(HemlError, match="not a node of this project"):
        load_header(tmp_path / "x.safetensors")


def network_for(data, **options):
    settings = SETTINGS.model_copy(update=options)
    images = compose(["left"], data.run)
    return new_network(settings, 2, images.size), images, settings


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_every_embedder_trains_a_node(tmp_path, embedder):
    options = {"horde": {"dims": 256}, "divide_conquer": {"learners": 2}}.get(embedder, {})
    network, images, settings = network_for(
        make_node_data(tmp_path), embedder=embedder, embedder_options=options, epochs=4
    )
    result = train_node("left", network, images, settings, CPU)
    assert result.val_p1 >= 0.9
    assert all(np.isfinite(h.get("loss", 0)) for h in result.history)


def test_averaged_weights_are_the_mean_of_the_last_epochs_with_batchnorm_measured_anew(tmp_path, monkeypatch):
    seen = []
    update = AveragedModel.update_parameters

    def spy(self, model):
        seen.append({key: value.clone() for key, value in model.state_dict().items()})
        update(self, model)

    monkeypatch.setattr(AveragedModel, "update_parameters", spy)
    monkeypatch.setattr("heml.learning.training.precision_at_1", lambda *a, **k: 0.5)  # of equals the last: the average
    network, images, settings = network_for(make_node_data(tmp_path), swa=0.5, epochs=4)
    result = train_node("left", network, images, settings, CPU)
    assert len(seen) == 2
    assert result.best_epoch == 5
    key = "trunk.layer1.0.conv1.weight"
    assert torch.allclose(result.state[key], (seen[0][key] + seen[1][key]) / 2, atol=1e-6)
    mean = "trunk.bn1.running_mean"
    assert not torch.allclose(result.state[mean], (seen[0][mean] + seen[1][mean]) / 2, atol=1e-5)


def test_training_ends_when_val_no_longer_improves(tmp_path, monkeypatch):
    scores = iter([0.1, 0.5, 0.7, 0.6, 0.6, 0.9])
    monkeypatch.setattr("heml.learning.training.precision_at_1", lambda *a, **k: next(scores))
    network, images, settings = network_for(make_node_data(tmp_path), patience=2, epochs=5)
    result = train_node("left", network, images, settings, CPU)
    assert [h["epoch"] for h in result.history] == [0, 1, 2, 3, 4]
    assert (result.best_epoch, result.val_p1) == (2, 0.7)


def test_an_epoch_without_triplets_says_why(tmp_path):
    data = make_node_data(tmp_path)
    network, images, settings = network_for(data, miner="hard", epochs=6)
    result = train_node("left", network, images, settings, CPU)
    assert "no triplet was mined, since all satisfy the margin" in result.note
    network, images, settings = network_for(
        data, loss="triplet_margin", miner="semihard", margin=1e-6, epochs=1, lr=1e-9
    )
    with torch.no_grad():
        network.embedder.out.weight.zero_()
        network.embedder.out.bias.fill_(1.0)
    result = train_node("left", network, images, settings, CPU)
    assert "collapse" in result.note


def test_the_gradient_is_clipped(tmp_path, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *a, **k):
        norms.append(torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]).norm().item())
        return step(self, *a, **k)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    network, images, settings = network_for(make_node_data(tmp_path), clip=0.05, epochs=1)
    train_node("left", network, images, settings, CPU)
    assert norms
    assert max(norms) <= 0.05 + 1e-5


def test_pretrained_weights_are_the_common_initialisation(tmp_path):
    donor = new_network(SETTINGS.model_copy(update={"seed": 9}), 2, (32, 32))
    torch.save(donor.trunk.state_dict(), tmp_path / "donor.pth")
    settings = SETTINGS.model_copy(update={"weights": str(tmp_path / "donor.pth"), "epochs": 0})
    data = make_node_data(tmp_path)
    build_node(LEFT, settings, data.run)
    key = "trunk.layer4.1.conv2.weight"
    assert torch.equal(load_state(Run(tmp_path).node("left"))[key], donor.state_dict()[key])
    assert load_header(Run(tmp_path).node("left")).weights == settings.weights


def test_another_trunk_trains_is_stored_and_loads(tmp_path):
    data = make_node_data(tmp_path)
    build(data, LEFT, tmp_path, trunk="mobilenet_v3_small", epochs=1, loss="proxy_anchor")
    header, network = load_network(Run(tmp_path).node("left"), CPU)
    assert header.architecture.trunk == "mobilenet_v3_small"
    assert header.distance == "cosine"
    images = compose(["left"], data.run, header.box)
    assert embed(network, images, images.rows("val"), CPU).shape[1] == 8
    with pytest.raises(HemlError, match=r"inception_v3.*about 80"):
        build(data, LEFT, tmp_path, trunk="inception_v3")


def test_repeats_are_trees_of_their_own(tmp_path):
    """The second repeat of a tree from seed 0 is the tree from seed 1, also where parents average."""
    data = make_node_data(tmp_path)
    for node in (LEFT, RIGHT, BOTH):
        twice = build(data, node, tmp_path / "twice", epochs=1, seeds=2)
        build(data, node, tmp_path / "alone", epochs=1, seed=1)
    path = Run(tmp_path / "twice").node("both")
    second, alone = load_state(path, 1), load_state(Run(tmp_path / "alone").node("both"))
    assert set(second) == set(alone)
    assert all(torch.equal(second[key], alone[key]) for key in second)
    assert not torch.equal(load_state(path)["trunk.conv1.weight"], second["trunk.conv1.weight"])
    assert [repeat["seed"] for repeat in twice["repeats"]] == [0, 1]
    assert load_header(path).val_p1 == [repeat["val_p1"] for repeat in twice["repeats"]]

"""AVSL against loops over its description, its losses against the library's, its explanation against a known place."""

import pytest
import torch
from pytorch_metric_learning import losses
from pytorch_metric_learning.distances import LpDistance
from torch.nn import functional as F

from heml.baselines.avsl import Avsl, Graph, ProxyAnchorLoss, TripletLoss, certainty
from heml.errors import HemlError
from heml.learning.networks import Architecture
from heml.learning.optimisation import new_optimizer
from heml.params import TRUNKS, AvslSettings, Train

SHAPE = Architecture("resnet18", "plain", 16, 8, 2)
SETTINGS = AvslSettings(method="avsl", links=3)
WEIGHTS = (0.5, 1.0, 0.25)


def features(n: int = 6) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(n, c, side, side).relu() for c, side in ((4, 8), (6, 4), (10, 2))]


def graph(kept: int = 3, momentum: float = 0.5) -> Graph:
    torch.manual_seed(1)
    return Graph([4, 6, 10], 8, kept, momentum)


def test_embeddings_are_the_means_of_the_activation_maps():
    g, x = graph(), features()
    embeddings, certainties = g.split(g(x))
    for level, (layer, maps) in enumerate(zip(g.to_nodes, g.activations(x), strict=True)):
        pooled = x[level].mean((2, 3)) + x[level].amax((2, 3))
        plain = layer(pooled[:, :, None, None]).flatten(1)
        torch.testing.assert_close(maps.mean((2, 3)), plain, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(embeddings[level], F.normalize(plain, dim=1))
        for image in range(len(maps)):
            for node in range(8):
                raised = maps[image, node] - maps[image, node].min()
                expected = (raised / raised.sum()).std(correction=0)
                torch.testing.assert_close(certainties[level][image, node], expected)


def test_links_are_running_means_of_map_correlations():
    g, x = graph(momentum=0.7), features()
    y = [f.flip(0) * torch.rand_like(f) for f in x]
    g.eval()(x)
    assert not g.linked
    assert not g.links.any()
    g.train()(x)
    first = g.links.clone()
    low, high = (m.detach() for m in g.activations(x)[1:])
    for i in range(8):
        for j in range(8):
            cosines = [
                F.cosine_similarity(high[n, i].flatten(), F.adaptive_avg_pool2d(low[n, j][None], 2).flatten(), dim=0)
                for n in range(6)
            ]
            assert float(first[1, i, j]) == pytest.approx(float(torch.stack(cosines).mean()), abs=1e-5)
    g(y)
    other = graph(momentum=0.7)
    other.train()(y)
    torch.testing.assert_close(g.links, 0.7 * first + 0.3 * other.links)


def test_each_node_keeps_its_strongest_links():
    g = graph(kept=3)
    g.links.copy_(torch.randn(2, 8, 8))
    shares = g.shares()
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 8))
    for step in range(2):
        for node in range(8):
            top = set(g.links[step, node].clamp_min(0).topk(3).indices.tolist())
            assert set(torch.nonzero(shares[step, node] > 1e-6).flatten().tolist()) <= top


def test_unsure_nodes_take_what_their_links_have_written_as_loops():
    g, x = graph(), features(4)
    g.train()(x)
    with torch.no_grad():
        g.alpha.uniform_(-1, 2), g.beta.uniform_(-1, 1)
    r = g(x).detach()
    found = g.metric(r[:2], r[2:]).detach()
    embeddings, certainties = g.split(r)
    shares = g.shares()
    for a in range(2):
        for b in range(2, 4):
            value = [(embeddings[0][a, i] - embeddings[0][b, i]) ** 2 for i in range(8)]
            for level in (1, 2):
                above = []
                for i in range(8):
                    own = (embeddings[level][a, i] - embeddings[level][b, i]) ** 2
                    sure = certainties[level][a, i] * certainties[level][b, i]
                    gate = torch.sigmoid(10 * (g.alpha[level - 1, i] * sure + g.beta[level - 1, i]))
                    linked = sum(shares[level - 1, i, j] * value[j] for j in range(8))
                    above.append(gate * own + (1 - gate) * linked)
                value = above
            assert float(found[a, b - 2]) == pytest.approx(float(sum(value).detach()), abs=1e-5)


def test_a_sure_top_level_is_the_squared_euclidean_distance():
    g, x = graph(), features()
    with torch.no_grad():
        g.beta.fill_(50)
    r = g(x).detach()
    top = g.split(r)[0][-1]
    torch.testing.assert_close(g.metric(r, r), torch.cdist(top, top).square(), atol=1e-5, rtol=1e-4)


def test_the_losses_are_the_librarys_on_every_level():
    g, x = graph(), features()
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    with torch.no_grad():
        g.beta.fill_(50)  # so that the mended distance is the top level's
    r = g(x)
    levels = g.split(r)[0]
    triplet = TripletLoss(g, {"margin": 0.3}, 2, WEIGHTS)
    theirs = losses.TripletMarginLoss(0.3, distance=LpDistance(power=2))
    expected = sum(w * theirs(level, labels) for w, level in zip((*WEIGHTS, 1), (*levels, levels[-1]), strict=True))
    torch.testing.assert_close(triplet(r, labels), expected, atol=1e-4, rtol=1e-4)

    anchor = ProxyAnchorLoss(g, {"margin": 0.1, "alpha": 32.0}, 2, WEIGHTS)
    expected = torch.tensor(0.0)
    for k, level in enumerate((*levels, levels[-1])):
        theirs = losses.ProxyAnchorLoss(2, 8, 0.1, 32)
        theirs.proxies.data.copy_(anchor.proxies[min(k, 2)])
        expected = expected + (*WEIGHTS, 1)[k] * theirs(level, labels)
    torch.testing.assert_close(anchor(r, labels), expected, atol=1e-3, rtol=1e-4)
    assert len(list(anchor.parameters())) == 1
    assert not list(triplet.parameters())


def test_the_mended_distance_teaches_the_gates_alone():
    g, x = graph(), features()
    g.train()(x)
    r = g(x)
    g.compare(r[:1], r[1:2])[1].sum().backward()
    assert g.alpha.grad is not None
    assert g.alpha.grad.abs().sum() > 0
    assert all(layer.weight.grad is None or not layer.weight.grad.any() for layer in g.to_nodes)


def test_gates_learn_at_their_own_rate_and_are_not_decayed():
    network = Avsl(SHAPE, (64, 64), SETTINGS)
    rest, gates = new_optimizer(network, network.at_own_rate(), Train(lr=0.001, weight_decay=0.01)).param_groups
    assert [p is q for p, q in zip(gates["params"], (network.embedder.alpha, network.embedder.beta), strict=True)] == [
        True,
        True,
    ]
    assert (gates["lr"], gates["weight_decay"], rest["lr"], rest["weight_decay"]) == (0.1, 0.0, 0.001, 0.01)
    assert len(rest["params"]) + 2 == len(list(network.parameters()))


def test_a_quarter_of_the_dimensions_is_linked():
    assert Avsl(SHAPE, (64, 64), AvslSettings(method="avsl")).embedder.kept == 2


def test_a_top_map_of_one_cell_is_an_error():
    with pytest.raises(HemlError, match="single cell.*enlarge"):
        Avsl(SHAPE, (32, 32), SETTINGS)


@pytest.mark.parametrize("trunk", ["resnet18", "efficientnet_lite0", "mobilenet_v3_small", "densenet121"])
def test_levels_are_the_last_of_three_resolutions(trunk):
    assert trunk in TRUNKS
    network = Avsl(Architecture(trunk, "plain", 16, 8, 2), (64, 64), SETTINGS).eval()
    with torch.inference_mode():
        x = torch.randn(2, 3, 64, 64)
        found = network.features(x)
        torch.testing.assert_close(found[-1], network.trunk(x))
    assert [f.shape[2] for f in found] == [8, 4, 2]


def test_resnets_levels_are_its_layers_2_to_4():
    network = Avsl(SHAPE, (64, 64), SETTINGS).eval()
    x = torch.randn(1, 3, 64, 64)
    t = network.trunk
    expected = t.layer1(t.maxpool(t.relu(t.bn1(t.conv1(x)))))
    for layer, found in zip((t.layer2, t.layer3, t.layer4), network.features(x), strict=True):
        expected = layer(expected)
        torch.testing.assert_close(found, expected)


def test_gates_of_a_fresh_network_are_open_to_both_sides():
    torch.manual_seed(0)
    for side in (64, 96):
        network = Avsl(SHAPE, (side, side), SETTINGS).eval()
        with torch.inference_mode():
            certainties = network.embedder.split(network(torch.randn(4, 3, side, side)))[1]
        for k in (1, 2):
            gates = torch.sigmoid(10 * certainties[k][:2] * certainties[k][2:])  # alpha is 1 and beta 0
            assert float(gates.min()) >= 0.5
            assert float(gates.max()) < 0.95


def test_certainty_does_not_depend_on_the_scale():
    maps = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(certainty(maps), certainty(7 * maps + 2))
    assert float(certainty(torch.ones(1, 1, 4, 4)).abs().max()) == 0


def test_representations_are_compared_wherever_they_lie():
    g, x = graph(), features(4)
    r = g(x).detach()
    assert g.metric(r, r).device.type == "cpu"
    far = graph().to("meta")
    with pytest.raises(NotImplementedError, match="meta"):  # it got there: only the way back has no data
        far.metric(r, r)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_distances():
    g, x = graph(), features(4)
    r = g(x).detach()
    torch.testing.assert_close(g.cuda().metric(r, r), graph().metric(r, r))


def test_too_small_images_are_an_error():
    shallow = Architecture("resnet18:1", "plain", 16, 8, 2)
    with pytest.raises(HemlError, match="three resolutions.*enlarge"):
        Avsl(shallow, (8, 8), SETTINGS)


def test_similarity_lies_where_the_images_agree():
    """Two images share a bright place in every channel; the saliency of both is highest there."""
    network = Avsl(SHAPE, (64, 64), SETTINGS).eval()
    torch.manual_seed(0)
    base = [torch.rand(2, c, side, side) * 0.1 for c, side in ((128, 8), (256, 4), (512, 2))]
    base[-1][0, :, 0, 1] = base[-1][1, :, 1, 0] = torch.rand(512) + 1
    network.features = lambda x: base
    first, second = network.evidence(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).maps["similarity"]
    assert first.flatten().argmax() % 64 >= 32
    assert first.flatten().argmax() // 64 < 32
    assert second.flatten().argmax() % 64 < 32
    assert second.flatten().argmax() // 64 >= 32

"""Grad-CAM of a similarity against a gradient by finite differences, and where it points."""

import torch

from heml.baselines.traditional import Traditional
from heml.learning.networks import Architecture

SHAPE = Architecture("resnet18", "plain", 16, 8, 2)


def test_the_map_is_the_channels_weighted_by_their_finite_differences():
    torch.manual_seed(0)
    network = Traditional(SHAPE, (64, 64)).double().eval()
    a, b = torch.randn(2, 1, 3, 64, 64, dtype=torch.double)
    found = network.evidence(a, b)
    with torch.no_grad():
        features = network.trunk(torch.cat([a, b]))

        def cosine(shift: torch.Tensor) -> float:
            one, other = network.embedder(features + shift)
            return float(torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0))

        weights = torch.zeros(2, 512, 1, 1, dtype=torch.double)
        for image in range(2):
            for channel in range(512):  # the pooled channel moves as if each of its 4 cells did
                shift = torch.zeros_like(features)
                shift[image, channel] = 1e-2
                weights[image, channel] = (cosine(shift) - cosine(-shift)) / 2e-2 / 4
        expected = (weights * features).sum(1).clamp_min(0)
    assert abs(found.distance - (1 - cosine(torch.zeros_like(features)))) < 1e-6
    (first, second) = found.maps["Grad-CAM"]
    assert first.shape == (64, 64)
    assert max(first.max(), second.max()) == 1
    whole = torch.nn.functional.interpolate(expected[:, None], (64, 64), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(torch.stack([first, second]).double(), whole / whole.max(), atol=1e-2, rtol=0)


def test_evidence_works_under_inference_mode_and_leaves_no_gradient():
    network = Traditional(SHAPE, (64, 64)).eval()
    with torch.inference_mode():
        network.evidence(torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64))
    assert all(parameter.grad is None for parameter in network.parameters())

"""A stored node comes back as it was, whatever its trunk."""

import pytest
import torch
from torch import nn

from heml.learning.checkpoints import Header, load_network, save_node
from heml.learning.networks import Architecture, MetricNetwork
from heml.params import Canvas, Segment

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("trunk", "side"),
    [
        *(("resnet18", 32), ("densenet121", 32), ("mobilenet_v3_small", 32), ("efficientnet_lite0", 32)),
        *(("efficientnet_b0", 32), ("convnext_tiny", 32), ("inception_v3", 80)),
    ],
)
def test_weights_buffers_layout_and_embeddings_come_back(trunk, side, tmp_path):
    torch.manual_seed(1)
    architecture = Architecture(trunk, "plain", 8, 4, 2)
    network = MetricNetwork(architecture, (side, side)).eval()
    for buffer in network.buffers():
        if buffer.dtype == torch.float32:
            buffer.add_(0.1)  # as if it had seen images
    canvas = Canvas(height=side, width=side)
    header = Header(
        "a",
        0,
        ["a"],
        [],
        canvas,
        {"a": Segment(classes=["a"])},
        (0, 0, side, side),
        architecture,
        None,
        0,
        "snr",
        [0.5],
        0.1,
        {},
    )
    save_node(tmp_path / "a.safetensors", header, [network.state_dict()])
    found, loaded = load_network(tmp_path / "a.safetensors", CPU)
    assert found == header
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert all(p.requires_grad for p in loaded.parameters())
    convolutions = zip(network.modules(), loaded.modules(), strict=True)
    layouts = [(a.weight.stride(), b.weight.stride()) for a, b in convolutions if isinstance(a, nn.Conv2d)]
    assert all(a == b for a, b in layouts)
    x = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), network(x), rtol=0, atol=0)

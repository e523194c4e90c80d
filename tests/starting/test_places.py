"""Parts have many names and one meaning."""

import pytest
import yaml
from conftest import ROOT

from heml.starting.places import Place, meaning, part, region, side, usual_area, usual_places

CELEBA = (
    "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l neck"
    " cloth".split()
)
CLOTHES = yaml.safe_load((ROOT / "data" / "human_parsing.yaml").read_text())["classes"]


@pytest.mark.parametrize(
    ("word", "classes", "found"),
    [
        ("glasses", CELEBA, ["eye_g"]),
        ("Glasses", CLOTHES, ["Sunglasses"]),
        ("sunglasses", CELEBA, ["eye_g"]),
        ("eyes", CELEBA, ["l_eye", "r_eye"]),
        ("l_eye", CELEBA, ["l_eye"]),
        ("lips", CELEBA, ["u_lip", "l_lip"]),
        ("earrings", CELEBA, ["ear_r"]),
        ("necklace", CELEBA, ["neck_l"]),
        ("ears", CELEBA, ["l_ear", "r_ear"]),
        ("dress", CLOTHES, ["Dress"]),
        ("shoes", CLOTHES, ["Left-shoe", "Right-shoe"]),
        ("trousers", CLOTHES, ["Pants"]),
        ("beard", ["facial_hair", "hair"], ["facial_hair"]),
        ("hair", ["facial_hair", "hair"], ["hair"]),
        ("dress", CELEBA, []),
    ],
)
def test_a_word_means_classes(word, classes, found):
    assert meaning(word, classes) == found


def test_sides():
    assert [side(name) for name in ("l_eye", "Right-shoe", "l_lip", "left", "hair", "leg")] == [
        "l",
        "r",
        "",
        "",
        "",
        "",
    ]
    assert part("l_eye") == part("Right eyes") == "eye"


def test_every_class_of_faces_and_clothes_has_a_place():
    for classes in (CELEBA, CLOTHES):
        assert set(classes) - set(usual_places(list(classes))) <= {"background", "Background"}
    place = usual_places(CELEBA)
    assert place["l_eye"].x == pytest.approx(1 - place["r_eye"].x)
    assert place["l_brow"].y < place["l_eye"].y < place["nose"].y < place["u_lip"].y < place["neck"].y
    both = usual_places(["eyes", "hair"])["eyes"]
    assert both.x == 0.5
    assert both.dx > place["l_eye"].dx
    assert usual_area(["glasses", "nonsense"]) == pytest.approx(0.42 * 0.14)
    assert usual_area(["nonsense"]) is None


def test_a_box_has_the_deviation_of_its_pixels():
    import numpy as np

    pixels = np.random.default_rng(0).uniform(0.2, 0.6, 100_000)
    assert Place.of_box(0.4, 0, 0.4, 1).dx == pytest.approx(pixels.std(), rel=0.02)


def test_a_region_is_the_smallest_that_fits_and_is_not_taken():
    assert region(["l_eye", "r_eye"], CELEBA, []) == "eyes"
    assert region(["l_eye", "l_brow", "r_eye"], CELEBA, []) == "gaze"
    assert region(["l_eye", "r_eye"], CELEBA, ["eyes"]) is None, "gaze would be more than twice as much"
    assert region(["skin", "cloth"], CELEBA, []) is None
    parts = [name for name in CELEBA if name != "background"]
    assert region(parts, parts, []) == "portrait"
    assert region(["wall", "sky"], ["wall", "sky"], []) is None

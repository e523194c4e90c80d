"""Every kind of data set answers what is asked of one, without being imported before."""

import subprocess
import sys
from typing import get_args

import pytest
from conftest import ROOT

from heml.datasets.adapters import Adapter, adapter
from heml.params import AvatarsDataset, Dataset, FolderDataset, HubDataset, Limit, Rule

KINDS = get_args(get_args(Dataset)[0])
OWN = {
    AvatarsDataset: {"path": ROOT / "data" / "avatars.yaml"},
    FolderDataset: {"path": ROOT, "label": "x"},
    HubDataset: {"path": ROOT / "data" / "celeba.yaml", "label": "Male", "repo": "a/b", "revision": "c" * 40},
}
RULE = {"classes": ["hat"]}


def made(kind, **changes):
    return kind(
        **(
            {"name": get_args(kind.model_fields["name"].annotation)[0]}
            | OWN.get(kind, {"path": ROOT, "label": "x"})
            | changes
        )
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_the_adapter_of_its_name(kind):
    found = adapter(made(kind))
    assert isinstance(found, Adapter)
    assert type(found).__module__ == f"heml.datasets.{found.params.name}"
    assert type(found).__orig_bases__[0].__args__ == (kind,)


@pytest.mark.parametrize("kind", [FolderDataset, HubDataset])
def test_a_rule_and_a_limit_of_pixels_are_found_whatever_the_kind(kind):
    found = made(kind, rule=RULE, max_megapixels=3)
    assert (found.label_rule, found.most_megapixels) == (Rule(**RULE), 3)
    assert (made(kind).label_rule, made(kind).most_megapixels) == (None, 50)


def test_avatars_have_neither_rule_nor_subset():
    found = made(AvatarsDataset)
    assert (found.label_rule, found.subset, found.most_megapixels) == (None, Limit(), 50)


def test_a_subset_is_the_hubs_alone():
    assert made(FolderDataset).subset == Limit()
    assert made(HubDataset, limit={"val": 5}).subset == Limit(val=5)


def test_classes_are_named_without_images_by_a_card_and_its_rule():
    assert adapter(made(FolderDataset, rule=RULE)).named_classes(ROOT) == []
    parsing = made(HubDataset, path="data/human_parsing.yaml", label="hats", rule=RULE)
    assert adapter(parsing).named_classes(ROOT)[:2] == ["hat", "Background"]


def test_listing_avatars_does_not_import_what_draws_them():
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from heml.datasets.known import known_sources\n"
        "print(next(known_sources([Path('params.yaml')])).title)\n"
        "print([m for m in ('dicebear', 'resvg_py') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"
    assert done.stdout.startswith("1000 illustrated people")

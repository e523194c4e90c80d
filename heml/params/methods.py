"""The methods that `train` can name beside its miners: losses, trunks, embedders, and their options."""

from __future__ import annotations

from typing import Annotated

from heml.losses import catalogue
from heml.params.section import one_of

LOSSES = {name: dict(loss.options) for name, loss in catalogue().items()}
"""Losses, their options and the options' defaults; docs/methods.md says where each comes from."""

WITH_CENTRES = tuple(name for name, loss in catalogue().items() if loss.centres)
"""Losses that have a centre per class, in the dimensions of the whole embedding."""

TRUNKS = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *(
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_v2_s",
        "efficientnet_lite0",
    ),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "convnext_tiny", "convnext_small"),
)

DEPTHS = (1, 2, 3)
"""Where a trunk can end early, as in `resnet18:3`: at a quarter, an eighth or a sixteenth of the image's size."""


def split_trunk(name: str) -> tuple[str, int | None]:
    """A trunk's whole name and where it ends; None: it is whole.

    >>> split_trunk("resnet18:3"), split_trunk("resnet18")
    (('resnet18', 3), ('resnet18', None))
    """
    whole, _, depth = name.partition(":")
    return whole, int(depth) if depth else None


EMBEDDERS: dict[str, dict[str, float]] = {
    "plain": {},
    "batch_drop_block": {},
    "horde": {"orders": 5.0, "dims": 8192.0},
    "global_descriptors": {},
    "divide_conquer": {"learners": 8.0, "together": 0.05, "every": 2.0},
}
"""Embedders, their options and the options' defaults, which are their papers'; docs/methods.md says what they mean."""

OF_PARTS = ("batch_drop_block", "divide_conquer")
"""Embedders whose losses see a part of the dimensions each."""


Trunk = Annotated[
    str,
    one_of(
        [*TRUNKS, *(f"{name}:{depth}" for name in TRUNKS for depth in DEPTHS)],
        f"{', '.join(TRUNKS)}; each may end early, as in resnet18:3 (1 to 3)",
    ),
]

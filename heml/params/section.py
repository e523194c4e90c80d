"""What every section is made of: strict models, and the values that several of them have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
"""A segment's or node's name: it becomes a file, a folder and a DVC stage name."""


NotNegative = Annotated[float, Field(ge=0)]


Distance = Annotated[str, Field(pattern=r"^(snr|euclidean|cosine|l[1-9][0-9]*(\.[0-9]+)?)$")]
"""`snr`, `euclidean`, `cosine`, or an Lp distance as `l1`, `l3`, `l1.5` …"""


class Strict(BaseModel):
    """A section that rejects unknown keys, so that a typing error is found rather than ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Size(Strict):
    """Height and width, pixels."""

    height: int = Field(ge=16, le=2048)
    """Pixels."""
    width: int = Field(ge=16, le=2048)
    """Pixels."""


def one_of(names: Iterable[str], shown: str = "") -> AfterValidator:
    known = list(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"choose from {shown or ', '.join(known)}")
        return value

    return AfterValidator(check)

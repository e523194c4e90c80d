"""Tables as CSV that a spreadsheet opens without running anything of them and a terminal shows without obeying; read
back, they are what they were.

Text that a spreadsheet would take for a formula gets a quotation mark in front. Control characters, and marks that turn
a line's direction, are written as `\\u001b`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a cell is read without it
    import pandas as pd

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]|\\\\(?=u[0-9a-f]{4})"
)
_FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20]")
"""What begins one, in ASCII or full width; quotation marks in front of it are escaped too, so that they can be told
apart."""


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet may take text for a formula; a number is none, whatever its sign."""
    if not _FORMULA.match(text):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def to_cell(text: str) -> str:
    """Text as it stands in a cell.

    >>> to_cell("=1+2"), to_cell("-1"), to_cell("a\\tb")
    ("'=1+2", '-1', 'a\\\\u0009b')
    """
    text = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return f"'{text}" if _is_formula(text) else text


def from_cell(cell: str) -> str:
    """The text that `to_cell` made a cell of."""
    if cell.startswith("'") and _is_formula(cell[1:]):
        cell = cell[1:]
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), cell)


def write_csv(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table without its index; text as cells, numbers as they are."""
    told = table.copy()
    for name in told.columns:
        if told[name].dtype.kind not in "biufc":
            told[name] = told[name].map(lambda value: to_cell(value) if isinstance(value, str) else value)
    told.to_csv(path, index=False, float_format=float_format)

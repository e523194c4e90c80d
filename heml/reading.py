"""Read the reports' JSON and CSV back: what is missing or damaged is one error, with the command that makes it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heml.cells import from_cell
from heml.errors import HemlError

if TYPE_CHECKING:
    import pandas as pd

Kinds = Mapping[str, type | tuple[type, ...]]

NODE_REPORT: Kinds = {"node": str, "level": int, "history": list, "present": dict, "best_epoch": int, "images_per_second": (int, float)}
"""`reports/nodes/<node>.json`, as far as others read it."""


def _fault(path: Path, what: str, again: str) -> HemlError:
    return HemlError(f"{path}: {what}; remove it and run `{again}` to make it again")


def read_json(path: Path, again: str, kinds: Kinds | None = None) -> dict[str, Any]:
    """A JSON object.

    Args:
        kinds: keys that it must have, and their types.

    Raises:
        HemlError: missing, damaged, or of other keys and types.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; run `{again}` first") from None
    except (OSError, ValueError) as error:
        raise _fault(path, f"is damaged ({error})", again) from None
    if not isinstance(found, dict):
        raise _fault(path, "is no JSON object", again)
    for key, kind in (kinds or {}).items():
        if not isinstance(found.get(key), kind):
            raise _fault(path, f"has no valid {key!r}", again)
    return found


def read_csv(path: Path, again: str, columns: Sequence[str], words: Sequence[str] = ()) -> pd.DataFrame:
    """A table.

    Args:
        columns: that it must have.
        words: columns that are text, whatever they look like; an empty cell is NaN in the others alone.

    Raises:
        HemlError: missing, damaged, or of other columns.
    """
    import pandas as pd  # which who reads JSON alone need not wait for

    try:
        found = pd.read_csv(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; run `{again}` first") from None
    except (ValueError, OSError) as error:
        raise _fault(path, f"is damaged ({error})", again) from None
    for name in found.columns.intersection(list(words)):
        found[name] = found[name].map(from_cell, na_action="ignore")
    missing = [name for name in columns if name not in found.columns]
    if missing:
        raise _fault(path, f"has no column {missing[0]!r}", again)
    return found

"""What a name that is not there was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as the end of a message, or nothing where none is near.

    >>> meant("hiar", ["hair", "hat"])
    "; did you mean 'hair'?"
    """
    import difflib  # for those who erred

    by_case = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name[:200].casefold(), by_case, 1, 0.6)
    return f"; did you mean {by_case[near[0]]!r}?" if near else ""

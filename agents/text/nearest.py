"""The right name that a wrong one was probably meant to be, and the sentence that offers it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def nearest(name: Any, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, or None."""
    if not isinstance(name, str):
        return None
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in names}
    close = get_close_matches(name[:100].casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: Any, names: Iterable[str], before: str = "") -> str:
    """`did you mean 'x'?`, with `before` in front of it; "" if no name is near."""
    near = nearest(name, names)
    return f"{before}did you mean {near!r}?" if near else ""

"""Editing the state of a checkpoint: as which node it is written.

An edit stands as if the node that made the checkpoint had written it, so the conditions at the
edges out of that node are asked anew: they see what they saw, and the edit. What the node chose by
itself, and what its siblings led to, stays due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ucop.agents.text.nearest import did_you_mean

from .errors import InvalidInput

START = "__start__"
INPUT = "__input__"

Update = tuple[Any, str]
"""What to write, and as which node."""


def chosen(ran: Sequence[str], as_node: str | None) -> str:
    """The node that an edit is written as. Raises InvalidInput."""
    if as_node is not None:
        return as_node
    if len(ran) == 1:
        return ran[0]
    named = ", ".join(ran) or "none of the workflow's own"
    raise InvalidInput(f"as_node must say as which node to write; there ran {named}")


def check_names(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise InvalidInput for names that the state does not have."""
    wrong = [
        f"the state has no {name!r}{did_you_mean(name, known, '; ')}"
        for name in given
        if name not in known
    ]
    if wrong:
        raise InvalidInput(f"{'; '.join(wrong)} (it has {', '.join(sorted(known))})")

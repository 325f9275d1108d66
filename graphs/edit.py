"""Editing the state of a checkpoint: what LangGraph's `update_state` is to be given.

An edit stands as if the node that made the checkpoint had written it, so the edges out of that
node are taken anew with the edited state; what its siblings led to stays due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ucop.agents.source import nearest
from ucop.graphs.errors import InvalidInput

START = "__start__"
INPUT = "__input__"

Update = tuple[Any, str]
"""What to write, and as which node."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A checkpoint, as an edit sees it; nodes are the compiled graph's own."""

    ran: tuple[str, ...]
    """The nodes that made it; none where it holds nothing but the input."""
    due: tuple[str, ...]
    input: Mapping[str, Any] = field(default_factory=dict)
    """The input, while no channel holds it yet."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """The state before those nodes ran."""


def updates_of(at: Standing, values: Mapping[str, Any], as_node: str | None) -> list[Update]:
    """The updates for a graph of LangGraph's own. Its conditional edges look at the edited state.

    Raises InvalidInput where it is not clear as which node to write.
    """
    if not at.ran and as_node is None:
        return [({**at.input, **values}, INPUT)]
    ran = tuple(dict.fromkeys(at.ran))
    node = chosen(ran, as_node)
    # The siblings write nothing, but their edges are taken: what they led to is due again.
    others = [(None, other) for other in ran if other != node] if node in ran else []
    return [(values, node), *others]


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
    wrong = []
    for name in given:
        if name not in known:
            like = nearest(name, known)
            wrong.append(
                f"the state has no {name!r}" + (f"; did you mean {like!r}?" if like else "")
            )
    if wrong:
        raise InvalidInput(f"{'; '.join(wrong)} (it has {', '.join(sorted(known))})")

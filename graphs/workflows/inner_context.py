"""The context of a YAML workflow, for the Python graphs inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..types.given_context import Unchecked, kept_context, names_of

if TYPE_CHECKING:
    from ..workflow import Workflow


def inner_context(
    name: str, graphs: Sequence[Workflow], given: Any, unchecked: Unchecked, *, agents: bool
) -> dict[str, Any]:
    """The context of a workflow for the Python graphs inside it: each takes the names that its
    schema declares. Raises InvalidInput for a name that none takes, unless there are `agents`
    that may read any."""
    if not isinstance(given, Mapping):
        raise InvalidInput(
            f"the context of workflow {name!r} must be an object of names and values, "
            f"not a {type(given).__name__}"
        )
    schemas = [(graph, schema) for graph in graphs if (schema := graph.context_schema)]
    known = frozenset[str]().union(*(names_of(schema) for _, schema in schemas))
    unknown = sorted(set(given) - known)
    if unknown and not agents:
        takes = ", ".join(sorted(known)) or "none, since no Python graph inside takes a context"
        raise InvalidInput(
            f"the context of workflow {name!r} has {', '.join(map(repr, unknown))}; it takes {takes}"
        )
    kept = kept_context(None, {n: given[n] for n in unknown}, f"workflow {name!r}", unchecked)
    for graph, schema in schemas:
        mine = {key: value for key, value in given.items() if key in names_of(schema)}
        kept |= kept_context(schema, mine, f"graph {graph.name!r} in {name!r}", unchecked)
    return kept

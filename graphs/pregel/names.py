"""Names in a compiled graph: the compiler's own nodes and channels, and namespaces of what runs inside."""

from __future__ import annotations

from collections.abc import Sequence

RUNNING = "_running"


LOOPS = "_loops"


GATE = "?"


ROUTE = "?route"


ITEM = "?item"


CALL = "?call"


def shown_name(name: str) -> str:
    """The node of the definition that one of the compiler's own nodes belongs to."""
    return name.partition("?")[0]


def inside_of(namespace: Sequence[str]) -> str:
    """The name of the node whose inside a namespace is; empty for the graph itself."""
    outer = [part.partition(":")[0] for part in namespace if not part.isdigit()]
    return "/".join(name for name in outer if not name.endswith((ITEM, CALL)))


def way_to(namespace: Sequence[str], node: str) -> str:
    """The name of a node inside workflows that nodes run, as `outer/inner`.

    `namespace` is LangGraph's: `node:task` from the outermost on, where an item of `each` is a
    task of its own inside its node, and a further graph that one node runs has a number.
    """
    way = inside_of(namespace) if namespace else ""
    return f"{way}/{node}" if way else node

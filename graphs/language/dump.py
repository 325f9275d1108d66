"""From a Definition back to its own language: the one form in which a job keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .definition import (
    MESH,
    AnswerDeadline,
    Channel,
    Definition,
    Entry,
    Kind,
    Mesh,
    Node,
    OnError,
    Retry,
    Route,
)


def dump(definition: Definition) -> dict[str, Any]:
    """The definition in its own language, written out and in one form, as JSON."""
    return {
        "name": definition.name,
        "description": definition.description,
        "input": {name: dict(c.schema) for name, c in definition.inputs.items()},
        **(_graph(definition) if definition.kind is Kind.graph else _only_mesh(definition)),
        **({} if definition.output is None else {"output": definition.output}),
        **({"limits": limits} if (limits := definition.limits.given()) else {}),
    }


def _graph(definition: Definition) -> dict[str, Any]:
    return {
        "state": {name: {**c.schema, "merge": _merge(c)} for name, c in definition.state.items()},
        "nodes": {name: _node(node) for name, node in definition.nodes.items()},
        "edges": _routes(definition.routes),
    }


def _only_mesh(definition: Definition) -> dict[str, Any]:
    node = definition.nodes[MESH]
    return {"kind": definition.kind.value, **_kind(node), "with": dict(node.inputs)}


def _node(node: Node) -> dict[str, Any]:
    plain: dict[str, tuple[Any, Callable[[], Any]]] = {
        "with": (node.inputs, lambda: dict(node.inputs)),
        "writes": (node.writes, lambda: node.writes),
        "each": (node.each, lambda: node.each),
        "as": (node.each, lambda: node.item),
        "limit": (node.limit, lambda: node.limit),
        "retry": (node.retry, lambda: _retry(node.retry)),
        "timeout": (node.timeout or node.idle, lambda: _timeout(node.timeout, node.idle)),
        "cache": (node.cache, lambda: node.cache),
        "on_error": (node.on_error is not OnError.fail, lambda: _on_error(node.on_error)),
    }
    return {**_kind(node), **{key: say() for key, (given, say) in plain.items() if given}}


def _kind(node: Node) -> dict[str, Any]:
    if node.ask is not None:
        return {"ask": node.ask, "answer": dict(node.answer), **_deadline(node.deadline)}
    if node.workflow:
        return {"workflow": node.workflow}
    if node.mesh is not None:
        return {"mesh": _mesh(node.mesh)}
    return {"agent": node.agent or {"capability": node.capability}}


def _deadline(deadline: AnswerDeadline | None) -> dict[str, Any]:
    if deadline is None:
        return {}
    default = {} if deadline.fails else {"default": deadline.default}
    return {"within": deadline.within, **default}


def _mesh(mesh: Mesh) -> dict[str, Any]:
    able = [{"capability": name} for name in mesh.capabilities]
    listed = [*mesh.agents, *able]
    plain: dict[str, Any] = {
        "entry": mesh.entry or {"capability": mesh.entry_capability},
        "agents": listed,
        "max_hops": mesh.max_hops,
        "retry": _retry(mesh.retry),
        "timeout": _timeout(mesh.timeout, mesh.idle),
    }
    return {key: value for key, value in plain.items() if value}


def _merge(channel: Channel) -> Any:
    return {"custom": channel.function} if channel.function else channel.merge.value


def _retry(retry: Retry | None) -> dict[str, Any] | None:
    if retry is None:
        return None
    return {"attempts": retry.attempts, "delay": retry.delay, "longest": retry.longest}


def _timeout(whole: float | None, idle: float | None) -> Any:
    if idle is None:
        return whole
    return {**({} if whole is None else {"whole": whole}), "idle": idle}


def _on_error(policy: OnError | str) -> Any:
    return policy.value if isinstance(policy, OnError) else {"node": policy}


def _routes(routes: Iterable[Route]) -> list[dict[str, Any]]:
    """Routes of one node stay in their order; among nodes there is none."""
    return [_route(route) for route in sorted(routes, key=lambda route: route.source)]


def _route(route: Route) -> dict[str, Any]:
    return {"from": route.source, "to": [_entry(entry) for entry in route.entries]}


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "node": entry.target,
        **({} if entry.when is None else {"when": entry.when}),
        **({} if entry.at_most is None else {"at_most": entry.at_most}),
    }

"""Every command has its route, and every route says who may use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from fastapi.routing import APIRoute

from tests.support.paths import ROOT
from ucop.console.api.app import ROUTERS, V1
from ucop.console.cli.main import app
from ucop.engine.stores.api_keys import Scope

ROUTE_OF = {
    "run": "POST /jobs",
    "generate": "POST /jobs",
    "check": "POST /workflows/check",
    "jobs list": "GET /jobs",
    "jobs show": "GET /jobs/{id}",
    "jobs watch": "GET /jobs/{id}/stream",
    "jobs events": "GET /jobs/{id}/events",
    "jobs why": "GET /jobs/{id}/why",
    "jobs pause": "POST /jobs/{id}/pause",
    "jobs resume": "POST /jobs/{id}/resume",
    "jobs cancel": "POST /jobs/{id}/cancel",
    "jobs retry": "POST /jobs/{id}/retry",
    "jobs archive": "POST /jobs/{id}/archive",
    "jobs delete": "DELETE /jobs/{id}",
    "jobs prune": "POST /jobs/tidy",
    "jobs export": "GET /jobs/{id}/export",
    "jobs import": "POST /jobs/import",
    "jobs inbox": "GET /questions",
    "jobs answer": "POST /jobs/{id}/questions/{question}/answer",
    "queues list": "GET /queues",
    "queues set": "PATCH /queues/{name}",
    "queues pause": "PATCH /queues/{name}",
    "queues resume": "PATCH /queues/{name}",
    "events": "GET /events",
    "checkpoints list": "GET /jobs/{id}/checkpoints",
    "checkpoints show": "GET /jobs/{id}/checkpoints/{checkpoint}",
    "checkpoints diff": "GET /jobs/{id}/diff",
    "checkpoints fork": "POST /jobs/{id}/fork",
    "checkpoints restore": "POST /jobs/{id}/restore",
    "checkpoints prune": "POST /jobs/{id}/prune",
    "schedules add": "PUT /schedules/{name}",
    "schedules list": "GET /schedules",
    "schedules show": "GET /schedules/{name}",
    "schedules pause": "POST /schedules/{name}/pause",
    "schedules resume": "POST /schedules/{name}/resume",
    "schedules trigger": "POST /schedules/{name}/trigger",
    "schedules remove": "DELETE /schedules/{name}",
    "webhooks list": "GET /webhooks",
    "webhooks deliveries": "GET /webhooks/deliveries",
    "webhooks retry": "POST /webhooks/deliveries/retry",
    "webhooks test": "POST /webhooks/{name}/test",
    "workflows list": "GET /workflows",
    "workflows show": "GET /workflows/{name}",
    "workflows check": "POST /workflows/check",
    "workflows draw": "GET /workflows/{name}/graph",
    "workflows schema": "GET /schema/workflow",
    "agents list": "GET /agents",
    "agents show": "GET /agents/{name}",
    "agents run": "POST /agents/{name}/run",
    "mesh agents": "GET /meshes/agents",
    "mesh run": "POST /meshes",
    "mesh stats": "GET /meshes/stats",
    "mesh trace": "GET /meshes/{job}",
    "memory list": "GET /memory",
    "memory search": "POST /memory/search",
    "memory forget": "DELETE /memory/items",
    "keys add": "POST /keys",
    "keys list": "GET /keys",
    "keys remove": "DELETE /keys/{name}",
    "models list": "GET /models",
    "models check": "POST /models/check",
}

WITHOUT = {
    "worker": "a process, which `ucop serve` starts",
    "serve": "the server itself",
    "console": "draws on a terminal",
    "init": "makes a project's files, before there is a server",
    "memory ingest": "reads a folder of the machine that it is typed on",
    "models install": "installs into the Python environment that it is typed in",
    "models serve": "a server of its own",
}
"""Commands without a route, and why."""


def commands(group: Any, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name))


def routes() -> list[APIRoute]:
    found = [route for router in ROUTERS for route in router.routes]
    assert all(isinstance(route, APIRoute) for route in found)
    return found


ROUTES = {
    f"{method} {route.path}": route for route in routes() for method in sorted(route.methods or ())
}


def test_every_command_has_a_route_or_a_reason_to_have_none() -> None:
    known = set(commands(typer.main.get_command(app)))
    assert set(ROUTE_OF) | set(WITHOUT) == known
    assert not set(ROUTE_OF) & set(WITHOUT)
    missing = {command: route for command, route in ROUTE_OF.items() if route not in ROUTES}
    assert not missing


def scopes(route: APIRoute) -> list[Scope]:
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return [call.scope for call in calls if hasattr(call, "scope")]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ROUTES)
def test_every_route_says_who_may_use_it_and_what_only_looks_needs_no_more_than_read(
    name: str,
) -> None:
    (scope,) = scopes(ROUTES[name])
    if name in ("GET /keys", "GET /changes"):
        assert scope is Scope.ADMIN
    elif name.startswith("GET "):
        assert scope is Scope.READ
    elif scope is Scope.READ:
        # Routes that look, and take a body to say at what.
        assert name in {
            "POST /workflows/check",
            "POST /workflows/{name}/dry-run",
            "POST /memory/search",
        }


def test_every_route_is_told_in_the_docs() -> None:
    page = (ROOT / "docs/server.md").read_text(encoding="utf-8")
    told = {
        re.sub(r"\?.*", "", each)
        for each in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) [^` ]+)`", page)
    }
    assert set(ROUTES) - told == set()
    assert told - set(ROUTES) - {f"GET {V1}"} == set()


def test_scopes_include_those_before_them() -> None:
    order = [Scope.READ, Scope.RUN, Scope.OPERATE, Scope.ADMIN]
    for index, scope in enumerate(order):
        assert [one for one in order if scope.includes(one)] == order[: index + 1]

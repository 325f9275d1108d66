"""Keys, scopes and tenants, over a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.support.command import Ucop
from tests.support.server import Server, listening, serve
from tests.support.waiting import until
from ucop.console.api.app import ROUTERS
from ucop.engine.stores.api_keys import Scope

ROUTES = [
    (method, route.path, dependency.call.scope)  # type: ignore[union-attr]
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
    for dependency in route.dependant.dependencies
    if hasattr(dependency.call, "scope")
]
"""Every route there is, from the table itself: a new one cannot be forgotten."""

KEYS = {
    "reader": ("--scope", "read"),
    "runner": ("--scope", "run"),
    "operator": ("--scope", "operate"),
    "boss": ("--scope", "admin"),
    "ann": ("--scope", "admin", "--tenant", "a"),
    "bob": ("--scope", "admin", "--tenant", "b"),
}


@pytest.fixture(scope="module")
def keys(project: Ucop) -> dict[str, str]:
    made = {name: project("keys", "add", name, *terms) for name, terms in KEYS.items()}
    assert all(done.code == 0 for done in made.values()), made
    return {name: done.out.strip() for name, done in made.items()}


@pytest.fixture(scope="module")
def server(project: Ucop, keys: dict[str, str]) -> Iterator[Server]:
    server = serve(project)
    yield server
    assert server.stop() == 0
    log = "".join(server.running.err)
    assert "key=boss" in log
    assert not any(key in log or key.rpartition("_")[2] in log for key in keys.values())


class Clients:
    def __init__(self, server: Server, keys: dict[str, str]) -> None:
        self._server, self._keys = server, keys

    def __call__(self, name: str) -> httpx.Client:
        return self._server.client(**{"x-api-key": self._keys[name]})


@pytest.fixture(scope="module")
def of(server: Server, keys: dict[str, str]) -> Clients:
    return Clients(server, keys)


def ask(client: httpx.Client, method: str, path: str, **names: str) -> httpx.Response:
    filled = re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], "zzz"), path)
    body: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": {}}
    with client.stream(method, filled, **body) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):
            return answer
        answer.read()
    return answer


def job_of(client: httpx.Client, **given: Any) -> dict[str, Any]:
    body = {"workflow": "say", "input": {"text": "mine"}, **given}
    answer = client.post("/jobs", params={"wait": 60}, json=body)
    assert answer.status_code in (200, 201), answer.text
    job: dict[str, Any] = answer.json()
    return job


def test_every_route_refuses_who_sends_no_key_or_another(
    server: Server, keys: dict[str, str]
) -> None:
    wrong = keys["boss"][:-1] + ("A" if keys["boss"][-1] != "A" else "B")
    for headers in ({}, {"x-api-key": "x"}, {"x-api-key": wrong}, {"authorization": "Basic eDp5"}):
        with server.client(**headers) as client:
            for method, path, _ in ROUTES:
                answer = ask(client, method, path)
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"
    assert len(ROUTES) > 70


def test_a_key_opens_what_its_scope_includes_and_nothing_else(of: Clients) -> None:
    for name, scope in (("reader", Scope.READ), ("runner", Scope.RUN), ("operator", Scope.OPERATE)):
        with of(name) as client:
            for method, path, needed in ROUTES:
                if not scope.includes(needed):
                    answer = ask(client, method, path)
                    assert answer.status_code == 403, (name, method, path)
                    assert needed.value in answer.json()["detail"]
    with of("reader") as reader, of("runner") as runner:
        assert reader.get("/jobs").status_code == 200
        assert reader.post("/jobs", json={"workflow": "say"}).status_code == 403
        assert job_of(runner)["status"] == "completed"


def test_a_key_is_also_a_bearers(server: Server, keys: dict[str, str]) -> None:
    with server.client(authorization=f"Bearer {keys['reader']}") as client:
        assert client.get("/jobs").status_code == 200


def test_of_another_tenant_nothing_is_found(of: Clients) -> None:
    with of("ann") as ann, of("bob") as bob, of("boss") as boss:
        job = job_of(ann, labels={"set": "tenants"}, thread_id="ann-talks", key="anns")
        assert job["tenant"] == "a"
        waiting = ann.post("/jobs", params={"wait": 60}, json={"workflow": "asking"}).json()
        ann.put(
            "/schedules/anns",
            json={"workflow": "say", "rule": "every 24h", "input": {"text": "hi"}},
        )
        for method, path, _ in ROUTES:
            if "{id}" in path or "{job}" in path:
                answer = ask(bob, method, path, id=job["id"], job=job["id"])
                assert answer.status_code in (404, 422), (method, path, answer.status_code)
            if path.startswith("/schedules/{name}") and method != "PUT":
                assert ask(bob, method, path, name="anns").status_code == 404
        for path in ("/jobs", "/events", "/questions", "/schedules", "/memory"):
            found = bob.get(path).json()["items"]
            assert "anns" not in str(found)
            assert job["id"] not in str(found)
            assert waiting["id"] not in str(found)
        assert sum(bob.get("/jobs/counts").json().values()) == 0
        assert all(not state["tenants"] for state in bob.get("/queues").json()["items"])
        assert job["id"] in str(boss.get("/jobs").json())
        assert job["id"] in str(ann.get("/events", params={"limit": 1000}).json())
        assert ann.get("/jobs", params={"tenant": "b"}).status_code == 403
        forged = {"workflow": "say", "input": {"text": "hi"}, "tenant": "b"}
        assert ann.post("/jobs", json=forged).status_code == 403
        taken = {"workflow": "say", "input": {"text": "mine"}}
        conflict = bob.post("/jobs", json={**taken, "key": "anns"})
        assert (conflict.status_code, job["id"] in conflict.text) == (409, False)
        thread = bob.post("/jobs", json={**taken, "thread_id": "ann-talks"})
        assert thread.status_code == 404
        for method, path in (
            ("PATCH", "/queues/default"), ("GET", "/keys"), ("GET", "/changes"),
            ("GET", "/webhooks"), ("POST", "/jobs/tidy"),
        ):  # fmt: skip
            assert ask(bob, method, path).status_code in (403, 422), path


def test_streams_hold_only_what_the_tenant_owns(of: Clients) -> None:
    with of("ann") as ann, of("bob") as bob:
        foreign = job_of(ann)
        with listening(bob, "/events/stream", after=0) as ears:
            heard = iter(ears)
            assert next(heard).type == "hello"
            job_of(ann)
            own = job_of(bob)
            first = next(heard)
            assert first.data["job_id"] == own["id"]
        refused = bob.get(f"/jobs/{foreign['id']}/stream")
        assert refused.status_code == 404


def test_a_job_tells_who_submitted_paused_and_cancelled_it(of: Clients) -> None:
    with of("runner") as runner, of("operator") as operator, of("boss") as boss:
        id = runner.post("/jobs", json={"workflow": "gated", "input": {"text": "hi"}}).json()["id"]
        operator.post(f"/jobs/{id}/pause", params={"wait": 60}, json={"now": True})
        boss.post("/jobs/change", json={"action": "cancel", "ids": [id]})
        events = boss.get(f"/jobs/{id}/events").json()["items"]
        by = {event["type"]: event["data"].get("by") for event in events}
        assert by["job.submitted"] == "runner"
        assert by["job.cancelled"] == "boss"
        assert {by.get("job.pausing"), by.get("job.paused")} & {"operator"}
        assert by.get("step.started") is None

        def noted() -> list[tuple[str, str]]:
            changes = boss.get("/changes").json()["items"]
            return [(one["key"], one["path"]) for one in changes]

        until(lambda: ("boss", "/api/v1/jobs/change") in noted())
        assert ("operator", f"/api/v1/jobs/{id}/pause") in noted()
        assert ("runner", "/api/v1/jobs") in noted()


def test_secrets_of_the_workers_are_not_for_everybody(of: Clients) -> None:
    body = {"workflow": "adder", "input": {"numbers": [1]}}
    secret = {"configurable": {"x": [{"y": "${env:HOME}"}]}}
    for name in ("runner", "ann"):
        with of(name) as client:
            assert client.post("/jobs", json={**body, "config": secret}).status_code == 403
    with of("operator") as operator:
        assert operator.post("/jobs", json={**body, "config": secret}).status_code == 201


def test_keys_are_made_listed_and_removed(of: Clients, server: Server, project: Ucop) -> None:
    with of("boss") as boss:
        made = boss.post("/keys", json={"name": "short", "scope": "read", "expires": "90d"})
        assert made.status_code == 201, made.text
        with server.client(**{"x-api-key": made.json()["key"]}) as client:
            assert client.get("/jobs").status_code == 200
            assert boss.post("/keys", json={"name": "short"}).json()["code"] == "exists"
            listed = boss.get("/keys").json()["items"]
            assert {each["name"] for each in listed} == {*KEYS, "short"}
            assert made.json()["key"] not in str(listed)
            assert project("keys", "list", "--json").json == boss.get("/keys").json()["items"]
            assert project("keys", "remove", "short").code == 0
            until(lambda: client.get("/jobs").status_code == 401)
        assert boss.delete("/keys/short").status_code == 404
        assert project("keys", "remove", "short").code == 3
        assert project("keys", "add", "boss").code == 2
        expired = boss.post("/keys", json={"name": "gone", "expires": "1ms"}).json()["key"]
        with server.client(**{"x-api-key": expired}) as client:
            assert client.get("/jobs").status_code == 401
        assert boss.post("/keys", json={"name": "odd", "expires": "soon"}).status_code == 422
        assert boss.delete("/keys/gone").status_code == 204

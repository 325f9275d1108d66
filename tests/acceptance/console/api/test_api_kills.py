"""Servers and workers that are killed amid streams: nothing is lost, doubled or invented."""

from __future__ import annotations

import signal
from typing import Any

import httpx
import pytest

from tests.support.command import Ucop
from tests.support.server import Heard, Server, kill, listening, serve
from tests.support.waiting import until


def told(heard: list[Heard]) -> list[tuple[str | None, Any]]:
    """Events of the ledger, without what the server says of itself."""
    return [(event.id, event.data) for event in heard if event.id is not None]


def all_events(client: httpx.Client, id: str) -> list[tuple[str, Any]]:
    items = client.get(f"/jobs/{id}/events", params={"limit": 1000}).json()["items"]
    return [(str(event["seq"]), event) for event in items]


def begin(client: httpx.Client) -> str:
    id: str = client.post("/jobs", json={"workflow": "gated", "input": {"text": "hi"}}).json()["id"]
    return id


@pytest.fixture(autouse=True)
def closed_gate(project: Ucop) -> None:
    """Every test begins without the file that lets `gated` go on."""
    (project.folder / "go.txt").unlink(missing_ok=True)


def test_a_worker_that_is_killed_amid_a_stream_is_replaced_and_the_stream_goes_on(
    project: Ucop,
) -> None:
    server = serve(project)
    with server.client() as client:
        id = begin(client)
        heard = []
        with listening(client, f"/jobs/{id}/stream") as ears:
            for event in ears:
                heard.append(event)
                if (
                    event.type == "progress"
                    and event.data["data"].get("attempt", 1)
                    and len(heard) < 9
                ):
                    kill(server.worker)
                    project.write("go.txt", "on")
        assert heard[-1].type == "end"
        assert heard[-1].data["status"] == "completed"
        assert told(heard) == all_events(client, id)
        assert client.get(f"/jobs/{id}").json()["attempt"] == 2
    assert server.stop() == 0


def hear_until_killed(
    server: Server, client: httpx.Client, id: str, heard: list[Heard]
) -> str | None:
    """Kill the server amid a job's stream; returns the last id that was heard."""
    with listening(client, f"/jobs/{id}/stream") as ears:
        try:
            for event in ears:
                heard.append(event)
                if event.type == "progress":
                    server.kill()
        except httpx.TransportError:
            return ears.last
    raise AssertionError("the stream of a killed server ended as if it were whole")


def test_a_server_that_is_killed_amid_a_stream_leaves_its_readers_to_go_on_by_id(
    project: Ucop,
) -> None:
    first = serve(project)
    heard: list[Heard] = []
    with first.client() as client:
        id = begin(client)
        last = hear_until_killed(first, client, id, heard)
    project.write("go.txt", "on")
    second = serve(project)
    with second.client() as client:
        with listening(client, f"/jobs/{id}/stream", last) as ears:
            heard += ears
        assert heard[-1].data["status"] == "completed"
        assert told(heard) == all_events(client, id)
    assert second.stop() == 0


def test_no_worker_outlives_its_server(project: Ucop) -> None:
    server = serve(project)
    with server.client() as client:
        id = begin(client)
        until(lambda: client.get(f"/jobs/{id}").json()["status"] == "running")
    server.kill()

    def is_gone() -> bool:
        return not project("jobs", "why", id, "--json").json["causes"][0].startswith("it runs")

    until(is_gone)
    assert project("jobs", "show", id, "--json").json["status"] == "pending"


def test_two_servers_on_one_database_tell_the_same(project: Ucop) -> None:
    first, second = serve(project), serve(project, "--no-worker")
    assert second.worker is None
    with first.client() as one, second.client() as other:
        id = begin(one)
        with listening(other, f"/jobs/{id}/stream") as ears:
            heard = []
            for event in ears:
                heard.append(event)
                if event.type == "progress":
                    project.write("go.txt", "on")
        assert told(heard) == all_events(one, id)
    assert second.stop() == 0
    assert first.stop() == 0


def test_a_server_that_stops_tells_streams_to_come_back(project: Ucop) -> None:
    server = serve(project)
    with server.client() as client:
        id = begin(client)
        heard = []
        with listening(client, f"/jobs/{id}/stream") as ears:
            for event in ears:
                heard.append(event)
                if event.type == "progress":
                    server.running.signal(signal.SIGTERM)
    assert heard[-1].type == "reconnect"
    assert server.running.end().code == 0
    assert project("jobs", "show", id, "--json").json["status"] == "pending"


def test_a_port_that_is_taken_is_refused_with_a_hint(project: Ucop) -> None:
    server = serve(project, "--no-worker")
    port = server.url.rpartition(":")[2]
    done = project("serve", "--port", port, "--no-worker")
    assert done.code == 2
    assert "--port" in done.err
    assert server.stop(signal.SIGINT) == 130


def test_a_server_that_other_machines_reach_does_not_start_without_a_key(project: Ucop) -> None:
    done = project("serve", "--host", "0.0.0.0", "--port", "0", "--no-worker")
    assert done.code == 2
    assert "keys add" in done.err
    key = project("keys", "add", "first").out.strip()
    server = serve(project, "--host", "0.0.0.0", "--no-worker")
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/api/v1/jobs").status_code == 401
    assert httpx.get(f"{url}/api/v1/jobs", headers={"x-api-key": key}).status_code == 200
    assert project("keys", "remove", "first").code == 0
    assert server.stop() == 0
    is_open = serve(project, "--host", "0.0.0.0", "--no-worker", "--allow-open")
    url = is_open.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/api/v1/jobs").status_code == 200
    assert is_open.stop() == 0

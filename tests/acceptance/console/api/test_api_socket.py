"""The WebSocket: requests and subscriptions on one connection."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.command import Ucop
from tests.support.server import Server, serve
from tests.support.waiting import DEADLINE


class Socket:
    """Sends requests, and keeps what comes meanwhile."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self._number = 0

    def send(self, method: str, **params: Any) -> int:
        self._number += 1
        self.connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        return self._number

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(DEADLINE))
        if "event" in message:
            self.events.append(message)
        return message

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a request."""
        id = self.send(method, **params)
        while (message := self.receive()).get("id") != id or "event" in message:
            pass
        return message

    def until(self, type: str, subscription: str) -> list[dict[str, Any]]:
        """The events of a subscription, up to the first of this type."""
        while True:
            own = [each for each in self.events if each["subscription"] == subscription]
            types = [each["event"] for each in own]
            if type in types:
                return own[: types.index(type) + 1]
            self.receive()


@contextmanager
def opened(server: Server, **options: Any) -> Iterator[Socket]:
    url = server.url.replace("http://", "ws://") + "/api/v1/ws"
    with connect(url, proxy=None, **options) as connection:
        yield Socket(connection)


@pytest.fixture
def socket(server: Server) -> Iterator[Socket]:
    with opened(server) as socket:
        yield socket


def test_a_job_is_submitted_followed_and_shown_on_one_connection(
    socket: Socket, client: httpx.Client
) -> None:
    assert socket.ask("ping")["result"] is None
    job = socket.ask("jobs.submit", workflow="say", input={"text": "hello"})["result"]
    followed = socket.ask("subscribe", job=job["id"])["result"]["subscription"]
    events = socket.until("end", followed)
    assert events[-1]["data"]["status"] == "completed"
    told = client.get(f"/jobs/{job['id']}/events").json()["items"]
    assert [event["data"] for event in events[:-1]] == told
    assert [event["id"] for event in events[:-1]] == [str(event["seq"]) for event in told]
    shown = socket.ask("jobs.show_job", id=job["id"])["result"]
    assert (shown["output"], shown["status"]) == ("HELLO", "completed")


def test_commands_do_what_their_routes_do_and_refuse_what_those_refuse(socket: Socket) -> None:
    job = socket.ask("jobs.submit", workflow="asking", wait=60)["result"]
    assert job["status"] == "waiting"
    (question,) = socket.ask("jobs.questions", id=job["id"])["result"]["items"]
    answered = socket.ask("jobs.answer", id=job["id"], question=question["id"], answer=5, wait=60)
    assert answered["result"]["status"] == "completed"
    again = socket.ask("jobs.cancel", id=job["id"])["error"]
    assert (again["status"], again["code"]) == (409, "refused-change")
    assert socket.ask("jobs.show_job", id="zzz")["error"]["code"] == "not-found"
    assert socket.ask("jobs.show_job")["error"]["errors"][0]["pointer"] == "/params/id"
    unknown = socket.ask("jobs.submit", workflow="say", color="red")["error"]
    assert unknown["errors"][0]["pointer"] == "/color"
    assert socket.ask("jobs.burn")["error"]["code"] == "not-found"
    assert socket.ask("events.stream_events")["error"]["code"] == "not-found"
    gone = socket.ask("jobs.delete", id=job["id"])
    assert gone["result"] is None


def test_events_of_all_jobs_go_on_behind_a_position_until_nobody_wants_them(
    socket: Socket,
) -> None:
    live = socket.ask("subscribe", types=["job.completed"], workflow=["say"])
    name = live["result"]["subscription"]
    job = socket.ask("jobs.submit", workflow="say", input={"text": "live"}, wait=60)["result"]
    (event,) = socket.until("job.completed", name)
    assert event["data"]["job_id"] == job["id"]
    assert event["id"] == str(event["data"]["position"])
    past = socket.ask("subscribe", types=["job.completed"], after=event["data"]["position"] - 1)
    (again,) = socket.until("job.completed", past["result"]["subscription"])
    assert again["data"] == event["data"]
    assert socket.ask("unsubscribe", subscription=name)["result"] is None
    assert socket.ask("unsubscribe", subscription=name)["error"]["code"] == "not-found"
    other = socket.ask("jobs.submit", workflow="say", input={"text": "more"}, wait=60)["result"]
    socket.until("job.completed", past["result"]["subscription"])
    assert other["id"] not in [
        each["data"]["job_id"] for each in socket.events if each["subscription"] == name
    ]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "bad-request"),
        ('{"id": 1, "id": 2, "method": "ping"}', "bad-request"),
        ('{"id": 1, "method": "ping", "params": {"x": NaN}}', "bad-request"),
        ("[" * 1000, "bad-request"),
        ("[]", "invalid-input"),
        ('{"id": 1}', "invalid-input"),
        ('{"id": 1, "method": "ping", "more": 1}', "invalid-input"),
        ('{"id": 1, "method": "subscribe", "params": {"after": -1}}', "invalid-input"),
        ('{"id": 1, "method": "subscribe", "params": {"job": "zzz"}}', "not-found"),
        (b"\xff\xfe", "bad-request"),
    ],
)
def test_a_message_that_is_no_request_is_refused_and_breaks_nothing(
    socket: Socket, message: str | bytes, code: str
) -> None:
    socket.connection.send(message)
    assert socket.receive()["error"]["code"] == code
    assert socket.ask("ping")["result"] is None


@pytest.mark.parametrize("options", [{"origin": "https://evil.example"}, {"origin": "null"}])
def test_a_foreign_page_opens_no_socket(server: Server, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(server, **options):
        pass
    assert refused.value.response.status_code == 403


def test_a_socket_needs_a_key_and_has_its_scope_and_a_server_that_stops_says_so(
    project: Ucop,
) -> None:
    reader = project("keys", "add", "reader", "--scope", "read").out.strip()
    ann = project("keys", "add", "ann", "--scope", "run", "--tenant", "a").out.strip()
    server = serve(project)
    with pytest.raises(InvalidStatus) as refused, opened(server):
        pass
    assert refused.value.response.status_code == 401
    with opened(server, additional_headers={"x-api-key": reader}) as socket:
        denied = socket.ask("jobs.submit", workflow="say", input={"text": "no"})
        assert denied["error"]["code"] == "forbidden"
        assert socket.ask("jobs.list_jobs", limit=1)["result"]["items"] is not None
    with opened(server, additional_headers={"x-api-key": ann}) as socket:
        job = socket.ask("jobs.submit", workflow="say", input={"text": "hi"}, wait=60)["result"]
        assert job["tenant"] == "a"
        foreign = socket.ask("subscribe", tenant="b")
        assert foreign["error"]["code"] == "forbidden"
        server.running.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(DEADLINE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert server.running.end().code == 0
    for name in ("reader", "ann"):
        assert project("keys", "remove", name).code == 0

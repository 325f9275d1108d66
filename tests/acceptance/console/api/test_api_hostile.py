"""Bodies, headers and pages that mean no good."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.server import Server

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"workflow": "say", "input": NaN}', "line 1 column"),
        (b'{"workflow": "say", "input": -Infinity}', "line 1 column"),
        (b'{"workflow": "say", "input": 1e999}', "/input"),
        (b'{"workflow": "say",\n "input": {"a": 1, "a": 2}}', "/input/a"),
        (b'{"workflow": "say", "workflow": "say"}', "/workflow"),
        (b'{"workflow": "say"', "line 1 column"),
        (b'{"workflow": "say"} {}', "line 1 column"),
        (b'{"workflow": "\xff"}', "byte 14"),
        (b'{"workflow": "\\ud800"}', "line 1 column"),
        (b"[" * 100_000, "line 1 column 101"),
        (b'{"workflow": "say", "input": ' + b'{"a":' * 101 + b"1" + b"}" * 102, "column"),
        (b"1" * 5000, "line 1 column"),
        (b'"' + b'\\"' * 200_000, "line 1 column"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else value,
)
def test_a_body_that_is_no_sound_json_is_refused_with_the_place(
    client: httpx.Client, body: bytes, place: str
) -> None:
    answer = client.post("/jobs", content=body, headers=JSON)
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["code"] == "bad-request"
    told = problem["detail"] + json.dumps(problem["errors"])
    assert place in told


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(
    client: httpx.Client,
) -> None:
    large = b'"' + b"x" * (5 << 20) + b'"'
    declared = client.post("/jobs", content=large, headers=JSON)
    assert (declared.status_code, declared.json()["code"]) == (413, "too-large")
    pieces = (large[at : at + 65536] for at in range(0, len(large), 65536))
    chunked = client.post("/jobs", content=pieces, headers=JSON)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_foreign_page_can_post_is_refused(client: httpx.Client, media: str) -> None:
    body = b'{"workflow": "say", "input": {"text": "forged"}}'
    answer = client.post("/jobs", content=body, headers={"content-type": media} if media else {})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://localhost.evil.example:2024"},
        {"host": "evil.example"},
        {"host": "evil.example:2024"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
    ],
    ids=str,
)
def test_a_foreign_page_can_do_nothing(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get("/jobs", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    asked = {**headers, "access-control-request-method": "POST"}
    assert client.options("/jobs", headers=asked).status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"])
def test_a_page_on_loopback_may_use_it(client: httpx.Client, origin: str) -> None:
    answer = client.get("/jobs", headers={"origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    exposed = answer.headers["access-control-expose-headers"]
    assert "location" in exposed


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/%00",
        "/jobs/%ff",
        "/jobs/" + "f" * 5000,
        "/jobs/x?wait=nan",
        "/jobs?cursor=WyJ4Il0",
        "/jobs?cursor=%00",
        "/jobs?limit=1001",
        "/jobs?after=yesterday",
        "/jobs?after=2026-01-01T00:00:00",
        "/jobs?status=lost",
        "/jobs?text=%00",
        "/jobs?workflow=%00",
        "/jobs?label=x",
        "/jobs?queue=nowhere",
        "/jobs?tenant=%00",
        "/events?after=99999999999999999999999",
        "/events?types=%00",
        "/events/stream?job=zzz",
        "/jobs/a/../../../etc/passwd",
    ],
)
def test_odd_parameters_are_refused_and_break_nothing(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["code"] != "internal"


def test_half_a_request_harms_nobody(server: Server, client: httpx.Client) -> None:
    address = urlsplit(server.url)
    for text in (
        b"POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
        b"GET /api/v1/jobs HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000,
    ):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(text)
    assert client.get("/jobs").status_code == 200


def test_nothing_that_was_sent_is_in_the_log(server: Server, client: httpx.Client) -> None:
    client.post("/jobs", json={"workflow": "say", "input": {"text": "secret-input"}})
    client.get("/jobs", params={"text": "secret-query"})
    client.post("/jobs", content=b'{"secret-body', headers=JSON)
    client.get("/jobs", headers={"x-api-key": "secret-key"})
    log = "".join(server.running.err)
    assert "POST /api/v1/jobs 400" in log
    assert "secret" not in log

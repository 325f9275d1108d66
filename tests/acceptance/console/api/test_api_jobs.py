"""Jobs over a real socket, run by a real worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command import Ucop
from tests.support.server import listening


def submit(client: httpx.Client, workflow: str, wait: int = 60, **given: Any) -> dict[str, Any]:
    answer = client.post("/jobs", params={"wait": wait}, json={"workflow": workflow, **given})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    return job


def events_of(client: httpx.Client, id: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/jobs/{id}/events", params=query).json()["items"]
    return found


def test_a_job_is_submitted_waited_for_and_shown_as_the_command_line_shows_it(
    client: httpx.Client, project: Ucop
) -> None:
    job = submit(client, "say", input={"text": "hello"}, labels={"team": "tea"})
    assert (job["status"], job["output"], job["labels"]) == ("completed", "HELLO", {"team": "tea"})
    shown = client.get(f"/jobs/{job['id'][:14]}").json()
    told = project("jobs", "show", job["id"], "--json").json
    assert shown == {name: value for name, value in told.items() if name != "questions"}


def test_an_idempotency_key_gives_the_same_job_again(client: httpx.Client) -> None:
    body = {"workflow": "say", "input": {"text": "once"}}
    key = {"idempotency-key": "only-once"}
    first, second = (client.post("/jobs", json=body, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    other = {"workflow": "say", "input": {"text": "another"}}
    refused = client.post("/jobs", json=other, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (409, "key-conflict")
    unlike = client.post("/jobs", json={**body, "key": "other"}, headers=key)
    assert unlike.status_code == 422


def test_pages_hold_every_job_once_whatever_is_added_meanwhile(client: httpx.Client) -> None:
    ids = [
        submit(client, "say", 0, input={"text": f"n{n}"}, queue="default", labels={"set": "pages"})[
            "id"
        ]
        for n in range(7)
    ]
    found: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"label": "set:pages", "limit": 3}
        page = client.get(
            "/jobs", params=query if cursor is None else {**query, "cursor": cursor}
        ).json()
        found += [job["id"] for job in page["items"]]
        submit(client, "say", 0, input={"text": "meanwhile"}, labels={"set": "pages"})
        if (cursor := page["next"]) is None:
            break
    assert found == ids[::-1]
    counts = client.get("/jobs/counts", params={"label": "set:pages"}).json()
    assert sum(counts.values()) == 10


def test_a_waiting_job_is_answered_and_goes_on(client: httpx.Client) -> None:
    job = submit(client, "asking")
    assert job["status"] == "waiting"
    (question,) = client.get(f"/jobs/{job['id']}/questions", params={"open": True}).json()["items"]
    assert question["question"] == "how many?"
    why = client.get(f"/jobs/{job['id']}/why").json()
    assert any("jobs answer" in each["command"] for each in why["commands"])
    path = f"/jobs/{job['id']}/questions/{question['id']}/answer"
    done = client.post(path, params={"wait": 60}, json={"answer": 3}).json()
    assert (done["status"], done["output"]["total"]) == ("completed", 3)
    again = client.post(path, json={"answer": 4})
    assert (again.status_code, again.json()["code"]) == (409, "refused-change")


def test_a_job_is_paused_resumed_and_cancelled(client: httpx.Client, project: Ucop) -> None:
    gated = submit(client, "gated", 0, input={"text": "hi"})["id"]
    paused = client.post(f"/jobs/{gated}/pause", params={"wait": 60}, json={"now": True}).json()
    assert paused["status"] == "paused"
    resumed = client.post(f"/jobs/{gated}/resume").json()
    assert resumed["status"] in ("pending", "running")
    cancelled = client.post(f"/jobs/{gated}/cancel", params={"wait": 60}).json()
    assert cancelled["status"] == "cancelled"
    assert client.post(f"/jobs/{gated}/cancel").status_code == 409
    archived = client.post(f"/jobs/{gated}/archive").json()
    assert archived["archived_at"] is not None
    assert client.post(f"/jobs/{gated}/unarchive").json()["archived_at"] is None
    assert client.delete(f"/jobs/{gated}").status_code == 204
    assert client.get(f"/jobs/{gated}").status_code == 404


def test_a_failed_job_is_retried_once_its_cause_is_gone(
    client: httpx.Client, project: Ucop
) -> None:
    job = submit(client, "needy", input={"text": "hi"})
    assert (job["status"], job["error"]["node"]) == ("failed", "need")
    project.write("cure.txt", "better")
    done = client.post(f"/jobs/{job['id']}/retry", params={"wait": 60}).json()
    (project.folder / "cure.txt").unlink()
    assert (done["status"], done["output"], done["attempt"]) == ("completed", "BETTER", 2)
    attempts = client.get(f"/jobs/{job['id']}/attempts").json()["items"]
    assert [each["number"] for each in attempts] == [1, 2]


def test_a_fork_is_a_new_job(client: httpx.Client) -> None:
    job = submit(client, "adder", input={"numbers": [1, 2]})
    forked = client.post(
        f"/jobs/{job['id']}/fork", params={"wait": 60}, json={"replace": {"total": 9}}
    )
    assert forked.status_code == 201
    assert forked.json()["parent"]["job_id"] == job["id"]
    assert forked.json()["output"]["total"] == 9
    assert client.get(f"/jobs/{job['id']}").json()["output"]["total"] == 3


def test_many_jobs_are_changed_at_once(client: httpx.Client) -> None:
    ids = [
        submit(client, "gated", 0, input={"text": "hi"}, labels={"set": "many"})["id"]
        for _ in range(3)
    ]
    filter = {"labels": {"set": "many"}}
    dry = client.post("/jobs/change", json={"action": "cancel", "filter": filter, "dry_run": True})
    assert {each["id"] for each in dry.json()["items"]} == set(ids)
    done = client.post("/jobs/change", json={"action": "cancel", "filter": filter}).json()["items"]
    assert {each["id"]: each["status"] for each in done} == dict.fromkeys(ids, "cancelled")
    assert client.post("/jobs/change", json={"action": "cancel", "filter": {}}).status_code == 422
    assert client.post("/jobs/change", json={"action": "cancel"}).status_code == 422


def test_a_job_travels_as_a_file(client: httpx.Client) -> None:
    job = submit(client, "say", input={"text": "travels"})
    file = client.get(f"/jobs/{job['id']}/export")
    assert file.headers["content-type"].startswith("application/jsonl")
    there = client.post(
        "/jobs/import", content=file.content, headers={"content-type": "application/jsonl"}
    )
    assert (there.status_code, there.json()["code"]) == (409, "exists")
    new = client.post(
        "/jobs/import",
        params={"new_id": True},
        content=file.content,
        headers={"content-type": "application/jsonl"},
    )
    assert new.status_code == 201, new.text
    assert new.json()["output"] == "TRAVELS"
    broken = client.post(
        "/jobs/import", content=b"{}", headers={"content-type": "application/jsonl"}
    )
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid-input")
    redacted = client.get(f"/jobs/{job['id']}/export", params={"redact": True})
    assert b"travels" not in redacted.content


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        ({"workflow": "nothing"}, 422, {"pointer": "/workflow"}),
        ({"workflow": "say", "input": {"text": "x"}}, 422, {}),
        ({"workflow": "say", "input": {"text": "hi"}, "color": "red"}, 422, {"pointer": "/color"}),
        (
            {"workflow": "say", "input": {"text": "hi"}, "priority": "1"},
            422,
            {"pointer": "/priority"},
        ),
        ({"workflow": "say", "input": {"text": "hi"}, "queue": "none"}, 422, {}),
        ({"workflow": "flows.py:adder", "input": {}}, 422, {"pointer": "/workflow"}),
        (
            {"workflow": "workflows/say.yaml", "input": {"text": "hi"}},
            422,
            {"pointer": "/workflow"},
        ),
        ([], 422, {"pointer": ""}),
    ],
)
def test_a_submission_that_is_wrong_is_refused_with_the_place(
    client: httpx.Client, body: Any, status: int, place: dict[str, str]
) -> None:
    before = len(client.get("/jobs", params={"limit": 1000}).json()["items"])
    answer = client.post("/jobs", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["instance"] == answer.headers["x-request-id"]
    if place:
        assert place.items() <= problem["errors"][0].items()
    assert len(client.get("/jobs", params={"limit": 1000}).json()["items"]) == before


def test_the_stream_of_a_job_tells_all_its_events_in_order_and_ends(client: httpx.Client) -> None:
    id = submit(client, "gated", 0, input={"text": "hi"})["id"]
    with listening(client, f"/jobs/{id}/stream") as ears:
        heard = []
        for event in ears:
            heard.append(event)
            if event.type == "progress":
                client.post(f"/jobs/{id}/cancel")
    assert (heard[0].type, heard[-1].type) == ("hello", "end")
    assert heard[-1].data["status"] == "cancelled"
    told = [event.data for event in heard[1:-1]]
    assert [int(event.id or 0) for event in heard[1:-1]] == list(range(1, len(told) + 1))
    assert told == events_of(client, id, limit=1000)
    with listening(client, f"/jobs/{id}/stream", last="2") as ears:
        assert [event.id for event in ears][1:] == [str(n) for n in range(3, len(told) + 1)] + [
            None
        ]
    assert client.get(f"/jobs/{id}/stream", headers={"last-event-id": "x"}).status_code == 422


def test_the_stream_of_all_events_goes_on_behind_any_position(client: httpx.Client) -> None:
    ids = [submit(client, "say", input={"text": f"all {n}"})["id"] for n in range(2)]
    all_of = client.get("/events", params={"types": "job.completed", "limit": 1000}).json()["items"]
    wanted = [event for event in all_of if event["job_id"] in ids]
    assert [event["job_id"] for event in wanted] == ids
    with listening(
        client, "/events/stream", types="job.*", workflow="say", after=wanted[0]["position"] - 1
    ) as ears:
        heard = iter(ears)
        assert next(heard).type == "hello"
        assert next(heard).data == wanted[0]
        live = submit(client, "say", input={"text": "live"})["id"]
        seen = []
        for event in heard:
            seen.append((event.data["job_id"], event.type))
            if seen[-1] == (live, "job.completed"):
                break
    assert [of for of in seen if of[0] == ids[1]][-1] == (ids[1], "job.completed")
    assert len(seen) == len(set(seen))


def test_the_folder_of_the_project_is_left_as_it_was(project: Ucop) -> None:
    assert not list(Path(project.folder).glob("ucop-import-*"))

"""Workflows, agents, queues, schedules, memory, checkpoints and webhooks over a real socket."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.command import Ucop
from tests.support.server import Server
from tests.support.waiting import until


def items(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def done(client: httpx.Client, workflow: str, input: Any) -> dict[str, Any]:
    body = {"workflow": workflow, "input": input}
    job: dict[str, Any] = client.post("/jobs", params={"wait": 60}, json=body).json()
    assert job["status"] == "completed", job
    return job


def test_workflows_are_told_as_the_command_line_tells_them(
    client: httpx.Client, project: Ucop
) -> None:
    assert items(client, "/workflows") == project("workflows", "list", "--json").json
    shown = client.get("/workflows/gated").json()
    assert shown == project("workflows", "show", "gated", "--json").json
    assert client.get("/workflows/adder").json()["nodes"] == ["sum_up"]
    assert client.get("/workflows/nothing").status_code == 404
    assert client.get("/workflows/flows.py:adder").status_code == 404
    assert "properties" in client.get("/schema/workflow").json()


def test_a_graph_is_drawn(client: httpx.Client, project: Ucop) -> None:
    data = client.get("/workflows/gated/graph").json()
    assert data == project("workflows", "draw", "gated", "--json").json
    svg = client.get("/workflows/gated/graph", params={"format": "svg"})
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'" in svg.headers["content-security-policy"]
    assert "<svg" in svg.text
    assert "gate" in client.get("/workflows/gated/graph", params={"format": "mermaid"}).text
    assert client.get("/workflows/gated/graph", params={"format": "png"}).status_code == 422


def test_workflows_are_checked_those_of_the_project_and_a_text(
    client: httpx.Client, project: Ucop
) -> None:
    whole = client.post("/workflows/check", json={}).json()
    assert whole["sound"] is True
    assert "workflow gated" in whole["findings"]
    one = client.post("/workflows/check", json={"names": ["say"]}).json()
    assert one["sound"] is True
    (warning,) = one["findings"]["say"]
    assert (warning["code"], warning["severity"]) == ("unused-input", "warning")
    text = "name: bad\nnodes:\n  a: {agent: nobody}\n"
    (found,) = client.post("/workflows/check", json={"text": text}).json()["findings"]["text"]
    assert (found["severity"], found["line"]) == ("error", 3)
    assert client.post("/workflows/check", json={"names": ["x.yaml"]}).status_code == 404


def test_a_dry_run_tells_what_a_run_would_do(client: httpx.Client, project: Ucop) -> None:
    before = len(items(client, "/jobs", limit=1000))
    plan = client.post("/workflows/say/dry-run", json={"input": {"text": "hello"}}).json()
    assert plan["workflow"] == "say"
    assert plan["objections"] == []
    wrong = client.post("/workflows/say/dry-run", json={"input": {}}).json()
    assert wrong["objections"][0]["by"] == "input"
    assert len(items(client, "/jobs", limit=1000)) == before


def test_agents_are_told_and_one_is_run_alone(client: httpx.Client, project: Ucop) -> None:
    assert items(client, "/agents") == project("agents", "list", "--json").json
    shown = client.get("/agents/shout").json()
    assert shown == project("agents", "show", "shout", "--json").json
    assert client.get("/agents/nobody").status_code == 404
    ran = client.post("/agents/shout/run", json={"input": {"text": "hey"}})
    assert (ran.status_code, ran.json()["output"]) == (200, "HEY")
    wrong = client.post("/agents/shout/run", json={"input": {"text": 3}})
    assert wrong.status_code == 422
    raised = client.post("/agents/need_file/run", json={"input": {"name": "none.txt"}})
    assert (raised.status_code, "FileNotFoundError" in raised.json()["detail"]) == (422, True)


def test_models_and_meshes_are_told(client: httpx.Client, project: Ucop) -> None:
    assert items(client, "/models") == project("models", "list", "--json").json
    checked = client.post("/models/check", json={"name": "ollama:nothing"}).json()["items"]
    assert [each["ok"] for each in checked] == [False]
    assert items(client, "/meshes/agents") == project("mesh", "agents", "--json").json
    assert items(client, "/meshes/stats") == []
    mesh = client.post(
        "/meshes", params={"wait": 60}, json={"agent": "shout", "input": {"text": "hi"}}
    )
    assert mesh.status_code == 201, mesh.text
    assert mesh.json()["status"] == "completed"
    (run,) = items(client, f"/meshes/{mesh.json()['id']}")
    assert [hop["agent"] for hop in run["hops"]] == ["shout"]
    assert client.post("/meshes", json={}).status_code == 422


def test_a_queue_is_limited_paused_and_reset(client: httpx.Client, project: Ucop) -> None:
    until(lambda: items(client, "/workers"))  # it may still be starting
    changed = client.patch("/queues/default", json={"concurrency": 7}).json()
    assert (changed["concurrency"], changed["changed"]) == (7, ["concurrency"])
    paused = client.patch("/queues/default", json={"paused": True}).json()
    assert paused["paused"] is True
    id = client.post("/jobs", json={"workflow": "say", "input": {"text": "held"}}).json()["id"]
    assert "paused" in client.get(f"/jobs/{id}/why").json()["causes"][0]
    assert client.patch("/queues/default", json={"concurrency": None}).json()["concurrency"] is None
    reset = client.delete("/queues/default/changes").json()
    assert (reset["paused"], reset["changed"]) == (False, [])
    assert client.get(f"/jobs/{id}", params={"wait": 60}).json()["status"] == "completed"
    assert client.patch("/queues/default", json={}).status_code == 422
    assert client.patch("/queues/default", json={"concurrency": -1}).status_code == 422
    assert client.patch("/queues/nowhere", json={"paused": True}).status_code == 404
    (queue,) = items(client, "/queues")
    assert client.get("/queues/default").json()["name"] == queue["name"]
    serving = [worker for worker in items(client, "/workers") if "default" in worker["serves"]]
    assert [(worker["lost"], worker["silent"]) for worker in serving] == [(False, False)]


def test_a_schedule_lives_from_its_first_to_its_last_day(client: httpx.Client) -> None:
    new = {"workflow": "say", "rule": "every 24h", "input": {"text": "daily"}}
    added = client.put("/schedules/daily", json=new)
    assert added.status_code == 200, added.text
    assert (added.json()["state"], len(added.json()["next_times"])) == ("active", 5)
    assert client.put("/schedules/daily", json=new).status_code == 200
    other = {**new, "rule": "every 12h"}
    assert client.put("/schedules/daily", json=other).json()["code"] == "exists"
    replaced = client.put("/schedules/daily", params={"replace": True}, json=other)
    assert replaced.json()["rule"] == "every 12h"
    job = client.post("/schedules/daily/trigger", params={"wait": 60})
    assert (job.status_code, job.json()["output"]) == (201, "DAILY")
    assert job.json()["labels"] == {"schedule": "daily"}
    assert client.post("/schedules/daily/pause").json()["state"] == "paused"
    assert client.post("/schedules/daily/resume").json()["state"] == "active"
    assert [each["name"] for each in items(client, "/schedules")] == ["daily"]
    assert client.delete("/schedules/daily").status_code == 204
    for path in ("", "/pause", "/trigger"):
        method = client.post if path else client.get
        assert method(f"/schedules/daily{path}").status_code == 404
    wrong = {**new, "rule": "whenever"}
    assert client.put("/schedules/odd", json=wrong).json()["code"] == "invalid-input"
    unknown = client.put("/schedules/odd", json={**new, "workflow": "nothing"})
    assert unknown.json()["errors"][0]["pointer"] == "/workflow"


def test_checkpoints_are_listed_shown_compared_restored_and_pruned(client: httpx.Client) -> None:
    job = done(client, "adder", {"numbers": [2, 3]})
    found = items(client, f"/jobs/{job['id']}/checkpoints")
    assert [each["values"] for each in found] == [{}] * len(found)
    last = client.get(f"/jobs/{job['id']}/checkpoints/last").json()
    assert last["values"]["total"] == 5
    assert last == items(client, f"/jobs/{job['id']}/checkpoints", values=True)[0]
    assert client.get(f"/jobs/{job['id']}/checkpoints/zz").status_code == 404
    diff = items(client, f"/jobs/{job['id']}/diff", **{"from": last["id"]})
    assert {"path": "total", "before": "(none)", "after": 5} in diff
    fork = client.post(f"/jobs/{job['id']}/fork", json={"checkpoint": found[-1]["id"]}).json()
    assert items(client, f"/jobs/{job['id']}/forks") == [
        {"job": fork["id"], "checkpoint": found[-1]["id"]}
    ]
    refused = client.post(f"/jobs/{job['id']}/restore", json={"checkpoint": found[-1]["id"]})
    assert refused.json()["code"] == "refused-change"
    dry = client.post(f"/jobs/{job['id']}/prune", json={"dry_run": True}).json()
    pruned = client.post(f"/jobs/{job['id']}/prune").json()
    assert dry == pruned
    assert (
        len(items(client, f"/jobs/{job['id']}/checkpoints")) == len(found) - pruned["checkpoints"]
    )


def test_memory_is_written_listed_and_forgotten(client: httpx.Client) -> None:
    assert items(client, "/memory") == []
    for key in ("a", "b"):
        put = {"space": "agents/shout", "key": key, "value": {"note": key}}
        answer = client.put("/memory/items", json=put)
        assert answer.status_code == 204, answer.text
    assert items(client, "/memory") == [{"space": "agents/shout", "items": 2}]
    (one,) = items(client, "/memory/items", space="agents/shout", key="a")
    assert one["value"] == {"note": "a"}
    gone = client.delete("/memory/items", params={"space": "agents/shout", "key": "a"})
    assert gone.json() == {"forgotten": 1}
    assert items(client, "/memory", tenant="another") == []
    assert client.delete("/memory/items", params={"space": "shared"}).json() == {"forgotten": 0}
    assert client.delete("/memory/items", params={"space": "agents/shout"}).json() == {
        "forgotten": 1
    }
    assert client.delete("/memory/items", params={"space": "/"}).status_code == 422


def test_the_inbox_holds_what_all_jobs_ask(client: httpx.Client) -> None:
    body = {"workflow": "asking"}
    ids = [client.post("/jobs", params={"wait": 60}, json=body).json()["id"] for _ in range(2)]
    asked = items(client, "/questions", workflow="asking")
    assert {question["job"] for question in asked} == set(ids)
    for question in asked:
        path = f"/jobs/{question['job']}/questions/{question['id']}/answer"
        assert client.post(path, params={"wait": 60}, json={"answer": 1}).status_code == 200
    assert items(client, "/questions") == []


def test_webhooks_and_retention_are_told(client: httpx.Client) -> None:
    assert items(client, "/webhooks") == []
    assert items(client, "/webhooks/deliveries") == []
    assert client.post("/webhooks/deliveries/retry", json={"dead": True}).json() == {"queued": 0}
    unknown = client.post("/webhooks/deliveries/retry", json={"ids": ["evt_x"]})
    assert unknown.status_code == 404
    assert client.post("/webhooks/deliveries/retry", json={}).status_code == 422
    assert client.post("/webhooks/none/test").status_code == 404
    assert client.post("/jobs/tidy", params={"dry_run": True}).json() == {}


def test_the_description_is_of_version_3_1(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            for status in ("4XX", "5XX"):
                content = operation["responses"][status]["content"]
                assert list(content) == ["application/problem+json"]

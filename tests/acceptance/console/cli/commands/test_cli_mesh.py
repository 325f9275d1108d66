"""`ucop mesh`: who there is, how they fare, and what a job's mesh did."""

from __future__ import annotations

import pytest

from tests.support.command import Ucop
from tests.support.meshes import FILES
from ucop.engine import Engine

SETTINGS = """\
workflows = ["workflows/*.yaml"]
agents = ["agents.py"]
mesh_failures = 1
mesh_pause = 600
"""


@pytest.fixture
def project(bare: Ucop) -> Ucop:
    for name, text in {**FILES, "ucop.toml": SETTINGS}.items():
        bare.write(name, text)
    return bare


def test_agents_stats_and_traces_tell_of_jobs_that_ran(project: Ucop) -> None:
    assert project("mesh", "stats", "--json").json == []
    project.write("anna.down", "")
    with Engine.from_project(project.folder) as engine:
        news = engine.submit("news", {"topic": "tea"})
        news.result(60)
        cycle = engine.submit("cycle")
        cycle.wait(60)

    told = {each["agent"]: each for each in project("mesh", "stats", "--json").json}
    anna, writer = told["anna"], told["writer"]
    assert (anna["calls"], anna["failed"], anna["breaker"]) == (1, 1, "open")
    assert anna["error"] == "ConnectionError: anna is down"
    assert anna["opens_at"] > anna["failed_at"]
    # Called once, and again for each of two answers.
    assert (writer["calls"], writer["failed"], writer["breaker"]) == (3, 0, "closed")
    assert writer["slowest_seconds"] >= writer["mean_seconds"] > 0

    listed = {row[0]: row for row in project("mesh", "agents").rows}
    assert listed["writer"][1:5] == ["write", "research, check", "closed", "0"]
    assert listed["anna"][3] == "open"
    able = project("mesh", "agents", "--capability", "research", "--json").json
    assert {"anna", "bert"} <= {agent["name"] for agent in able}

    rows = project("mesh", "trace", news.id).rows
    assert [[*row[:5], row[7]] for row in rows] == [
        ["", "1", "(job)", "writer", "", "answered"],
        ["", "2", "writer", "anna", "research", "failed"],
        ["", "3", "writer", "bert", "research", "answered"],
        ["", "4", "writer", "checker", "check", "answered"],
    ]
    assert rows[1][8] == "ConnectionError: anna is down"
    (stopped,) = project("mesh", "trace", cycle.id, "--json").json
    assert stopped["stopped"]["type"] == "MeshCycle"
    assert [hop["outcome"] for hop in stopped["hops"]] == ["waiting", "waiting"]
    assert stopped["hops"][1]["data"] == {"n": 2}
    assert project("mesh", "trace", cycle.id).rows[-1][:2] == ["stopped", "MeshCycle"]


def test_a_mesh_is_run_by_its_first_agent_or_by_what_that_can_do(project: Ucop) -> None:
    plan = project("mesh", "run", "writer", "-i", "topic=tea", "--dry-run")
    assert plan.code == 0
    assert "writer" in plan.out
    job = project("mesh", "run", "--capability", "write", "-i", "topic=tea", "--json").json
    assert (job["status"], job["workflow"]) == ("completed", "mesh-write")
    assert job["output"]["answer"]["text"] == "tea: notes on tea"
    assert job["output"]["hops"] == 3
    failed = project("mesh", "run", "counter", "--among", "clock", "--max-hops", "4", "--json")
    assert failed.code == 1
    assert failed.json["error"]["type"] == "TooManyHops"
    assert project("mesh", "run", "nobody").code == 3

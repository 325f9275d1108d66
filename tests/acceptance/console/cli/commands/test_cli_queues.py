"""`ucop queues`, and the options that say when and beside what a job runs."""

from __future__ import annotations

import signal

import pytest

from tests.support.command import Ucop

DECLARED = '\n[queues.bulk]\nconcurrency = 2\nrate = "100/1m"\n\n[queues.held]\npaused = true\n'

GATED = ("run", "gated", "-i", "text=a", "--detach", "--thread", "t")


@pytest.fixture
def project(ucop: Ucop) -> Ucop:
    file = ucop.folder / "ucop.toml"
    file.write_text(file.read_text() + DECLARED)
    return ucop


def say(ucop: Ucop, *options: str) -> str:
    done = ucop("run", "say", "-i", "text=hello", "--detach", *options)
    assert done.code == 0, done.err
    return done.out.strip()


def status(ucop: Ucop, id: str) -> str:
    return str(ucop("jobs", "show", id, "--json").json["status"])


def test_queues_are_listed_before_there_is_a_job_and_with_what_is_in_them(project: Ucop) -> None:
    before = project("queues", "list").rows
    assert [row[:3] for row in before] == [
        ["bulk", "", "open"],
        ["default", "", "open"],
        ["held", "", "paused"],
    ]
    say(project, "--queue", "bulk", "--tenant", "acme", "--priority", "3")
    say(project, "--queue", "bulk", "--tenant", "acme", "--delay", "2h", "--deadline", "3h")
    rows = project("queues", "list").rows
    assert rows[0][:6] == ["bulk", "", "open", "1", "0", "1"]
    assert rows[0][7] == "concurrency=2 rate=100/1m"
    assert rows[1][:6] == ["bulk", "acme", "", "1", "0", "1"]
    bulk = project("queues", "list", "--json").json[0]
    assert (bulk["name"], bulk["pending"], bulk["delayed"]) == ("bulk", 1, 1)
    assert bulk["tenants"][0]["tenant"] == "acme"


def test_a_queue_is_changed_while_a_worker_runs_and_the_change_is_kept(project: Ucop) -> None:
    held, other = say(project, "--queue", "held"), say(project)
    worker = project.start("worker", "--queue", "held", "--queue", "bulk")
    worker.until("queues: held, bulk")
    assert "its queue 'held' is paused" in project("jobs", "why", held).out
    assert "serves queue 'default'" in project("jobs", "why", other).out
    assert project("queues", "resume", "held").rows[0][2] == "open"
    assert project("jobs", "watch", held).code == 0
    assert project("queues", "pause", "bulk").rows[0][2] == "paused"
    stopped = say(project, "--queue", "bulk")
    set_to = project("queues", "set", "bulk", "--rate", "none", "--concurrency", "7").rows[0]
    assert (set_to[2], set_to[3], set_to[7]) == ("paused", "1", "concurrency=7* rate=none*")
    assert project("queues", "set", "bulk", "--declared").rows[0][2] == "open"
    assert project("jobs", "watch", stopped).code == 0
    assert status(project, other) == "pending"
    worker.signal(signal.SIGTERM)
    assert worker.end().code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("run", "say", "-i", "text=a", "--queue", "bilk"), "there is no queue 'bilk'"),
        (("run", "say", "-i", "text=a", "--delay", "soon"), "delay: must be a time"),
        (("queues", "pause", "bilk"), "there is bulk, default, held"),
        (("queues", "set", "bulk"), "give what is to hold"),
        (("queues", "set", "bulk", "--rate", "fast"), "a rate is a number of jobs and a time"),
        (("worker", "--queue", "bilk"), "there is no queue 'bilk'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_code_for_usage(
    project: Ucop, options: tuple[str, ...], said: str
) -> None:
    done = project(*options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_busy_thread_is_told_and_taken(project: Ucop) -> None:
    first = project(*GATED).out.strip()
    refused = project(*GATED, "--on-busy", "reject")
    assert refused.code == 2
    assert f"thread 't' is busy with job {first}" in refused.err
    second = project(*GATED, "--on-busy", "interrupt")
    assert second.code == 0
    assert status(project, first) == "cancelled"

"""`ucop jobs pause|resume|cancel|retry`, for one job and for all that a filter names."""

from __future__ import annotations

import pytest

from tests.support.command import Ucop


def queued(ucop: Ucop, *more: str) -> str:
    return ucop("run", "say", "-i", "text=hello", "--detach", *more).out.strip()


def statuses(ucop: Ucop) -> dict[str, str]:
    return {job["id"]: job["status"] for job in ucop("jobs", "list", "--json").json}


def test_a_queued_job_is_paused_goes_on_and_is_cancelled(ucop: Ucop) -> None:
    id = queued(ucop)
    assert ucop("jobs", "pause", id[:15]).rows == [[id, "paused"]]
    refused = ucop("jobs", "retry", id)
    assert refused.code == 2
    assert "only a failed job" in refused.err
    assert ucop("jobs", "resume", id).out.strip() == "HELLO"
    late = ucop("jobs", "cancel", id)
    assert (late.code, late.out) == (2, "")
    assert "completed" in late.err


def test_a_running_job_is_paused_by_another_process(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    id = running.until("running, attempt 1").split()[1].rstrip(":")
    running.until("looks for go.txt")
    paused = ucop("jobs", "pause", id, "--now")
    assert paused.code == 0
    assert running.end().code == 5
    ucop.write("go.txt", "on")
    assert ucop("jobs", "resume", id).code == 0
    assert ucop.lines("ran.txt").count("shout") == 2


def test_a_filter_is_counted_and_needs_a_person_or_yes(ucop: Ucop) -> None:
    first, second = queued(ucop, "--label", "a=b"), queued(ucop, "--label", "a=b")
    other = queued(ucop)
    asked = ucop("jobs", "cancel", "--label", "a=b")
    assert asked.code == 2
    assert "cancel 2 jobs (2 pending)?" in asked.err
    assert set(statuses(ucop).values()) == {"pending"}
    done = ucop("jobs", "cancel", "--label", "a=b", "--workflow", "say", "--yes", "--json")
    assert [one["id"] for one in done.json] == [first, second]
    assert {one["status"] for one in done.json} == {"cancelled"}
    assert statuses(ucop) == {first: "cancelled", second: "cancelled", other: "pending"}
    again = ucop("jobs", "cancel", "--label", "a=b", "--yes")
    assert (again.code, again.out) == (0, "")
    assert "no matching jobs" in again.err


def test_a_failed_job_is_retried_once_its_cause_is_gone(ucop: Ucop) -> None:
    assert ucop("run", "needy", "-i", "text=x").code == 1
    wrong = ucop("jobs", "resume", "--status", "failed", "--yes")
    assert wrong.code == 2
    assert "`retry` takes those" in wrong.err
    ucop.write("cure.txt", "well")
    many = ucop("jobs", "retry", "--workflow", "needy", "--yes")
    assert many.code == 0
    assert "no worker is running" in many.err
    (id,) = statuses(ucop)
    assert ucop("jobs", "resume", id).out.strip() == "WELL"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "by a filter"),
        (["abc", "--workflow", "say"], "not by both"),
        (["--older-than", "yesterday"], "90s, 30m, 2h or 7d"),
        (["--older-than", "2027"], "or a date such as"),
        (["--newer-than", "2027"], "--newer-than takes"),
        (["--status", "fialed"], "'fialed' is not one of 'pending'"),
        (["--queue", "blk"], "there is no queue 'blk'; there is default"),
        (["--status", "failed", "--status", "completed"], "pending, running or waiting, not"),
        (["--label", "nonsense"], "KEY=VALUE"),
    ],
)
def test_what_names_no_jobs_is_a_usage_error(ucop: Ucop, args: list[str], said: str) -> None:
    done = ucop("jobs", "cancel", *args)
    assert done.code == 2
    assert said in done.err


def test_an_unknown_job_is_not_found_and_no_other_is_changed(ucop: Ucop) -> None:
    assert ucop("jobs", "cancel", "nonesuch").code == 3
    id = queued(ucop)
    assert ucop("jobs", "cancel", id, "nonesuch").code == 3
    assert statuses(ucop) == {id: "pending"}


def test_a_delayed_job_is_run_at_once(ucop: Ucop) -> None:
    first, second, paused = (queued(ucop, "--delay", "2h") for _ in range(3))
    ucop("jobs", "pause", paused)
    refused = ucop("jobs", "resume", first, "--priority", "3", "--detach")
    assert refused.code == 2
    done = ucop("jobs", "resume", first, "--now", "--priority", "3")
    assert (done.code, done.out.strip()) == (0, "HELLO")
    asked = ucop("jobs", "resume", "--workflow", "say", "--now")
    assert "resume 2 jobs (1 paused, 1 pending)?" in asked.err
    many = ucop("jobs", "resume", "--workflow", "say", "--now", "--yes")
    assert sorted(many.rows) == sorted([[second, "pending"], [paused, "pending"]])
    shown = ucop("queues", "list", "--json").json[0]
    assert (shown["pending"], shown["delayed"]) == (2, 0)


def test_the_list_has_the_same_filters(ucop: Ucop) -> None:
    id = queued(ucop, "--label", "team=docs")
    queued(ucop)
    assert [row[0] for row in ucop("jobs", "list", "--label", "team=docs").rows] == [id[:12]]
    assert ucop("jobs", "list", "--tenant", "nobody").rows == []
    assert ucop("jobs", "list", "--older-than", "1h").rows == []
    assert ucop("jobs", "list", "--older-than", "1e9d").code == 2
    assert ucop("jobs", "list", "--newer-than", "2h", "--older-than", "2020-01-01").rows == []
    assert len(ucop("jobs", "list", "--newer-than", "2020-01-01T18:00").rows) == 2
    ucop("jobs", "pause", id)
    both = ("--status", "paused", "--status", "pending")
    assert len(ucop("jobs", "list", *both, "--queue", "default").rows) == 2
    assert ucop("jobs", "list", "--queue", "blk").code == 2
    assert len(ucop("jobs", "cancel", *both, "--queue", "default", "--yes").rows) == 2


def test_a_queue_is_checked_before_there_is_a_database(ucop: Ucop) -> None:
    refused = ucop("jobs", "list", "--queue", "blk")
    assert (refused.code, refused.out) == (2, "")
    assert "there is no queue 'blk'" in refused.err
    assert ucop("jobs", "list", "--queue", "default").code == 0


def test_what_is_archived_by_its_id_is_put_back_by_its_id(ucop: Ucop) -> None:
    id, other = queued(ucop), queued(ucop)
    ucop("jobs", "cancel", id, other)
    assert ucop("jobs", "archive", id, other).code == 0
    back = ucop("jobs", "archive", id, "--undo")
    assert (back.code, back.rows) == (0, [[id, "cancelled"]]), back.err
    assert set(statuses(ucop)) == {id}
    assert ucop("jobs", "archive", "--undo", "--status", "cancelled", "--yes").code == 0
    assert set(statuses(ucop)) == {id, other}


def test_a_broken_project_does_not_keep_anyone_from_cancelling(ucop: Ucop) -> None:
    id = queued(ucop)
    ucop.write("agents.py", "import nonesuch\n")
    assert ucop("jobs", "cancel", id).rows == [[id, "cancelled"]]


def test_a_stopped_job_goes_on_with_another_input_or_state(ucop: Ucop) -> None:
    id = queued(ucop)
    ucop("jobs", "pause", id)
    refused = ucop("jobs", "resume", id, "-i", "text=x", "-i", "times=many")
    assert refused.code == 2
    assert "times" in refused.err
    assert statuses(ucop) == {id: "paused"}
    assert ucop("jobs", "resume", id, "-i", "text=bye", "-i", "times=3").out.strip() == "BYE"
    assert ucop("jobs", "show", id, "--json").json["input"] == {"text": "bye", "times": 3}
    assert ucop("run", "needy", "-i", "text=x").code == 1
    failed = next(one for one, status in statuses(ucop).items() if status == "failed")
    done = ucop("jobs", "resume", failed, "--set", "word=hi", "--priority", "7", "--detach")
    assert done.out.strip() == failed
    job = ucop("jobs", "show", failed, "--json").json
    assert (job["status"], job["priority"]) == ("pending", 7)
    saved = ucop("checkpoints", "show", failed, "--json").json["values"]
    assert (saved["text"], saved["word"]) == ("x", "hi")
    several = ucop("jobs", "resume", id, failed, "-i", "text=y")
    assert several.code == 2
    assert "one job's" in several.err

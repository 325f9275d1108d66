"""`ucop schedules`: from adding one to its jobs, with a real worker."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.support.command import Ucop, until

NIGHTLY = ["schedules", "add", "nightly", "say", "30 2 * * *", "-i", "text=hello"]


def test_a_schedule_is_added_shown_paused_resumed_triggered_and_removed(ucop: Ucop) -> None:
    added = ucop(*NIGHTLY, "--timezone", "Europe/Berlin", "--label", "team=docs")
    assert added.code == 0, added.err
    assert "At 02:30 every day, Europe/Berlin" in added.out
    assert "no worker is running" in added.err

    shown = ucop("schedules", "show", "nightly", "--json").json
    assert shown["input"] == {"text": "hello"}
    assert shown["explanation"] == "At 02:30 every day, Europe/Berlin"
    assert (len(shown["next_times"]), shown["state"]) == (5, "active")

    assert ucop("schedules", "pause", "nightly").code == 0
    (row,) = ucop("schedules", "list").rows
    assert row[:5] == ["nightly", "say", "30 2 * * * (Europe/Berlin)", "paused", ""]
    assert ucop("schedules", "resume", "nightly", "--json").json["state"] == "active"

    triggered = ucop("schedules", "trigger", "nightly")
    job = ucop("jobs", "show", triggered.out.strip(), "--json").json
    assert job["labels"] == {"team": "docs", "schedule": "nightly"}

    assert ucop("schedules", "remove", "nightly").code == 0
    assert ucop("schedules", "list", "--json").json == []
    assert ucop("schedules", "show", "nightly").code == 3


def test_a_worker_runs_what_is_due_and_stops_with_it(ucop: Ucop) -> None:
    added = ucop("schedules", "add", "tick", "say", "every 1s", "-i", "text=hello")
    assert added.code == 0, added.err
    worker = ucop.start("worker")
    listed = ["jobs", "list", "--label", "schedule=tick", "--status", "completed", "--json"]
    jobs = until(lambda: len(found := ucop(*listed).json) > 1 and found, "two jobs")
    worker.signal()
    assert worker.end().code == 130
    assert {job["output"] for job in jobs} == {"HELLO"}
    assert all(job["key"].startswith("schedule/tick/20") for job in jobs)


def test_a_schedule_ends_and_says_so(ucop: Ucop) -> None:
    add = ["schedules", "add", "tick", "say", "every 1h", "-i", "text=hello", "--until"]
    added = ucop(*add, "2100-01-01T12:00", "--json").json
    assert (added["state"], added["ends_at"]) == ("active", "2100-01-01T12:00:00Z")
    assert added["explanation"].endswith(", until 2100-01-01 12:00:00 UTC")
    assert ucop(*add, "2100-01-01T12:00").code == 0  # the same again
    with closing(sqlite3.connect(ucop.folder / ".ucop" / "ucop.db")) as connection:
        connection.execute("update schedules set ends_at = ends_at - 4e9")
        connection.commit()
    ucop("schedules", "pause", "tick")
    ucop("schedules", "resume", "tick")
    (row,) = ucop("schedules", "list").rows
    assert row[3:5] == ["ended", ""]
    past = ucop(*add, "2020-01-01T12:00", "--replace")
    assert (past.code, "never be due" in past.err) == (2, True)


def test_what_cannot_be_scheduled_is_refused_with_a_reason(ucop: Ucop) -> None:
    there_is_none = ucop("schedules", "show", "nightly")
    assert (there_is_none.code, "no schedule 'nightly'" in there_is_none.err) == (3, True)
    for args, code, said in [
        (["bad", "say", "every day", "-i", "text=hello"], 2, "no interval"),
        (["bad", "say", "every 1h", "-i", "text=h"], 2, "text"),
        (["bad", "nonesuch", "every 1h"], 3, "nonesuch"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--catch-up", "x"], 2, "'latest'"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--start", "2027"], 2, "--start takes"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--until", "2027"], 2, "2026-11-28"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--until", "2020-01-01"], 2, "never"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--queue", "blk"], 2, "no queue 'blk'"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--tenant", ""], 2, "tenant"),
        (["bad", "say", "every 1h", "-i", "text=hello", "--timezone", "Mars"], 2, "no time zone"),
        (["two words", "say", "every 1h", "-i", "text=hello"], 2, "name"),
    ]:
        done = ucop("schedules", "add", *args)
        assert (done.code, said in done.err, done.out) == (code, True, ""), done.err
    assert ucop("schedules", "list").out == ""
    assert not (ucop.folder / ".ucop").exists()  # nothing was written, not even a file
    assert ucop(*NIGHTLY).code == 0
    again = ucop(*[*NIGHTLY[:4], "31 2 * * *", *NIGHTLY[5:]])
    assert (again.code, "already" in again.err) == (2, True)

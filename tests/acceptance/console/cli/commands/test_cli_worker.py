"""`ucop worker`: a process that runs what is queued, and stops in order."""

from __future__ import annotations

import signal

from tests.support.command import Running, Ucop, until
from ucop.engine.database.sqlite_lock import holder, is_stopped


def queue(ucop: Ucop, workflow: str) -> str:
    return ucop("run", workflow, "-i", "text=hello", "--detach").out.strip()


def status(ucop: Ucop, id: str) -> str:
    return str(ucop("jobs", "show", id, "--json").json["status"])


def freeze_without_lock(ucop: Ucop, worker: Running) -> None:
    """Stop a process, but not in the middle of a transaction: others would end it for that."""
    database = ucop.folder / ".ucop" / "ucop.db"
    assert database.exists()
    pid = worker.process.pid
    while True:
        worker.signal(signal.SIGSTOP)
        until(lambda: is_stopped(pid), "stopped")
        if holder(database) != pid:
            return
        worker.signal(signal.SIGCONT)


def test_a_worker_runs_what_was_queued_before_it_came(ucop: Ucop) -> None:
    id = queue(ucop, "say")
    worker = ucop.start("worker", "--concurrency", "3")
    worker.until("3 jobs at a time")
    until(lambda: status(ucop, id) == "completed", "completed")
    worker.signal(signal.SIGTERM)
    assert worker.end().code == 0
    assert worker.out == []


def test_a_stopped_worker_gives_its_job_back_and_the_next_finishes_it(ucop: Ucop) -> None:
    id = queue(ucop, "gated")
    worker = ucop.start("worker", UCOP_GRACE="0.1")
    until(lambda: "wait for go.txt" in ucop.lines("ran.txt"), "gate runs")
    worker.signal(signal.SIGINT)
    assert worker.end().code == 130
    assert status(ucop, id) == "pending"

    ucop.write("go.txt", "on")
    ucop.start("worker")
    until(lambda: status(ucop, id) == "completed", "completed")
    assert ucop.lines("ran.txt").count("shout") == 2


def test_a_second_ctrl_c_stops_a_worker_at_once(ucop: Ucop) -> None:
    queue(ucop, "gated")
    worker = ucop.start("worker", UCOP_GRACE="60")
    until(lambda: "wait for go.txt" in ucop.lines("ran.txt"), "gate runs")
    worker.signal()
    worker.until("stopping:")
    worker.signal()
    assert worker.end().code == 130


def test_a_worker_that_was_frozen_too_long_ends_with_a_clear_error(ucop: Ucop) -> None:
    id = queue(ucop, "gated")
    frozen = ucop.start("worker", UCOP_LEASE="1")
    until(lambda: "wait for go.txt" in ucop.lines("ran.txt"), "gate runs")
    freeze_without_lock(ucop, frozen)
    other = ucop.start("worker", UCOP_LEASE="1")
    until(lambda: ucop.lines("ran.txt").count("wait for go.txt") == 2, "takeover")
    frozen.signal(signal.SIGCONT)
    done = frozen.end()
    assert done.code == 1
    assert "declared lost" in done.err
    ucop.write("go.txt", "on")
    until(lambda: status(ucop, id) == "completed", "completed")
    other.signal(signal.SIGTERM)
    assert other.end().code == 0

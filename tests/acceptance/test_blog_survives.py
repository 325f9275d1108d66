"""A real article survives the death of the process that writes it."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command import Running, Ucop
from tests.support.waiting import until
from ucop.engine.errors import DatabaseError
from ucop.engine.jobs.job import Job
from ucop.engine.reading.reader import Reader, open_reader

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

DEADLINE = 400.0
"""Seconds for each wait: what takes ten on a quiet machine may take minutes on a busy one."""


@pytest.fixture
def ucop(bare: Ucop) -> Ucop:
    """In an empty folder, where nobody answers as Ollama: the embedded model serves."""
    bare.extra["UCOP_EMBEDDED"] = "true"
    return bare


def while_running(condition: Callable[[], Any], process: Running, what: str) -> Any:
    def holds() -> Any:
        value = condition()
        assert value or process.process.poll() is None, f"ended before {what}: {process.err}"
        return value

    return until(holds, what, lambda: process.err, seconds=DEADLINE)


def reader_of(ucop: Ucop) -> Reader | None:
    """A reader, once there is a ledger."""
    try:
        reader = open_reader(f"sqlite:///{ucop.folder}/.ucop/ucop.db")
        reader.jobs()
    except DatabaseError:
        return None
    return reader


def writes_kept(ucop: Ucop) -> int:
    """How many writes of nodes and items the checkpointer holds."""
    with sqlite3.connect(f"file:{ucop.folder}/.ucop/ucop.db?mode=ro", uri=True) as connection:
        [(count,)] = connection.execute("select count(*) from writes").fetchall()
    connection.close()
    return int(count)


def has(job: Job, node: str, status: str) -> bool:
    return any((step.node, step.status.value) == (node, status) for step in job.steps)


def test_the_blog_survives_kill_9_in_the_middle_of_the_draft(ucop: Ucop) -> None:
    writing = ucop.start("generate", "blog", "Durable agents", "-i", "sections=2")
    with while_running(lambda: reader_of(ucop), writing, "a ledger") as reader:
        [job] = while_running(lambda: reader.jobs(), writing, "a job")
        while_running(lambda: has(reader.job(job.id), "draft", "running"), writing, "the draft")
        before = writes_kept(ucop)
        while_running(lambda: writes_kept(ucop) > before, writing, "the draft's first section")
        writing.signal(signal.SIGKILL)
        assert writing.end().code == -signal.SIGKILL

        killed = reader.job(job.id)
        assert killed.status == "running"
        done = Counter(step.node for step in killed.steps if step.status == "completed")
        assert done.keys() >= {"read", "research", "outline"}
        assert not (ucop.folder / "articles").exists()

        worker = ucop.start("worker")
        while_running(lambda: reader.status(job.id)[0] == "completed", worker, "the end")
        worker.signal(signal.SIGTERM)
        assert worker.end().code == 0

        ended = reader.job(job.id)
        events = reader.events(job.id)
    article = ucop.folder / ended.output["path"]
    assert article.read_text(encoding="utf-8").startswith("# ")
    assert list(article.parent.iterdir()) == [article]

    assert ended.attempt == 2
    second = Counter(step.node for step in ended.steps if step.attempt == 2)
    assert not second.keys() & {"read", "research", "outline"}
    assert second["publish"] == 1
    assert second["draft"] >= 1
    lost = [(step.node, step.status) for step in ended.steps if step.attempt == 1][len(done) :]
    assert lost == [("draft", "failed")]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    kinds = Counter(event.type for event in events)
    assert (kinds["job.completed"], kinds["job.running"]) == (1, 2)
    assert [event.data["node"] for event in events if event.type == "step.completed"].count(
        "publish"
    ) == 1

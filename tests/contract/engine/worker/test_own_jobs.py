"""A worker that runs its own jobs alone, and what it leaves to others; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.graphs import chain
from tests.support.receiver import SECRET, Receiver
from ucop.engine import Engine
from ucop.engine.declared.webhook import Webhook

DEADLINE = 30.0
Open = Callable[..., Engine]


def test_only_the_jobs_that_it_takes_on_are_run(open_engine: Open) -> None:
    engine = open_engine(own_jobs=True)
    others = [engine.submit(chain("a"), {}) for _ in range(3)]
    own = engine.submit(chain("a"), {}, priority=-5)
    engine.take_on(own.id)
    own.result(DEADLINE)
    assert {job.status for job in others} == {"pending"}
    engine.take_on(others[1].id)
    others[1].result(DEADLINE)
    assert [job.status for job in others] == ["pending", "completed", "pending"]
    assert engine.reader.workers() == []  # it serves nobody else


def test_whoever_runs_all_jobs_takes_those_that_it_left(open_engine: Open) -> None:
    with open_engine(own_jobs=True) as engine:
        engine.add("kept", chain("a"))
        left, own = engine.submit("kept", {}), engine.submit("kept", {})
        engine.take_on(own.id)
        own.result(DEADLINE)
    with open_engine() as engine:
        engine.add("kept", chain("a"))
        assert engine.job(left.id).wait(DEADLINE) == "completed"


def hooks(receiver: Receiver, **more: Any) -> dict[str, Any]:
    hook = Webhook.model_validate({"url": receiver.url, "secret_env": "TOLD", **more})
    return {"webhooks": {"told": hook}}


def test_webhooks_are_waited_for(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLD", SECRET)
    with Receiver(script=[500]) as receiver:
        engine = open_engine(settings=hooks(receiver, types=["job.*"], retries=["100ms"]))
        job = engine.submit(chain("a"), {})
        job.result(DEADLINE)
        assert engine.deliver(job.id, timeout=DEADLINE)
        told = [each.verified()["type"] for each in receiver.received]
        assert told[-1] == "job.completed"


def test_not_for_longer_than_is_allowed(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLD", SECRET)
    with Receiver(script=["hang"]) as receiver:
        engine = open_engine(settings=hooks(receiver, types=["job.completed"]))
        job = engine.submit(chain("a"), {})
        job.result(DEADLINE)
        assert not engine.deliver(job.id, timeout=0.5)

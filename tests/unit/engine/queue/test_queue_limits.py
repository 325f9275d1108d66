"""What queues allow: read from settings, changed, and summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ucop.engine.declared.queue_limits import QueueLimits, Rate, in_force, rate_of
from ucop.engine.errors import InvalidInput, InvalidSettings
from ucop.engine.queue.limits import states
from ucop.engine.settings import Settings


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/1s", Rate(5, 1.0)),
        ("100/1m", Rate(100, 60.0)),
        ("2 / 250ms", Rate(2, 0.25)),
        ("7/1.5h", Rate(7, 5400.0)),
    ],
)
def test_a_rate_is_a_number_and_a_time(text: str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["", "5", "5/", "/1s", "0/1s", "-1/1s", "1.5/1s", "5/0s", "5/x"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="100/1m"):
        rate_of(text)


def settings(folder: Path, text: str) -> Settings:
    (folder / "ucop.toml").write_text(text, encoding="utf-8")
    return Settings.load(folder)


def test_the_default_queue_is_always_there_and_may_be_declared(tmp_path: Path) -> None:
    bare = settings(tmp_path, "")
    assert bare.declared == {"default": QueueLimits()}
    given = settings(tmp_path, "[queues.default]\nconcurrency = 3\n[queues.bulk]\n")
    assert given.declared == {"default": QueueLimits(concurrency=3), "bulk": QueueLimits()}
    assert list(given.served) == ["default", "bulk"]
    some = settings(tmp_path, 'serves = ["bulk"]\n[queues.bulk]\n')
    assert list(some.served) == ["bulk"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[queues.bulk]\nrate = "fast"', "queues.bulk.rate"),
        ("[queues.bulk]\nconcurrency = 0", "queues.bulk.concurrency"),
        ("[queues.bulk]\nspeed = 1", "queues.bulk.speed"),
        ('[queues."a/b"]', "a queue's name has letters"),
        ("[workflow_concurrency]\nblog = 0", "workflow_concurrency.blog"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        settings(tmp_path, text)


def test_a_worker_cannot_serve_what_is_not_declared(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no queue 'bilk'; there is default"):
        _ = settings(tmp_path, 'serves = ["bilk"]').served


def test_changes_go_before_what_is_declared_value_by_value() -> None:
    declared = {"a": QueueLimits(concurrency=3, rate="5/1s"), "b": QueueLimits(paused=True)}
    changed = in_force(declared, {"a": '{"rate":null,"paused":true}', "gone": "{}"})
    assert changed == {"a": QueueLimits(concurrency=3, paused=True), "b": declared["b"]}


def row(queue: str, tenant: str | None, what: str, jobs: int, since: float | None) -> Any:
    return {"queue": queue, "tenant": tenant, "what": what, "jobs": jobs, "since": since}


def test_a_backlog_is_summed_up_by_queue_and_tenant() -> None:
    backlog = [
        row("a", None, "pending", 2, 90.0),
        row("a", "t", "pending", 3, 40.0),
        row("a", "t", "running", 1, None),
        row("left", None, "delayed", 4, None),
    ]
    a, left = states({"a": QueueLimits()}, {"a": '{"concurrency":9}'}, backlog, 100.0)
    assert (a.pending, a.running, a.delayed, a.oldest) == (5, 1, 0, 60.0)
    assert (a.concurrency, a.changed, a.declared) == (9, ("concurrency",), True)
    assert [(t.tenant, t.pending, t.oldest) for t in a.tenants] == [(None, 2, 10.0), ("t", 3, 60.0)]
    assert (left.declared, left.delayed, left.oldest) == (False, 4, None)

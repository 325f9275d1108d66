"""DBOS's ticket for an attempt, written by SQL in the transaction that queues the attempt.

DBOS documents the function for this, so whoever only queues imports nothing of DBOS:
https://docs.dbos.dev/explanations/system-tables
"""

from __future__ import annotations

from typing import Any

from ..ledger.operation import Enqueue, One

APPLICATION = "ucop"
VERSION = "1"
"""DBOS's default is a hash of the code: an upgrade would strand what is queued."""
QUEUE = "ucop"
WORKFLOW = "ucop.attempt"

FIRST = 1_000_000
"""DBOS serves low numbers first, ucop high priorities."""

_ENQUEUE = """
select dbos.enqueue_workflow(
    workflow_name => :workflow, queue_name => :queue, workflow_id => :ticket,
    app_version => :version, application_name => :application,
    positional_args => array[to_json(cast(:job as text)), to_json(cast(:attempt as int))],
    priority => cast(:priority as int),
    delay_until_epoch_ms => cast(({now} + cast(:delay as double precision)) * 1000 as bigint))"""


def ticket(attempt: Enqueue) -> One:
    """The statement that hands an attempt to DBOS."""
    params: dict[str, Any] = {
        "workflow": WORKFLOW,
        "queue": QUEUE,
        "ticket": name(attempt.job_id, attempt.attempt),
        "version": VERSION,
        "application": APPLICATION,
        "job": attempt.job_id,
        "attempt": attempt.attempt,
        "priority": max(1, FIRST - attempt.priority) if attempt.priority else None,
        "delay": attempt.delay or None,
    }
    return One(_ENQUEUE, params)


def name(job: str, attempt: int) -> str:
    """DBOS's id of an attempt: used once, never resumed."""
    return f"{job}/{attempt}"

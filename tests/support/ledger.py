"""Jobs in the ledger alone: no workflow runs, and a test says what workers do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ucop.engine.database.database import Database
from ucop.engine.jobs.job import JobId, ThreadId, WorkerId
from ucop.engine.ledger import lifecycle
from ucop.engine.ledger.records import NewJob, Outcome

ME, OTHER = WorkerId("w-me"), WorkerId("w-other")


def new_job(id: str = "a", **fields: Any) -> NewJob:
    job = NewJob(
        id=JobId(id),
        workflow="flow",
        fingerprint="f1",
        definition="{}",
        needs="[]",
        input='{"topic":"tea"}',
        thread_id=ThreadId(fields.pop("thread_id", id)),
    )
    return replace(job, **fields)


async def submit(database: Database, job: NewJob) -> tuple[JobId, bool]:
    return await database.write(lambda: lifecycle.submit(job))


async def claim(database: Database, job: str = "a", attempt: int = 1, worker: WorkerId = ME) -> Any:
    return await database.write(lambda: lifecycle.claim(job, attempt, worker))


async def finish(database: Database, outcome: Outcome, job: str = "a", attempt: int = 1) -> Any:
    return await database.write(lambda: lifecycle.finish(job, attempt, outcome))


async def release(database: Database, attempt: int, *, lost: bool = True) -> Any:
    return await database.write(
        lambda: lifecycle.release("a", attempt, "worker w-me was lost", lost=lost)
    )

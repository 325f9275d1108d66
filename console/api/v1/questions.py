"""The inbox: what all jobs ask people."""

from __future__ import annotations

from fastapi import APIRouter

from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import Question
from ucop.engine.jobs.status import JobStatus
from ucop.engine.reading.reader import Reader

from ...view.jobs.questions import open_questions
from ..access import Reads
from ..parts import Uses, tenant_for
from .forms import Items

router = APIRouter(prefix="/questions", tags=["questions"])

MOST = 1000
"""Waiting jobs that are looked at: the newest."""


class AskedQuestion(Question):
    """An open question, and who asks it."""

    job: str
    workflow: str


@router.get("")
async def list_questions(
    parts: Uses, caller: Reads, workflow: str | None = None, tenant: str | None = None
) -> Items[AskedQuestion]:
    """Open questions of all jobs, the one that is due first at the top."""
    waiting = Filter(status=JobStatus.WAITING, workflow=workflow, tenant=tenant_for(caller, tenant))

    def ask(reader: Reader) -> list[AskedQuestion]:
        return [
            AskedQuestion(**dict(question), job=job.id, workflow=job.workflow)
            for job in reader.jobs(waiting, limit=MOST)
            for question in open_questions(reader, job.id)
        ]

    found = await parts.read(ask)
    found.sort(key=lambda one: (one.due_at is None, one.due_at or one.asked_at))
    return Items[AskedQuestion](items=found)

"""`ucop jobs inbox` and `ucop jobs answer`: what waits for people, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import RefusedChange
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import JobId
from ucop.engine.jobs.status import JobStatus

from ...view.exits import UsageProblem
from ...view.inputs import pairs
from ...view.jobs.follow import nodes_of
from ...view.jobs.questions import JOB, SHORT, asked_as_text, due, open_questions, typed
from ...view.output import note, put_json
from ...view.place import Place, place_of, reader_for
from ...view.tables import Table, first_line, moment
from .. import options

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle
    from ucop.engine.jobs.job import Job, Question
    from ucop.engine.reading.reader import Reader

Asked = tuple["Job", "Question"]

QuestionId = Annotated[
    str | None,
    typer.Option(
        "--question", metavar="ID", help="The question's id or its beginning, if several are open."
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="KEY=VALUE",
        help="One field of the answer, read as its declared type. May be repeated.",
    ),
]


def inbox(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List open questions of jobs, newest job first."""
    place = place_of(ctx)
    found = _waiting(place)
    if json:
        put_json([_record(job, question) for job, question in found])
        return
    if not found:
        note("no open questions")
        return
    _table(found).show()
    note(f"answer with: {place.command('jobs answer ID …')}")


def answer(
    ctx: typer.Context,
    id: options.JobId,
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="[VALUE]",
            help="The answer, if it has no fields: text, or JSON such as false, 3 or null.",
        ),
    ] = None,
    input: Fields = None,
    text: Annotated[
        bool, typer.Option("--text", help="Take VALUE as text, even if it is JSON.")
    ] = False,
    question: QuestionId = None,
    detach: options.Detach = False,
    json: options.Json = False,
) -> None:
    """Answer a job's question. The job then continues here, as with `ucop jobs resume`.

    A failed job can be given another answer in place of one that no node has gone past."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        job = reader.job(id)
        definition = reader.definition(job.id)
        asked = reader.questions(job.id)
    found = [each for each in asked if each.takes_answer(job.status)]
    if not found:
        late = ", ".join(each.node for each in asked if each.by_default)
        told = f" ({late} was not answered in time, so the default was used)" if late else ""
        raise RefusedChange(f"job {job.id} is {job.status}; it waits for no answer{told}")
    chosen = _chosen(place, job, found, question)
    given = _read_answer(chosen.answer_schema or {}, value, input or (), verbatim=text)
    raise typer.Exit(
        _give(place, job, asked, chosen, given, nodes_of(definition), detach=detach, as_json=json)
    )


def _waiting(place: Place) -> list[Asked]:
    def waiting(reader: Reader) -> list[Asked]:
        jobs = reader.jobs(Filter(status=JobStatus.WAITING), limit=1_000)
        return [(job, each) for job in jobs for each in open_questions(reader, job.id)]

    return place.ask(waiting, [])


def _record(job: Job, question: Question) -> dict[str, Any]:
    return {
        "job": job.id,
        "workflow": job.workflow,
        **question.model_dump(mode="json", exclude=_NOT_YET),
    }


_NOT_YET = {"answer", "answered_at", "by_default", "consumed_at", "withdrawn_at"}
"""What is not known of an open question."""


def _table(found: Sequence[Asked]) -> Table:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    table = Table("job", "question", "workflow", "node", "asked", "due", "text", long=["text"])
    for job, question in found:
        table.add(
            job.id[:JOB],
            question.id[:SHORT],
            job.workflow,
            question.node,
            moment(question.asked_at, now),
            due(question, now),
            first_line(asked_as_text(question)),
        )
    return table


def _chosen(place: Place, job: Job, found: Sequence[Question], named: str | None) -> Question:
    fitting = [each for each in found if named is None or each.id.startswith(named)]
    if len(fitting) == 1:
        return fitting[0]
    what = "several questions are open; name one with --question" if fitting else "no such question"
    listed = "".join(f"\n  {each.id[:SHORT]}  {each.node}: {asked_as_text(each)}" for each in found)
    raise UsageProblem(f"job {job.id}: {what}:{listed}")


def _read_answer(
    schema: Mapping[str, Any], value: str | None, fields: Sequence[str], *, verbatim: bool
) -> Any:
    """The answer that was typed, as the types that are asked for say."""
    if (value is None) == (not fields):
        raise UsageProblem("give the answer as one VALUE, or its fields as -i KEY=VALUE")
    if value is not None:
        return value if verbatim else typed(schema, value)
    if verbatim:
        raise UsageProblem("--text goes with one VALUE, and not with fields")
    known: Mapping[str, Any] = schema.get("properties") or {}
    given = pairs(fields, "-i")
    return {name: typed(known.get(name, {}), text) for name, text in given.items()}


def _give(
    place: Place,
    job: Job,
    asked: Sequence[Question],
    question: Question,
    given: Any,
    nodes: Sequence[str],
    *,
    detach: bool,
    as_json: bool,
) -> int:
    from ucop.engine.jobs.answer import checked_answer

    from ..commands import run

    def go_on(engine: Engine) -> JobHandle:
        handle = engine.job(job.id)
        handle.answer(given, question=question.id)
        return handle

    if detach:
        kept = checked_answer(job.id, job.status, asked, given, question.id)
        place.carry_out(lambda commands: commands.answer(JobId(job.id), *kept))
        return run.report_queued(place, job.id, as_json=as_json)
    return run.attend(place, go_on, as_json=as_json, title=job.workflow, nodes=nodes)

"""`ucop jobs pause`, `resume`, `cancel` and `retry`: for one job, or for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import RefusedChange
from ucop.engine.jobs.command import TAKES, Command
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import JobId
from ucop.engine.jobs.status import ACTIVE, FINAL, JobStatus, sources
from ucop.engine.jobs.status import Change as Step
from ucop.engine.ledger.commands import read_new_terms

from ...view.exits import Exit, UsageProblem
from ...view.inputs import read_budget, read_input
from ...view.jobs.follow import nodes_of
from ...view.jobs.job_facts import DONE
from ...view.jobs.questions import how_to_go_on, is_asking
from ...view.output import note, put_records
from ...view.place import Place, place_of, reader_for
from ...view.tables import Table, plural
from .. import options
from ..given import Given, fields_of
from .wanted import Wanted, ids_of

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle
    from ucop.engine.edits.edit import InputEdit
    from ucop.engine.jobs.command import Changed
    from ucop.engine.jobs.job import Job


@dataclass(frozen=True, kw_only=True)
class Going:
    """How a job is to go on, as the options of a command say it."""

    budget: Mapping[str, float] = field(default_factory=dict)
    priority: int | None = None
    checkpoint: str | None = None
    edit: InputEdit | None = None
    at_once: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    """Its context and config from now on."""

    @property
    def needs_workflow(self) -> bool:
        """Whether the job's workflow has to check it."""
        given = any(value is not None for value in self.given.values())
        return given or self.edit is not None or self.checkpoint is not None

    @property
    def changes(self) -> bool:
        """Whether it differs from how the job is."""
        given = any(value is not None for value in self.given.values())
        return bool(self.budget or self.edit) or given or self.priority is not None


AS_IT_IS = Going()


@options.filtered
def pause(
    ctx: typer.Context,
    id: options.JobIds = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Stop running nodes now; they run again later."),
    ] = False,
    *,
    filter: Filter,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Pause queued and running jobs.

    A running one stops when its running nodes have ended, or at once with --now.
    """
    place = place_of(ctx)
    wanted = Wanted.of(id, filter)
    raise typer.Exit(change(place, Command.PAUSE, wanted, yes=yes, as_json=json, now=now))


@options.filtered
def cancel(
    ctx: typer.Context,
    id: options.JobIds = None,
    *,
    filter: Filter,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Cancel jobs permanently. Finished results are kept."""
    place = place_of(ctx)
    wanted = Wanted.of(id, filter)
    raise typer.Exit(change(place, Command.CANCEL, wanted, yes=yes, as_json=json))


@options.filtered
@options.with_given
def resume(
    ctx: typer.Context,
    id: options.JobIds = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Start at once, also a delayed job."),
    ] = False,
    input: options.Inputs = None,
    set: options.SetPath = None,
    as_node: options.AsNode = None,
    budget: options.Budget = None,
    priority: options.NewPriority = None,
    *,
    given: Given,
    detach: options.Detach = False,
    filter: Filter,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Resume jobs from their last checkpoint, optionally with new input.

    One job goes on here and now, also a failed one; several, or those that a filter names, are
    only queued. A filter names paused jobs, and with --now delayed ones.
    """
    place = place_of(ctx)
    wanted = Wanted.of(id, filter)
    going = Going(budget=read_budget(budget or ()), priority=priority, at_once=now)
    if wanted.only is not None:
        job, definition = _read(place, wanted.only)
        edit = _edit(place, job, definition, input or (), set or (), as_node)
        read = given.read(lambda: fields_of(place, job.workflow))
        going = replace(going, edit=edit, given=read)
        raise typer.Exit(_go_on(place, job, definition, going, detach=detach, as_json=json))
    if input or set or as_node or given:
        raise UsageProblem(
            "--input, --set, --as-node, --context and --config are one job's; name that job by its id"
        )
    raise typer.Exit(change(place, Command.RESUME, wanted, going, yes=yes, as_json=json, now=now))


@options.filtered
@options.with_given
def retry(
    ctx: typer.Context,
    id: options.JobIds = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Continue from this earlier checkpoint; one job only."),
    ] = None,
    budget: options.Budget = None,
    priority: options.NewPriority = None,
    *,
    given: Given,
    detach: options.Detach = False,
    filter: Filter,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Retry failed jobs from their last checkpoint.

    One job goes on here and now; several, or those that a filter names, are only queued.
    """
    place = place_of(ctx)
    wanted = Wanted.of(id, filter)
    going = Going(budget=read_budget(budget or ()), priority=priority, checkpoint=checkpoint)
    if wanted.only is not None:
        job, definition = _read(place, wanted.only)
        if job.status not in sources(Step.RETRY):
            raise RefusedChange(f"job {job.id} is {job.status}; only a failed job can be retried")
        going = replace(going, given=given.read(lambda: fields_of(place, job.workflow)))
        raise typer.Exit(_go_on(place, job, definition, going, detach=detach, as_json=json))
    if checkpoint is not None or given:
        raise UsageProblem(
            "--checkpoint, --context and --config are one job's; name that job by its id"
        )
    raise typer.Exit(change(place, Command.RETRY, wanted, going, yes=yes, as_json=json))


# ---------------------------------------------------------------- many jobs


def change(
    place: Place,
    command: Command,
    wanted: Wanted,
    going: Going = AS_IT_IS,
    *,
    yes: bool,
    as_json: bool,
    now: bool = False,
) -> Exit:
    delayed = now and command is Command.RESUME
    ids = ids_of(place, command, wanted, among=TAKES[command], yes=yes, delayed=delayed)
    if not ids:
        note("no matching jobs")
        changed: list[Changed] = []
    else:
        terms = read_new_terms(going.budget, going.priority, at_once=now)
        changed = place.carry_out(lambda commands: commands.change(command, ids, now, terms))
    _tell(place, command, changed, as_json=as_json)
    return Exit.USAGE if any(one.refused for one in changed) else Exit.OK


def _tell(place: Place, command: Command, changed: Sequence[Changed], *, as_json: bool) -> None:
    if as_json:
        put_records(changed)
    else:
        table = Table("id", "status", status=["status"])
        table.rows.extend((one.id, one.status or "deleted") for one in changed if not one.refused)
        table.show()
    for one in changed:
        if one.refused:
            note(f"refused: {one.refused}")
    done = [one for one in changed if not one.refused]
    if done:
        note(f"{plural(len(done), 'job')} {DONE[command]}")
    if done and command in (Command.RESUME, Command.RETRY):
        _note_worker(place)


def _note_worker(place: Place) -> None:
    with place.reader() as reader:
        if not reader.workers():
            note(f"no worker is running; start one with: {place.command('worker')}")


# ---------------------------------------------------------------- one job, here and now


def _read(place: Place, id: str) -> tuple[Job, Mapping[str, Any]]:
    with reader_for(place, id) as reader:
        job = reader.job(id)
        return job, reader.definition(job.id)


def _edit(
    place: Place,
    job: Job,
    definition: Mapping[str, Any],
    typed: Sequence[str],
    set: Sequence[str],
    as_node: str | None,
) -> InputEdit | None:
    """What was typed, read as the types of the job's own workflow. Raises UsageProblem."""
    if not (typed or set):
        return None
    from ucop.engine.edits.edit import InputEdit
    from ucop.graphs.workflows.stored import restore

    from ..edits import edited

    workflow = restore(definition, catalog=place.catalog, registry=place.registry)
    with place.reader() as reader:
        saved = reader.checkpoints(job.id)
    return InputEdit(
        input=read_input(workflow, typed, None),
        replace=edited(saved[0].values if saved else {}, set, None),
        as_node=as_node,
    )


def _go_on(
    place: Place,
    job: Job,
    definition: Mapping[str, Any],
    going: Going,
    *,
    detach: bool,
    as_json: bool,
) -> Exit:
    if job.status is JobStatus.WAITING and is_asking(place, job):
        note(f"job {job.id} waits for a person's answer; going on would only ask again")
        for line in how_to_go_on(place, job):
            note(f"  {line}")
        return Exit.WAITS
    _check_resumable(place, job, definition, detach=detach)
    delayed = job.status is JobStatus.PENDING and job.start_at is not None
    if going.changes and job.status in ACTIVE and not (delayed and going.at_once):
        raise RefusedChange(f"job {job.id} is {job.status}; it can be changed once it stops")
    return _resume(place, job, definition, going, detach=detach, as_json=as_json)


def _check_resumable(
    place: Place, job: Job, definition: Mapping[str, Any], *, detach: bool
) -> None:
    if job.status in FINAL:
        raise RefusedChange(
            f"job {job.id} is {job.status}, which is final; "
            f"`{place.command(f'jobs show {job.id}')}` shows it"
        )
    if detach and job.status is JobStatus.RUNNING:
        raise _runs(place, job)
    if not detach and _graph_is_missing(place, definition):
        raise RefusedChange(
            f"job {job.id} needs the Python graph {definition['name']!r}, which this project "
            "does not name; add its file.py:attribute to `workflows` in ucop.toml"
        )


def _graph_is_missing(place: Place, definition: Mapping[str, Any]) -> bool:
    if definition["kind"] != "python":
        return False
    return f"graph:{definition['name']}" not in place.catalog.supplies()


def _runs(place: Place, job: Job) -> RefusedChange:
    return RefusedChange(
        f"job {job.id} is running in another process; `{place.command(f'jobs watch {job.id}')}` "
        "shows it. Should that process be gone, the next worker takes the job up by itself"
    )


def _resume(
    place: Place,
    job: Job,
    definition: Mapping[str, Any],
    going: Going,
    *,
    detach: bool,
    as_json: bool,
) -> Exit:
    from ..commands import run

    if detach and not going.needs_workflow:
        if job.status not in ACTIVE or (going.at_once and job.start_at is not None):
            terms = read_new_terms(going.budget, going.priority, at_once=going.at_once)
            place.carry_out(lambda commands: commands.resume(JobId(job.id), terms))
        return run.report_queued(place, job.id, as_json=as_json)

    def go_on(engine: Engine) -> JobHandle:
        handle = engine.job(job.id)
        terms: Any = {"budget": going.budget, "priority": going.priority, **going.given}
        if going.checkpoint is not None:
            handle.retry(**terms, checkpoint=going.checkpoint)
        elif job.status not in ACTIVE or (going.at_once and job.start_at is not None):
            handle.resume(now=going.at_once, **terms, **(asdict(going.edit) if going.edit else {}))
        elif job.status is JobStatus.RUNNING and _still_runs(handle, job):
            raise _runs(place, job)
        return handle

    if detach:
        return run.queue(place, go_on, as_json=as_json)
    nodes = nodes_of(definition)
    return run.attend(place, go_on, as_json=as_json, title=job.workflow, nodes=nodes)


def _still_runs(handle: JobHandle, before: Job) -> bool:
    """Whether the worker that had the job still has it, after an engine that starts has taken
    the jobs of workers that are gone."""
    now = handle.get()
    return now.status is JobStatus.RUNNING and now.attempt == before.attempt

"""`ucop run` and `ucop generate`: a job from its submission to its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.jobs.status import ACTIVE

from ...view.exits import Exit, UsageProblem
from ...view.inputs import read_input
from ...view.jobs.display import display_for
from ...view.jobs.follow import Interrupts, report
from ...view.jobs.progress import Spending
from ...view.output import note, put, put_json
from ...view.place import Place, place_of
from .. import options
from ..given import Given
from ..logs import show_warnings
from ..others import tell_others
from ..streaming import modes_for, output_is_shown, show_end, show_parts

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle
    from ucop.engine.jobs.job import Job
    from ucop.graphs.workflow import Workflow


DELIVERY = 10.0
"""Seconds that a command waits, once its job rests, for webhooks to be told of it."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A job as it was typed, checked and ready to be submitted."""

    workflow: Workflow
    input: Any
    terms: Mapping[str, Any] = field(default_factory=dict)
    """What else is said of it; see Engine.submit."""


@options.with_given
@options.with_terms
def run(
    ctx: typer.Context,
    workflow: options.WorkflowName,
    input: options.Inputs = None,
    input_file: options.InputFile = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    stream: options.Stream = False,
    json: options.Json = False,
    *,
    terms: Mapping[str, Any],
    given: Given,
) -> None:
    """Run a workflow as a durable job and show its progress.

    Ctrl-C stops it without a loss: `ucop jobs resume ID` goes on from the last checkpoint.
    """
    place = place_of(ctx)
    if dry_run:
        raise typer.Exit(_plan(place, workflow, input, input_file, as_json=json))
    order = _read_order(place, workflow, input, input_file, terms, given)
    raise typer.Exit(carry_out(place, order, detach=detach, as_json=json, stream=stream))


@options.with_given
@options.with_terms
def generate(
    ctx: typer.Context,
    workflow: options.WorkflowName,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="The value of the first required text input.")
    ],
    input: options.Inputs = None,
    input_file: options.InputFile = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    stream: options.Stream = False,
    json: options.Json = False,
    *,
    terms: Mapping[str, Any],
    given: Given,
) -> None:
    """Run a workflow on one text: generate blog "My topic"."""
    place = place_of(ctx)
    if dry_run:
        raise typer.Exit(_plan(place, workflow, input, input_file, text, as_json=json))
    order = _read_order(place, workflow, input, input_file, terms, given, text)
    raise typer.Exit(carry_out(place, order, detach=detach, as_json=json, stream=stream))


def _read_order(
    place: Place,
    name: str,
    typed: Sequence[str] | None,
    file: str | None,
    terms: Mapping[str, Any],
    given: Given,
    text: str | None = None,
) -> Order:
    checked = terms_of(place, **terms)
    workflow = named(place, name)
    read = given.read(lambda: workflow.context_fields)
    return order_of(place, workflow, typed, file, {**checked, **read}, text)


def _plan(
    place: Place,
    name: str,
    typed: Sequence[str] | None,
    file: str | None,
    text: str | None = None,
    *,
    as_json: bool,
) -> Exit:
    from ..dry_run import show_plan

    workflow = named(place, name)
    data = read_input(workflow, typed or (), file, text)
    return show_plan(place, workflow, data, as_json=as_json)


def named(place: Place, name: str) -> Workflow:
    """The workflow, and a word on what is suspicious in it."""
    workflow = place.catalog.get(name)
    for finding in workflow.warnings:
        note(f"warning: {finding.position or ''} {finding.message}")
    return workflow


def order_of(
    place: Place,
    workflow: Workflow,
    typed: Sequence[str] | None,
    file: str | None,
    terms: Mapping[str, Any],
    text: str | None = None,
) -> Order:
    """Check everything that can be wrong before a database is opened, let alone made."""
    from ucop.engine.jobs.run_options import for_factory, names_secrets, read_config
    from ucop.engine.values.inputs import kept_input

    if place.settings.mode == "production":
        from ucop.graphs.workflows.gate import refuse_doubles

        refuse_doubles(workflow)
    data = read_input(workflow, typed or (), file, text)
    config = read_config(terms.get("config"))
    found = workflow.configured(for_factory(config))
    kept_input(found, data, place.settings.state.types)
    found.accept_context(terms.get("context"), names_secrets)
    return Order(workflow=workflow, input=data, terms=terms)


def terms_of(place: Place, **given: Any) -> dict[str, Any]:
    """What the options say, as Engine.submit takes it. Raises InvalidInput."""
    from ucop.engine.declared.queue_limits import undeclared
    from ucop.engine.workflows.submission import read_limits, read_terms

    terms = {name: value for name, value in given.items() if value is not None}
    if "queue" in terms and terms["queue"] not in place.settings.declared:
        raise undeclared(terms["queue"], place.settings.declared)
    apart = ("budget", "deadline", "context", "config")
    checked = {name: terms[name] for name in terms if name not in apart}
    read_terms(**checked)
    read_limits(terms.get("budget"), terms.get("deadline"))
    return terms


def carry_out(
    place: Place, order: Order, *, detach: bool, as_json: bool, stream: bool = False
) -> Exit:
    if detach and stream:
        raise UsageProblem("--stream follows the job, --detach does not; give one of the two")
    listens: dict[str, Any] = {"stream": modes_for(as_json=as_json)} if stream else {}
    _supply(place, order.workflow, detach=detach)

    def begin(engine: Engine) -> JobHandle:
        return engine.submit(order.workflow, order.input, **order.terms, **listens)

    if detach:
        return queue(place, begin, as_json=as_json)
    nodes = order.workflow.shown_nodes()
    title = order.workflow.name
    return attend(place, begin, as_json=as_json, title=title, nodes=nodes, stream=stream)


def _supply(place: Place, workflow: Workflow, *, detach: bool) -> None:
    """Let this process's worker know a Python graph that the project does not list."""
    missing = set(workflow.needs) - set(place.catalog.supplies())
    if not missing:
        return
    listed = f"add {workflow.origin!r} to `workflows` in the project's ucop.toml"
    if detach:
        raise UsageProblem(f"no worker would know graph {workflow.name!r}: {listed}")
    place.catalog.take(workflow)
    note(f"graph {workflow.name!r} is known to this command alone; to resume its jobs, {listed}")


def queue(place: Place, begin: Callable[[Engine], JobHandle], *, as_json: bool) -> Exit:
    """Begin a job and leave it to a worker."""
    with open_engine(place, worker=False) as engine:
        id = begin(engine).id
    return report_queued(place, id, as_json=as_json)


def report_queued(place: Place, id: str, *, as_json: bool) -> Exit:
    """Print the id of a job that a worker will run, and how to start one if none is alive."""
    with place.reader() as reader:
        job, workers = reader.job(id), reader.workers()
    if as_json:
        put_json(job.model_dump(mode="json"))
    else:
        put(job.id)
    if not workers and job.status in ACTIVE:
        note(f"no worker is running; start one with: {place.command('worker')}")
    note(f"watch it with: {place.command(f'jobs watch {job.id}')}")
    return Exit.OK


def attend(
    place: Place,
    begin: Callable[[Engine], JobHandle],
    *,
    as_json: bool,
    title: str,
    nodes: Sequence[str] = (),
    stream: bool = False,
) -> Exit:
    """Open an engine with a worker, begin a job there, and stay until it rests."""
    show_warnings()
    engine: Engine | None = None
    handle: JobHandle | None = None
    shown = False
    with Interrupts():
        try:
            if stream:
                engine = open_engine(place, worker=True, own_jobs=True)
                handle = begin(engine)
                engine.take_on(handle.id)
                tell_others(place, handle.id)
                note(f"job {handle.id}  {title}")
                shown = show_parts(handle.stream(modes_for(as_json=as_json)), as_json=as_json)
                handle.wait()  # also where nobody reads stdout any more
            else:
                with display_for(title, nodes, lambda: _spending(handle)) as display:
                    engine = open_engine(place, worker=True, own_jobs=True)
                    handle = begin(engine)
                    engine.take_on(handle.id)
                    tell_others(place, handle.id)
                    display.title = f"job {handle.id}  {title}"
                    for event in handle.events():
                        display.apply(event)
            _deliver(place, engine, handle.id)
        except KeyboardInterrupt:
            _stop(engine)
            if handle is None:
                note(f"stopped; see whether a job was queued with: {place.command('jobs list')}")
                return Exit.INTERRUPTED
            return _report_interrupt(place, handle.id, as_json=as_json)
        finally:
            if engine is not None:
                engine.close()
    job = _job(place, handle.id)
    if stream and as_json:
        show_end(job)
    shown = stream and (as_json or output_is_shown(job, shown))
    return report(place, job, as_json=as_json, shown=shown)


def _spending(handle: JobHandle | None) -> dict[str, Spending]:
    """What the running nodes used so far, where a job runs here."""
    found = handle.spending() if handle is not None else {}
    return {
        node: Spending(tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)
        for node, usage in found.items()
    }


def _deliver(place: Place, engine: Engine, id: str) -> None:
    """Where no worker runs, nobody else would tell the webhooks how the job ended."""
    if engine.settings.webhooks and not engine.deliver(id, timeout=DELIVERY):
        note("some webhook deliveries are pending; the next worker sends them:")
        note(f"  {place.command('webhooks deliveries')}")


def open_engine(place: Place, *, worker: bool, own_jobs: bool = False, **given: Any) -> Engine:
    """The engine of this place, with the workflows and agents that were read already; what is
    `given` goes before its settings."""
    from ucop.engine import Engine
    from ucop.engine.settings import Settings

    settings = place.settings
    if given:
        settings = Settings.load(place.project, database=place.database, **given)
    return Engine(
        settings=settings,
        worker=worker,
        catalog=place.catalog,
        registry=place.registry,
        own_jobs=own_jobs,
    )


def _stop(engine: Engine | None) -> None:
    if engine is None:
        return
    grace = engine.settings.grace
    note(f"stopping: running nodes have {grace:g} s to end; Ctrl-C again stops at once")
    engine.close()


def _report_interrupt(place: Place, id: str, *, as_json: bool) -> Exit:
    job = _job(place, id)
    if job.status not in ACTIVE:
        return report(place, job, as_json=as_json)
    if as_json:
        put_json(job.model_dump(mode="json"))
    note(f"job {id} is stopped; what it finished is kept. It goes on with:")
    note(f"  {place.command(f'jobs resume {id}')}")
    return Exit.INTERRUPTED


def _job(place: Place, id: str) -> Job:
    with place.reader() as reader:
        return reader.job(id)

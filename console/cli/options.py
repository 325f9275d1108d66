"""Options and arguments that several commands share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ucop.engine.jobs.job import OnBusy
from ucop.engine.jobs.status import JobStatus

from ..view.inputs import pairs, read_budget, read_filter
from .completion import complete_agent, complete_job, complete_schedule, complete_workflow
from .given import Given

Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        help="The project's folder. Default: this folder or the nearest parent with a project.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="The database, as sqlite:///FILE or postgresql://…. Default: the project's.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Status = Annotated[
    list[JobStatus] | None,
    typer.Option(
        metavar="STATUS",
        help="Only jobs of this status: pending, running, paused, waiting, completed, failed or "
        "cancelled. May be repeated: then of any of them.",
    ),
]
OfQueue = Annotated[
    str | None,
    typer.Option("--queue", metavar="NAME", help="Only jobs of this queue."),
]
OfWorkflow = Annotated[
    str | None,
    typer.Option("--workflow", metavar="NAME", help="Only jobs of this workflow."),
]
Tenant = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only jobs of this tenant."),
]
WithLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="Only jobs with this label. May be repeated: then with all of them.",
    ),
]
OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only jobs that were created longer ago, such as 90s, 2h or 7d, or before a date, "
        "such as 2026-11-28 or 2026-11-28T18:00 (in UTC).",
    ),
]
NewerThan = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only jobs that were created since then: as with --older-than."
    ),
]
Archived = Annotated[
    bool, typer.Option("--archived", help="Jobs that were archived, and no others.")
]
OnlyCount = Annotated[
    bool, typer.Option("--dry-run", help="Print which jobs it would be; change nothing.")
]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="Jobs by their ids, or the beginnings of those.",
        autocompletion=complete_job,
    ),
]
JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The job's id, or its beginning as far as no other job's begins so.",
        autocompletion=complete_job,
    ),
]
ScheduleName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The schedule's name.", autocompletion=complete_schedule),
]
WorkflowName = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        help="A workflow by name, or a YAML file.",
        autocompletion=complete_workflow,
    ),
]
AgentName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An agent by name.", autocompletion=complete_agent),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="KEY=VALUE",
        help="One input, read as its declared type. May be repeated.",
    ),
]
InputFile = Annotated[
    str | None,
    typer.Option(
        "--input-file",
        metavar="FILE",
        help="A JSON or YAML file with inputs, or - for stdin. -i overrides it.",
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        metavar="KEY=VALUE",
        help="A value of the run's context, read as its declared type; ${env:NAME} is a secret of "
        "the worker's. May be repeated.",
    ),
]
ContextFile = Annotated[
    str | None,
    typer.Option(
        "--context-file",
        metavar="FILE",
        help="A JSON or YAML file with the run's context, or - for stdin. --context overrides it.",
    ),
]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="KEY=VALUE",
        help="LangGraph's config: recursion_limit=N, tags=TEXT, metadata.NAME=VALUE, "
        "interrupt_before=NODE, interrupt_after=NODE; any other name is one of configurable. "
        "May be repeated.",
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Only queue the job and print its id; a worker runs it.")
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream", help="Print tokens as they come; with --json every part, a line each."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the plan; run nothing, ask no model, write nothing."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="TEXT",
        help="An idempotency key: if a job with this key exists, it is used instead of a new one.",
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="KEY=VALUE",
        help="Limits of the job over all attempts: deadline, steps, model_calls, "
        "tokens, seconds or cost. Goes before the workflow's limits. May be repeated.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="KEY=VALUE", help="A label to find the job by. May be repeated."
    ),
]
NewPriority = Annotated[
    int | None,
    typer.Option("--priority", metavar="N", help="The new priority; higher runs first."),
]
SetPath = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="A new value in the state, such as outline.title=Tea; JSON or text. May be repeated.",
    ),
]
AsNode = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The node to edit as, if several made the checkpoint."),
]
Queue = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The job's queue; it must be declared in the settings."),
]
Priority = Annotated[
    int, typer.Option(metavar="N", help="Higher runs first, among the jobs of its tenant.")
]
Delay = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Start the job after this time, such as 90s, 30m or 2h."),
]
Deadline = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Fail the job if it has not ended by then, such as 30m."),
]
OfTenant = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="NAME", help="The job's tenant. Tenants share workers evenly."
    ),
]
Thread = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="The LangGraph thread to continue. Its jobs run one after the other."
    ),
]
Busy = Annotated[
    OnBusy,
    typer.Option(
        "--on-busy",
        help="Where jobs of that thread are queued or run: wait for them, be refused, cancel "
        "them and go on from their state, or cancel them and delete what they saved.",
    ),
]


# ---------------------------------------------------------------- options that go together


def _together(
    name: str, options: Mapping[str, Any], read: Callable[..., Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command several options in the place of its parameter `name`, which
    gets what `read` makes of them. An option is its annotation, or that and a default."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        parameters = [
            each
            for parameter in own.parameters.values()
            for each in (_parameters(options) if parameter.name == name else (parameter,))
        ]

        @wraps(command)
        def carry_out(**given: Any) -> None:
            typed = {option: given.pop(option) for option in options}
            command(**given, **{name: read(**typed)})

        carry_out.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        carry_out.__annotations__ = {each.name: each.annotation for each in parameters}
        return carry_out

    return decorate


def _parameters(options: Mapping[str, Any]) -> Iterator[inspect.Parameter]:
    for name, option in options.items():
        annotation, default = option if isinstance(option, tuple) else (option, None)
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(name, kind, default=default, annotation=annotation)


def _terms(
    thread: str | None, label: Sequence[str] | None, budget: Sequence[str] | None, **plain: Any
) -> dict[str, Any]:
    labels, limits = pairs(label or (), "--label"), read_budget(budget or ())
    return {**plain, "thread_id": thread, "labels": labels, "budget": limits}


filtered = _together(
    "filter",
    {
        "status": Status,
        "queue": OfQueue,
        "workflow": OfWorkflow,
        "tenant": Tenant,
        "label": WithLabels,
        "older_than": OlderThan,
        "newer_than": NewerThan,
    },
    read_filter,
)
"""Gives a command the options that name jobs, in the place of its parameter `filter`."""

with_terms = _together(
    "terms",
    {
        "key": Key,
        "queue": Queue,
        "priority": (Priority, 0),
        "delay": Delay,
        "deadline": Deadline,
        "tenant": OfTenant,
        "thread": Thread,
        "on_busy": (Busy, OnBusy.ENQUEUE),
        "label": Labels,
        "budget": Budget,
    },
    _terms,
)
"""Gives a command the options of a new job, in the place of its parameter `terms`: a mapping, as
Engine.submit takes it."""

with_given = _together(
    "given", {"context": Context, "context_file": ContextFile, "config": Config}, Given
)
"""Gives a command the options of a run's context and config, in the place of its parameter `given`."""

"""What the shell offers after a Tab: job ids, workflows and agents of this project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from ucop.engine.errors import UcopError

if TYPE_CHECKING:
    from ..view.place import Place


def complete_job(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """The newest jobs whose ids begin with what is there."""
    try:
        with _place(ctx).reader() as reader:
            jobs = reader.jobs(limit=200)
    except UcopError:
        return
    for job in jobs:
        if job.id.startswith(incomplete):
            yield job.id, f"{job.workflow}, {job.status}"


def complete_schedule(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Schedules whose names begin with what is there."""
    from ucop.engine.schedules.schedules import listed

    try:
        with _place(ctx).reader() as reader:
            found = reader.ask(listed())
    except UcopError:
        return
    for schedule in found:
        if schedule.name.startswith(incomplete):
            yield schedule.name, f"{schedule.workflow}, {schedule.rule}"


def complete_workflow(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Workflows whose names begin with what is there."""
    try:
        with redirect_stdout(sys.stderr):  # the project's code may print
            listings = _place(ctx).listings()
    except UcopError:
        return
    for listing in listings:
        if listing.name.startswith(incomplete):
            yield listing.name, listing.description


def complete_agent(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Agents whose names begin with what is there."""
    try:
        with redirect_stdout(sys.stderr):
            agents = list(_place(ctx).registry)
    except UcopError:
        return
    for agent in agents:
        if agent.name.startswith(incomplete):
            yield agent.name, agent.description


def _place(ctx: typer.Context) -> Place:
    from ..view.place import Place

    given = ctx.obj if isinstance(ctx.obj, Place) else Place()
    before = ctx.find_root().params  # `ucop` itself is not run
    return Place(
        project=given.project or before.get("project"),
        database=given.database or before.get("database"),
    )

"""What the shell offers after a Tab: job ids, workflows and agents of this project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from ucop.engine.errors import UcopError

if TYPE_CHECKING:
    from ..view.place import Place


Offers = Iterator[tuple[str, str]]
"""What may be typed, and a description of it."""


def _offer(offers: Callable[[Place], Offers]) -> Callable[[typer.Context, str], Offers]:
    """What begins like the incomplete word. A completion is silent where a command would report
    an error."""

    def complete(ctx: typer.Context, incomplete: str) -> Offers:
        try:
            with redirect_stdout(sys.stderr):  # the project's code may print
                found = list(offers(_place(ctx)))
        except UcopError:
            return iter(())
        return ((name, text) for name, text in found if name.startswith(incomplete))

    return complete


@_offer
def complete_job(place: Place) -> Offers:
    """The newest jobs."""
    with place.reader() as reader:
        jobs = reader.jobs(limit=200)
    return ((job.id, f"{job.workflow}, {job.status}") for job in jobs)


@_offer
def complete_schedule(place: Place) -> Offers:
    from ucop.engine.schedules.schedules import listed

    return ((each.name, f"{each.workflow}, {each.rule}") for each in place.read(listed()))


@_offer
def complete_workflow(place: Place) -> Offers:
    return ((listing.name, listing.description) for listing in place.listings())


@_offer
def complete_agent(place: Place) -> Offers:
    return ((agent.name, agent.description) for agent in place.registry)


def _place(ctx: typer.Context) -> Place:
    from ..view.place import Place

    given = ctx.obj if isinstance(ctx.obj, Place) else Place()
    before = ctx.find_root().params  # `ucop` itself is not run
    return Place(
        project=given.project or before.get("project"),
        database=given.database or before.get("database"),
    )

"""`ucop webhooks`: who is told of events, what was delivered, and what is to be sent again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ucop.engine.events.webhooks import DeliveryStatus

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json, put_records
from ...view.place import place_of
from ...view.records import address, webhook_record
from ...view.tables import Table, duration, first_line, moment, plural
from .. import options

if TYPE_CHECKING:
    pass

T = TypeVar("T")


Counts = dict[tuple[str, DeliveryStatus], int]
"""Deliveries by webhook and status."""

Named = Annotated[
    str | None,
    typer.Option("--webhook", metavar="NAME", help="Only deliveries of this webhook."),
]


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List the project's webhooks, and how many deliveries each has."""
    from ucop.engine.events.webhooks import counted

    place = place_of(ctx)
    known = place.settings.webhooks
    none: Counts = {}
    counts = place.ask(lambda reader: reader.ask(counted()), none)
    if json:
        put_json([webhook_record(name, webhook, counts) for name, webhook in known.items()])
        return
    if not known:
        note("no webhooks; [webhooks.NAME] in ucop.toml names one")
    titles = ("name", "address", "types", "workflows", "secret")
    numbers = [status.value for status in DeliveryStatus]
    table = Table(*titles, *numbers, numbers=numbers)
    for name, webhook in known.items():
        data = webhook_record(name, webhook, counts)
        table.add(
            name,
            data["address"],
            " ".join(webhook.types),
            " ".join(webhook.workflows),
            "set" if data["secret_is_here"] else f"{webhook.secret_env} is not set here",
            *(str(data[title]) for title in numbers),
        )
    table.show()


def deliveries(
    ctx: typer.Context,
    webhook: Named = None,
    status: Annotated[
        DeliveryStatus | None,
        typer.Option(help="Only deliveries of this status."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N.")] = 50,
    json: options.Json = False,
) -> None:
    """List deliveries, newest first."""
    from ucop.engine.events.webhooks import listed

    place, now = place_of(ctx), datetime.now(UTC)
    found = place.read(listed(webhook, status, limit))
    if json:
        put_records(found)
        return
    if not found:
        note("no matching deliveries")
    titles = ("id", "webhook", "type", "status", "tries", "created")
    table = Table(*titles, "error", numbers=["tries"], status=["status"], long=["error"])
    for one in found:
        told = (one.id, one.webhook, one.type, one.status.value, str(one.tries))
        table.add(*told, moment(one.created_at, now), first_line(one.error))
    table.show()


def retry(
    ctx: typer.Context,
    id: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids of deliveries."),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead deliveries.")] = False,
    webhook: Named = None,
    json: options.Json = False,
) -> None:
    """Send deliveries again, with their old ids. Workers send them."""
    from ucop.engine.events.webhooks import again, again_dead

    if bool(id) == dead:
        raise UsageProblem("name deliveries by their ids, or all that were given up by --dead")
    place = place_of(ctx)
    number = place.write(lambda: again(id, webhook) if id else again_dead(webhook))
    if json:
        put_json({"queued": number})
    else:
        note(f"{plural(number, 'message')} queued again; a worker sends what is queued")


def send_one(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A webhook of the project's file.")],
    json: options.Json = False,
) -> None:
    """Send a signed test message now and print the response. Nothing is stored."""
    import asyncio

    from ucop.engine.events.webhook_sender import send_test

    place = place_of(ctx)
    known = place.settings.webhooks
    if name not in known:
        there = f"there is {', '.join(known)}" if known else "the project's file names none"
        raise UsageProblem(f"no webhook {name!r}; {there}")
    began = time.monotonic()
    id, answer = asyncio.run(send_test(known[name]))
    seconds = time.monotonic() - began
    if json:
        told = {"webhook": name, "id": id, "status": answer.status, "error": answer.error}
        put_json({**told, "seconds": round(seconds, 3)})
    elif answer.error is None:
        put(f"answered {answer.status} after {duration(seconds)}")
    else:
        note(f"message {id} did not arrive at {address(known[name].url)}: {answer.error}")
    raise typer.Exit(Exit.OK if answer.error is None else Exit.FAILED)

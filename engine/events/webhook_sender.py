"""Sends the deliveries of one webhook: signed, one worker at a time, again until they arrive."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ucop.agents.providers.retry import parse_retry_after

from ..errors import DatabaseError, InvalidSettings
from ..faults import fault
from . import webhooks
from .listeners import LOOK_AGAIN, Listener, Post
from .subscriptions import Page, Wanted
from .webhook_signing import Signer, signer_of

if TYPE_CHECKING:
    import httpx

    from ..database.database import Database
    from ..declared.webhook import Webhook
    from ..ledger.operation import Operation
    from .webhooks import Delivery

log = logging.getLogger("ucop.webhooks")

AT_ONCE = 10
"""Deliveries, of different jobs, that are under way at the same time."""

TIDY = 3600.0
"""Seconds between two deletions of what was delivered long ago."""

LONGEST_WAIT = 86_400.0
"""Seconds: a receiver's `Retry-After` counts up to here."""

GONE = 410
"""The answer by which a receiver wants no more of this."""


class Courier(Listener):
    """Tells one webhook of events."""

    def __init__(self, name: str, webhook: Webhook, signer: Signer, post: Post) -> None:
        asked = Wanted(types=webhook.types, workflows=webhook.workflows)
        super().__init__(webhooks.listener(name), post, asked)
        self._webhook_name, self._webhook, self._signer = name, webhook, signer
        self._client: httpx.AsyncClient | None = None
        self._tidied = 0.0

    async def serve(self, found: Page) -> float:
        name, post = self._webhook_name, self._post
        if found.events:
            kept = await post.database.write(
                lambda: webhooks.collect(
                    name,
                    post.worker,
                    found.events,
                    found.workflows,
                    found.position,
                )
            )
            if not kept:
                return 0.0  # another worker has it
        await self._tidy()
        due = await post.database.read(lambda: webhooks.due(name, AT_ONCE))
        if due:
            await asyncio.gather(*(self._deliver(delivery) for delivery in due))
            return 0.0
        pause = await post.database.read(lambda: webhooks.pause(name))
        return LOOK_AGAIN if pause is None else pause

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _deliver(self, delivery: Delivery) -> None:
        answer = await self._send(delivery)
        error, after = answer.error, answer.wait
        fault("after sending")
        database = self._post.database
        if error is None:
            return await database.write(lambda: webhooks.delivered(delivery))
        pause = None if after is None else self._webhook.pause(delivery.tries + 1)
        if pause is not None and after is not None:
            pause = max(pause, after)
        what = "given up" if pause is None else f"again in {pause:g} s"
        log.warning(
            "webhook %s: %s was not delivered (%s); %s",
            *(self._webhook_name, delivery.id, error, what),
        )
        return await database.write(lambda: webhooks.failed(delivery, error, pause))

    async def _send(self, delivery: Delivery) -> Answer:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        return await send(
            self._client, self._webhook, self._signer, id=delivery.id, body=delivery.body
        )

    async def _tidy(self) -> None:
        if time.monotonic() - self._tidied < TIDY:
            return
        self._tidied = time.monotonic()
        name = self._webhook_name
        await self._post.database.write(lambda: webhooks.forget(name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of a message."""

    status: int | None = None
    """The HTTP status; None where there was no answer."""
    error: str | None = None
    """Why it did not arrive, where it did not."""
    wait: float | None = 0.0
    """Seconds for which the receiver wants to be left alone; None: for ever."""


async def send(
    client: httpx.AsyncClient, webhook: Webhook, signer: Signer, *, id: str, body: str
) -> Answer:
    """Send a message, signed, once."""
    import httpx

    timeout = webhook.timeout
    try:
        # The time of a try counts as a whole, not from byte to byte; the answer's body does
        # not matter, and is not read.
        async with asyncio.timeout(timeout):
            async with client.stream(
                "POST",
                webhook.url,
                content=body.encode(),
                headers=signer.headers(id, body),
                timeout=timeout,
            ) as answer:
                return _verdict(answer.status_code, answer.headers.get("retry-after"))
    except (TimeoutError, httpx.TimeoutException):
        return Answer(error=f"no answer within {timeout:g} s")
    except (httpx.HTTPError, OSError) as error:
        return Answer(error=f"{type(error).__name__}: {error}")


def _verdict(status: int, retry_after: str | None) -> Answer:
    if 200 <= status < 300:
        return Answer(status=status)
    said = f"answered {status}"
    if status == GONE:
        return Answer(status=status, error=f"{said}: it wants no more of this", wait=None)
    if 300 <= status < 400:
        return Answer(status=status, error=f"{said}: redirects are not followed")
    wait = parse_retry_after(retry_after) or 0.0
    return Answer(status=status, error=said, wait=min(wait, LONGEST_WAIT))


async def send_test(webhook: Webhook) -> tuple[str, Answer]:
    """Send a message that tells of nothing; returns its id as well. Raises InvalidSettings where
    the secret is not here."""
    import httpx

    signer = signer_of(webhook)
    id = f"test_{uuid.uuid4().hex}"
    body = webhooks.test_body(datetime.now(UTC))
    async with httpx.AsyncClient(follow_redirects=False) as client:
        return id, await send(client, webhook, signer, id=id, body=body)


def couriers(webhooks: Mapping[str, Webhook], post: Post) -> list[Courier]:
    """One for each webhook whose secret is here. This worker leaves the deliveries of the others
    to others, and the log says so."""
    found = []
    for name, webhook in webhooks.items():
        try:
            found.append(Courier(name, webhook, signer_of(webhook), post))
        except InvalidSettings as error:
            log.warning("webhook %s: %s; this worker delivers nothing to it", name, error)
    return found


async def delivered(
    database: Database, hooks: Mapping[str, Webhook], job: str, *, timeout: float, pause: float
) -> bool:
    """Wait until the webhooks whose secrets are here were told all that happened to a job. False
    where that takes too long, in seconds; `pause` is the time between two looks."""
    try:
        async with asyncio.timeout(timeout):
            for name, webhook in hooks.items():
                with suppress(InvalidSettings):
                    signer_of(webhook)
                    await _told(database, name, webhook, job, pause)
    except (TimeoutError, DatabaseError):
        return False
    return True


async def _told(database: Database, name: str, webhook: Webhook, job: str, pause: float) -> None:
    def look() -> Operation[bool]:
        return webhooks.outstanding(name, webhook, job)

    # Also another process may be the one that tells it.
    while await database.read(look):  # noqa: ASYNC110
        await asyncio.sleep(pause)

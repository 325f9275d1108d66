"""Sends the deliveries of one webhook: signed, one worker at a time, again until they arrive."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ucop.engine import webhooks
from ucop.engine.faults import fault
from ucop.engine.listeners import LOOK_AGAIN, Listener, Post
from ucop.engine.subscriptions import Page, Wanted

if TYPE_CHECKING:
    import httpx

    from ucop.engine.webhooks import Delivery, Webhook

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

    def __init__(self, name: str, webhook: Webhook, signer: Any, post: Post) -> None:
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
                    post.clock(),
                )
            )
            if not kept:
                return 0.0  # another worker has it
        await self._tidy()
        due = await post.database.read(lambda: webhooks.due(name, AT_ONCE, post.clock()))
        if due:
            await asyncio.gather(*(self._deliver(delivery) for delivery in due))
            return 0.0
        pause = await post.database.read(lambda: webhooks.pause(name, post.clock()))
        return LOOK_AGAIN if pause is None else pause

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _deliver(self, delivery: Delivery) -> None:
        error, after = await self._send(delivery)
        fault("after sending")
        database, clock = self._post.database, self._post.clock
        if error is None:
            return await database.write(lambda: webhooks.delivered(delivery, clock()))
        pause = None if after is None else self._webhook.pause(delivery.tries + 1)
        if pause is not None and after is not None:
            pause = max(pause, after)
        what = "given up" if pause is None else f"again in {pause:g} s"
        log.warning(
            "webhook %s: %s was not delivered (%s); %s",
            *(self._webhook_name, delivery.id, error, what),
        )
        return await database.write(lambda: webhooks.failed(delivery, error, pause, clock()))

    async def _send(self, delivery: Delivery) -> tuple[str | None, float | None]:
        """Why it did not arrive (None: it did), and for how many seconds the receiver wants to
        be left alone (None: for ever)."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        timeout = self._webhook.timeout
        try:
            # The time of a try counts as a whole, not from byte to byte; the answer's body does
            # not matter, and is not read.
            async with asyncio.timeout(timeout):
                async with self._client.stream(
                    "POST",
                    self._webhook.url,
                    content=delivery.body.encode(),
                    headers=self._headers(delivery),
                    timeout=timeout,
                ) as answer:
                    return _verdict(answer.status_code, answer.headers.get("retry-after"))
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {timeout:g} s", 0.0
        except (httpx.HTTPError, OSError) as error:
            return f"{type(error).__name__}: {error}", 0.0

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        now = datetime.now(UTC)
        signature = self._signer.sign(msg_id=delivery.id, timestamp=now, data=delivery.body)
        return {
            "content-type": "application/json",
            "user-agent": "ucop",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }

    async def _tidy(self) -> None:
        if time.monotonic() - self._tidied < TIDY:
            return
        self._tidied = time.monotonic()
        name, clock = self._webhook_name, self._post.clock
        await self._post.database.write(lambda: webhooks.forget(name, clock()))


def _verdict(status: int, retry_after: str | None) -> tuple[str | None, float | None]:
    if 200 <= status < 300:
        return None, 0.0
    if status == GONE:
        return f"answered {status}: it wants no more of this", None
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed", 0.0
    wait = retry_after.strip() if retry_after else ""
    return f"answered {status}", min(float(wait), LONGEST_WAIT) if wait.isdecimal() else 0.0


def couriers(webhooks: Mapping[str, Webhook], post: Post) -> list[Courier]:
    """One for each webhook whose secret is here."""
    signers = {name: signer_of(name, webhook) for name, webhook in webhooks.items()}
    return [
        Courier(name, webhooks[name], signer, post)
        for name, signer in signers.items()
        if signer is not None
    ]


def signer_of(name: str, webhook: Webhook) -> Any:
    """What signs for a webhook; None where its secret is not there, and the log says so. Then
    this worker leaves its deliveries to others."""
    from standardwebhooks import Webhook as Signer
    from standardwebhooks.webhooks import EmptyWebhookSecretError

    secret = os.environ.get(webhook.secret_env, "")
    if not secret:
        log.warning(
            "webhook %s: the environment variable %s is not set here; this worker delivers "
            "nothing to it",
            *(name, webhook.secret_env),
        )
        return None
    try:
        return Signer(secret)
    except (ValueError, EmptyWebhookSecretError):  # what it says may show the secret
        log.error(
            "webhook %s: the secret in %s is not one: whsec_ and base64; this worker delivers "
            "nothing to it",
            *(name, webhook.secret_env),
        )
        return None

"""Subscribers of other packages: the entry-point group `ucop.subscribers`.

An entry point names a function, or a class that is made without arguments and can be called. It is
called with each event of every job, in one worker at a time, on a thread of its own. `types` and
`workflows`, where it has them, say which events it wants. What was handed over is noted in the
ledger now and then: after a crash the newest events come again, and none is left out.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points

from ..jobs.job import Event
from .listeners import LOOK_AGAIN, Listener, Post, reached
from .subscriptions import Page, Wanted, hand_over, is_awaited, wanted

log = logging.getLogger("ucop.events")

GROUP = "ucop.subscribers"

NOTED_EVERY = 1.0
"""Seconds after which it is noted how far a subscriber is, also within a page."""


class Plugin(Listener):
    """One subscriber of another package."""

    def __init__(
        self, name: str, subscriber: Callable[[Event], object], asked: Wanted, post: Post
    ) -> None:
        super().__init__(f"plugin:{name}", post, asked)
        self._subscriber = subscriber

    async def serve(self, found: Page) -> float:
        noted = time.monotonic()
        for event in found.events:
            await asyncio.to_thread(hand_over, self._subscriber, event)
            if time.monotonic() - noted > NOTED_EVERY:
                if not await self._note(event.position):
                    return 0.0  # it took so long that another worker has it
                noted = time.monotonic()
        if found.events:
            await self._note(found.position)
        return LOOK_AGAIN

    async def _note(self, position: int) -> bool:
        """Note how far it is, and hold it for another lease."""
        post, name = self._post, self.name
        await post.database.write(lambda: reached(name, post.worker, position))
        self._reach = position
        return await self._hold()


def plugins(post: Post) -> list[Plugin]:
    """One for each entry point that can be used; the log tells of the others."""
    return [
        Plugin(entry_point.name, subscriber, asked, post)
        for entry_point in entry_points(group=GROUP)
        for subscriber, asked in _load(entry_point)
    ]


def _load(entry_point: EntryPoint) -> Iterator[tuple[Callable[[Event], object], Wanted]]:
    try:
        found = entry_point.load()
        subscriber = found() if inspect.isclass(found) else found
        if not callable(subscriber) or is_awaited(subscriber):
            raise TypeError("must be a plain function, or a class whose objects can be called")
        asked = wanted(
            getattr(subscriber, "types", None), None, getattr(subscriber, "workflows", None)
        )
    except BaseException:  # a package that is broken, or exits, takes nobody's worker down
        log.exception(
            "the subscriber %r (%s) cannot be used, and hears of nothing",
            *(entry_point.name, entry_point.value),
        )
        return
    yield subscriber, asked

"""The one loop of background duties goes on, whatever is raised in it, and ends when it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from ucop.engine.errors import DatabaseError
from ucop.engine.loop.duty import repeat

log = logging.getLogger("ucop.test")


class Looks:
    """Raises what it is given, one after the other, and then asks to be cancelled."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.slept: list[float] = []
        self.done = asyncio.Event()

    async def look(self) -> float:
        if not self.errors:
            self.done.set()
            return 0.5
        raise self.errors.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def run(looks: Looks) -> None:
    task = asyncio.create_task(
        repeat(looks.look, name="the duty", log=log, again=7.0, sleep=looks.sleep)
    )
    async with asyncio.timeout(10):
        await looks.done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "error",
    [lambda: DatabaseError("the disk is full"), lambda: ValueError("odd"), lambda: GeneratorExit()],
    ids=["database", "bug", "generator"],
)
async def test_what_is_raised_is_logged_and_followed_by_a_pause(
    error: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(error())
    await run(looks)
    assert looks.slept[:2] == [7.0, 0.5]
    assert [record.message for record in caplog.records if "the duty" in record.message]


async def test_a_cancelled_error_that_nobody_asked_for_does_not_end_it() -> None:
    looks = Looks(asyncio.CancelledError("raised by code"))
    await run(looks)
    assert looks.slept[:2] == [7.0, 0.5]

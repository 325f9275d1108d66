"""The engine's own loop: whoever waits for it is told when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ucop.engine.errors import EngineClosed
from ucop.engine.loop import LoopThread

DEADLINE = 30.0


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    """`call` on a thread of its own, and what it raises."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, raised


def test_who_waits_when_the_loop_ends_is_told() -> None:
    loop, begun = LoopThread("test"), threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(3600)

    thread, raised = in_thread(lambda: loop.call(work()))
    assert begun.wait(DEADLINE)
    loop.stop()
    thread.join(DEADLINE)
    assert [type(error) for error in raised] == [EngineClosed]


def test_who_comes_while_the_loop_ends_is_told() -> None:
    loop = LoopThread("test")
    begun, ending, gate = threading.Event(), threading.Event(), threading.Event()

    async def lingers() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        ending.set()
        while not gate.is_set():
            await asyncio.sleep(0.01)

    first, _ = in_thread(lambda: loop.call(lingers()))
    assert begun.wait(DEADLINE)
    stopping, _ = in_thread(loop.stop)
    assert ending.wait(DEADLINE)
    with pytest.raises(EngineClosed):
        loop.call(asyncio.sleep(3600), timeout=DEADLINE)
    gate.set()
    first.join(DEADLINE)
    stopping.join(DEADLINE)
    assert not first.is_alive()
    assert not stopping.is_alive()


def test_nobody_who_comes_at_the_end_waits_for_ever() -> None:
    for _ in range(100):
        loop = LoopThread("test")

        def again(loop: LoopThread = loop) -> None:
            while True:
                loop.call(asyncio.sleep(0))

        callers = [in_thread(again) for _ in range(4)]
        loop.stop()
        for thread, raised in callers:
            thread.join(DEADLINE)
            assert [type(error) for error in raised] == [EngineClosed]

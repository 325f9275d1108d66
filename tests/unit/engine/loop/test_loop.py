"""The engine's own loop: whoever waits for it is told when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ucop.console.cli.commands.worker import _wait_until_lost
from ucop.engine import Engine, Settings
from ucop.engine.errors import EngineClosed
from ucop.engine.loop.loop import LoopThread

DEADLINE = 30.0


class Heard(BaseException):
    """What the handler of a signal raises, as that of Ctrl-C does."""


@pytest.fixture
def signalled() -> Iterator[Callable[[], None]]:
    """Sends this process a signal that another thread takes, so that it does not wake the main one:
    as when it comes just before that one begins to wait."""

    def hear(*_: object) -> None:
        raise Heard

    number = signal.SIGUSR1
    before = signal.signal(number, hear)
    taker = threading.Event()
    other = threading.Thread(target=taker.wait)
    other.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    yield lambda: threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.signal(number, before)
    taker.set()
    other.join()


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


def test_a_signal_that_does_not_wake_the_main_thread_is_heard_all_the_same(
    signalled: Callable[[], None],
) -> None:
    loop, ended = LoopThread("test"), list[bool]()

    async def work() -> None:
        await asyncio.sleep(DEADLINE)
        ended.append(True)

    signalled()
    with pytest.raises(Heard):
        loop.call(work())
    assert not ended
    loop.stop()


def test_a_wait_ends_with_its_time_and_with_what_the_work_raises() -> None:
    loop = LoopThread("test")

    async def late() -> None:
        await asyncio.sleep(0.5)
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        loop.call(late())
    with pytest.raises(TimeoutError) as caught:
        loop.call(asyncio.sleep(DEADLINE), timeout=0.3)
    assert not caught.value.args
    loop.stop()


def test_a_worker_hears_a_signal_that_does_not_wake_it(
    signalled: Callable[[], None], tmp_path: Path
) -> None:
    settings = Settings.load(tmp_path, database=f"sqlite:///{tmp_path}/ucop.db", embedded=False)
    with Engine(settings=settings) as engine:
        # Told in the end, so that a worker that hears nothing fails this test and hangs not.
        late = threading.Timer(DEADLINE, lambda: engine.on_lost and engine.on_lost("late"))
        late.start()
        signalled()
        with pytest.raises(Heard):
            _wait_until_lost(engine)
        assert late.is_alive()
        late.cancel()

"""The engine's own thread with its own event loop.

Savers, pools and running jobs live there and nowhere else; callers on other threads, or on
other loops (Jupyter, FastAPI), hand their work over and wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ucop.engine.errors import EngineClosed

T = TypeVar("T")

CLOSED = "the engine is closed; open a new one. A job that was not done goes on where a worker runs"

LAST_WORDS = 5.0
"""Seconds that what is left on the loop gets to end, once it was cancelled."""

PULSE = 0.2
"""Seconds after which the main thread looks up from waiting; see `_result`."""


class BlockingCalls(ThreadPoolExecutor):
    """Gives each blocking call, such as a synchronous node, a daemon thread of its own.

    A pool's few threads would make slow nodes wait for each other, and both the loop's end and
    Python's exit wait for a pool's threads: one node that hangs would keep the process.
    """

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - carried over to who waits
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="ucop-blocking", daemon=True).start()
        return future


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one: see docs/decisions/uvloop.md."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


class LoopThread:
    """Starts on construction; `stop` ends it."""

    def __init__(self, name: str) -> None:
        self._loop = _new_loop()
        self._ends = False
        self._asked: set[Future[Any]] = set()
        """What others wait for."""
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_default_executor(BlockingCalls())
        try:
            self._loop.run_forever()
        finally:
            with self._asking:
                self._ends = True
            self._loop.run_until_complete(self._end())
            for future in list(self._asked):
                future.cancel()
            self._loop.close()

    async def _end(self) -> None:
        """Nobody may wait for ever for a loop that has ended."""
        await asyncio.sleep(0)  # what was handed over last begins
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LAST_WORDS)
        await self._loop.shutdown_asyncgens()

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run on the loop and wait for the result, from any other thread."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "a node must not wait for its own engine: use the method's a… twin, and await it"
            )
        future = self._submit(work)
        try:
            return _result(future, timeout)
        except CancelledError:
            raise EngineClosed(CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and await the result, from any loop."""
        try:
            return await asyncio.wrap_future(self._submit(work))
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or not me.cancelling():  # the engine's loop ended, not the caller
                raise EngineClosed(CLOSED) from None
            raise

    def soon(self, tell: Callable[[], None]) -> None:
        """Have something called on the loop, from any thread. A loop that has ended calls nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._asking:
            if self._ends:
                work.close()
                raise EngineClosed(CLOSED)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future


def _result(future: Future[T], timeout: float | None) -> T:
    """What the future gives. Python runs the handlers of signals on its main thread, between two
    steps of it: a signal that comes just before a wait, or that another thread receives, would be
    heard only after it, and Ctrl-C be lost. So that thread waits in pieces."""
    if threading.current_thread() is not threading.main_thread():
        return future.result(timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = PULSE if end is None else min(PULSE, max(0.0, end - time.monotonic()))
        try:
            return future.result(left)
        except TimeoutError:
            if future.done():  # it may have raised the same
                return future.result()
            if end is not None and time.monotonic() >= end:
                raise

"""The engine's own thread with its own event loop.

Savers, pools and running jobs live there and nowhere else; callers on other threads, or on
other loops (Jupyter, FastAPI), hand their work over and wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import CodeType
from typing import Any, TypeVar

from ucop.agents.text.raised import escaped, text_of, type_of

from ..errors import EngineClosed
from .at_work import AtWork, at_work

log = logging.getLogger("ucop.engine")

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
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - carried over
                future.set_exception(error)
            except BaseException as error:  # noqa: BLE001 - it must not get to the loop as it is
                future.set_exception(escaped(error))
            else:
                future.set_result(result)

        threading.Thread(target=work, name="ucop-blocking", daemon=True).start()
        return future


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, if there is one: see docs/decisions/uvloop.md."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


class LoopThread:
    """Starts on construction; `stop` ends it, and nothing else should.

    Code that runs on it may raise SystemExit, or stop the loop that it finds running; then the loop
    goes on. `on_end` is called, on its thread, if it cannot go on.
    """

    def __init__(self, name: str, on_end: Callable[[str], None] = lambda why: None) -> None:
        self._loop = _new_loop()
        self._on_end = on_end
        self._stopping = False
        self._ends = False
        self._asked: set[Future[Any]] = set()
        """What others wait for."""
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_task_factory(_contained_task)
        self._loop.set_default_executor(BlockingCalls())
        broken = self._run_until_stopped()
        with self._asking:
            self._ends = True
        if broken is not None:
            log.critical("the engine's loop cannot go on", exc_info=broken)
            self._on_end(f"the engine's loop ended: {type_of(broken)}: {text_of(broken)}")
        try:
            if broken is None:
                self._loop.run_until_complete(self._end())
        finally:
            for future in list(self._asked):
                future.cancel()
            with contextlib.suppress(Exception):
                self._loop.close()

    def _run_until_stopped(self) -> Exception | None:
        """Run the loop until `stop`; returns what broke it, if something did."""
        while not self._stopping:
            try:
                self._loop.run_forever()
                if not self._stopping:
                    log.error("code on the engine's loop stopped it; it goes on")
            except Exception as error:  # noqa: BLE001 - told by the caller
                return error
            except BaseException:  # a callback's: tasks keep what they raise
                log.exception("code on the engine's loop tried to end it; it goes on")
        return None

    async def _end(self) -> None:
        """Nobody may wait forever for a loop that has ended."""
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

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Run on the loop, from any thread, and wait for nothing. Raises EngineClosed."""
        self._submit(work)

    def soon(self, tell: Callable[[], None]) -> None:
        """Have something called on the loop, from any thread. A loop that has ended calls nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell)

    def answers(self, seconds: float) -> bool:
        """Whether the loop does something within so many seconds: code may block it."""
        heard = threading.Event()
        if self._ends:
            return False
        self.soon(heard.set)
        return heard.wait(seconds)

    def stop(self) -> None:
        self._stopping = True
        if not self._ends:
            with contextlib.suppress(RuntimeError):  # it ends now
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


class Contained(Coroutine[Any, Any, T]):
    """A task's code, which cannot end the loop: it may be a project's. In all else it is as it was."""

    __slots__ = ("_work", "at_work")

    def __init__(self, work: Coroutine[Any, Any, T], at_work: AtWork | None = None) -> None:
        self._work = work
        self.at_work = at_work
        """The node that it belongs to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    def __await__(self) -> Generator[Any, None, T]:
        return (yield from self._work.__await__())

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            raise escaped(error) from error

    def throw(self, *raised: Any) -> Any:
        try:
            return self._work.throw(*raised)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            raise escaped(error) from error

    def close(self) -> None:
        self._work.close()


SAFE: set[CodeType] = set()
"""The code of coroutines that let nothing escape which ends a loop. LangGraph makes tasks of these by
the dozen in each run, and to contain one costs more than to start it."""


def _contained_task(
    loop: asyncio.AbstractEventLoop, work: Any, **options: Any
) -> asyncio.Task[Any]:
    context = options.get("context")
    node = at_work.get() if context is None else context.get(at_work)
    if node is None and getattr(work, "cr_code", None) in SAFE:
        return asyncio.Task(work, loop=loop, **options)
    return asyncio.Task(Contained(work, node), loop=loop, **options)


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

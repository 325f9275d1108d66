"""A method that waits and its `a…` twin that is awaited, written once.

    class JobHandle:
        @waited
        async def result(self) -> Any:
            '''Wait for the output.'''
            return output(await on_loop(self._loop, self._rest()))

        aresult = awaited(result)

The body awaits nothing but steps: what runs on the engine's loop (`on_loop`) and what blocks
(`aside`). `result` waits for each step in the caller's thread, `aresult` awaits it on the
caller's loop. Why so: docs/decisions/twins.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from .loop import LoopThread

P = ParamSpec("P")
T = TypeVar("T")


class Waitable(Generic[T]):
    """Something that a twin waits for, and the other awaits."""

    __slots__ = ("begin", "wait")

    def __init__(self, wait: Callable[[], T], begin: Callable[[], Awaitable[T]]) -> None:
        self.wait, self.begin = wait, begin

    def __await__(self) -> Generator[Any, Any, T]:
        result: T = yield self
        return result


class Body(Generic[T]):
    """The body of a method, which goes from step to step."""

    value: Any = None
    """What the last step gave; at the end, what the method returns."""
    error: BaseException | None = None
    """What the last step raised."""

    def __init__(self, steps: Coroutine[Waitable[Any], Any, T]) -> None:
        self._steps = steps

    def next(self) -> Waitable[Any] | None:
        """The next step; None at the end."""
        try:
            if self.error is None:
                return self._steps.send(self.value)
            return self._steps.throw(self._raised())
        except StopIteration as end:
            self.value = end.value
            return None

    def _raised(self) -> BaseException:
        """The error, which is not kept: its traceback would keep it, and this with it."""
        error, self.error = self.error, None
        assert error is not None
        return error


def on_loop(loop: LoopThread, work: Coroutine[Any, Any, T]) -> Waitable[T]:
    """Run on the engine's loop."""
    return Waitable(partial(loop.call, work), partial(loop.acall, work))


def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Waitable[T]:
    """Call what blocks: in the caller's own thread, or beside the caller's loop."""
    bound = partial(call, *args, **kwargs)
    return Waitable(bound, partial(asyncio.to_thread, bound))


def waited(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The method that waits."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        body = Body(method(*args, **kwargs))
        while (step := body.next()) is not None:
            try:
                body.value = step.wait()
            except BaseException as error:  # noqa: BLE001 - raised again, where the body awaits
                body.error = error
        result: T = body.value
        return result

    return call


def awaited(method: Callable[P, T], name: str | None = None) -> Callable[P, Coroutine[Any, Any, T]]:
    """The twin of a `waited` method, to be awaited; its name is the method's with an `a` before it,
    unless `name` is another."""
    original: Callable[P, Coroutine[Any, Any, T]] = method.__wrapped__  # type: ignore[attr-defined]

    @wraps(original)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        body = Body(original(*args, **kwargs))
        while (step := body.next()) is not None:
            try:
                body.value = await step.begin()
            except BaseException as error:  # noqa: BLE001 - raised again, where the body awaits
                body.error = error
        result: T = body.value
        return result

    call.__name__ = name or f"a{original.__name__}"
    call.__qualname__ = original.__qualname__.replace(original.__name__, call.__name__)
    call.__doc__ = f"`{original.__name__}`, awaited."
    return call

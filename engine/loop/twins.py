"""A method that waits and its `a…` twin that is awaited, written once.

    class JobHandle:
        @waited
        async def result(self) -> Any:
            '''Wait for the output.'''
            return output(await on_loop(self._loop, self._rest()))

        aresult = awaited(result)

The body awaits nothing but what runs on the engine's loop (`on_loop`) and what blocks (`aside`).
`result` waits for it in the caller's thread, `aresult` awaits it on the caller's loop. Why so:
docs/decisions/twins.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial, wraps
from types import coroutine
from typing import Any, ParamSpec, TypeAlias, TypeVar

from .loop import LoopThread

P = ParamSpec("P")
T = TypeVar("T")

Step: TypeAlias = tuple[Callable[[], T], Callable[[], Awaitable[T]]]
"""What a body awaits: how to wait for it, and how to await it."""


@coroutine
def on_loop(loop: LoopThread, work: Coroutine[Any, Any, T]) -> Generator[Step[T], T, T]:
    """Run on the engine's loop."""
    return (yield partial(loop.call, work), partial(loop.acall, work))


@coroutine
def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Generator[Step[T], T, T]:
    """Call what blocks: in the caller's own thread, or beside the caller's loop."""
    return (yield partial(call, *args, **kwargs), partial(asyncio.to_thread, call, *args, **kwargs))


def waited(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The method that waits."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        body = method(*args, **kwargs)
        go_on: Callable[[Any], Step[Any]] = body.send
        given: Any = None
        while True:
            try:
                wait, _ = go_on(given)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                given = None  # an error's traceback leads here, and would keep the error
            try:
                go_on, given = body.send, wait()
            except BaseException as error:  # noqa: BLE001 - raised again, where the body awaits
                go_on, given = body.throw, error

    return call


def awaited(method: Callable[P, T], name: str | None = None) -> Callable[P, Coroutine[Any, Any, T]]:
    """The twin of a `waited` method, to be awaited; its name is the method's with an `a` before it,
    unless `name` is another."""
    original: Callable[P, Coroutine[Any, Any, T]] = method.__wrapped__  # type: ignore[attr-defined]

    @wraps(original)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        body = original(*args, **kwargs)
        go_on: Callable[[Any], Step[Any]] = body.send
        given: Any = None
        while True:
            try:
                _, begin = go_on(given)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                given = None
            try:
                go_on, given = body.send, await begin()
            except BaseException as error:  # noqa: BLE001 - raised again, where the body awaits
                go_on, given = body.throw, error

    call.__name__ = name or f"a{original.__name__}"
    call.__qualname__ = original.__qualname__.replace(original.__name__, call.__name__)
    call.__doc__ = f"`{original.__name__}`, awaited."
    return call

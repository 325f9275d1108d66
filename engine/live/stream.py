"""A job followed live: LangGraph's stream parts, from whatever process runs it."""

from __future__ import annotations

import re
import weakref
from collections import deque
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import EngineClosed, InvalidInput
from ..ledger.live_rows import LivePage, LiveRow, Place
from ..loop.loop import CLOSED

if TYPE_CHECKING:
    from ..jobs.job import JobId
    from ..loop.loop import LoopThread
    from .readers import LiveReaders

Modes = str | Collection[str]
"""One stream mode, or several."""

Part = dict[str, Any]

DEFAULT_MODES = ("values", "updates", "messages", "custom")

_POSITION = re.compile(r"(\d{1,9})-(\d{1,9})-(\d{1,9})")


def read_modes(modes: Modes) -> frozenset[str]:
    """Raises InvalidInput for what is no stream mode."""
    from ucop.graphs.pregel.stream_modes import MODES

    given = [modes] if isinstance(modes, str) else list(modes)
    unknown = [mode for mode in given if mode not in MODES]
    if unknown or not given:
        what = f"no stream mode {unknown[0]!r}" if unknown else "no stream mode is given"
        raise InvalidInput(f"{what}; there are {', '.join(MODES)}")
    return frozenset(given)


def read_position(position: str | None) -> tuple[Place, int]:
    """The row before the position's, and the part's number in its own. Raises InvalidInput."""
    if position is None:
        return Place(), -1
    if not (found := _POSITION.fullmatch(position)):
        raise InvalidInput(
            f"{position!r} is no position of a stream; take `position` of the stream, "
            "or `id` of its last part"
        )
    attempt, n, index = map(int, found.groups())
    return Place(attempt, n - 1), index


class LiveStream:
    """Parts of a job as its graph emits them, to iterate over (also with `async for`).

    Each part is what LangGraph's `astream(version="v2", subgraphs=True)` yields, a dict with
    `type`, `ns` and `data` (of `values` also `interrupts`), and two keys more: `attempt`, the
    attempt that emitted it, and `id`, its position. Where an attempt was lost, the next one's
    parts follow, and are the truth from then on. `gap` is there, and true, where parts before this
    one are no longer kept. It ends when the job rests. Close it, or use it in a `with`, to end it
    earlier.
    """

    def __init__(
        self,
        readers: LiveReaders,
        loop: LoopThread,
        id: str,
        job: JobId,
        modes: frozenset[str],
        after: str | None,
    ) -> None:
        self._readers, self._loop, self._id, self._job, self._modes = readers, loop, id, job, modes
        self._place, self._passed = read_position(after)
        self._begin = Place(self._place.attempt, self._place.n + 1)
        """The row in which parts are passed over."""
        self._gaps: frozenset[Place] = frozenset()
        self._joined = self._closed = False
        self._rows: deque[LiveRow] = deque()
        self._parts: Iterator[Part] = iter(())
        self._ended = False
        self.position = after
        """That of the part that was handed over last; `after` of a stream that goes on from it."""
        self._leave = weakref.finalize(self, _leave, loop, readers, id)
        self._leave.atexit = False

    def __iter__(self) -> Iterator[Part]:
        return self

    def __next__(self) -> Part:
        """Waits for the next part. Raises JobNotFound where the job was deleted, DatabaseError."""
        while True:
            if (part := self._next()) is not None:
                return part
            if self._ended:
                self.close()
                raise StopIteration
            self._take(self._loop.call(self._page()))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        while True:
            if (part := self._next()) is not None:
                return part
            if self._ended:
                self.close()
                raise StopAsyncIteration
            self._take(await self._loop.acall(self._page()))

    async def join(self) -> None:
        """Begin to listen; on the engine's loop."""
        if not self._joined:
            self._joined = True
            await self._readers.join(self._id, self._job, self._modes)

    def close(self) -> None:
        """Listen no more."""
        self._ended = self._closed = True
        self._rows.clear()
        self._parts = iter(())
        self._leave()

    async def aclose(self) -> None:
        """`close`, for `contextlib.aclosing`."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _page(self) -> LivePage | None:
        await self.join()
        return await self._readers.page(self._id, self._job, self._place)

    def _take(self, page: LivePage | None) -> None:
        if self._closed:
            return
        if page is None:
            raise EngineClosed(CLOSED)
        self._ended = not page.rows
        self._gaps = _gaps(self._place, page.rows)
        self._rows.extend(page.rows)
        if page.rows:
            self._place = page.rows[-1].place

    def _next(self) -> Part | None:
        while True:
            part = next(self._parts, None)
            if part is not None:
                self.position = part["id"]
                return part
            if not self._rows:
                return None
            self._parts = self._decoded(self._rows.popleft())

    def _decoded(self, row: LiveRow) -> Iterator[Part]:
        from .batch import parts_of

        gap = row.place in self._gaps
        passed = self._passed if row.place == self._begin else -1
        for index, part in parts_of(row.body, self._modes):
            if index <= passed:
                continue
            told = {**part, "attempt": row.attempt, "id": f"{row.attempt}-{row.n}-{index}"}
            if gap:
                told["gap"], gap = True, False
            yield told


def _gaps(place: Place, rows: Collection[LiveRow]) -> frozenset[Place]:
    """Rows before which others of their attempt are missing."""
    found = set()
    for row in rows:
        if row.n != (place.n + 1 if row.attempt == place.attempt else 1):
            found.add(row.place)
        place = row.place
    return frozenset(found)


def _leave(loop: LoopThread, readers: LiveReaders, id: str) -> None:
    loop.soon(lambda: readers.leave_soon(id))


__all__ = ["DEFAULT_MODES", "LiveStream", "Modes", "Part", "read_modes", "read_position"]

"""A twin as a job of an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from tests.twins.bare import MODES, bound, history, told
from tests.twins.play import Asked, Part, Rest, Saved
from tests.twins.shape import masked
from tests.twins.twin import Again, Edit, Fork, Move, Twin
from ucop.engine import Engine, JobStatus
from ucop.engine.errors import JobFailed, RefusedChange, ResultTimeout
from ucop.engine.handle import JobHandle

LONG = 60.0
"""Seconds after which a job of the corpus counts as stuck."""


class JobSide:
    """One job, and those that are made of it."""

    def __init__(
        self, twin: Twin, engine: Engine, *, stream: bool = False, long: float = LONG
    ) -> None:
        self._twin, self._engine, self._stream, self._long = twin, engine, stream, long
        self._parts: list[Part] = []
        self.job: JobHandle | None = None
        self.threads: list[str] = []
        """The LangGraph threads of the job, and of those made of it."""

    def start(self) -> Rest:
        return self._submit(self._twin.input)

    def answer(self, question: Asked, value: Any) -> Rest:
        self._job.answer(value, question=question.id)
        return self._rest()

    def resume(self) -> Rest:
        self._job.resume()
        return self._rest()

    def retry(self) -> Rest:
        self._job.retry()
        return self._rest()

    def move(self, move: Move) -> Rest:
        match move:
            case Again(input):
                return self._submit(input, thread_id=self._job.get().thread_id)
            case Edit(replace, as_node):
                self._job.resume(replace=replace, as_node=as_node)
                return self._rest()
            case Fork(at, update, as_node):
                saved = reversed(self._job.checkpoints())
                found = next(each.id for each in saved if at in each.next)
                self.job = self._job.fork(found, update=update, as_node=as_node)
                return self._rest()

    def history(self) -> tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]:
        """As a reader of the same tables sees it, with LangGraph's own saver."""
        thread = self._job.get().thread_id

        async def read() -> tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]:
            async with saver_of(self._engine.settings.database) as saver:
                graph = bound(self._twin.build(), saver)
                return await history(graph, saver, {"configurable": {"thread_id": thread}})

        return asyncio.run(read())

    def parts(self) -> tuple[Part, ...]:
        return tuple(self._parts)

    @property
    def _job(self) -> JobHandle:
        assert self.job is not None, "nothing was submitted yet"
        return self.job

    def _submit(self, input: Any, **terms: Any) -> Rest:
        if self._twin.context is not None:
            terms["context"] = self._twin.context
        if self._twin.config:
            terms["config"] = self._twin.config
        if self._stream:
            terms["stream"] = MODES
        self.job = self._engine.submit(self._twin.name, input, **terms)
        rest = self._rest()
        if self._stream:
            self._parts = [told(part) for part in self.job.stream(MODES)]
            self._stream = False  # what follows the first rest is not compared
        return rest

    def _rest(self) -> Rest:
        job = self._job
        self.threads.append(job.get().thread_id)
        try:
            status = job.wait(self._long)
        except ResultTimeout:
            with suppress(RefusedChange):
                job.cancel()
            return Rest("stuck")
        match status:
            case JobStatus.COMPLETED:
                return Rest("completed", result=job.result())
            case JobStatus.WAITING:
                asked = (Asked(q.id, q.node, q.question) for q in job.questions())
                return Rest("waiting", questions=tuple(asked))
            case JobStatus.FAILED:
                return Rest("failed", error=_error(job))
        return Rest(status.value)


def _error(job: JobHandle) -> tuple[str, str]:
    try:
        job.result()
    except JobFailed:
        error = job.get().error
        assert error is not None
        return (error.type, masked(error.message))
    raise AssertionError(f"{job} has failed and has a result")


@asynccontextmanager
async def saver_of(url: str) -> Any:
    """LangGraph's own saver on an engine's tables."""
    serde = JsonPlusSerializer(allowed_msgpack_modules=True)
    if url.startswith("sqlite"):
        async with AsyncSqliteSaver.from_conn_string(url.removeprefix("sqlite:///")) as saver:
            saver.serde = serde
            yield saver
    else:
        async with AsyncPostgresSaver.from_conn_string(url, serde=serde) as saver:
            yield saver


def know(engine: Engine, twins: Iterable[Twin]) -> None:
    """Let an engine know graphs of the corpus, under their names."""
    for twin in twins:
        engine.add(twin.name, twin.build)

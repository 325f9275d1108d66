"""What agents remember beyond one job: LangGraph's store, a part of it for each agent.

A value is a JSON object. What has a text under `text` can be found by its meaning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MemoryUnavailable

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

T = TypeVar("T")

ROOT = "ucop"
TEXT = "text"
NOBODY = "-"
"""The label if there is no tenant."""
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """One thing that is remembered."""

    key: str
    value: dict[str, Any]
    score: float | None
    """How near it is to what was searched for, 1 for the same; None if nothing was."""
    updated_at: datetime
    space: tuple[str, ...]
    """Where it is: `("agents", NAME)`, `("shared",)` or `("documents", COLLECTION)`."""

    @property
    def text(self) -> str:
        return str(self.value.get(TEXT, ""))


class Memory:
    """A space of the store. Each method waits; its twin with an `a` in front is awaited.

    A write is there at once and for good: a node that runs again after a crash writes again,
    and the same key makes that the same write.
    """

    def __init__(
        self,
        store: BaseStore,
        loop: asyncio.AbstractEventLoop,
        *,
        project: str,
        tenant: str | None,
        space: Sequence[str],
    ) -> None:
        """`loop` is the one that the store lives on."""
        self._store, self._loop = store, loop
        self._project, self._tenant = project, tenant
        self.space = tuple(space)

    def of(self, *space: str) -> Memory:
        """Another space of the same tenant: `("agents", NAME)` is that of another agent."""
        return Memory(
            self._store, self._loop, project=self._project, tenant=self._tenant, space=space
        )

    @property
    def _opened(self) -> BaseStore:
        return self._store

    @property
    def shared(self) -> Memory:
        """The space of all agents."""
        return self.of("shared")

    def documents(self, collection: str = "documents") -> Memory:
        """The space of an ingested folder."""
        return self.of("documents", collection)

    @property
    def namespace(self) -> tuple[str, ...]:
        """The whole name of the space in LangGraph's store."""
        return namespace_of(self._project, self._tenant, self.space)

    async def aput(self, key: str, value: Mapping[str, Any] | str) -> None:
        """Remember a value, or a text, under `key`, instead of what was there."""
        await self.aput_all({key: value})

    async def aput_all(self, values: Mapping[str, Mapping[str, Any] | str]) -> None:
        """`aput` of several, all or none."""
        from langgraph.store.base import PutOp

        puts = [
            PutOp(self.namespace, key, {TEXT: value} if isinstance(value, str) else dict(value))
            for key, value in values.items()
        ]
        await self._here(self._opened.abatch(puts))

    async def aget(self, key: str) -> dict[str, Any] | None:
        """What is remembered under `key`."""
        item = await self._here(self._opened.aget(self.namespace, key))
        return None if item is None else item.value

    async def adelete(self, key: str) -> None:
        """Forget what is under `key`."""
        await self._here(self._opened.adelete(self.namespace, key))

    async def asearch(
        self,
        query: str | None = None,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Remembered]:
        """What is nearest to `query` in meaning, the nearest first; without it the newest.

        `filter` names fields of the value and what they must be.
        """
        search = self._opened.asearch(
            self.namespace,
            query=query or None,
            filter=dict(filter) if filter else None,
            limit=limit,
            offset=offset,
        )
        skipped = len(self.namespace) - len(self.space)
        return [
            Remembered(
                key=item.key,
                value=item.value,
                score=item.score,
                updated_at=item.updated_at,
                space=tuple(map(_unlabel, item.namespace[skipped:])),
            )
            for item in await self._here(search)
        ]

    async def aall(self) -> list[Remembered]:
        """Everything in the space."""
        found: list[Remembered] = []
        while page := await self.asearch(limit=PAGE, offset=len(found)):
            found += page
        return found

    async def aspaces(self) -> list[tuple[str, ...]]:
        """The spaces below this one, and it itself, in which anything is."""
        skipped = len(self.namespace) - len(self.space)
        found: list[tuple[str, ...]] = []
        while page := await self._here(
            self._opened.alist_namespaces(prefix=self.namespace, limit=PAGE, offset=len(found))
        ):
            found += [tuple(map(_unlabel, each[skipped:])) for each in page]
        return found

    def put(self, key: str, value: Mapping[str, Any] | str) -> None:
        """`aput`, waited for."""
        self._wait(self.aput(key, value))

    def get(self, key: str) -> dict[str, Any] | None:
        """`aget`, waited for."""
        return self._wait(self.aget(key))

    def delete(self, key: str) -> None:
        """`adelete`, waited for."""
        self._wait(self.adelete(key))

    def search(
        self,
        query: str | None = None,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Remembered]:
        """`asearch`, waited for."""
        return self._wait(self.asearch(query, limit=limit, offset=offset, filter=filter))

    async def _here(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work of the store, whose loop may be another one."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            work.close()
            raise RuntimeError("this would block the event loop: await the method with an `a`")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class NoMemory(Memory):
    """Where an agent runs without a job's database: using it is an error."""

    def __init__(self) -> None:
        self.space, self._project, self._tenant = (), "", None

    def of(self, *space: str) -> Memory:
        return self

    @property
    def _opened(self) -> BaseStore:
        raise MemoryUnavailable(_NOWHERE)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        work.close()
        raise MemoryUnavailable(_NOWHERE)


_NOWHERE = "there is no memory here: it is in a job's database. Run the agent in a workflow"


def namespace_of(project: str, tenant: str | None, space: Sequence[str]) -> tuple[str, ...]:
    """The whole name of a space in LangGraph's store."""
    owner = NOBODY if tenant is None else _label(tenant)
    return (ROOT, _label(project), owner, *map(_label, space))


def space_of(prefix: str) -> tuple[str, ...]:
    """The space of a row of LangGraph's store, which joins the labels of a namespace with dots."""
    _root, _project, _owner, *space = prefix.split(".")
    return tuple(map(_unlabel, space))


def _label(text: str) -> str:
    """A label of a namespace: LangGraph joins them with dots, and takes no empty ones."""
    if text in ("", NOBODY):
        return "%2D" if text else "%00"
    return text.replace("%", "%25").replace(".", "%2E")


def _unlabel(label: str) -> str:
    if label in ("%2D", "%00"):
        return NOBODY if label == "%2D" else ""
    return label.replace("%2E", ".").replace("%25", "%")

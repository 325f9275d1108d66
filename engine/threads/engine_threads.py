"""What `Engine` offers of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..ledger.thread_rows import NewThread, Owner
from ..loop.twins import aside, awaited, on_loop, waited
from ..values.json_text import to_json
from . import search
from .handle import ThreadAccess, ThreadHandle, new_thread_id, read_expiry, read_metadata
from .thread import Thread, ThreadFilter

if TYPE_CHECKING:
    from pathlib import Path

    from ucop.graphs.workflow import Graph, Workflow

    from ..workflows.known import KnownWorkflows


class EngineThreads:
    """The methods of an engine that create and find threads."""

    _workflows: KnownWorkflows
    _threads: ThreadAccess

    @waited
    async def create_thread(
        self,
        id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        workflow: str | Path | Workflow | Graph | None = None,
        tenant: str | None = None,
        expires: float | str | None = None,
        if_exists: str = "raise",
    ) -> ThreadHandle:
        """Make a thread before any job runs on it. Jobs are submitted on it by `thread_id`; it
        stays when they are deleted.

        Args:
            id: Its name; default: a UUID.
            metadata: JSON, to find it by.
            workflow: What its states belong to, so that they can be written before a job runs.
            tenant: Whose it is.
            expires: When it is deleted with its jobs: a time from now, such as `30d`.
            if_exists: `raise`, or `do_nothing` to return the one that is there.

        Raises ThreadExists, ThreadNotFound where it is another tenant's, UnknownWorkflow,
        InvalidInput.
        """
        new, definition, take = await aside(
            self._new_thread, id, metadata, workflow, tenant, expires, if_exists
        )
        creating = self._threads.commands.create(new, definition, take)
        await on_loop(self._threads.loop, creating)
        return ThreadHandle(self._threads, new.id, _owner(tenant))

    acreate_thread = awaited(create_thread)

    @waited
    async def thread(self, id: str, *, tenant: str | None = None) -> ThreadHandle:
        """A thread by its id: one that was created, or that a job ran on.

        Args:
            tenant: Whose it must be, now and whenever the handle is used; None: anybody's.

        Raises ThreadNotFound.
        """
        handle = ThreadHandle(self._threads, id, _owner(tenant))
        await aside(handle.get)
        return handle

    athread = awaited(thread)

    @waited
    async def threads(
        self,
        *,
        ids: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        sort_by: str = "updated_at",
        descending: bool = True,
        cursor: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Thread]:
        """Threads, those that were changed last first.

        Args:
            metadata: Names with their values, which a thread must have.
            status: `idle`, `busy`, `interrupted` or `error`.
            workflow: That of its newest job, or what it was created for.
            tenant: Whose they are; None: anybody's.
            sort_by: `updated_at`, `created_at`, `id` or `status`.
            cursor: `Thread.cursor` of the last one of a list, to go on behind it.

        Raises InvalidInput.
        """
        if limit < 0 or offset < 0:
            raise InvalidInput(f"limit, offset: 0 or more, not {limit}, {offset}")
        filter = _filter(ids, metadata, status, workflow, tenant, cursor)
        found = partial(search.search, filter, sort=sort_by, descending=descending)
        return await aside(lambda: self._threads.reader().ask(found(limit=limit, offset=offset)))

    athreads = awaited(threads)

    @waited
    async def count_threads(
        self,
        *,
        ids: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
    ) -> int:
        """How many threads `threads` would list. Raises InvalidInput."""
        filter = _filter(ids, metadata, status, workflow, tenant, None)
        return await aside(lambda: self._threads.reader().ask(search.count(filter)))

    acount_threads = awaited(count_threads)

    def _new_thread(
        self,
        id: str | None,
        metadata: Mapping[str, Any] | None,
        workflow: str | Path | Workflow | Graph | None,
        tenant: str | None,
        expires: float | str | None,
        if_exists: str,
    ) -> tuple[NewThread, dict[str, Any] | None, bool]:
        """What is to be written, the definition with it, and whether one that exists is taken."""
        if if_exists not in ("raise", "do_nothing"):
            raise InvalidInput(f"if_exists: must be raise or do_nothing, not {if_exists!r}")
        if tenant == "":
            raise InvalidInput("tenant: must have a name")
        known = None if workflow is None else self._workflows.find(workflow)
        new = NewThread(
            id=new_thread_id(id),
            tenant=tenant,
            metadata=read_metadata(metadata or {}),
            workflow=None if known is None else known.name,
            fingerprint=None if known is None else known.fingerprint,
            expires=read_expiry(expires),
        )
        definition = None if known is None else _definition(known)
        return new, definition, if_exists == "do_nothing"


def _definition(workflow: Workflow) -> dict[str, Any]:
    return {
        "fingerprint": workflow.fingerprint,
        "workflow": workflow.name,
        "definition": to_json(workflow.stored),
    }


def _owner(tenant: str | None) -> Owner:
    return Owner(tenant=tenant, any=tenant is None)


def _filter(
    ids: Iterable[str] | None,
    metadata: Mapping[str, Any] | None,
    status: str | None,
    workflow: str | None,
    tenant: str | None,
    cursor: str | None,
) -> ThreadFilter:
    return ThreadFilter(
        ids=None if ids is None else frozenset(ids),
        metadata=read_metadata(metadata or {}),
        status=status,
        workflow=workflow,
        tenant=tenant,
        cursor=cursor,
    )

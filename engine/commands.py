"""What people ask of jobs, carried out: each order is one transaction, after which whoever waits
for the job is told, and this process's worker. On the engine's loop only.

What each does, and refuses, stands in ledger/commands.py, checkpoints/forks.py and
ledger/{busy_thread,retention,pruning}.py.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .actions import TOGETHER, Action, Changed, batched, taking
from .checkpoints import forks
from .checkpoints.edits import NO_EDIT, Edit, InputEdit
from .checkpoints.savers import FencedSaver, saver_of
from .checkpoints.successor import check_fit, successor_of
from .declared.queue_limits import undeclared
from .dialect import dialect_of
from .errors import CheckpointNotFound, JobNotFound, RefusedChange
from .faults import fault
from .jobs.filter import Filter
from .jobs.job import JobId, ThreadId, new_job_id
from .jobs.run_options import AS_IT_IS, Regiven, run_options
from .ledger import busy_thread, commands, lifecycle, retention, threads
from .ledger.commands import Onward
from .ledger.live_rows import followed
from .ledger.pruning import Pruning, prune
from .ledger.records import NewJob
from .ledger.retention import Rule
from .queue import limits
from .transfer import importing
from .transfer.job_parts import Contents
from .values.inputs import given_input, kept_input
from .worker.retention import carry_out

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

    from .database.database import Database
    from .notices import Notices
    from .reading.reader import Reader
    from .settings import Settings
    from .worker.worker import Worker


class Orders:
    """Carries out what people ask of jobs.

    Args:
        worker: This process's, where it has one now.
        reader: Opened at the first use, in a thread.
        restore: A job's workflow as it was submitted with it, by its fingerprint.
        keep: Told of jobs that are to run the very graph that another runs in this process.
    """

    def __init__(
        self,
        database: Database,
        notices: Notices,
        *,
        settings: Settings,
        worker: Callable[[], Worker | None],
        reader: Callable[[], Reader],
        restore: Callable[[str, JobId], Awaitable[Workflow]],
        keep: Callable[[str, Workflow], None],
    ) -> None:
        self._database, self._notices, self._settings = database, notices, settings
        self._worker, self._reader, self._restore = worker, reader, restore
        self._keep = keep
        self._tables = dialect_of(database.url).tables

    async def submit(self, job: NewJob, listens: frozenset[str] = frozenset()) -> JobId:
        """`listens`: stream modes to keep from its beginning on."""
        fault("before submit")
        submission = partial(busy_thread.submit, job, self._tables)
        if listens:
            submission = partial(followed, submission, listens)
        id, new = await self._database.dispatch(submission)
        fault("after submit")
        if new and job.on_busy.stops_others:
            self._notices.tell_all()
            await self._watch()
        if new:
            self._notices.tell_events(id)
            self._wake()
        return id

    async def add(self, contents: Contents, new_id: bool) -> JobId:
        id = new_job_id(time.time()) if new_id else JobId(contents.job.id)
        return await self._database.write(lambda: importing.add(self._tables, contents, id))

    async def change(
        self, action: Action, jobs: Filter | Iterable[str], now: bool, onward: Onward
    ) -> list[Changed]:
        declared = self._settings.declared
        ids = await asyncio.to_thread(taking, action, jobs, self._reader, declared, now=now)
        changed: list[Changed] = []
        for some in batched(ids, TOGETHER):
            each = (self._change(action, id, now, onward) for id in some)
            changed += await asyncio.gather(*each)
        return changed

    async def _change(self, action: Action, id: JobId, now: bool, onward: Onward) -> Changed:
        refused = None
        try:
            match action:
                case Action.PAUSE:
                    await self.pause(id, now)
                case Action.CANCEL:
                    await self.cancel(id)
                case Action.RESUME:
                    await self.resume(id, onward)
                case Action.RETRY:
                    await self.retry(id, onward)
                case Action.ARCHIVE | Action.UNARCHIVE:
                    await self.archive(id, undo=action is Action.UNARCHIVE)
                case Action.DELETE:
                    await self.delete(id)
                    return Changed(id=id, status=None)
        except RefusedChange as error:
            refused = str(error)
        except JobNotFound as error:
            return Changed(id=id, status=None, refused=str(error))
        try:
            status = (await self._database.read(lambda: lifecycle.rest(id))).status
        except JobNotFound as error:  # deleted at this moment
            return Changed(id=id, status=None, refused=refused or str(error))
        return Changed(id=id, status=status, refused=refused)

    # ------------------------------------------------------------ what a worker does next

    async def pause(self, id: JobId, at_once: bool) -> None:
        await self._database.write(lambda: commands.pause(id, at_once=at_once))
        await self._heed(id)

    async def cancel(self, id: JobId) -> None:
        await self._database.write(lambda: commands.cancel(id))
        await self._heed(id)

    async def resume(self, id: JobId, onward: Onward, edit: InputEdit = NO_EDIT) -> None:
        onward = await self._regiven(id, onward)
        if edit.is_none:
            await self._database.dispatch(lambda: commands.resume(id, onward))
        else:
            await self._resume_edited(id, onward, edit)
        self._queued(id)

    async def _resume_edited(self, id: JobId, onward: Onward, edit: InputEdit) -> None:
        # First the attempt: where another follows meanwhile, what is made here fits no more.
        attempt, last = await self._database.read(lambda: lifecycle.stands(id))
        thread, fingerprint = await self._database.read(lambda: lifecycle.thread(id))
        before, run = await self._database.read(lambda: lifecycle.given(id))
        workflow = await self._restore(fingerprint, id)
        types = self._settings.state.types
        given = given_input(workflow, before, run.typed_input, types)
        input = edit.checked(workflow, id, given, begun=last is not None)
        if last is None:
            text, typed = kept_input(workflow, input, types)
            new = run_options(onward.run or run.to_json())
            again = new.model_copy(update={"typed_input": typed}).to_json()
            onward = replace(onward, run=again)
            await self._database.dispatch(
                lambda: commands.resume_anew(id, attempt, text, edit.names, onward)
            )
            return
        written = Edit(replace={**edit.replace, **input}, as_node=edit.as_node)
        from .checkpoints.editing import edited

        draft = await edited(workflow, self._saver(), id, thread, last, written)
        await self._database.dispatch(
            lambda: forks.resume_edited(id, attempt, thread, last, draft, edit.names, onward)
        )

    async def _regiven(self, id: JobId, onward: Onward) -> Onward:
        """With the context and config that are to hold from now on. Raises InvalidInput."""
        if not onward.given:
            return onward
        _, fingerprint = await self._database.read(lambda: lifecycle.thread(id))
        workflow = await self._restore(fingerprint, id)
        text = await self._given_anew(id, onward.given, workflow)
        return replace(onward, run=text)

    async def _given_anew(self, id: JobId, given: Regiven, workflow: Workflow) -> str:
        _, run = await self._database.read(lambda: lifecycle.given(id))
        return given.over(run, workflow).to_json()

    async def retry(self, id: JobId, onward: Onward) -> None:
        onward = await self._regiven(id, onward)
        await self._database.dispatch(lambda: commands.retry(id, onward))
        self._queued(id)

    async def answer(self, id: JobId, question: str, answer: str) -> None:
        await self._database.dispatch(lambda: commands.answer(id, question, answer))
        self._queued(id)

    # ------------------------------------------------------------ saved states

    async def fork(
        self,
        id: JobId,
        checkpoint: str | None,
        edit: Edit,
        successor: Workflow | None = None,
        given: Regiven = AS_IT_IS,
    ) -> JobId:
        thread, fingerprint = await self._database.read(lambda: lifecycle.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint, id)
        run: str | None = None
        saver, draft = self._saver(), []
        other = None
        if successor is not None:
            await check_fit(workflow, successor, saver, thread, at)
            input, _ = await self._database.read(lambda: lifecycle.given(id))
            other = successor_of(successor, input, {**edit.update, **edit.replace})
            workflow = successor
        if given or successor is not None:
            run = await self._given_anew(id, given, workflow)
        if not edit.is_none:
            from .checkpoints.editing import edited

            draft = await edited(workflow, saver, id, thread, at, edit)
        new, tables = new_job_id(time.time()), self._tables
        standing = checkpoint is None and edit.is_none
        self._keep(new, workflow)
        await self._database.dispatch(
            lambda: forks.fork(
                tables,
                id,
                thread,
                at,
                new,
                draft,
                standing=standing,
                successor=other,
                run=run,
            )
        )
        self._wake()
        return new

    async def set_back(self, id: JobId, checkpoint: str, retry: Onward | None = None) -> None:
        # First the attempt: where another follows meanwhile, what is made here fits no more.
        attempt, _ = await self._database.read(lambda: lifecycle.stands(id))
        thread, fingerprint = await self._database.read(lambda: lifecycle.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint, id)
        retry = retry and await self._regiven(id, retry)
        from .checkpoints.editing import set_back

        draft = await set_back(workflow, self._saver(), thread, at)
        await self._database.dispatch(
            lambda: forks.restore(id, attempt, thread, at, draft, retry=retry)
        )
        self._queued(id)

    def _saver(self) -> FencedSaver:
        return saver_of(self._database, self._settings.state.types)

    async def _checkpoint(self, id: JobId, thread: ThreadId, given: str | None) -> str:
        """A checkpoint's whole id; where none is given, the job's last."""
        if given is not None:
            return await self._database.read(lambda: threads.find(self._tables, thread, id, given))
        _, last = await self._database.read(lambda: lifecycle.stands(id))
        if last is None:
            raise CheckpointNotFound(f"job {id} has saved no checkpoint yet")
        return last

    async def prune(self, id: JobId, pruning: Pruning, dry: bool) -> int:
        thread, _ = await self._database.read(lambda: lifecycle.thread(id))
        return await self._database.write(lambda: prune(self._tables, id, thread, pruning, dry=dry))

    # ------------------------------------------------------------ the life after the end

    async def archive(self, id: JobId, *, undo: bool) -> None:
        await self._database.write(lambda: retention.archive(id, undo=undo))
        self._notices.tell(id)

    async def delete(self, id: JobId) -> None:
        await self._database.write(lambda: retention.delete(self._tables, id))
        self._notices.tell(id)

    async def tidy(self, dry_run: bool) -> dict[Rule, int]:
        kept = self._settings.retention
        if dry_run:
            found = await self._database.read(lambda: retention.due(kept, None))
            return {each.rule: len(each.jobs) for each in found}
        done: Counter[Rule] = Counter()
        while some := await carry_out(self._database, kept, retention.BATCH):
            done += some
        return dict(done)

    # ------------------------------------------------------------ queues

    async def set_queue(self, name: str, changes: Mapping[str, Any] | None) -> None:
        declared = self._settings.declared
        if name not in declared:
            raise undeclared(name, declared)
        await self._database.write(
            lambda: (
                limits.reset(name)
                if changes is None
                else limits.change(name, declared[name], changes)
            )
        )
        self._wake()

    # ------------------------------------------------------------ whom to tell

    def _queued(self, id: JobId) -> None:
        """An attempt was queued."""
        self._notices.tell(id)
        self._wake()

    async def _heed(self, id: JobId) -> None:
        """Something was asked of a job that may run in this process."""
        self._notices.tell(id)
        await self._watch()

    async def _watch(self) -> None:
        if (worker := self._worker()) is not None:
            await worker.watch()

    def _wake(self) -> None:
        if (worker := self._worker()) is not None:
            worker.wake()

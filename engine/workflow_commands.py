"""Commands that need the workflow of a job: submissions, forks, and states that are edited.

On the engine's loop only. What each does, and refuses, is in checkpoints/forks.py and
ledger/busy_thread.py.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .checkpoints import forks
from .checkpoints.edits import NO_EDIT, Edit, InputEdit
from .checkpoints.history import output_of_thread
from .checkpoints.savers import FencedSaver, saver_of
from .checkpoints.successor import check_fit, successor_of
from .commands import Commands
from .errors import CheckpointNotFound, ThreadBusy, UcopError
from .faults import fault
from .jobs.job import JobId, ThreadId, new_job_id
from .jobs.run_options import AS_IT_IS, Regiven, run_options
from .ledger import busy_thread, commands, lifecycle, thread_runs, threads
from .ledger.commands import TRIES, NewTerms
from .ledger.hand_over import standing
from .ledger.live_rows import Submitted, followed
from .ledger.operation import Make
from .ledger.records import NewJob
from .values.inputs import given_input, kept_input

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

    from .database.database import Database
    from .notices import Notices
    from .worker.worker import Worker


class WorkflowCommands(Commands):
    """All commands.

    Args:
        types: Classes that states may hold besides the project's own: see Settings.state.
        restore: A job's workflow as it was submitted with it, by its fingerprint.
        keep: Called with jobs that are to run the very graph that another runs in this process.
    """

    def __init__(
        self,
        database: Database,
        notices: Notices,
        worker: Callable[[], Worker | None],
        *,
        types: tuple[str, ...],
        restore: Callable[[str, JobId], Awaitable[Workflow]],
        keep: Callable[[str, Workflow], None],
    ) -> None:
        super().__init__(database, notices, worker)
        self._types, self._restore, self._keep = types, restore, keep

    async def submit(self, job: NewJob, listens: frozenset[str] = frozenset()) -> JobId:
        """`listens`: stream modes to keep from its beginning on."""
        fault("before submit")
        id, new = await self._submitted(job, listens)
        fault("after submit")
        if new and job.on_busy.stops_others:
            await self.tell_all()
        if new:
            self._notices.tell_events(id)
            self._wake()
        return id

    async def _submitted(self, job: NewJob, listens: frozenset[str]) -> tuple[JobId, bool]:
        if job.thread_run is None:
            submission = partial(busy_thread.submit, job, self._tables)
            return await self.database.write(_heard(submission, listens))
        for _ in range(TRIES):
            takeover = await self._takeover(job.thread_id)
            run = partial(thread_runs.submit, job, job.thread_run, self._tables, takeover)
            submitted = await self.database.write(_heard(run, listens))
            if submitted is not None and takeover.before is not None:
                await self._heed(takeover.before.job)
            if submitted is not None:
                return submitted
        raise ThreadBusy(job.thread_id, [])

    async def _takeover(self, thread: ThreadId) -> thread_runs.Takeover:
        """Whoever stands on a thread, and what it has come to."""
        before = await self.database.read(lambda: standing(thread))
        if before is None:
            return thread_runs.Takeover(before=None)
        try:
            workflow = await self._restore(before.fingerprint, before.job)
        except UcopError:  # of another project: nobody here can read its state
            return thread_runs.Takeover(before=before)
        output = await output_of_thread(thread, workflow, self._saver())
        return thread_runs.Takeover(before=before, output=output)

    async def resume(self, id: JobId, terms: NewTerms, edit: InputEdit = NO_EDIT) -> None:
        terms = await self._regiven(id, terms)
        if edit.is_none:
            await super().resume(id, terms)
        else:
            await self._resume_edited(id, terms, edit)
            self._queued(id)

    async def retry(self, id: JobId, terms: NewTerms, checkpoint: str | None = None) -> None:
        """From an earlier checkpoint, if one is named."""
        terms = await self._regiven(id, terms)
        if checkpoint is None:
            await super().retry(id, terms)
        else:
            await self.set_back(id, checkpoint, terms)

    async def _resume_edited(self, id: JobId, terms: NewTerms, edit: InputEdit) -> None:
        # First the attempt: where another follows meanwhile, what is made here fits no more.
        attempt, last = await self.database.read(lambda: lifecycle.stands(id))
        thread, fingerprint = await self.database.read(lambda: lifecycle.thread(id))
        before, run = await self.database.read(lambda: lifecycle.given(id))
        workflow = await self._restore(fingerprint, id)
        given = given_input(workflow, before, run.typed_input, self._types)
        input = edit.checked(workflow, id, given, begun=last is not None)
        if last is None:
            text, typed = kept_input(workflow, input, self._types)
            new = run_options(terms.run or run.to_json())
            again = new.model_copy(update={"typed_input": typed}).to_json()
            terms = replace(terms, run=again)
            await self.database.write(
                lambda: commands.resume_anew(id, attempt, text, edit.names, terms)
            )
            return
        written = Edit(replace={**edit.replace, **input}, as_node=edit.as_node)
        from .checkpoints.editing import edited

        draft = await edited(workflow, self._saver(), id, thread, last, written)
        await self.database.write(
            lambda: forks.resume_edited(id, attempt, thread, last, draft, edit.names, terms)
        )

    async def _regiven(self, id: JobId, terms: NewTerms) -> NewTerms:
        """With the context and config that are to hold from now on. Raises InvalidInput."""
        if not terms.given:
            return terms
        _, fingerprint = await self.database.read(lambda: lifecycle.thread(id))
        workflow = await self._restore(fingerprint, id)
        text = await self._given_anew(id, terms.given, workflow)
        return replace(terms, run=text)

    async def _given_anew(self, id: JobId, given: Regiven, workflow: Workflow) -> str:
        _, run = await self.database.read(lambda: lifecycle.given(id))
        return given.over(run, workflow).to_json()

    # ------------------------------------------------------------ saved states

    async def fork(
        self,
        id: JobId,
        checkpoint: str | None,
        edit: Edit,
        successor: Workflow | None = None,
        given: Regiven = AS_IT_IS,
    ) -> JobId:
        thread, fingerprint = await self.database.read(lambda: lifecycle.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint, id)
        run: str | None = None
        saver, draft = self._saver(), []
        other = None
        if successor is not None:
            await check_fit(workflow, successor, saver, thread, at)
            input, _ = await self.database.read(lambda: lifecycle.given(id))
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
        await self.database.write(
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

    async def set_back(self, id: JobId, checkpoint: str, retry: NewTerms | None = None) -> None:
        # First the attempt: where another follows meanwhile, what is made here fits no more.
        attempt, _ = await self.database.read(lambda: lifecycle.stands(id))
        thread, fingerprint = await self.database.read(lambda: lifecycle.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint, id)
        from .checkpoints.editing import set_back

        draft = await set_back(workflow, self._saver(), thread, at)
        await self.database.write(
            lambda: forks.restore(id, attempt, thread, at, draft, retry=retry)
        )
        self._queued(id)

    def _saver(self) -> FencedSaver:
        return saver_of(self.database, self._types)

    async def _checkpoint(self, id: JobId, thread: ThreadId, given: str | None) -> str:
        """A checkpoint's whole id; where none is given, the job's last."""
        if given is not None:
            return await self.database.read(lambda: threads.find(self._tables, thread, id, given))
        _, last = await self.database.read(lambda: lifecycle.stands(id))
        if last is None:
            raise CheckpointNotFound(f"job {id} has saved no checkpoint yet")
        return last


def _heard(submission: Make[Submitted], listens: frozenset[str]) -> Make[Submitted]:
    """A submission, with a listener where somebody is to follow the job."""
    return partial(followed, submission, listens) if listens else submission

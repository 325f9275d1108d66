"""Commands that need the workflow of a job: submissions, forks, and states that are edited.

On the engine's loop only. What each does, and refuses, is in edits/forks.py and
ledger/busy_thread.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..checkpoints.history import output_of_thread
from ..checkpoints.savers import FencedSaver, saver_of
from ..edits import forks
from ..edits.edit import NO_EDIT, Edit, InputEdit
from ..edits.successor import check_fit, successor_of
from ..errors import CheckpointNotFound, ThreadBusy, UcopError
from ..faults import fault
from ..jobs.job import Checkpoint, JobId, ThreadId, new_job_id
from ..jobs.run_options import AS_IT_IS, Regiven, run_options
from ..ledger import busy_thread, commands, thread_runs, threads
from ..ledger.commands import TRIES, NewTerms
from ..ledger.hand_over import standing
from ..ledger.live_rows import Accepted, followed
from ..ledger.operation import Make
from ..ledger.reads import Submitted
from ..ledger.records import NewJob
from ..values.inputs import given_input, kept_input
from .commands import Commands

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

    from ..database.database import Database
    from ..notices import Notices
    from ..worker.supervisor import Supervisor
    from ..workflows.known import KnownWorkflows


class WorkflowCommands(Commands):
    """All commands.

    Args:
        types: Classes that states may hold besides the project's own: see Settings.state.
        workflows: Those that this process knows.
    """

    def __init__(
        self,
        database: Database,
        notices: Notices,
        supervisor: Supervisor,
        *,
        types: Sequence[str],
        workflows: KnownWorkflows,
    ) -> None:
        super().__init__(database, notices, supervisor)
        self._types, self._workflows = types, workflows

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
        await self._workflows.forget(None if new else job)
        return id

    async def _submitted(self, job: NewJob, listens: frozenset[str]) -> tuple[JobId, bool]:
        if job.thread_run is None:
            submission = partial(busy_thread.submit, job, self._tables)
            return await self._write(_heard(submission, listens))
        for _ in range(TRIES):
            takeover = await self._takeover(job.thread_id)
            run = partial(thread_runs.submit, job, job.thread_run, self._tables, takeover)
            submitted = await self._write(_heard(run, listens))
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
            workflow = await self._workflows.restore(before.fingerprint, before.job)
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
        job, workflow = await self._loaded(id)
        last, run = job.checkpoint_id, job.options
        before = given_input(workflow, json.loads(job.input), run.typed_input, self._types)
        input = edit.checked(workflow, id, before, begun=last is not None)
        if last is None:
            text, typed = kept_input(workflow, input, self._types)
            new = run_options(terms.run or run.to_json())
            again = new.model_copy(update={"typed_input": typed}).to_json()
            terms = replace(terms, run=again)
            await self._write(
                lambda: commands.resume_anew(id, job.attempt, text, edit.names, terms)
            )
            return
        written = Edit(replace={**edit.replace, **input}, as_node=edit.as_node)
        from ..edits.editing import edited

        draft = await edited(workflow, self._saver(), id, job.thread_id, last, written)
        await self._write(
            lambda: forks.resume_edited(
                id, job.attempt, job.thread_id, last, draft, edit.names, terms
            )
        )

    async def _regiven(self, id: JobId, terms: NewTerms) -> NewTerms:
        """With the context and config that are to hold from now on. Raises InvalidInput."""
        if not terms.given:
            return terms
        job, workflow = await self._loaded(id)
        return replace(terms, run=terms.given.over(job.options, workflow).to_json())

    async def _loaded(self, id: JobId) -> tuple[Submitted, Workflow]:
        # In this order: if another attempt follows meanwhile, what is made here is refused.
        job = await self._job(id)
        return job, await self._workflows.restore(job.fingerprint, id)

    # ------------------------------------------------------------ saved states

    async def checkpoints(self, id: JobId) -> list[Checkpoint]:
        """The newest first."""
        from ..checkpoints.history import history

        job, workflow = await self._loaded(id)
        others = await self.database.read(lambda: threads.others(job.thread_id, id))
        return await history(id, job.thread_id, workflow, self._saver(), others)

    async def fork(
        self,
        id: JobId,
        checkpoint: str | None,
        edit: Edit,
        successor: Workflow | None = None,
        given: Regiven = AS_IT_IS,
    ) -> JobId:
        job, workflow = await self._loaded(id)
        at = await self._checkpoint(id, job, checkpoint)
        saver, draft, other, run = self._saver(), [], None, None
        if successor is not None:
            await check_fit(workflow, successor, saver, job.thread_id, at)
            other = successor_of(successor, json.loads(job.input), {**edit.update, **edit.replace})
            workflow = successor
        if given or successor is not None:
            run = given.over(job.options, workflow).to_json()
        if not edit.is_none:
            from ..edits.editing import edited

            draft = await edited(workflow, saver, id, job.thread_id, at, edit)
        new, tables = new_job_id(time.time()), self._tables
        standing = checkpoint is None and edit.is_none
        self._workflows.keep(new, workflow)
        await self._write(
            lambda: forks.fork(
                tables,
                id,
                job.thread_id,
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
        from ..edits.editing import set_back

        job, workflow = await self._loaded(id)
        at = await self._checkpoint(id, job, checkpoint)
        draft = await set_back(workflow, self._saver(), job.thread_id, at)
        await self._write(
            lambda: forks.restore(id, job.attempt, job.thread_id, at, draft, retry=retry)
        )
        self._queued(id)

    def _saver(self) -> FencedSaver:
        return saver_of(self.database, self._types)

    async def _checkpoint(self, id: JobId, job: Submitted, prefix: str | None) -> str:
        """The whole id of a checkpoint; without the beginning of one, the job's last."""
        if prefix is not None:
            return await self.database.read(
                lambda: threads.find(self._tables, job.thread_id, id, prefix)
            )
        if job.checkpoint_id is None:
            raise CheckpointNotFound(f"job {id} has saved no checkpoint yet")
        return job.checkpoint_id


def _heard(submission: Make[Accepted], listens: frozenset[str]) -> Make[Accepted]:
    """A submission, with a listener where somebody is to follow the job."""
    return partial(followed, submission, listens) if listens else submission

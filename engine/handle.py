"""One job, as its caller holds it: to wait for, to follow, and to continue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .checkpoints.edits import Edit, InputEdit
from .errors import JobFailed, JobStopped
from .job_error import JobError
from .jobs.answer import checked_answer
from .jobs.job import Attempt, Checkpoint, Event, Job, JobId, Question, Step
from .jobs.run_options import read_regiven
from .jobs.status import JobStatus
from .ledger import lifecycle, threads
from .ledger.commands import read_new_terms
from .ledger.pruning import Pruning
from .live.readers import new_reader_id
from .live.stream import DEFAULT_MODES, LiveStream, Modes, read_modes
from .transfer.job_file import save

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage
    from ucop.graphs.workflow import Graph, Workflow

    from .database.database import Database
    from .live.readers import LiveReaders
    from .loop.loop import LoopThread
    from .reading.reader import Reader
    from .workflow_commands import WorkflowCommands

    Source: TypeAlias = str | Path | Workflow | Graph

T = TypeVar("T")

EVENT_PAGE = 500
"""Events read at once."""


@dataclass(frozen=True, kw_only=True)
class JobAccess:
    """What handles need of their engine."""

    loop: LoopThread
    database: Database
    types: Sequence[str]
    """Classes that states may hold beside the project's: see Settings.state."""
    reader: Callable[[], Reader]
    live: LiveReaders
    commands: WorkflowCommands
    rest: Callable[[JobId, float | None], Coroutine[Any, Any, lifecycle.Rest]]
    """Waits until a job rests. Raises ResultTimeout, or what broke its attempt off."""
    news: Callable[[JobId, int], Coroutine[Any, Any, tuple[list[Event], bool]]]
    """Waits for events above a number; also whether the job rests then."""
    spending: Callable[[JobId], Coroutine[Any, Any, dict[str, Usage]]]
    restore: Callable[[str, JobId], Coroutine[Any, Any, Workflow]]
    """The workflow of a fingerprint, as a job was submitted with it."""
    successor: Callable[[Source], Workflow]
    """A definition that a fork is to go on with. Raises as `submit` does."""


class JobHandle:
    """A job that can be waited for, followed and continued."""

    def __init__(self, access: JobAccess, id: JobId, *, is_new: bool = False) -> None:
        self.id = id
        self.is_new = is_new
        """Whether the call that gave this handle made the job, and found none under its key."""
        self._access = access

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    def get(self) -> Job:
        """Everything about the job but its events and checkpoints."""
        return self._access.reader().job(self.id)

    async def aget(self) -> Job:
        """`get`, awaited."""
        return await asyncio.to_thread(self.get)

    @property
    def status(self) -> JobStatus:
        """Where the job stands now."""
        return self._access.reader().status(self.id)[0]

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job's output (JSON). `timeout` in seconds.

        Raises JobFailed, JobStopped (it is paused, waits for a person, or was cancelled),
        ResultTimeout (it goes on), or a DatabaseError that broke its attempt off.
        """
        return _output(self.id, self._call(self._access.rest(self.id, timeout)))

    async def aresult(self, timeout: float | None = None) -> Any:
        """`result`, awaited."""
        return _output(self.id, await self._acall(self._access.rest(self.id, timeout)))

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job rests, however it ended; returns its status."""
        return self._call(self._access.rest(self.id, timeout)).status

    async def await_rest(self, timeout: float | None = None) -> JobStatus:
        """`wait`, awaited."""
        return (await self._acall(self._access.rest(self.id, timeout))).status

    def events(self, after: int = 0, *, follow: bool = True) -> Iterator[Event]:
        """The job's events with numbers above `after`, in order and without a gap; with
        `follow` also those to come, until the job rests."""
        while True:
            if not follow:
                found = self._access.reader().events(self.id, after=after, limit=EVENT_PAGE)
                rests = len(found) < EVENT_PAGE
            else:
                found, rests = self._call(self._access.news(self.id, after))
            yield from found
            if rests:
                return
            after = found[-1].seq if found else after

    async def aevents(self, after: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """`events`, awaited."""
        while True:
            if not follow:
                found = await asyncio.to_thread(
                    self._access.reader().events, self.id, after=after, limit=EVENT_PAGE
                )
                rests = len(found) < EVENT_PAGE
            else:
                found, rests = await self._acall(self._access.news(self.id, after))
            for event in found:
                yield event
            if rests:
                return
            after = found[-1].seq if found else after

    def stream(self, modes: Modes = DEFAULT_MODES, *, after: str | None = None) -> LiveStream:
        """Follow what the job's graph emits, live, until the job rests: LangGraph's version 2 parts,
        from whatever process runs it.

        Args:
            modes: `values`, `updates`, `messages` (tokens, with metadata), `custom`, `tasks`,
                `checkpoints`, `debug`; one, or several.
            after: The `id` of a part, to go on behind it. Default: from the first that is kept.

        What nobody listened to is not kept: submit with `stream=` where the beginning matters.
        See LiveStream, and docs/streaming.md. Raises InvalidInput.
        """
        found = self._follow(modes, after)
        self._call(found.join())
        return found

    def astream(self, modes: Modes = DEFAULT_MODES, *, after: str | None = None) -> LiveStream:
        """`stream`, for `async for`: not awaited, as LangGraph's."""
        found = self._follow(modes, after)
        self._access.loop.begin(found.join())
        return found

    def _follow(self, modes: Modes, after: str | None) -> LiveStream:
        wanted = read_modes(modes)
        access, id = self._access, new_reader_id()
        return LiveStream(access.live, access.loop, id, self.id, wanted, after)

    def steps(self) -> list[Step]:
        """The job's node runs in the order in which they began."""
        return self._access.reader().steps(self.id)

    async def asteps(self) -> list[Step]:
        """`steps`, awaited."""
        return await asyncio.to_thread(self.steps)

    def spending(self) -> dict[str, Usage]:
        """What the nodes that run in this process now have spent so far, by node. Not stored;
        empty where another process runs the job."""
        return self._call(self._access.spending(self.id))

    async def aspending(self) -> dict[str, Usage]:
        """`spending`, awaited."""
        return await self._acall(self._access.spending(self.id))

    def attempts(self) -> list[Attempt]:
        """The job's attempts from the first."""
        return self._access.reader().attempts(self.id)

    async def aattempts(self) -> list[Attempt]:
        """`attempts`, awaited."""
        return await asyncio.to_thread(self.attempts)

    def checkpoints(self) -> list[Checkpoint]:
        """The job's saved states, the newest first."""
        return self._call(self._checkpoints())

    async def acheckpoints(self) -> list[Checkpoint]:
        """`checkpoints`, awaited."""
        return await self._acall(self._checkpoints())

    def prune(self, *, keep: int = 1, before: datetime | None = None, dry_run: bool = False) -> int:
        """Delete old saved states; returns how many, with `dry_run` how many that would be.

        What the job goes on from is kept, the `keep` newest, and what those were made from; with
        `before` also all that are younger. Forks have states of their own. Raises RefusedChange
        where the states cannot stand alone (LangGraph's DeltaChannel), InvalidInput.
        """
        return self._call(self._access.commands.prune(self.id, _pruning(keep, before), dry_run))

    async def aprune(
        self, *, keep: int = 1, before: datetime | None = None, dry_run: bool = False
    ) -> int:
        """`prune`, awaited."""
        return await self._acall(
            self._access.commands.prune(self.id, _pruning(keep, before), dry_run)
        )

    def archive(self) -> None:
        """Take the job, which has ended, out of the lists; all of it stays to be read.

        Raises RefusedChange where it has not ended.
        """
        self._call(self._access.commands.archive(self.id, undo=False))

    async def aarchive(self) -> None:
        """`archive`, awaited."""
        await self._acall(self._access.commands.archive(self.id, undo=False))

    def unarchive(self) -> None:
        """Put it back into the lists."""
        self._call(self._access.commands.archive(self.id, undo=True))

    async def aunarchive(self) -> None:
        """`unarchive`, awaited."""
        await self._acall(self._access.commands.archive(self.id, undo=True))

    def delete(self) -> None:
        """Delete the job, which has ended, with its steps, events and states. A thread that other
        jobs use stays; its key is free again.

        Raises RefusedChange where it has not ended.
        """
        self._call(self._access.commands.delete(self.id))

    async def adelete(self) -> None:
        """`delete`, awaited."""
        await self._acall(self._access.commands.delete(self.id))

    def export(self, path: Path | str, *, redact: bool = False) -> None:
        """Write the job whole into a file, without secrets: definition, input, steps, events and
        states, to be read again by `Engine.import_job`, on any database.

        Args:
            path: The file, which must not be there yet.
            redact: Keep of every text only its shape. The definition stays.
        """
        save(path, self._access.reader().export(self.id, redact=redact))

    async def aexport(self, path: Path | str, *, redact: bool = False) -> None:
        """`export`, awaited."""
        await asyncio.to_thread(self.export, path, redact=redact)

    def pause(self, *, now: bool = False) -> None:
        """Ask the job to pause: at the next superstep, or, with `now`, in the middle of its
        nodes, which run again when it goes on. `wait()` tells when it has.

        Raises RefusedChange where it is neither pending nor running.
        """
        self._call(self._access.commands.pause(self.id, now))

    async def apause(self, *, now: bool = False) -> None:
        """`pause`, awaited."""
        await self._acall(self._access.commands.pause(self.id, now))

    def cancel(self) -> None:
        """End the job for ever; what it finished stays to be read.

        Raises RefusedChange where it has completed, failed or was cancelled before.
        """
        self._call(self._access.commands.cancel(self.id))

    async def acancel(self) -> None:
        """`cancel`, awaited."""
        await self._acall(self._access.commands.cancel(self.id))

    def resume(
        self,
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
        input: Mapping[str, Any] | None = None,
        replace: Mapping[str, Any] | None = None,
        as_node: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Let a failed, paused or waiting job go on from its last checkpoint. One that was
        delayed still waits for its time.

        Args:
            now: At once, without waiting for that time; so is a pending job that is delayed.
            budget: Limits that are to hold from now on (see Engine.submit), each for the whole
                job: what it has used before counts.
            priority: Its priority from now on.
            input: Inputs that are to have other values from now on, checked as those of a new
                job are. What ran with the old ones is not run again. Paused and failed jobs.
            replace: Other names of the state and what is to be put in their place.
            as_node: The node to write `input` and `replace` as, where several made the
                checkpoint.
            context: Names of its context that are to have other values from now on, or an
                instance of the graph's `context_schema` in the place of the whole.
            config: What of its config is to be another from now on (see Engine.submit).

        With `input` or `replace`, nodes that ended after the last checkpoint, beside one that
        failed, run again. Raises RefusedChange where the job is pending, running, completed or
        cancelled, InvalidInput.
        """
        terms = read_new_terms(budget, priority, at_once=now, context=context, config=config)
        edit = InputEdit(input=input or {}, replace=replace or {}, as_node=as_node)
        self._call(self._access.commands.resume(self.id, terms, edit))

    async def aresume(
        self,
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
        input: Mapping[str, Any] | None = None,
        replace: Mapping[str, Any] | None = None,
        as_node: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """`resume`, awaited."""
        terms = read_new_terms(budget, priority, at_once=now, context=context, config=config)
        edit = InputEdit(input=input or {}, replace=replace or {}, as_node=as_node)
        await self._acall(self._access.commands.resume(self.id, terms, edit))

    def retry(
        self,
        *,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
        checkpoint: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """`resume`, for a failed job alone; from an earlier checkpoint where one is named.

        Raises RefusedChange where it has not failed, CheckpointNotFound.
        """
        terms = read_new_terms(budget, priority, context=context, config=config)
        self._call(self._access.commands.retry(self.id, terms, checkpoint))

    async def aretry(
        self,
        *,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
        checkpoint: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """`retry`, awaited."""
        terms = read_new_terms(budget, priority, context=context, config=config)
        await self._acall(self._access.commands.retry(self.id, terms, checkpoint))

    def fork(
        self,
        checkpoint: str | None = None,
        update: Mapping[str, Any] | None = None,
        *,
        replace: Mapping[str, Any] | None = None,
        as_node: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        workflow: Source | None = None,
    ) -> JobHandle:
        """A new job that goes on from a checkpoint of this one, which stays as it is.

        It has this job's workflow, input, context, config, tenant, labels and budget; it spends a budget of its
        own. What ran after the checkpoint runs again.

        Args:
            checkpoint: Its id, or the beginning of it. Default: where the job stands.
            update: What is to be written into the state, as if the checkpoint's node had
                written it: a list that is appended to grows. The edges out of that node are
                taken anew.
            replace: The same, but put in place of what is there.
            as_node: The node to write as, where several ran.
            context, config: What is to be another than this job's, as in `resume`.
            workflow: The definition to go on with, such as this job's file after its prompts
                were changed; as `Engine.submit` takes it. Default: the job's own.

        Raises CheckpointNotFound, InvalidInput for what the state does not have, and
        WorkflowChanged for a definition without a node that is due.
        """
        edit = Edit(update=update or {}, replace=replace or {}, as_node=as_node)
        given = read_regiven(context, config)
        other = None if workflow is None else self._access.successor(workflow)
        new = self._call(self._access.commands.fork(self.id, checkpoint, edit, other, given))
        return JobHandle(self._access, new, is_new=True)

    async def afork(
        self,
        checkpoint: str | None = None,
        update: Mapping[str, Any] | None = None,
        *,
        replace: Mapping[str, Any] | None = None,
        as_node: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        workflow: Source | None = None,
    ) -> JobHandle:
        """`fork`, awaited."""
        edit = Edit(update=update or {}, replace=replace or {}, as_node=as_node)
        given = read_regiven(context, config)
        other = None
        if workflow is not None:
            other = await asyncio.to_thread(self._access.successor, workflow)
        new = await self._acall(self._access.commands.fork(self.id, checkpoint, edit, other, given))
        return JobHandle(self._access, new, is_new=True)

    def restore(self, checkpoint: str) -> None:
        """Set a paused or failed job back to an earlier checkpoint: when it goes on, it goes on
        from there. What ran after it stays to be read, as a branch.

        Raises RefusedChange in any other status, CheckpointNotFound.
        """
        self._call(self._access.commands.set_back(self.id, checkpoint))

    async def arestore(self, checkpoint: str) -> None:
        """`restore`, awaited."""
        await self._acall(self._access.commands.set_back(self.id, checkpoint))

    def questions(self) -> list[Question]:
        """What the job asks people and is not answered yet."""
        asked = self._access.reader().questions(self.id)
        return [question for question in asked if question.is_open]

    async def aquestions(self) -> list[Question]:
        """`questions`, awaited."""
        return await asyncio.to_thread(self.questions)

    def answer(self, answer: Any, *, question: str | None = None) -> None:
        """Answer the open question, or the one named where several are open; the job goes on. A
        failed job can be given another answer in place of one that no node has gone past yet, and
        is retried with it.

        Raises RefusedChange where no such question is open, and InvalidInput where the answer
        does not fit the question's schema.
        """
        open_one, text = self._checked(answer, question)
        self._call(self._access.commands.answer(self.id, open_one, text))

    async def aanswer(self, answer: Any, *, question: str | None = None) -> None:
        """`answer`, awaited."""
        open_one, text = await asyncio.to_thread(self._checked, answer, question)
        await self._acall(self._access.commands.answer(self.id, open_one, text))

    def _checked(self, answer: Any, question: str | None) -> tuple[str, str]:
        reader = self._access.reader()
        asked, status = reader.questions(self.id), reader.job(self.id).status
        return checked_answer(self.id, status, asked, answer, question)

    async def _checkpoints(self) -> list[Checkpoint]:
        from .checkpoints.history import history
        from .checkpoints.savers import saver_of

        database = self._access.database
        thread, fingerprint = await database.read(lambda: lifecycle.thread(self.id))
        others = await database.read(lambda: threads.others(thread, self.id))
        workflow = await self._access.restore(fingerprint, self.id)
        saver = saver_of(database, self._access.types)
        return await history(self.id, thread, workflow, saver, others)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return self._access.loop.call(work)

    async def _acall(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._access.loop.acall(work)


def _pruning(keep: int, before: datetime | None) -> Pruning:
    return Pruning(keep=keep, before=None if before is None else before.timestamp())


def _output(id: JobId, rest: lifecycle.Rest) -> Any:
    if rest.status is JobStatus.COMPLETED:
        return json.loads(rest.output or "null")
    if rest.status is JobStatus.FAILED and rest.error is not None:
        error = JobError.model_validate_json(rest.error)
        raise JobFailed(id, error.type, error.message, error.node, error=error)
    raise JobStopped(id, rest.status.value, rest.reason)

"""One job, as its caller holds it: to wait for, to follow, and to continue."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .edits.edit import Edit, InputEdit
from .errors import JobFailed, JobStopped
from .events.waiting import EVENT_PAGE
from .job_error import JobError
from .jobs.answer import checked_answer
from .jobs.job import Attempt, Checkpoint, Event, Job, JobId, Question, Step
from .jobs.run_options import read_regiven
from .jobs.status import JobStatus
from .ledger.commands import read_new_terms
from .ledger.pruning import Pruning
from .live.readers import new_reader_id
from .live.stream import DEFAULT_MODES, LiveStream, Modes, read_modes
from .loop.twins import T, aside, awaited, on_loop, waited
from .transfer.job_file import save

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage
    from ucop.graphs.workflow import Workflow

    from .commands.workflow_commands import WorkflowCommands
    from .events.waiting import Waiting
    from .ledger.reads import Rest
    from .live.readers import LiveReaders
    from .loop.loop import LoopThread
    from .reading.reader import Reader
    from .workflows.known import Source


@dataclass(frozen=True, kw_only=True)
class JobAccess:
    """What handles need of their engine."""

    loop: LoopThread
    reader: Callable[[], Reader]
    waiting: Waiting
    live: LiveReaders
    commands: WorkflowCommands
    spending: Callable[[JobId], Coroutine[Any, Any, dict[str, Usage]]]
    successor: Callable[[Source], Workflow]
    """A definition that a fork is to go on with. Raises as `submit` does."""


class JobHandle:
    """A job that can be waited for, followed and continued."""

    def __init__(self, access: JobAccess, id: JobId, *, is_new: bool = False) -> None:
        self.id = id
        self.is_new = is_new
        """Whether the call that gave this handle made the job, and found none under its key."""
        self._access, self._loop = access, access.loop

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    @waited
    async def get(self) -> Job:
        """Everything about the job but its events and checkpoints."""
        return await self._read(lambda reader: reader.job(self.id))

    aget = awaited(get)

    @property
    def status(self) -> JobStatus:
        """The job's status now."""
        return self._access.reader().status(self.id)[0]

    @waited
    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the job's output (JSON). `timeout` in seconds.

        Raises JobFailed, JobStopped (it is paused, waits for a person, or was cancelled),
        ResultTimeout (it goes on), or a DatabaseError that broke its attempt off.
        """
        rest = await on_loop(self._loop, self._access.waiting.rest(self.id, timeout))
        return _output(self.id, rest)

    aresult = awaited(result)

    @waited
    async def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job rests, however it ended; returns its status."""
        return (await on_loop(self._loop, self._access.waiting.rest(self.id, timeout))).status

    await_rest = awaited(wait, "await_rest")

    def events(self, after: int = 0, *, follow: bool = True) -> Iterator[Event]:
        """The job's events with numbers above `after`, in order and without gaps. With `follow` also
        new ones, until the job rests."""
        rests = False
        while not rests:
            page, rests = self._events(after, follow)
            yield from page
            after = page[-1].seq if page else after

    async def aevents(self, after: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """`events`, awaited."""
        rests = False
        while not rests:
            page, rests = await self._aevents(after, follow)
            for event in page:
                yield event
            after = page[-1].seq if page else after

    @waited
    async def _events(self, after: int, follow: bool) -> tuple[list[Event], bool]:
        """A page of events, and whether it is the last."""
        if follow:
            return await on_loop(self._loop, self._access.waiting.events(self.id, after))
        page = await self._read(
            lambda reader: reader.events(self.id, after=after, limit=EVENT_PAGE)
        )
        return page, len(page) < EVENT_PAGE

    _aevents = awaited(_events)

    def stream(self, modes: Modes = DEFAULT_MODES, *, after: str | None = None) -> LiveStream:
        """Follow what the job's graph emits, live, until the job rests: LangGraph's version 2 parts,
        whichever process runs it.

        Args:
            modes: `values`, `updates`, `messages` (tokens, with metadata), `custom`, `tasks`,
                `checkpoints`, `debug`; one, or several.
            after: The `id` of the part to continue after. Default: from the first that is kept.

        What nobody listens to is not kept: submit with `stream=` if you need the beginning.
        See LiveStream, and docs/streaming.md. Raises InvalidInput.
        """
        stream = self._follow(modes, after)
        self._loop.call(stream.join())
        return stream

    def astream(self, modes: Modes = DEFAULT_MODES, *, after: str | None = None) -> LiveStream:
        """`stream`, for `async for`: not awaited, as LangGraph's."""
        stream = self._follow(modes, after)
        self._loop.begin(stream.join())
        return stream

    def _follow(self, modes: Modes, after: str | None) -> LiveStream:
        wanted = read_modes(modes)
        access, id = self._access, new_reader_id()
        return LiveStream(access.live, access.loop, id, self.id, wanted, after)

    @waited
    async def steps(self) -> list[Step]:
        """The job's node runs in the order in which they began."""
        return await self._read(lambda reader: reader.steps(self.id))

    asteps = awaited(steps)

    @waited
    async def spending(self) -> dict[str, Usage]:
        """What the nodes that run in this process now have spent so far, by node. Not stored, and
        empty if another process runs the job."""
        return await on_loop(self._loop, self._access.spending(self.id))

    aspending = awaited(spending)

    @waited
    async def attempts(self) -> list[Attempt]:
        """The job's attempts from the first."""
        return await self._read(lambda reader: reader.attempts(self.id))

    aattempts = awaited(attempts)

    @waited
    async def checkpoints(self) -> list[Checkpoint]:
        """The job's saved states, the newest first."""
        return await on_loop(self._loop, self._access.commands.checkpoints(self.id))

    acheckpoints = awaited(checkpoints)

    @waited
    async def prune(
        self, *, keep: int = 1, before: datetime | None = None, dry_run: bool = False
    ) -> int:
        """Delete old saved states. Returns how many, or with `dry_run` how many it would delete.

        The state that the job goes on from is kept, the `keep` newest, and those that they were
        made from; with `before` also all younger ones. Forks have states of their own. Raises
        RefusedChange if the states depend on each other (LangGraph's DeltaChannel), InvalidInput.
        """
        pruning = Pruning(keep=keep, before=None if before is None else before.timestamp())
        return await on_loop(self._loop, self._access.commands.prune(self.id, pruning, dry_run))

    aprune = awaited(prune)

    @waited
    async def archive(self) -> None:
        """Hide the job from lists; all of it can still be read.

        Raises RefusedChange if it has not ended.
        """
        await on_loop(self._loop, self._access.commands.archive(self.id, undo=False))

    aarchive = awaited(archive)

    @waited
    async def unarchive(self) -> None:
        """Show an archived job in lists again."""
        await on_loop(self._loop, self._access.commands.archive(self.id, undo=True))

    aunarchive = awaited(unarchive)

    @waited
    async def delete(self) -> None:
        """Delete the job with its steps, events and states. A thread that other jobs use is kept, and
        the job's key can be used again.

        Raises RefusedChange if it has not ended.
        """
        await on_loop(self._loop, self._access.commands.delete(self.id))

    adelete = awaited(delete)

    @waited
    async def export(self, path: Path | str, *, redact: bool = False) -> None:
        """Write the whole job into a file, without secrets: definition, input, steps, events and
        states. `Engine.import_job` reads it, on any database.

        Args:
            path: The file, which must not exist.
            redact: Keep only the shape of every text. The definition is kept as it is.
        """
        await self._read(lambda reader: save(path, reader.export(self.id, redact=redact)))

    aexport = awaited(export)

    @waited
    async def pause(self, *, now: bool = False) -> None:
        """Request a pause: at the next superstep, or with `now` in the middle of the job's nodes,
        which run again when it is resumed. `wait()` returns when it is paused.

        Raises RefusedChange if it is neither pending nor running.
        """
        await on_loop(self._loop, self._access.commands.pause(self.id, now))

    apause = awaited(pause)

    @waited
    async def cancel(self, *, rollback: bool = False) -> None:
        """Cancel the job permanently. What it finished stays to be read; with `rollback` the states
        that it saved are deleted, and its thread stands where it stood before.

        Raises RefusedChange where it has completed, failed or was cancelled before.
        """
        await on_loop(self._loop, self._access.commands.cancel(self.id, rollback=rollback))

    acancel = awaited(cancel)

    @waited
    async def resume(
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
        """Resume a failed, paused or waiting job from its last checkpoint. A job that was delayed
        still waits for its time.

        Args:
            now: At once, without waiting for that time; also for a pending job that is delayed.
            budget: Limits from now on (see Engine.submit), each for the whole job: what it has
                used before counts.
            priority: Its priority from now on.
            input: New values of inputs, checked as those of a new job. What ran with the old values
                is not run again. For paused and failed jobs.
            replace: New values of other names of the state.
            as_node: The node to write `input` and `replace` as, if several made the checkpoint.
            context: New values of names of its context, or an instance of the graph's
                `context_schema` that replaces the whole.
            config: New values of its config (see Engine.submit).

        With `input` or `replace`, nodes that ended after the last checkpoint, beside one that
        failed, run again. Raises RefusedChange if the job is pending, running, completed or
        cancelled, InvalidInput.
        """
        terms = read_new_terms(budget, priority, at_once=now, context=context, config=config)
        edit = InputEdit(input=input or {}, replace=replace or {}, as_node=as_node)
        await on_loop(self._loop, self._access.commands.resume(self.id, terms, edit))

    aresume = awaited(resume)

    @waited
    async def retry(
        self,
        *,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
        checkpoint: str | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """`resume`, for a failed job only; from an earlier checkpoint if one is named.

        Raises RefusedChange if it has not failed, CheckpointNotFound.
        """
        terms = read_new_terms(budget, priority, context=context, config=config)
        await on_loop(self._loop, self._access.commands.retry(self.id, terms, checkpoint))

    aretry = awaited(retry)

    @waited
    async def fork(
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
        """Start a new job from a checkpoint of this one, which is not changed.

        It has this job's workflow, input, context, config, tenant, labels and budget, of which it
        has spent nothing yet. What ran after the checkpoint runs again.

        Args:
            checkpoint: Its id, or the beginning of it. Default: the job's last.
            update: What to write into the state, as if the checkpoint's node had written it: a list
                that is appended to grows. The edges out of that node are evaluated again.
            replace: The same, but in place of what is there.
            as_node: The node to write as, if several ran.
            context, config: New values, as in `resume`.
            workflow: The definition to go on with, such as this job's file with other prompts; as
                `Engine.submit` takes it. Default: the job's own.

        Raises CheckpointNotFound, InvalidInput for names that the state does not have, and
        WorkflowChanged if the definition lacks a node that is due.
        """
        edit = Edit(update=update or {}, replace=replace or {}, as_node=as_node)
        given = read_regiven(context, config)
        other = None
        if workflow is not None:
            other = await aside(self._access.successor, workflow)
        fork = self._access.commands.fork(self.id, checkpoint, edit, other, given)
        return JobHandle(self._access, await on_loop(self._loop, fork), is_new=True)

    afork = awaited(fork)

    @waited
    async def restore(self, checkpoint: str) -> None:
        """Set a paused or failed job back to an earlier checkpoint, from which it then goes on. What
        ran after it can still be read, as a branch.

        Raises RefusedChange in any other status, CheckpointNotFound.
        """
        await on_loop(self._loop, self._access.commands.set_back(self.id, checkpoint))

    arestore = awaited(restore)

    @waited
    async def questions(self) -> list[Question]:
        """The open questions of the job."""
        asked = await self._read(lambda reader: reader.questions(self.id))
        return [question for question in asked if question.is_open]

    aquestions = awaited(questions)

    @waited
    async def answer(self, answer: Any, *, question: str | None = None) -> None:
        """Answer the open question, or the named one if several are open; the job goes on. An answer
        of a failed job that no node has gone past yet can be replaced; the job is then retried.

        Raises RefusedChange if no such question is open, and InvalidInput if the answer does not
        fit the question's schema.
        """
        open_one, text = await self._read(lambda reader: self._checked(reader, answer, question))
        await on_loop(self._loop, self._access.commands.answer(self.id, open_one, text))

    aanswer = awaited(answer)

    def _checked(self, reader: Reader, answer: Any, question: str | None) -> tuple[str, str]:
        asked, status = reader.questions(self.id), reader.job(self.id).status
        return checked_answer(self.id, status, asked, answer, question)

    def _read(self, read: Callable[[Reader], T]) -> Awaitable[T]:
        return aside(lambda: read(self._access.reader()))


def _output(id: JobId, rest: Rest) -> Any:
    if rest.status is JobStatus.COMPLETED:
        return json.loads(rest.output or "null")
    if rest.status is JobStatus.FAILED and rest.error is not None:
        error = JobError.model_validate_json(rest.error)
        raise JobFailed(id, error.type, error.message, error.node, error=error)
    raise JobStopped(id, rest.status.value, rest.reason)

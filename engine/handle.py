"""One job, as its caller holds it: to wait for, to follow, and to continue."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
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
from .loop.twins import T, Waitable, aside, awaited, on_loop, waited
from .transfer.job_file import save

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage
    from ucop.graphs.workflow import Workflow

    from .commands.workflow_commands import WorkflowCommands
    from .events.waiting import Waiting
    from .ledger.lifecycle import Rest
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
        self._access = access

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    @waited
    async def get(self) -> Job:
        """Everything about the job but its events and checkpoints."""
        return await self._read(lambda reader: reader.job(self.id))

    aget = awaited(get)

    @property
    def status(self) -> JobStatus:
        """Where the job stands now."""
        return self._access.reader().status(self.id)[0]

    @waited
    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the job's output (JSON). `timeout` in seconds.

        Raises JobFailed, JobStopped (it is paused, waits for a person, or was cancelled),
        ResultTimeout (it goes on), or a DatabaseError that broke its attempt off.
        """
        rest = await self._on_loop(self._access.waiting.rest(self.id, timeout))
        return _output(self.id, rest)

    aresult = awaited(result)

    @waited
    async def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job rests, however it ended; returns its status."""
        return (await self._on_loop(self._access.waiting.rest(self.id, timeout))).status

    await_rest = awaited(wait, "await_rest")

    def events(self, after: int = 0, *, follow: bool = True) -> Iterator[Event]:
        """The job's events with numbers above `after`, in order and without a gap; with
        `follow` also those to come, until the job rests."""
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
            return await self._on_loop(self._access.waiting.events(self.id, after))
        page = await self._read(
            lambda reader: reader.events(self.id, after=after, limit=EVENT_PAGE)
        )
        return page, len(page) < EVENT_PAGE

    _aevents = awaited(_events)

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
        stream = self._follow(modes, after)
        self._access.loop.call(stream.join())
        return stream

    def astream(self, modes: Modes = DEFAULT_MODES, *, after: str | None = None) -> LiveStream:
        """`stream`, for `async for`: not awaited, as LangGraph's."""
        stream = self._follow(modes, after)
        self._access.loop.begin(stream.join())
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
        """What the nodes that run in this process now have spent so far, by node. Not stored;
        empty where another process runs the job."""
        return await self._on_loop(self._access.spending(self.id))

    aspending = awaited(spending)

    @waited
    async def attempts(self) -> list[Attempt]:
        """The job's attempts from the first."""
        return await self._read(lambda reader: reader.attempts(self.id))

    aattempts = awaited(attempts)

    @waited
    async def checkpoints(self) -> list[Checkpoint]:
        """The job's saved states, the newest first."""
        return await self._on_loop(self._access.commands.checkpoints(self.id))

    acheckpoints = awaited(checkpoints)

    @waited
    async def prune(
        self, *, keep: int = 1, before: datetime | None = None, dry_run: bool = False
    ) -> int:
        """Delete old saved states; returns how many, with `dry_run` how many that would be.

        What the job goes on from is kept, the `keep` newest, and what those were made from; with
        `before` also all that are younger. Forks have states of their own. Raises RefusedChange
        where the states cannot stand alone (LangGraph's DeltaChannel), InvalidInput.
        """
        pruning = Pruning(keep=keep, before=None if before is None else before.timestamp())
        return await self._on_loop(self._access.commands.prune(self.id, pruning, dry_run))

    aprune = awaited(prune)

    @waited
    async def archive(self) -> None:
        """Take the job, which has ended, out of the lists; all of it stays to be read.

        Raises RefusedChange where it has not ended.
        """
        await self._on_loop(self._access.commands.archive(self.id, undo=False))

    aarchive = awaited(archive)

    @waited
    async def unarchive(self) -> None:
        """Put it back into the lists."""
        await self._on_loop(self._access.commands.archive(self.id, undo=True))

    aunarchive = awaited(unarchive)

    @waited
    async def delete(self) -> None:
        """Delete the job, which has ended, with its steps, events and states. A thread that other
        jobs use stays; its key is free again.

        Raises RefusedChange where it has not ended.
        """
        await self._on_loop(self._access.commands.delete(self.id))

    adelete = awaited(delete)

    @waited
    async def export(self, path: Path | str, *, redact: bool = False) -> None:
        """Write the job whole into a file, without secrets: definition, input, steps, events and
        states, to be read again by `Engine.import_job`, on any database.

        Args:
            path: The file, which must not be there yet.
            redact: Keep of every text only its shape. The definition stays.
        """
        await self._read(lambda reader: save(path, reader.export(self.id, redact=redact)))

    aexport = awaited(export)

    @waited
    async def pause(self, *, now: bool = False) -> None:
        """Ask the job to pause: at the next superstep, or, with `now`, in the middle of its
        nodes, which run again when it goes on. `wait()` tells when it has.

        Raises RefusedChange where it is neither pending nor running.
        """
        await self._on_loop(self._access.commands.pause(self.id, now))

    apause = awaited(pause)

    @waited
    async def cancel(self) -> None:
        """End the job for ever; what it finished stays to be read.

        Raises RefusedChange where it has completed, failed or was cancelled before.
        """
        await self._on_loop(self._access.commands.cancel(self.id))

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
        await self._on_loop(self._access.commands.resume(self.id, terms, edit))

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
        """`resume`, for a failed job alone; from an earlier checkpoint where one is named.

        Raises RefusedChange where it has not failed, CheckpointNotFound.
        """
        terms = read_new_terms(budget, priority, context=context, config=config)
        await self._on_loop(self._access.commands.retry(self.id, terms, checkpoint))

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
        other = None
        if workflow is not None:
            other = await aside(self._access.successor, workflow)
        fork = self._access.commands.fork(self.id, checkpoint, edit, other, given)
        return JobHandle(self._access, await self._on_loop(fork), is_new=True)

    afork = awaited(fork)

    @waited
    async def restore(self, checkpoint: str) -> None:
        """Set a paused or failed job back to an earlier checkpoint: when it goes on, it goes on
        from there. What ran after it stays to be read, as a branch.

        Raises RefusedChange in any other status, CheckpointNotFound.
        """
        await self._on_loop(self._access.commands.set_back(self.id, checkpoint))

    arestore = awaited(restore)

    @waited
    async def questions(self) -> list[Question]:
        """What the job asks people and is not answered yet."""
        asked = await self._read(lambda reader: reader.questions(self.id))
        return [question for question in asked if question.is_open]

    aquestions = awaited(questions)

    @waited
    async def answer(self, answer: Any, *, question: str | None = None) -> None:
        """Answer the open question, or the one named where several are open; the job goes on. A
        failed job can be given another answer in place of one that no node has gone past yet, and
        is retried with it.

        Raises RefusedChange where no such question is open, and InvalidInput where the answer
        does not fit the question's schema.
        """
        open_one, text = await self._read(lambda reader: self._checked(reader, answer, question))
        await self._on_loop(self._access.commands.answer(self.id, open_one, text))

    aanswer = awaited(answer)

    def _checked(self, reader: Reader, answer: Any, question: str | None) -> tuple[str, str]:
        asked, status = reader.questions(self.id), reader.job(self.id).status
        return checked_answer(self.id, status, asked, answer, question)

    def _read(self, read: Callable[[Reader], T]) -> Waitable[T]:
        return aside(lambda: read(self._access.reader()))

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> Waitable[T]:
        return on_loop(self._access.loop, work)


def _output(id: JobId, rest: Rest) -> Any:
    if rest.status is JobStatus.COMPLETED:
        return json.loads(rest.output or "null")
    if rest.status is JobStatus.FAILED and rest.error is not None:
        error = JobError.model_validate_json(rest.error)
        raise JobFailed(id, error.type, error.message, error.node, error=error)
    raise JobStopped(id, rest.status.value, rest.reason)

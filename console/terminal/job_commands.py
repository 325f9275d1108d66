"""What keys do to a job: pause, resume, cancel, retry, answer, fork. Asked back where it matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.binding import Binding, BindingType

from ucop.engine.errors import UcopError
from ucop.engine.jobs.command import TAKES, Command
from ucop.engine.jobs.status import JobStatus

from ..view.jobs.job_facts import DONE
from ..view.tables import plural
from .forms.answer_form import AnswerForm
from .forms.budget_form import BudgetForm
from .forms.confirmation import Confirmation
from .forms.fork_form import ForkForm
from .live_screen import LiveScreen

if TYPE_CHECKING:
    from ucop.engine import Engine
    from ucop.engine.jobs.job import Checkpoint, Job
    from ucop.engine.reading.reader import Reader

T = TypeVar("T")

SHORT = 12
"""Characters of a job's id in questions and notes."""

_TAKEN = MappingProxyType(
    {
        "pause": TAKES[Command.PAUSE],
        "pause_now": frozenset({JobStatus.RUNNING}),
        "resume": TAKES[Command.RESUME],
        "resume_now": TAKES[Command.RESUME] | {JobStatus.PENDING},
        "cancel": TAKES[Command.CANCEL],
        "retry": TAKES[Command.RETRY],
        "answer": frozenset({JobStatus.WAITING, JobStatus.FAILED}),
        "fork": frozenset(JobStatus),
    }
)
"""The statuses in which a key means something."""

_AT_ONCE = frozenset({"pause_now", "resume_now"})
"""Commands that are given with `now`."""

_TOGETHER = MappingProxyType(
    {
        "pause": (Command.PAUSE, "Running ones stop when the nodes that run now have ended."),
        "pause_now": (Command.PAUSE, "Running nodes are stopped, and run again later."),
        "resume": (Command.RESUME, "They go on from their last checkpoints, with what they have."),
        "resume_now": (Command.RESUME, "They go on at once, also before their time."),
        "retry": (Command.RETRY, "They go on from their last checkpoints, with what they have."),
        "cancel": (Command.CANCEL, "This is permanent. Finished results are kept."),
    }
)
"""What marked jobs take together, and what follows from it."""


class JobCommands(LiveScreen):
    """A screen on which a job is chosen."""

    JOB_KEYS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause", tooltip="Stop when the nodes that run now have ended"),
        Binding(
            "P",
            "pause_now",
            "Pause now",
            show=False,
            tooltip="Stop running nodes at once; they run again later",
        ),
        Binding("r", "resume", "Resume", tooltip="Go on from the last checkpoint"),
        Binding(
            "R",
            "resume_now",
            "Run now",
            show=False,
            tooltip="Run a delayed or paused job at once, not at its time",
        ),
        Binding("t", "retry", "Retry", tooltip="Let a failed job go on from its last checkpoint"),
        Binding(
            "a", "answer", "Answer", tooltip="Answer what the job asks, or anew what it failed with"
        ),
        Binding("f", "fork", "Fork", tooltip="Go on from a checkpoint in a new job"),
        Binding("c", "cancel", "Cancel", tooltip="Cancel the job permanently"),
    ]

    @property
    def marked(self) -> Sequence[Job]:
        """Jobs that are to be changed together, in place of the chosen one."""
        return ()

    def unmark(self) -> None:
        """No job is marked any more."""

    @property
    def chosen(self) -> Job | None:
        """The job that keys are about."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in _TAKEN:
            return super().check_action(action, parameters)
        if self.marked and action in _TOGETHER:
            return any(_takes(action, job) for job in self.marked)
        job = self.chosen
        return job is not None and _takes(action, job)

    # ------------------------------------------------------------ commands

    def action_pause(self) -> None:
        self._give(lambda job: self._change(job, Command.PAUSE), "pause")

    def action_pause_now(self) -> None:
        self._give(
            lambda job: self._change(
                job,
                Command.PAUSE,
                ask="Its running nodes are stopped, and run again later.",
                now=True,
            ),
            "pause_now",
        )

    def action_cancel(self) -> None:
        self._give(
            lambda job: self._change(
                job, Command.CANCEL, ask="This is permanent. Finished results are kept."
            ),
            "cancel",
        )

    def action_resume(self) -> None:
        self._give(lambda job: self._go_on(job, Command.RESUME), "resume")

    def action_resume_now(self) -> None:
        self._give(lambda job: self._change(job, Command.RESUME, now=True), "resume_now")

    def action_retry(self) -> None:
        self._give(lambda job: self._go_on(job, Command.RETRY), "retry")

    def action_answer(self) -> None:
        self._give(self._answer)

    def action_fork(self) -> None:
        self._give(self._fork)

    def _give(
        self, give: Callable[[Job], Coroutine[Any, Any, None]], together: str | None = None
    ) -> None:
        """Give a command about the job that is chosen now, whatever is chosen when it is done; one
        that jobs take `together`, about those that are marked."""
        if self.marked and together is not None:
            self.run_worker(self._change_marked(together), group="commands")
        elif (job := self.chosen) is not None:
            self.run_worker(give(job), group="commands")

    async def _change(
        self,
        job: Job,
        command: Command,
        *,
        ask: str | None = None,
        now: bool = False,
        budget: Mapping[str, float] | None = None,
    ) -> None:
        what = f"{command} job {job.id[:SHORT]} ({job.workflow})"
        if ask and not await self.app.push_screen_wait(Confirmation(f"{what}?", ask)):
            return
        changed = await self._done(
            lambda engine: engine.change(command, [job.id], now=now, budget=budget)
        )
        if changed is None:
            return
        if changed[0].refused:
            self.console.tell(f"refused: {changed[0].refused}", failed=True)
            return
        await self._tell(f"job {job.id[:SHORT]}: {DONE[command]}", changed[0].status)

    async def _change_marked(self, key: str) -> None:
        command, follows = _TOGETHER[key]
        meant = [job for job in self.marked if _takes(key, job)]
        counts = Counter(job.status for job in meant)
        listed = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
        what = f"{command} {plural(len(meant), 'job')} ({listed})?"
        if not await self.app.push_screen_wait(Confirmation(what, follows)):
            return
        ids = [job.id for job in meant]
        changed = await self._done(lambda engine: engine.change(command, ids, now=key in _AT_ONCE))
        if changed is None:
            return
        self.unmark()
        refused = [one.refused for one in changed if one.refused]
        if done := [one for one in changed if not one.refused]:
            await self._tell(f"{plural(len(done), 'job')} {DONE[command]}", done[0].status)
        if refused:
            self.console.tell(f"{len(refused)} refused: {refused[0]}", failed=True)

    async def _go_on(self, job: Job, command: Command) -> None:
        budget = await self.app.push_screen_wait(BudgetForm(job, command))
        if budget is not None:
            await self._change(job, command, budget=budget)

    async def _answer(self, job: Job) -> None:
        asked = await self._look_up(
            lambda reader: [q for q in reader.questions(job.id) if q.takes_answer(job.status)]
        )
        if asked is not None and not asked:
            if job.status is JobStatus.WAITING:
                await self._go_on(job, Command.RESUME)  # it stands at a breakpoint
            else:
                self.console.tell(f"job {job.id[:SHORT]} has no answer that could be another")
        if not asked:
            return
        given = await self.app.push_screen_wait(AnswerForm(job, asked))
        if given is None:
            return
        question, answer = given

        def give(engine: Engine) -> JobStatus:
            handle = engine.job(job.id)
            handle.answer(answer, question=question.id)
            return handle.status

        status = await self._done(give)
        if status is not None:
            await self._tell(f"job {job.id[:SHORT]}: {question.node} is answered", status)

    async def _fork(self, job: Job, checkpoint: Checkpoint | None = None) -> None:
        found = checkpoint or await self._look_up(
            lambda reader: next(iter(reader.checkpoints(job.id)), None)
        )
        if found is None:
            self.console.tell(f"job {job.id[:SHORT]} has saved no checkpoint yet", failed=True)
            return
        edit = await self.app.push_screen_wait(ForkForm(job, found))
        if edit is None:
            return
        # As it stands, where nothing is chosen or changed: what finished since then counts.
        named = found.id if checkpoint is not None or edit.replace else None

        def fork(engine: Engine) -> str:
            handle = engine.job(job.id)
            return handle.fork(named, replace=edit.replace, as_node=edit.as_node).id

        new = await self._done(fork)
        if new is not None:
            await self._tell(f"job {new[:SHORT]} goes on from there", JobStatus.PENDING)
            self.forked(new)

    def forked(self, job: str) -> None:
        """A new job was made."""

    # ------------------------------------------------------------ how they are carried out

    async def _done(self, do: Callable[[Engine], T]) -> T | None:
        """What the engine says; None, and a note, where it refuses."""
        try:
            return await self.console.act(do)
        except UcopError as error:
            self.console.tell(str(error), failed=True)
            return None
        finally:
            self.changed()

    async def _look_up(self, ask: Callable[[Reader], T]) -> T | None:
        try:
            return await self.console.read(ask)
        except UcopError as error:
            self.console.tell(str(error), failed=True)
            return None

    async def _tell(self, done: str, status: JobStatus | None) -> None:
        if (
            status is JobStatus.PENDING
            and await self._look_up(lambda reader: reader.workers()) == []
        ):
            command = self.console.source.place.command("worker")
            done += f"; no worker is running, start one with: {command}"
        self.console.tell(done)


def _takes(key: str, job: Job) -> bool:
    """Whether a key means something for this job."""
    if key == "resume_now" and job.status is JobStatus.PENDING:
        return job.start_at is not None
    return job.status in _TAKEN[key]

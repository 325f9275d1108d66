"""How a job goes on with a thread, where it is not by an input of its own.

This is what LangGraph Server calls a run: it is kept with the job (`jobs.run`), and used until the
job has begun; from then on it goes on from what it saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError

from ..errors import InvalidInput
from ..record import Record
from .job import Text

if TYPE_CHECKING:
    from langgraph.types import Command, Send

END = "__end__"


class Sent(Record):
    """A node that is to run with an input of its own: LangGraph's `Send`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    node: Text
    input: Any = None


class ThreadCommand(Record):
    """LangGraph's `Command`, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resume: Any = None
    """An answer to what the thread's last job asked: to its one open question, or an object of
    answers by the ids of questions."""
    update: dict[Text, Any] | list[tuple[Text, Any]] | None = None
    goto: Text | Sent | list[Text | Sent] | None = None
    """Nodes to run next; `__end__` alone ends what is due."""

    @property
    def ends(self) -> bool:
        """Whether it only ends what is due."""
        return self.goto in (END, [END])

    @property
    def is_more(self) -> bool:
        """Whether it says anything beside `goto`."""
        return self.resume is not None or bool(self.update)

    def targets(self) -> list[str | Send]:
        """`goto` as LangGraph takes it."""
        from langgraph.types import Send

        given = self.goto if isinstance(self.goto, list) else [self.goto]
        return [
            Send(each.node, each.input) if isinstance(each, Sent) else each
            for each in given
            if each is not None
        ]


class ThreadRun(Record):
    """How a job goes on with its thread. A job with one takes over the thread from a job that waits
    there, or is paused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    command: ThreadCommand | None = None
    """Instead of an input."""
    go_on: bool = False
    """Whether it goes on from where the thread stands, without an input."""
    checkpoint: Text | None = None
    """An earlier state of the thread to go on from, which makes a branch."""
    strict_resume: bool = False
    """Whether answers to what nobody asks are refused, and not passed over."""
    temporary: bool = False
    """Whether the end of the job deletes the thread."""
    assistant: Text | None = None
    """What it was started as, for who wants to know."""
    thread_metadata: dict[Text, Any] = Field(default_factory=dict)
    """What is noted about the thread."""
    answers_questions: bool = False
    """Whether `command.resume` stands among the job's questions, answered: said by the ledger."""

    @property
    def takes_input(self) -> bool:
        return self.command is None and not self.go_on


def thread_run(
    *,
    command: Command[Any] | Mapping[str, Any] | None = None,
    go_on: bool = False,
    checkpoint: str | None = None,
    strict_resume: bool = False,
    temporary: bool = False,
    assistant: str | None = None,
    thread_metadata: Mapping[str, Any] | None = None,
) -> ThreadRun:
    """How a job is to go on with its thread, for `submit(run=…)`.

    Args:
        command: LangGraph's `Command`, or an object with `resume`, `update` and `goto`, instead of an
            input. `resume` answers the one question that is open on the thread; an object whose
            names are ids of questions answers those. `goto="__end__"` alone ends what is due.
        go_on: Go on from where the thread stands, without an input.
        checkpoint: The id of an earlier state to go on from, which makes a branch. The newest is
            no branch.
        strict_resume: Refuse answers to what nobody asks; otherwise they are passed over.
        temporary: The end of the job deletes the thread; what it asks ends it.
        assistant: What it was started as.
        thread_metadata: Noted about the thread: see ThreadHandle.set_metadata.

    Raises InvalidInput.
    """
    given = {
        "go_on": go_on,
        "checkpoint": checkpoint,
        "strict_resume": strict_resume,
        "temporary": temporary,
        "assistant": assistant,
        "thread_metadata": dict(thread_metadata or {}),
    }
    told = None if command is None else _plain(command)
    if told is not None and go_on:
        raise InvalidInput("command, go_on: give one of the two")
    try:
        run = ThreadRun.model_validate({**given, "command": told})
        json.dumps(run.model_dump(), allow_nan=False)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise InvalidInput(f"the run cannot be started so: {wrong}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the run cannot be started so: {error}") from None
    if run.command is not None and run.command.ends and run.command.is_more:
        raise InvalidInput("command.goto: '__end__' ends what is due, and goes with nothing else")
    return run


def _plain(command: Any) -> Any:
    """A command as JSON."""
    if isinstance(command, Mapping):
        return dict(command)
    given = {name: getattr(command, name, None) for name in ("resume", "update", "goto")}
    if getattr(command, "graph", None) is not None:
        raise InvalidInput("command: only a node can name another graph")
    goto = given["goto"]
    if isinstance(goto, Sequence) and not isinstance(goto, str):
        given["goto"] = [_sent(each) for each in goto]
    else:
        given["goto"] = _sent(goto)
    return {name: value for name, value in given.items() if value not in (None, [], ())}


def _sent(target: Any) -> Any:
    if target is None or isinstance(target, str):
        return target
    return {"node": target.node, "input": target.arg}

"""How a job begins that goes on with its thread: by a command, without an input, or at an earlier
state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langgraph.types import Command

from ..jobs.thread_run import END

if TYPE_CHECKING:
    from ..jobs.thread_run import ThreadRun
    from ..ledger.records import Claimed


def command_of(run: ThreadRun, claimed: Claimed, answers: Mapping[str, Any]) -> Any:
    """What a graph is given that goes on from where its thread stands. The writes of a command are
    the first that are saved: a later attempt does not give them again."""
    command = None if claimed.saved else run.command
    if command is None or command.ends:
        return Command(resume=dict(answers)) if answers else None
    resume = dict(answers) if answers else None
    if not run.answers_questions:
        resume = command.resume
    goto = command.targets()
    if resume is None and not command.update and not goto:
        return None
    return Command(resume=resume, update=command.update, goto=goto)


async def end_what_is_due(claimed: Claimed, graph: Any, config: Mapping[str, Any]) -> None:
    """Carry out a command that only ends what is due on the thread."""
    run = claimed.run.thread_run
    if claimed.begun or claimed.saved or run is None or run.command is None:
        return
    if run.command.ends:
        await graph.aupdate_state(begin_config(claimed, config), None, as_node=END)


def begin_config(claimed: Claimed, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the earlier state that a job is to begin at, until it has begun."""
    run = claimed.run.thread_run
    if claimed.begun or run is None or run.checkpoint is None:
        return dict(config)
    at = {**config["configurable"], "checkpoint_id": run.checkpoint}
    return {**config, "configurable": at}

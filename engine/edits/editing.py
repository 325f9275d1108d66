"""What a saver is to write for an edited state, or so that a thread stands at an earlier checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ucop.agents.text.validation import validate
from ucop.agents.text.whole_numbers import with_whole_numbers
from ucop.graphs.edit import INPUT, START, check_names
from ucop.graphs.errors import StateError
from ucop.graphs.language.definition import Merge
from ucop.graphs.pregel.superstep import AS_NODE, MARKS, Superstep, changes, superstep, with_edit
from ucop.graphs.types.state import normalise
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.yaml_workflow import OVERWRITE, YamlWorkflow

from ..checkpoints.savers import attach
from ..errors import CheckpointNotFound, InvalidInput
from ..jobs.job import JobId, ThreadId
from ..journal.notes import Call
from .edit import Edit

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from ..checkpoints.savers import FencedSaver


async def edited(
    workflow: Workflow,
    saver: FencedSaver,
    job: JobId,
    thread: ThreadId,
    checkpoint: str,
    edit: Edit,
) -> list[Call]:
    """What the saver is to write for an edited state. Raises InvalidInput, CheckpointNotFound,
    or Unstorable."""
    from langgraph.errors import InvalidUpdateError

    values = _values(workflow, edit)
    draft: list[Call] = []
    graph: Any = attach(workflow.graph(), saver.for_draft(draft))
    # By the graph's saver, which knows the classes of its state.
    at = await _saved(graph.checkpointer, thread, checkpoint)
    try:
        calls = await _edited(workflow, graph, draft, at, values, edit.as_node)
    except InvalidUpdateError as error:
        raise InvalidInput(f"job {job}: the state cannot be edited so: {error}") from error
    graph.checkpointer.check(calls)
    return calls


async def _edited(
    workflow: Workflow,
    graph: Any,
    draft: list[Call],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    as_node: str | None,
) -> list[Call]:
    if START in at.checkpoint["channel_values"]:
        return await _with_input(graph, draft, at, values, as_node)
    step = await superstep(graph, at)
    node = workflow.edited_as(_made_by(step, at, as_node), as_node)
    if step is None or node not in step.ran:
        return await _loosely(workflow, graph, draft, at, values, node)
    return await _anew(workflow, step, await _news(graph, at, values), node)


async def set_back(
    workflow: Workflow, saver: FencedSaver, thread: ThreadId, checkpoint: str
) -> list[Call]:
    """What the saver is to write so that the thread stands at an earlier checkpoint again. What
    followed on it stays, as a branch."""
    draft: list[Call] = []
    graph: Any = attach(workflow.graph(), saver.for_draft(draft))
    at = await _saved(graph.checkpointer, thread, checkpoint)
    await graph.aupdate_state(_at(thread, checkpoint), None, as_node="__copy__")
    known: Any = at.metadata or {}
    if known.get("source") == "update":
        marks = {name: known[name] for name in MARKS if name in known}
        _mark(draft, {"source": "update", **marks})
    return draft


async def _saved(saver: FencedSaver, thread: ThreadId, checkpoint: str) -> CheckpointTuple:
    # The newest as well: what is drafted has to be newer, whatever the clock says.
    await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    saved = await saver.aget_tuple(_at(thread, checkpoint))
    if saved is None:
        raise CheckpointNotFound(f"no checkpoint {checkpoint} in thread {thread}")
    return saved


async def _with_input(
    graph: Any,
    draft: list[Call],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    as_node: str | None,
) -> list[Call]:
    """Another input, if nothing else was saved yet."""
    if as_node is not None:
        raise InvalidInput(
            f"no node has made this state, which is the input alone; leave as_node={as_node!r} out"
        )
    input = at.checkpoint["channel_values"][START]
    await graph.aupdate_state(at.config, {**input, **values}, as_node=INPUT)
    return draft


def _made_by(step: Superstep | None, at: CheckpointTuple, as_node: str | None) -> tuple[str, ...]:
    """The nodes that made a checkpoint. Raises InvalidInput if none is known, nor named."""
    if step is not None:
        return step.ran
    known: Any = at.metadata or {}
    if AS_NODE in known:
        return (known[AS_NODE],)
    if as_node is None:
        raise InvalidInput(
            "the checkpoint before this one was pruned, so as_node must say as which node to "
            "write; without an edit it can be forked as it is"
        )
    return ()


async def _news(graph: Any, at: CheckpointTuple, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those that stand there already. A condition that reads one may not have
    seen it, since a sibling wrote it: what changes nothing is to change no way either."""
    held = (await graph.aget_state(at.config)).values
    return {
        name: value
        for name, value in values.items()
        if name not in held or changes(graph.channels.get(name), held[name], value)
    }


async def _anew(
    workflow: Workflow, step: Superstep, values: Mapping[str, Any], node: str
) -> list[Call]:
    """The superstep as it would have been, had `node` written `values` as well."""
    written = list(values.items())
    tasks = []
    for task in step.tasks:
        if task.name == node:
            routes = await workflow.rerouted(step, task, written)
            told = with_edit(step.channels, task.values, written)
            task = replace(task, writes=[*told, *routes])
        tasks.append(task)
    return await step.again(tasks, written)


async def _loosely(
    workflow: Workflow,
    graph: Any,
    draft: list[Call],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    node: str,
) -> list[Call]:
    """Written as a node that has not made the checkpoint, or of which that is not known."""
    snapshot = await graph.aget_state(at.config)
    due = tuple(dict.fromkeys(snapshot.next))
    update, named = workflow.loose_update(due, values, node)
    await graph.aupdate_state(at.config, update, as_node=named)
    _mark(draft, {AS_NODE: named})
    return draft


def _mark(draft: list[Call], marks: Mapping[str, Any]) -> None:
    """Note `marks` in the metadata of the checkpoints of a draft."""
    for method, arguments in draft:
        if method == "put":
            arguments[2].update(marks)


def _values(workflow: Workflow, edit: Edit) -> dict[str, Any]:
    from langgraph.channels import BinaryOperatorAggregate
    from langgraph.graph import add_messages

    check_names({**edit.update, **edit.replace}, workflow.state_names())
    workflow.check_edit({**edit.update, **edit.replace})
    if isinstance(workflow, YamlWorkflow):
        edit = _with_whole_numbers(workflow, edit)
        _check_kept({**edit.update, **edit.replace})
        _check_types(workflow, edit.replace)
    channels = workflow.graph().channels
    replaced = dict(edit.replace)
    for name, value in edit.replace.items():
        match channels.get(name):
            case BinaryOperatorAggregate(operator=merge):
                # Nodes are to find messages, as they do where they are merged.
                whole = add_messages([], value) if merge is add_messages else value
                replaced[name] = {OVERWRITE: whole}
    return {**edit.update, **replaced}


def _with_whole_numbers(workflow: YamlWorkflow, edit: Edit) -> Edit:
    """The edit as nodes would have written it: what is declared an integer is one."""
    declared = workflow.definition.channels

    def read(name: str, value: Any, *, merged: bool) -> Any:
        channel = declared.get(name)
        if channel is None:
            return value
        if merged and channel.merge is Merge.append:
            return with_whole_numbers(channel.schema, [value])[0]
        return with_whole_numbers(channel.schema, value)

    return replace(
        edit,
        update={name: read(name, value, merged=True) for name, value in edit.update.items()},
        replace={name: read(name, value, merged=False) for name, value in edit.replace.items()},
    )


def _check_kept(values: Mapping[str, Any]) -> None:
    """What a node cannot write no edit writes."""
    try:
        normalise(dict(values), None, "the edit")
    except StateError as error:
        raise InvalidInput(str(error)) from None


def _check_types(workflow: YamlWorkflow, values: Mapping[str, Any]) -> None:
    declared = workflow.definition.channels
    wrong = [
        f"{name}: {problem}"
        for name, value in values.items()
        if value is not None and name in declared
        for problem in validate(dict(declared[name].schema), value)
    ]
    if wrong:
        listed = "; ".join(wrong)
        raise InvalidInput(f"the edited state does not fit workflow {workflow.name!r}: {listed}")


def _at(thread: ThreadId, checkpoint: str) -> Any:
    where = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint}
    return {"configurable": where}

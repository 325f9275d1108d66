"""Going on from an earlier checkpoint: in a new job, or in the same one.

A fork is one transaction: the new job, a copy of its parent's thread up to the checkpoint, and
the edited state, which the superstep that made the checkpoint would have left. The parent is only
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ucop.agents.text.schema import validate
from ucop.agents.text.whole_numbers import with_whole_numbers
from ucop.graphs.edit import INPUT, START, check_names
from ucop.graphs.errors import StateError
from ucop.graphs.language.definition import Merge
from ucop.graphs.pregel.superstep import AS_NODE, MARKS, Superstep, changes, superstep, with_edit
from ucop.graphs.types.state import normalise
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.yaml_workflow import OVERWRITE, YamlWorkflow

from ..dialect import Tables
from ..errors import CheckpointNotFound, InvalidInput, JobNotFound, RefusedChange
from ..jobs.job import JobId, ThreadId
from ..jobs.status import Change, JobStatus, sources
from ..ledger import questions
from ..ledger.commands import MARK_PASSED, RESTS, NewTerms, changed_meanwhile, check_edit, go_on
from ..ledger.events import event
from ..ledger.lifecycle import ADD_ATTEMPT, existing
from ..ledger.operation import Enqueue, One, Operation, Row, Save
from ..ledger.threads import copy_branch
from .fence import Kept, attach, save_on

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from .fence import FencedSaver
    from .successor import Successor


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is to be changed of a state."""

    update: Mapping[str, Any] = field(default_factory=dict)
    """Written as a node writes: what is merged is merged."""
    replace: Mapping[str, Any] = field(default_factory=dict)
    """Put in place of what is there."""
    as_node: str | None = None

    @property
    def is_none(self) -> bool:
        return not (self.update or self.replace)


@dataclass(frozen=True, kw_only=True)
class InputEdit:
    """What a job that rests is to go on with."""

    input: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the workflow that are to be others."""
    replace: Mapping[str, Any] = field(default_factory=dict)
    """Any names of its state."""
    as_node: str | None = None

    @property
    def is_none(self) -> bool:
        return not (self.input or self.replace)

    @property
    def names(self) -> list[str]:
        return sorted({*self.input, *self.replace})

    def checked(self, workflow: Workflow, job: JobId, before: Any, *, begun: bool) -> Any:
        """What is to be given to the graph: where it has not begun the whole input, else those
        inputs that are to be others. Raises InvalidInput."""
        if self.input and not isinstance(before, Mapping):
            raise InvalidInput(
                f"the input of job {job} is one value ({type(before).__name__}), so no name of it "
                "can be given another; submit it anew"
            )
        accepted = workflow.accept({**before, **self.input} if self.input else before)
        if begun:
            return {name: accepted[name] for name in self.input}
        if self.replace:
            named = ", ".join(sorted(self.replace))
            raise InvalidInput(
                f"job {job} has saved no state yet, so there is no {named} to edit; "
                "give its input other values instead"
            )
        return accepted


NO_EDIT = InputEdit()


# ---------------------------------------------------------------- what is to be saved


async def edited(
    workflow: Workflow,
    saver: FencedSaver,
    job: JobId,
    thread: ThreadId,
    checkpoint: str,
    edit: Edit,
) -> list[Kept]:
    """What the saver is to write for an edited state. Raises InvalidInput, CheckpointNotFound,
    or Unstorable."""
    from langgraph.errors import InvalidUpdateError

    values = _values(workflow, edit)
    draft: list[Kept] = []
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
    draft: list[Kept],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    as_node: str | None,
) -> list[Kept]:
    if START in at.checkpoint["channel_values"]:
        return await _with_input(graph, draft, at, values, as_node)
    step = await superstep(graph, at)
    node = workflow.edited_as(_made_by(step, at, as_node), as_node)
    if step is None or node not in step.ran:
        return await _loosely(workflow, graph, draft, at, values, node)
    return await _anew(workflow, step, await _news(graph, at, values), node)


async def set_back(
    workflow: Workflow, saver: FencedSaver, thread: ThreadId, checkpoint: str
) -> list[Kept]:
    """What the saver is to write so that the thread stands at an earlier checkpoint again. What
    followed on it stays, as a branch."""
    draft: list[Kept] = []
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
    draft: list[Kept],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    as_node: str | None,
) -> list[Kept]:
    """Another input, where nothing else was saved yet."""
    if as_node is not None:
        raise InvalidInput(
            f"no node has made this state, which is the input alone; leave as_node={as_node!r} out"
        )
    input = at.checkpoint["channel_values"][START]
    await graph.aupdate_state(at.config, {**input, **values}, as_node=INPUT)
    return draft


def _made_by(step: Superstep | None, at: CheckpointTuple, as_node: str | None) -> tuple[str, ...]:
    """The nodes that made a checkpoint. Raises InvalidInput where none is known, nor named."""
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
) -> list[Kept]:
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
    draft: list[Kept],
    at: CheckpointTuple,
    values: Mapping[str, Any],
    node: str,
) -> list[Kept]:
    """Written as a node that has not made the checkpoint, or of which that is not known."""
    snapshot = await graph.aget_state(at.config)
    due = tuple(dict.fromkeys(snapshot.next))
    update, named = workflow.loose_update(due, values, node)
    await graph.aupdate_state(at.config, update, as_node=named)
    _mark(draft, {AS_NODE: named})
    return draft


def _mark(draft: list[Kept], marks: Mapping[str, Any]) -> None:
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


def newest(draft: Sequence[Kept], otherwise: str) -> str:
    """The checkpoint that a thread stands at once the draft is saved."""
    ids = [arguments[1]["id"] for method, arguments in draft if method == "put"]
    return ids[-1] if ids else otherwise


def _to(job: JobId, thread: ThreadId, draft: Sequence[Kept]) -> Save:
    """The calls of a draft, for the thread of the job that they are to belong to."""

    def placed(config: Any) -> Any:
        where = {**config["configurable"], "thread_id": thread}
        return {"configurable": where, "metadata": {"ucop_job": job}}

    calls = [(method, (placed(first), *rest)) for method, (first, *rest) in draft]
    return Save(partial(save_on, calls))


# ---------------------------------------------------------------- operations

_ADD_FORK = """
insert into jobs (id, workflow, fingerprint, needs, status, attempt, thread_id, queue, tenant,
    priority, input, run, labels, budget, parent_job_id, parent_checkpoint_id, checkpoint_id, seq,
    progress, stalls, not_before, expires_at, created_at, queued_at)
select cast(:id as text), coalesce(cast(:workflow as text), workflow),
    coalesce(cast(:fingerprint as text), fingerprint), coalesce(cast(:needs as text), needs),
    'pending', 1, cast(:id as text), queue, tenant, priority,
    coalesce(cast(:input as text), input), coalesce(cast(:run as text), run), labels, budget, id,
    cast(:checkpoint as text),
    cast(:newest as text), 1, 0, 0, 0, expires_at - created_at + {now},
    {now}, {now}
from jobs where id = :parent returning workflow, priority"""


def fork(
    tables: Tables,
    parent: JobId,
    thread: ThreadId,
    checkpoint: str,
    id: JobId,
    draft: Sequence[Kept],
    *,
    standing: bool,
    successor: Successor | None = None,
    run: str | None = None,
) -> Operation[JobId]:
    """A new job that goes on from a checkpoint of `parent`, maybe under another definition.
    `run` is its context and config, where they are to be others. Raises JobNotFound,
    CheckpointNotFound."""
    fields = ("workflow", "fingerprint", "needs", "input")
    other = {name: getattr(successor, name, None) for name in fields}
    new = {"id": id, "parent": parent, "checkpoint": checkpoint, "run": run, **other}
    if successor is not None:
        yield from successor.kept()
    rows = yield One(_ADD_FORK, {**new, "newest": newest(draft, checkpoint)})
    if not rows:
        raise JobNotFound(f"no job {parent}")
    yield from copy_branch(tables, thread, id, checkpoint, standing=standing)
    yield _to(id, ThreadId(id), draft)
    yield One(MARK_PASSED, {"job": id})
    yield One(ADD_ATTEMPT, {"job": id, "attempt": 1})
    told = {"workflow": rows[0]["workflow"], "parent": parent, "checkpoint": checkpoint}
    yield event(id, 1, "job.submitted", told)
    yield Enqueue(id, 1, rows[0]["priority"])
    return id


def restore(
    job: JobId,
    attempt: int,
    thread: ThreadId,
    checkpoint: str,
    draft: Sequence[Kept],
    *,
    retry: NewTerms | None = None,
) -> Operation[JobStatus]:
    """Set a paused or failed job back to a checkpoint; with `retry`, a failed one goes on from
    there at once. `attempt` is the one that the draft was made after.

    Raises JobNotFound or RefusedChange.
    """
    state = yield from existing(job)
    status = JobStatus(state["status"])
    if status not in (RESTS if retry is None else sources(Change.RETRY)):
        what = "paused or failed job can be set back" if retry is None else "failed job is retried"
        raise RefusedChange(f"job {job} is {status}; only a {what}")
    yield from _stand(job, state, attempt, thread, newest(draft, checkpoint), draft)
    yield from _tell(job, "job.restored", {"checkpoint": checkpoint})
    if retry is None:
        return status
    return (yield from go_on(job, state, Change.RETRY, "retried", retry))


def resume_edited(
    job: JobId,
    attempt: int,
    thread: ThreadId,
    checkpoint: str,
    draft: Sequence[Kept],
    names: Sequence[str],
    terms: NewTerms,
) -> Operation[JobStatus]:
    """Let a job that rests go on from its last checkpoint with an edited state; `names` are those
    that changed. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    status = JobStatus(state["status"])
    yield from check_edit(job, state)
    yield from _stand(job, state, attempt, thread, newest(draft, checkpoint), draft)
    yield from _tell(job, "job.edited", {"checkpoint": checkpoint, "names": list(names)})
    if status in sources(Change.RETRY):
        return (yield from go_on(job, state, Change.RETRY, "retried", terms))
    return (yield from go_on(job, state, Change.RESUME, "resumed", terms))


_STAND = """
update jobs set checkpoint_id = :newest, stalls = 0
where id = :job and attempt = :attempt and status = :from_status returning id"""

_BUSY = """
select id, status from jobs where thread_id = :thread and id <> :job
    and status in ('pending', 'running') limit 1"""

_LAST = """
select max(checkpoint_id) as id from checkpoints
where thread_id = :thread and checkpoint_ns = ''"""


def _stand(
    job: JobId,
    state: Row,
    attempt: int,
    thread: ThreadId,
    newest: str,
    draft: Sequence[Kept],
) -> Operation[None]:
    """The job stands at what the draft saves. Raises RefusedChange where it was changed since."""
    for row in (yield One(_BUSY, {"job": job, "thread": thread})):
        raise RefusedChange(
            f"job {row['id']} is {row['status']} on thread {thread}, and would go on from the state "
            f"of job {job}; wait for it, or fork job {job}, which gets a thread of its own"
        )
    (known,) = yield One(_LAST, {"thread": thread})
    if (known["id"] or "") > newest:
        raise changed_meanwhile(job)  # or its thread
    which = {"job": job, "attempt": attempt, "from_status": state["status"]}
    if not (yield One(_STAND, {**which, "newest": newest})):
        raise changed_meanwhile(job)
    yield from questions.withdraw(job)
    yield _to(job, thread, draft)


_COUNT_EVENT = "update jobs set seq = seq + 1 where id = :job returning seq"


def _tell(job: JobId, type: str, data: Mapping[str, Any]) -> Operation[None]:
    rows = yield One(_COUNT_EVENT, {"job": job})
    yield event(job, rows[0]["seq"], type, data)

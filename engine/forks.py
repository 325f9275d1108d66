"""Going on from an earlier checkpoint: in a new job, or in the same one.

A fork is one transaction: the new job, a copy of its parent's thread up to the checkpoint, and
the edited state, which LangGraph's own `update_state` made. The parent is only read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ucop.agents.schema import validate
from ucop.engine.checkpoints import Kept, attach
from ucop.engine.control import go_on
from ucop.engine.errors import CheckpointNotFound, InvalidInput, JobNotFound, RefusedChange
from ucop.engine.job import JobId, ThreadId
from ucop.engine.ledger import ADD_ATTEMPT, ADD_EVENT, existing
from ucop.engine.operation import Enqueue, One, Operation, Save
from ucop.engine.rows import to_json
from ucop.engine.states import Change, JobStatus
from ucop.engine.threads import Tables, copy_branch
from ucop.graphs.edit import START, Standing, check_names
from ucop.graphs.workflow import OVERWRITE, Workflow, YamlWorkflow

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ucop.engine.checkpoints import FencedSaver

RESTORES = frozenset({JobStatus.PAUSED, JobStatus.FAILED})


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


# ---------------------------------------------------------------- what is to be saved


async def edited(
    workflow: Workflow,
    saver: FencedSaver,
    job: JobId,
    thread: ThreadId,
    checkpoint: str,
    edit: Edit,
) -> list[Kept]:
    """What the saver is to write for an edited state. Raises InvalidInput, CheckpointNotFound."""
    from langgraph.errors import InvalidUpdateError
    from langgraph.types import StateUpdate

    values = _values(workflow, edit)
    draft: list[Kept] = []
    graph: Any = attach(workflow.graph(), saver.for_draft(draft))
    at = await _standing(graph, thread, checkpoint)
    updates = [StateUpdate(*each) for each in workflow.edited(at, values, edit.as_node)]
    try:
        await graph.abulk_update_state(_at(thread, checkpoint), [updates])
    except InvalidUpdateError as error:
        raise InvalidInput(f"job {job}: the state cannot be edited so: {error}") from error
    return draft


async def set_back(
    workflow: Workflow, saver: FencedSaver, thread: ThreadId, checkpoint: str
) -> list[Kept]:
    """What the saver is to write so that the thread stands at an earlier checkpoint again. What
    followed on it stays, as a branch."""
    draft: list[Kept] = []
    graph: Any = attach(workflow.graph(), saver.for_draft(draft))
    await graph.aupdate_state(_at(thread, checkpoint), None, as_node="__copy__")
    return draft


def _values(workflow: Workflow, edit: Edit) -> dict[str, Any]:
    from langgraph.channels import BinaryOperatorAggregate

    check_names({**edit.update, **edit.replace}, workflow.state_names())
    if isinstance(workflow, YamlWorkflow):
        _check_types(workflow, edit.replace)
    channels = workflow.graph().channels
    replaced = {
        name: {OVERWRITE: value}
        if isinstance(channels.get(name), BinaryOperatorAggregate)
        else value
        for name, value in edit.replace.items()
    }
    return {**edit.update, **replaced}


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


async def _standing(graph: Any, thread: ThreadId, checkpoint: str) -> Standing:
    snapshot = await graph.aget_state(_at(thread, checkpoint))
    saved = await graph.checkpointer.aget_tuple(_at(thread, checkpoint))
    if saved is None:
        raise CheckpointNotFound(f"no checkpoint {checkpoint} in thread {thread}")
    before, ran = await _made_by(graph, snapshot)
    return Standing(
        ran=ran,
        due=tuple(dict.fromkeys(snapshot.next)),
        input=saved.checkpoint["channel_values"].get(START) or {},
        before=before,
    )


async def _made_by(
    graph: Any, snapshot: StateSnapshot
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The state before a checkpoint, and the nodes that made it. An edit stands for the nodes
    that made what was edited."""
    while snapshot.parent_config is not None:
        parent = await graph.aget_state(snapshot.parent_config)
        if (snapshot.metadata or {}).get("source") != "update":
            return parent.values, tuple(parent.next)
        snapshot = parent
    return {}, ()


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

    return Save([(method, (placed(first), *rest)) for method, (first, *rest) in draft])


# ---------------------------------------------------------------- operations

_ADD_FORK = """
insert into jobs (id, workflow, fingerprint, needs, status, attempt, input, thread_id, priority,
    tenant, labels, budget, parent_job_id, parent_checkpoint_id, checkpoint_id, seq, progress,
    stalls, not_before, created_at, queued_at)
select cast(:id as text), workflow, fingerprint, needs, 'pending', 1, input,
    cast(:id as text), priority, tenant, labels, budget, id, cast(:checkpoint as text),
    cast(:newest as text), 1, 0, 0, 0, cast(:now as double precision),
    cast(:now as double precision)
from jobs where id = :parent returning workflow, priority"""


def fork(
    tables: Tables,
    parent: JobId,
    thread: ThreadId,
    checkpoint: str,
    id: JobId,
    draft: Sequence[Kept],
    now: float,
    *,
    standing: bool,
) -> Operation[JobId]:
    """A new job that goes on from a checkpoint of `parent`. Raises JobNotFound,
    CheckpointNotFound."""
    new = {"id": id, "parent": parent, "checkpoint": checkpoint}
    rows = yield One(_ADD_FORK, {**new, "newest": newest(draft, checkpoint), "now": now})
    if not rows:
        raise JobNotFound(f"no job {parent}")
    yield from copy_branch(tables, thread, id, checkpoint, standing=standing)
    yield _to(id, ThreadId(id), draft)
    yield One(ADD_ATTEMPT, {"job": id, "attempt": 1, "now": now})
    told = {"workflow": rows[0]["workflow"], "parent": parent, "checkpoint": checkpoint}
    event = {"job": id, "seq": 1, "type": "job.submitted", "at": now}
    yield One(ADD_EVENT, {**event, "data": to_json(told)})
    yield Enqueue(id, 1, rows[0]["priority"])
    return id


_SET_BACK = """
update jobs set checkpoint_id = :newest, seq = seq + 1, stalls = 0
where id = :job and attempt = :attempt and status = :from_status returning seq"""


def restore(
    job: JobId,
    attempt: int,
    thread: ThreadId,
    checkpoint: str,
    draft: Sequence[Kept],
    now: float,
    *,
    retry: Mapping[str, float] | None = None,
) -> Operation[JobStatus]:
    """Set a paused or failed job back to a checkpoint; with `retry`, a budget, a failed one goes
    on from there at once. `attempt` is the one that the draft was made after.

    Raises JobNotFound or RefusedChange.
    """
    state = yield from existing(job)
    status = JobStatus(state["status"])
    allowed = RESTORES if retry is None else {JobStatus.FAILED}
    if status not in allowed:
        what = "paused or failed job can be set back" if retry is None else "failed job is retried"
        raise RefusedChange(f"job {job} is {status}; only a {what}")
    which = {"job": job, "attempt": attempt, "from_status": status.value}
    rows = yield One(_SET_BACK, {**which, "newest": newest(draft, checkpoint)})
    if not rows:
        raise RefusedChange(f"job {job} was changed at the same moment; look at it, then try again")
    yield _to(job, thread, draft)
    event = {"job": job, "seq": rows[0]["seq"], "type": "job.restored", "at": now}
    yield One(ADD_EVENT, {**event, "data": to_json({"checkpoint": checkpoint})})
    if retry is None:
        return status
    return (yield from go_on(job, state, Change.RETRY, "retried", now, retry))

"""A job from a file, into this database: one operation, all or nothing. It starts nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..dialect import Tables
from ..errors import JobExists
from ..jobs.job import JobId
from ..jobs.status import ACTIVE, JobStatus, StepStatus
from ..ledger.events import event
from ..ledger.operation import Many, One, Operation, Params
from ..values.json_text import to_json
from ..values.packed import pack, unpack
from .job_parts import Contents, QuestionPart, StepPart

_TAKEN = """
select 1 from jobs where id = :id or thread_id = :id
union all select 1 from threads where id = :id
union all select 1 from checkpoints where thread_id = :id limit 1"""

# Under a name of its own: a definition that came in a file must not stand for one of this project.
_ADD_DEFINITION = """
insert into definitions (fingerprint, workflow, body, created_at)
values (:fingerprint, :workflow, :body, {now}) on conflict (fingerprint) do nothing"""

_ADD_JOB = """
insert into jobs (id, workflow, fingerprint, needs, status, reason, attempt, input, run, output, error,
    thread_id, checkpoint_id, queue, priority, tenant, labels, budget, parent_job_id,
    parent_checkpoint_id, seq, progress, stalls, not_before, created_at, queued_at, started_at,
    finished_at)
values (:id, :workflow, :fingerprint, :needs, :status, :reason, :attempt, :input, :run, :output, :error,
    :id, :checkpoint_id, 'default', :priority, :tenant, :labels, :budget, :parent_job_id,
    :parent_checkpoint_id, :seq, :progress, 0, 0, :created_at, :queued_at, :started_at,
    :finished_at)"""

_ADD_ATTEMPT = """
insert into attempts (job_id, number, status, worker, outcome, progress, queued_at, started_at,
    finished_at)
values (:job, :number, 'ended', :worker, :outcome, :progress, :queued_at, :started_at,
    :finished_at)"""

_ADD_STEP = """
insert into steps (job_id, task_id, attempt, node, status, started_at, finished_at, input, output,
    error, model_calls, tokens_in, tokens_out, tokens_cached, tokens_reasoning, seconds_waited,
    seconds_generating, cost, models, cached, cached_calls, tries)
values (:job, :task_id, :attempt, :node, :status, :started_at, :finished_at, :input, :output,
    :error, :model_calls, :tokens_in, :tokens_out, :tokens_cached, :tokens_reasoning,
    :seconds_waited, :seconds_generating, :cost, :models, :cached, :cached_calls, :tries)"""

_ADD_EVENT = """
insert into events (job_id, seq, type, at, data) values (:job, :seq, :type, :at, :data)"""

_ADD_QUESTION = """
insert into questions (job_id, id, node, question, answer_schema, asked_at, due_at,
    default_answer, answer, answered_at, by_default, consumed_at, withdrawn_at)
values (:job, :id, :node, :question, :answer_schema, :asked_at, null, :default_answer, :answer,
    :answered_at, :by_default, :consumed_at, :withdrawn_at)"""

_ADD_STATE = {
    False: """
insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
    checkpoint, metadata)
values (:job, :ns, :id, :parent_id, 'msgpack', :checkpoint, :metadata)""",
    True: """
insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
    checkpoint, metadata)
values (:job, :ns, :id, :parent_id, null, cast(:checkpoint as jsonb), cast(:metadata as jsonb))""",
}
"""By whether values of channels have a table of their own."""

_ADD_BLOB = """
insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
values (:job, :ns, :channel, :version, :kind, :data) on conflict do nothing"""

_ADD_WRITE = """
insert into {writes} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel,
    type, {value})
values (:job, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :kind, :data)"""


def add(tables: Tables, contents: Contents, id: JobId) -> Operation[JobId]:
    """Write a job as `contents` has it, under `id` and on a thread of its own. One that ran or
    was queued is paused, so that nothing starts by itself. Raises JobExists."""
    if (yield One(_TAKEN, {"id": id})):
        raise JobExists(
            f"job {id}, or a thread of that name, is in this database already; "
            "--new-id imports it as another"
        )
    was, body = contents.job, to_json(contents.definition)
    status = JobStatus.PAUSED if was.status in ACTIVE else was.status
    reason = f"imported; it was {was.status}" if was.status in ACTIVE else was.reason
    fingerprint = "file:" + hashlib.sha256(body.encode()).hexdigest()[:32]
    named = {"fingerprint": fingerprint, "workflow": was.workflow, "body": body}
    yield One(_ADD_DEFINITION, named)
    job = was.model_dump(mode="json")
    as_text = ("needs", "input", "run", "output", "error", "labels", "budget")
    told = {"id": id, "fingerprint": fingerprint, "status": status.value, "reason": reason}
    seq = {"seq": len(contents.events) + 1}
    yield One(_ADD_JOB, {**job, **_texts(job, as_text), **told, **seq})
    yield Many(_ADD_ATTEMPT, [{**each.model_dump(), "job": id} for each in contents.attempts])
    yield from _many(_ADD_STEP, [_step(each, id) for each in contents.steps])
    events = [{**e.model_dump(), "job": id, "data": to_json(e.data)} for e in contents.events]
    imported = {"job": was.id, "status": was.status.value}
    yield from _many(_ADD_EVENT, events)
    yield event(id, len(events) + 1, "job.imported", imported)
    yield from _many(_ADD_QUESTION, list(_questions(contents, id)))
    yield from _add_states(tables, contents, id)
    return id


def _texts(record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: None if record[name] is None else to_json(record[name]) for name in names}


def _many(sql: str, params: Sequence[Params]) -> Operation[None]:
    if params:
        yield Many(sql, params)


_CUT_OFF = {"type": "Interrupted", "message": "it ran when the job was exported", "node": None}


def _step(step: StepPart, job: JobId) -> Params:
    record = step.model_dump(mode="json")
    if step.status is StepStatus.RUNNING:
        record |= {"status": StepStatus.FAILED.value, "error": _CUT_OFF}
    return {**record, **_texts(record, ("input", "output", "error", "models")), "job": job}


def _questions(contents: Contents, job: JobId) -> Iterator[Params]:
    names = ("question", "answer_schema", "default_answer", "answer")
    for each in contents.questions:
        record = each.model_dump()
        if "consumed_at" not in each.model_fields_set:
            record["consumed_at"] = _consumed_at(contents, each)
        texts = _texts(record, names)
        texts["question"] = to_json(each.question)
        if each.answered_at is not None:
            texts["answer"] = to_json(each.answer)
        yield {**record, **texts, "job": job}


def _consumed_at(contents: Contents, question: QuestionPart) -> float | None:
    """Of a file that does not say it: an attempt that began after the answer may have taken it."""
    given = question.answered_at
    if given is None:
        return None
    starts = (attempt.started_at for attempt in contents.attempts)
    return given if any(start is not None and start >= given for start in starts) else None


def _add_states(tables: Tables, contents: Contents, job: JobId) -> Operation[None]:
    own = {"ucop_job": job}
    states = []
    blobs = []
    for state in contents.states:
        metadata = dict(state.metadata)
        if metadata.get("ucop_job") == contents.job.id:
            metadata |= own
        checkpoint: Any = dict(state.checkpoint)
        found = {name: contents.values[id] for name, id in state.values.items()}
        if tables.apart:
            versions = checkpoint["channel_versions"]
            blobs += [
                {
                    "job": job,
                    "ns": state.ns,
                    "channel": name,
                    "version": versions[name],
                    "kind": value.kind,
                    "data": value.bytes,
                }
                for name, value in found.items()
                if name in versions
            ]
            checkpoint["channel_values"] = {}
            kept: Any = to_json(checkpoint)
        else:
            checkpoint["channel_values"] = {name: _plain(each) for name, each in found.items()}
            kept = pack(checkpoint)
        where = {"job": job, "ns": state.ns, "id": state.id, "parent_id": state.parent_id}
        states.append({**where, "checkpoint": kept, "metadata": _metadata(tables, metadata)})
    yield from _many(_ADD_STATE[tables.apart], states)
    yield from _many(_ADD_BLOB, blobs)
    writes = [
        {
            **each.model_dump(exclude={"value"}),
            "job": job,
            "kind": contents.values[each.value].kind,
            "data": contents.values[each.value].bytes or b"",
        }
        for each in contents.writes
    ]
    yield from _many(_ADD_WRITE.format(writes=tables.writes, value=tables.value), writes)


def _metadata(tables: Tables, metadata: Mapping[str, Any]) -> Any:
    text = to_json(metadata)
    return text if tables.apart else text.encode()  # as LangGraph's saver keeps it


def _plain(value: Any) -> Any:
    """A value as it stands inside a whole state of SQLite."""
    match value.kind:
        case "msgpack":
            return unpack(value.bytes or b"")
        case "json":
            return json.loads(value.bytes or b"null")
        case "bytes" | "bytearray":
            return value.bytes
    return None

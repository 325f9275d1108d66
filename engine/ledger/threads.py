"""LangGraph's checkpoints as tables: copying, pruning and deleting what its savers cannot.

Operations as in lifecycle.py, over the tables that LangGraph makes. The two databases name one
table differently, and PostgreSQL keeps the values of channels apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dialect import Tables
from ..errors import CheckpointNotFound
from .operation import One, Operation

_CHAIN = """
with recursive chain (id, parent) as (
    select checkpoint_id, parent_checkpoint_id from checkpoints
    where thread_id = :source and checkpoint_ns = '' and checkpoint_id = :checkpoint
    union all
    select earlier.checkpoint_id, earlier.parent_checkpoint_id
    from checkpoints earlier join chain on earlier.checkpoint_id = chain.parent
    where earlier.thread_id = :source and earlier.checkpoint_ns = '')"""

_UP_TO = """thread_id = :source and (
    (checkpoint_ns = '' and checkpoint_id in (select id from chain))
    or (checkpoint_ns <> '' and (checkpoint_id < :checkpoint or :standing = 1)))"""
"""The checkpoint with those that led to it. What workflows inside had saved by then comes along;
ids sort by time."""

_CHECKPOINTS = """
insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
    checkpoint, metadata)
{chain}
select cast(:target as text), checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
    checkpoint, metadata
from checkpoints where {which} returning checkpoint_id"""

_WRITES = """
insert into {writes} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel,
    type, {value})
{chain}
select cast(:target as text), checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel,
    type, {value}
from {writes} where {which}"""

_BLOBS = """
insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
select cast(:target as text), checkpoint_ns, channel, version, type, blob
from checkpoint_blobs where thread_id = :source and (checkpoint_ns, channel, version) in (
    select copied.checkpoint_ns, held.key, held.value
    from checkpoints copied, jsonb_each_text(copied.checkpoint -> 'channel_versions') held
    where copied.thread_id = :target)"""


def copy_thread(tables: Tables, source: str, target: str) -> Operation[None]:
    """All of a thread, to one that holds nothing yet."""
    params = {"source": source, "target": target}
    yield One(_filled(_CHECKPOINTS, tables, "", "thread_id = :source"), params)
    yield One(_filled(_WRITES, tables, "", "thread_id = :source"), params)
    if tables.apart:
        yield One(_BLOBS, params)


def copy_branch(
    tables: Tables, source: str, target: str, checkpoint: str, *, standing: bool
) -> Operation[None]:
    """A checkpoint and those that led to it, to a thread that holds nothing yet.

    What ran after the checkpoint is left behind, unless the thread is to go on as it is
    `standing` there: then what nodes have finished since counts. Raises CheckpointNotFound.
    """
    params = {
        "source": source,
        "target": target,
        "checkpoint": checkpoint,
        "standing": int(standing),
    }
    copied = yield One(_filled(_CHECKPOINTS, tables, _CHAIN, _UP_TO), params)
    if not any(row["checkpoint_id"] == checkpoint for row in copied):
        raise CheckpointNotFound(f"no checkpoint {checkpoint} in thread {source}")
    before = f"{_UP_TO} and (checkpoint_id <> :checkpoint or :standing = 1)"
    yield One(_filled(_WRITES, tables, _CHAIN, before), params)
    if tables.apart:
        yield One(_BLOBS, params)


def _filled(sql: str, tables: Tables, chain: str, which: str) -> str:
    return sql.format(writes=tables.writes, value=tables.value, chain=chain, which=which)


_FIND = """
select checkpoint_id, {job_id} as job_id from checkpoints
where thread_id = :thread and checkpoint_ns = '' and checkpoint_id like :like and {base} is null
order by checkpoint_id limit :limit"""

_OTHERS = "select id from jobs where thread_id = :thread and id <> :job"


def others(thread: str, job: str) -> Operation[frozenset[str]]:
    """The jobs that share a thread with `job`; what they saved there is theirs. (What a fork's
    parent saved on a thread of its own came along, and is the fork's.)"""
    rows = yield One(_OTHERS, {"thread": thread, "job": job})
    return frozenset(row["id"] for row in rows)


def find(tables: Tables, thread: str, job: str, beginning: str) -> Operation[str]:
    """The id of the one checkpoint of `job` that begins so. Raises CheckpointNotFound."""
    like = beginning.replace("%", "").replace("_", "") + "%"
    sql = _FIND.format(job_id=tables.job_id, base=tables.base)
    rows = yield One(sql, {"thread": thread, "like": like, "limit": MOST_LOOKED_AT})
    theirs = yield from others(thread, job)
    mine = [row for row in rows if row["job_id"] not in theirs]
    if len(mine) == 1 and beginning:
        return str(mine[0]["checkpoint_id"])
    if len(rows) == 1 and beginning:
        whose = rows[0]["job_id"]
        raise CheckpointNotFound(
            f"checkpoint {rows[0]['checkpoint_id']} was saved by job {whose}, on the thread that it "
            f"shares with job {job}; `ucop checkpoints list {job}` shows this one's"
        )
    what = "several checkpoints begin" if mine and beginning else "no checkpoint begins"
    raise CheckpointNotFound(
        f"{what} with {beginning!r}; `ucop checkpoints list` shows those there are"
    )


MOST_LOOKED_AT = 1000

# ---------------------------------------------------------------- deleting

_RUNS_WRITES = """
delete from {writes} where (thread_id, checkpoint_ns, checkpoint_id) in (
    select thread_id, checkpoint_ns, checkpoint_id from checkpoints where {run_id} = :run)"""

_RUNS_CHECKPOINTS = "delete from checkpoints where {run_id} = :run"


def delete_for_runs(tables: Tables, runs: Sequence[str]) -> Operation[None]:
    """What the named runs saved."""
    for run in runs:
        for sql in (_RUNS_WRITES, _RUNS_CHECKPOINTS):
            yield One(sql.format(writes=tables.writes, run_id=tables.run_id), {"run": run})


_JOBS_WRITES = """
delete from {writes} where thread_id = :thread and (checkpoint_ns, checkpoint_id) in (
    select checkpoint_ns, checkpoint_id from checkpoints
    where thread_id = :thread and {job_id} = :job)"""

# What its tasks wrote to a state that it found there: a command, or a node that it went on with.
_TASKS_WRITES = """
delete from {writes} where thread_id = :thread and (task_id in (
    select task_id from steps where job_id = :job) or (task_id = :null and checkpoint_id = (
    select max(checkpoint_id) from checkpoints where thread_id = :thread and checkpoint_ns = '')))"""

NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""LangGraph's id for what no task wrote."""

_JOBS_CHECKPOINTS = "delete from checkpoints where thread_id = :thread and {job_id} = :job"

_LOOSE_BLOBS = """
delete from checkpoint_blobs where thread_id = :thread and not exists (
    select 1 from checkpoints kept, jsonb_each_text(kept.checkpoint -> 'channel_versions') held
    where kept.thread_id = :thread and kept.checkpoint_ns = checkpoint_blobs.checkpoint_ns
        and held.key = checkpoint_blobs.channel and held.value = checkpoint_blobs.version)"""


def delete_for_job(tables: Tables, thread: str, job: str) -> Operation[None]:
    """What one job saved on a thread; what others saved there stays."""
    params = {"thread": thread, "job": job}
    for sql in (_JOBS_WRITES, _JOBS_CHECKPOINTS):
        yield One(sql.format(writes=tables.writes, job_id=tables.job_id), params)
    yield One(_TASKS_WRITES.format(writes=tables.writes), {**params, "null": NULL_TASK})
    if tables.apart:
        yield One(_LOOSE_BLOBS, params)


_DELTAS = """
select 1 from checkpoints where thread_id = :thread
    and cast(metadata as text) like :delta limit 1"""

_DELTA = "%counters_since_delta_snapshot%"

_OLD_WRITES = """
delete from writes where thread_id = :thread and checkpoint_id < (
    select max(checkpoint_id) from checkpoints newest
    where newest.thread_id = :thread and newest.checkpoint_ns = writes.checkpoint_ns)"""

_OLD_CHECKPOINTS = """
delete from checkpoints where thread_id = :thread and checkpoint_id < (
    select max(checkpoint_id) from checkpoints newest
    where newest.thread_id = :thread and newest.checkpoint_ns = checkpoints.checkpoint_ns)"""


def grows(thread: str) -> Operation[bool]:
    """Whether values of a thread are put together from earlier checkpoints (DeltaChannel)."""
    return bool((yield One(_DELTAS, {"thread": thread, "delta": _DELTA})))


def keep_latest(threads: Sequence[str]) -> Operation[None]:
    """SQLite: of each namespace of the threads its newest checkpoint alone. Raises
    NotImplementedError where a channel is put together from earlier checkpoints."""
    for thread in threads:
        if (yield from grows(thread)):
            raise NotImplementedError(
                f"thread {thread} has a DeltaChannel, whose values need the earlier checkpoints"
            )
    for thread in threads:
        yield One(_OLD_WRITES, {"thread": thread})
        yield One(_OLD_CHECKPOINTS, {"thread": thread})


def delete_threads(tables: Tables, threads: Sequence[str]) -> Operation[None]:
    """All of the threads."""
    apart = ("checkpoint_blobs",) if tables.apart else ()
    for thread in threads:
        for table in (tables.writes, *apart, "checkpoints"):
            yield One(f"delete from {table} where thread_id = :thread", {"thread": thread})  # noqa: S608 - ours

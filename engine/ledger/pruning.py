"""Old checkpoints of a job, deleted; what it, and its forks to come, go on from is kept.

Kept are the newest, the one that each job on the thread stands at, and what those were made from:
an edit asks that which nodes it stands for. Steps and events are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dialect import Tables
from ..errors import InvalidInput, RefusedChange
from ..jobs.job import JobId, ThreadId
from ..values.json_text import to_json
from .operation import One, Operation
from .threads import grows

MOST_KEPT = 10_000


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Which checkpoints may go."""

    keep: int = 1
    """The newest that stay, whatever their age."""
    before: float | None = None
    """Only those that were saved earlier than this, in seconds since the epoch."""

    def __post_init__(self) -> None:
        if isinstance(self.keep, bool) or not 1 <= self.keep <= MOST_KEPT:
            raise InvalidInput(f"keep: between 1 and {MOST_KEPT}, not {self.keep!r}")

    @property
    def cutoff(self) -> str:
        """What every id of a younger checkpoint is above: ids are UUIDs of version 6, which begin
        with their time in steps of 100 ns since 1582 (RFC 9562)."""
        if self.before is None:
            return "g"
        steps = max(0, int(self.before * 10_000_000)) + 0x01B21DD213814000
        high = f"{steps >> 12:012x}"
        return f"{high[:8]}-{high[8:]}-6{steps & 0xFFF:03x}"


# As snapshots.is_of says.
_MINE = """thread_id = :thread and checkpoint_ns = '' and (coalesce({job_id}, :job) = :job
    or (:thread = :job and {job_id} not in (
        select jobs.id from jobs where jobs.thread_id = :thread and jobs.id <> :job)))"""

_NEWEST = """
select checkpoint_id, parent_checkpoint_id from checkpoints where {mine} and {base} is null
order by checkpoint_id desc limit :keep"""

_STANDS = """
select checkpoints.checkpoint_id, checkpoints.parent_checkpoint_id from checkpoints
join jobs on jobs.checkpoint_id = checkpoints.checkpoint_id
where checkpoints.thread_id = :thread and checkpoints.checkpoint_ns = ''
    and jobs.thread_id = :thread"""

_OLD = "{mine} and checkpoint_id < :cutoff and checkpoint_id not in {kept}"

_COUNT = "select count(*) as old from checkpoints where {old}"

_DELETE = "delete from checkpoints where {old}"

_WRITES = """
delete from {writes} where thread_id = :thread and checkpoint_id < :newest and not exists (
    select 1 from checkpoints where checkpoints.thread_id = {writes}.thread_id
        and checkpoints.checkpoint_ns = {writes}.checkpoint_ns
        and checkpoints.checkpoint_id = {writes}.checkpoint_id)"""

# What a workflow inside saved is for the task that runs it, which its name has; without a task
# it is a memory that outlives the run, and its newest stays.
_INSIDE = """
delete from checkpoints where thread_id = :thread and :thread = :job and checkpoint_ns <> ''
    and checkpoint_id < :first and checkpoint_id < :cutoff and (checkpoint_ns like :task
        or checkpoint_id < (select max(checkpoint_id) from checkpoints newest
            where newest.thread_id = :thread
                and newest.checkpoint_ns = checkpoints.checkpoint_ns))"""

_BLOBS = """
delete from checkpoint_blobs blobs where thread_id = :thread and not exists (
    select 1 from checkpoints where checkpoints.thread_id = blobs.thread_id
        and checkpoints.checkpoint_ns = blobs.checkpoint_ns
        and checkpoints.checkpoint -> 'channel_versions' ->> blobs.channel = blobs.version)"""


def prune(
    tables: Tables, job: JobId, thread: ThreadId, pruning: Pruning, *, dry: bool = False
) -> Operation[int]:
    """Delete old checkpoints of a job; `dry` only counts. Returns how many of the job's own.

    Raises RefusedChange where values are put together from earlier checkpoints.
    """
    if (yield from grows(thread)):
        raise RefusedChange(
            f"job {job}: its graph has a DeltaChannel, whose values need the earlier checkpoints; "
            "they can only be deleted along with the job"
        )
    which = {"thread": thread, "job": job}
    mine = _MINE.format(job_id=tables.job_id)
    newest = yield One(_NEWEST.format(mine=mine, base=tables.base), {**which, "keep": pruning.keep})
    stands = yield One(_STANDS, {"thread": thread})
    kept = {row["checkpoint_id"] for row in (*newest, *stands)}
    parents = {row["parent_checkpoint_id"] for row in (*newest, *stands)} - {None, ""}
    if not kept:
        return 0
    listed = {"kept": to_json(sorted(kept | parents)), "cutoff": pruning.cutoff}
    old = _OLD.format(mine=mine, kept=tables.listed.format(name="kept"))
    (found,) = yield One(_COUNT.format(old=old), {**which, **listed})
    if dry or not found["old"]:
        return int(found["old"])
    yield One(_DELETE.format(old=old), {**which, **listed})
    inside = {"first": min(kept), "cutoff": pruning.cutoff, "task": "%:%"}
    yield One(_INSIDE, {**which, **inside})
    yield One(_WRITES.format(writes=tables.writes), {"thread": thread, "newest": max(kept)})
    if tables.apart:
        yield One(_BLOBS, {"thread": thread})
    return int(found["old"])

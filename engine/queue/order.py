"""Whose turn it is: which pending jobs a worker takes next, by one rule for both databases.

A job stands in a lane: those of one queue and one tenant. In a lane the higher priority goes
first, and what was queued earlier goes before what was queued later. A free slot goes to the
tenant that has the least of them (fair_shares.py). `look` picks and takes no lock; `take` claims what
is still to be had.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..declared.queue_limits import QueueLimits, in_force, rate_of
from ..jobs.job import WorkerId
from ..ledger import lifecycle
from ..ledger.operation import Alone, One, Operation
from ..ledger.records import Claimed
from . import fair_shares
from .fair_shares import Shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What one worker serves."""

    worker: WorkerId
    queues: Mapping[str, QueueLimits]
    """As its settings declare them."""
    workflows: Mapping[str, int] = field(default_factory=dict)
    """Of some workflows, how many jobs may run at the same time, over all workers."""
    only: Callable[[], frozenset[str]] | None = None
    """The ids of the jobs that it takes, where it takes no others; they may become more."""

    @property
    def named(self) -> str | None:
        """Those ids, as `_HEADS` takes them."""
        return None if self.only is None else "".join(f"|{id}|" for id in sorted(self.only()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A job whose turn it is."""

    job: str
    attempt: int
    queue: str
    tenant: str
    """Empty where the job has none: such jobs are one tenant's."""
    workflow: str
    rank: tuple[int, float, str]
    """Its place in its lane."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look at the line saw."""

    picks: Sequence[Pick] = ()
    due: bool = False
    """The time of jobs has come that waited for it: `line_up`, and look again."""
    left: bool = False
    """Jobs stay in line: some may be taken once others end, or a limit allows it."""
    again_in: float | None = None
    """Seconds until a job's time comes, or a rate allows the next."""
    shared: bool = False
    """Tenants are in line, whose shares are to be counted."""


# Steps from lane to lane by the index: what stands in them is not read.
_SCENE = """
with recursive lanes (lane) as (
    select min(lane) from jobs where status = 'pending' and not_before = 0
    union all
    select (select min(lane) from jobs
        where status = 'pending' and not_before = 0 and lane > lanes.lane)
    from lanes where lane is not null)
select 'lane' as what, lane as name, null as changes, null as seconds
from lanes where lane is not null
union all
select 'delayed', null, null, min(not_before) - {now}
from jobs where status = 'pending' and not_before > 0
union all
select 'queue', name, changes, null from queues"""

_RUNNING = """
select worker, queue, workflow, count(*) as jobs from jobs where status = 'running'
group by worker, queue, workflow"""

_STARTS = """
select count(*) as starts, min(at) - {now} as oldest from queue_starts
where queue = :queue and at > {now} - :period"""

_HEADS = """
select id, attempt, workflow, priority, queued_at from jobs
where status = 'pending' and not_before = 0 and lane = :lane and {supplied}
    and not exists (select 1 from jobs other
        where other.thread_id = jobs.thread_id and other.status = 'running')
    and not exists (select 1 from jobs other
        where other.thread_id = jobs.thread_id and other.status = 'pending'
            and (other.queued_at, other.id) < (jobs.queued_at, jobs.id))
order by priority desc, queued_at, id limit :limit"""

# Lists are no parameters that both databases take; a text that names may be cut out of is.
_OPEN_HEADS = _HEADS.replace(
    "{supplied}",
    "{supplied}\n    and replace(cast(:full as text), '|' || workflow || '|', '') = :full",
)

_NAMED = """
    and replace(cast(:named as text), '|' || id || '|', '') <> :named"""


def look(
    serving: Serving, known: str, free: int, *, had: Mapping[str, float] | None = None
) -> Operation[Look]:
    """Pick up to `free` jobs for a worker that supplies `known` (see Workflow.needs). What its
    jobs `had` that ended is not written yet, see fair_shares.py."""
    lanes, changes, delay = yield from _scene()
    if delay is not None and delay <= 0:
        return Look(due=True, left=True)
    queues = in_force(serving.queues, changes)
    served = [lane for lane in lanes if lane.queue in queues]
    lanes = [lane for lane in served if not queues[lane.queue].paused]
    if not lanes:
        return Look(left=bool(served), again_in=delay)
    contended = len({lane.tenant for lane in lanes}) > 1
    limited = bool(serving.workflows) or any(queues[lane.queue].is_limited for lane in lanes)
    rooms, held = Rooms(), Shares()
    if limited:
        among = {lane.queue: queues[lane.queue] for lane in lanes}
        rooms = yield from _rooms(serving, among)
    if contended:
        held = yield from fair_shares.shares(had or {})
    picks = yield from _pick(lanes, held, rooms, known, free, serving.named)
    again = [seconds for seconds in (delay, rooms.again_in) if seconds is not None]
    # Jobs that nobody labels are counted only beside others: most projects have no other.
    shared = contended or any(lane.tenant for lane in lanes)
    return Look(picks=picks, left=True, again_in=min(again, default=None), shared=shared)


class Lane(NamedTuple):
    """Jobs in line, of one queue and one tenant."""

    name: str
    queue: str
    tenant: str


def _scene() -> Operation[tuple[list[Lane], dict[str, str], float | None]]:
    """Lanes with jobs in line, what people changed of queues, and the seconds until the next
    job's time comes."""
    lanes: list[Lane] = []
    changes: dict[str, str] = {}
    delay: float | None = None
    for row in (yield One(_SCENE, {})):
        match row["what"]:
            case "lane":
                queue, _, tenant = row["name"].partition("/")
                lanes.append(Lane(row["name"], queue, tenant))
            case "queue":
                changes[row["name"]] = row["changes"]
            case "delayed":
                delay = row["seconds"]
    return lanes, changes, delay


# ---------------------------------------------------------------- limits


@dataclass(kw_only=True, slots=True)
class Rooms:
    """How many more jobs may start now, where that is limited."""

    queues: dict[str, int] = field(default_factory=dict)
    workflows: dict[str, int] = field(default_factory=dict)
    again_in: float | None = None
    """Seconds until a rate allows another."""

    def admit(self, pick: Pick) -> bool:
        """Whether this one may start; then there is room for one less."""
        rooms = ((self.queues, pick.queue), (self.workflows, pick.workflow))
        if any(room.get(name, 1) <= 0 for room, name in rooms):
            return False
        for room, name in rooms:
            if name in room:
                room[name] -= 1
        return True

    @property
    def full(self) -> str:
        """Workflows without room, as `_OPEN_HEADS` takes them."""
        return "".join(f"|{name}|" for name, room in self.workflows.items() if room <= 0)


def _rooms(serving: Serving, queues: Mapping[str, QueueLimits]) -> Operation[Rooms]:
    all_of, mine, workflows = Counter[str](), Counter[str](), Counter[str]()
    for row in (yield One(_RUNNING, {})):
        all_of[row["queue"]] += row["jobs"]
        workflows[row["workflow"]] += row["jobs"]
        if row["worker"] == serving.worker:
            mine[row["queue"]] += row["jobs"]
    rooms = Rooms(
        workflows={name: most - workflows[name] for name, most in serving.workflows.items()}
    )
    for name, limits in queues.items():
        most: list[int] = []
        if limits.concurrency is not None:
            most.append(limits.concurrency - all_of[name])
        if limits.worker_concurrency is not None:
            most.append(limits.worker_concurrency - mine[name])
        if limits.rate is not None:
            rate = rate_of(limits.rate)
            window = {"queue": name, "period": rate.period}
            found = (yield One(_STARTS, window))[0]
            most.append(rate.starts - found["starts"])
            if most[-1] <= 0:
                again = found["oldest"] + rate.period
                rooms.again_in = again if rooms.again_in is None else min(again, rooms.again_in)
        if most:
            rooms.queues[name] = min(most)
    return rooms


# ---------------------------------------------------------------- shares


def _pick(
    lanes: Sequence[Lane],
    held: Shares,
    rooms: Rooms,
    known: str,
    free: int,
    named: str | None,
) -> Operation[list[Pick]]:
    """Slot by slot, each to the tenant that stands lowest."""
    of_tenant: defaultdict[str, list[Lane]] = defaultdict(list)
    for lane in lanes:
        if rooms.queues.get(lane.queue, 1) > 0:
            of_tenant[lane.tenant].append(lane)
    heads: dict[str, list[Pick]] = {}
    for tenant in sorted(of_tenant, key=held.standing):
        if len(heads) == free:
            break
        found = []
        for lane in of_tenant[tenant]:
            found += yield from _heads(lane, rooms.full, known, free, named)
        if found:
            # The next one at the end, where it is taken from.
            heads[tenant] = sorted(found, key=lambda pick: pick.rank, reverse=True)
    return _share_out(heads, held, rooms, free)


def _heads(
    lane: Lane, full: str, known: str, limit: int, named: str | None
) -> Operation[list[Pick]]:
    params = {"lane": lane.name, "known": known, "full": full, "limit": limit, "named": named}
    sql = _OPEN_HEADS if full else _HEADS
    if named is not None:
        sql = sql.replace("{supplied}", f"{{supplied}}{_NAMED}")
    return [
        Pick(
            job=row["id"],
            attempt=row["attempt"],
            queue=lane.queue,
            tenant=lane.tenant,
            workflow=row["workflow"],
            rank=(-row["priority"], row["queued_at"], row["id"]),
        )
        for row in (yield One(sql, params))
    ]


def _share_out(
    heads: Mapping[str, list[Pick]], held: Shares, rooms: Rooms, free: int
) -> list[Pick]:
    picks: list[Pick] = []
    waiting = [(held.standing(tenant), line[-1].rank, tenant) for tenant, line in heads.items()]
    heapq.heapify(waiting)
    while waiting and len(picks) < free:
        *_, tenant = heapq.heappop(waiting)
        line = heads[tenant]
        while line and not rooms.admit(line[-1]):
            line.pop()
        if line:
            picks.append(line.pop())
            held.serve(tenant)
        if line:
            heapq.heappush(waiting, (held.standing(tenant), line[-1].rank, tenant))
    return picks


# ---------------------------------------------------------------- claiming

_LINE_UP = """
update jobs set not_before = 0
where status = 'pending' and not_before > 0 and not_before <= {now}"""

_CHANGES = "select name, changes from queues"

_START = """
insert into queue_starts (queue, at, job_id, attempt) values (:queue, {now}, :job, :attempt)"""

_FORGET_STARTS = "delete from queue_starts where queue = :queue and at <= {now} - :period"


def line_up() -> Operation[None]:
    """Let the jobs whose time has come take their places in line."""
    yield One(_LINE_UP, {})


def take(
    serving: Serving, picks: Sequence[Pick], *, had: Mapping[str, float] | None = None
) -> Operation[list[Claimed]]:
    """Claim those of the picked jobs that are still to be had, within the limits as they are
    now; in the order of the picks. `had`: see fair_shares.py."""
    changes = {row["name"]: row["changes"] for row in (yield One(_CHANGES, {}))}
    queues = in_force(serving.queues, changes)
    among = {pick.queue: queues[pick.queue] for pick in picks if not queues[pick.queue].paused}
    rooms = Rooms()
    if serving.workflows or any(limits.is_limited for limits in among.values()):
        yield Alone("turns")
        rooms = yield from _rooms(serving, among)
    admitted = [pick for pick in picks if pick.queue in among and rooms.admit(pick)]
    claimed: dict[str, Claimed] = {}
    # Everyone locks jobs, and tenants, in the same order: nobody waits in a circle.
    for pick in sorted(admitted, key=lambda pick: pick.job):
        if taken := (yield from lifecycle.claim(pick.job, pick.attempt, serving.worker)):
            claimed[pick.job] = taken
    taken_picks = [pick for pick in admitted if pick.job in claimed]
    yield from _note_starts(taken_picks, among)
    yield from fair_shares.note(had or {})
    return [claimed[pick.job] for pick in taken_picks]


def _note_starts(picks: Sequence[Pick], queues: Mapping[str, QueueLimits]) -> Operation[None]:
    for name, limits in queues.items():
        started = [pick for pick in picks if pick.queue == name]
        if limits.rate is None or not started:
            continue
        yield One(_FORGET_STARTS, {"queue": name, "period": rate_of(limits.rate).period})
        for pick in started:
            start = {"queue": name, "job": pick.job, "attempt": pick.attempt}
            yield One(_START, start)

"""What meshes did, from a job's events and from the counts of their agents. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ucop.graphs.nodes.breaker import BreakerRules, BreakerState, opens_at, state_of

from ..jobs.job import Event
from ..ledger.operation import Row
from ..record import Record, record_of, time_of
from .mesh_calls import breaker_of

MESH_EVENTS = """
select job_id, seq, type, at, data, position from events
where job_id = :id and type in ('mesh.asked', 'mesh.answered', 'mesh.failed', 'mesh.stopped')
order by seq"""


class MeshError(Record):
    """Why a hop, or a whole mesh, failed."""

    type: str
    message: str


class MeshHop(Record):
    """Who asked whom for what, and what became of it."""

    hop: int
    asker: str | None
    """None where the job itself asks."""
    capability: str | None
    """None where the first agent is named."""
    agent: str
    data: Any = None
    """What came with the question, cut where it is long."""
    attempt: int
    """Of the job, in which the question was given to the agent."""
    asked_at: datetime | None = None
    """None where it was asked in the job that this one was forked from."""
    ended_at: datetime | None = None
    seconds: float | None = None
    """From the question to the answer, what the agent asked on the way included."""
    outcome: str
    """`waiting`, `answered` or `failed`."""
    error: MeshError | None = None


class MeshRun(Record):
    """One run of one mesh."""

    node: str
    """The node that it does the work of; empty where the workflow is a mesh."""
    run: str
    """Tells apart the runs of one node, as those of its items."""
    hops: tuple[MeshHop, ...]
    stopped: MeshError | None = None
    """Why it stopped without an answer, where it did and was not gone on with."""


class MeshAgent(Record):
    """How an agent fares in meshes, over all jobs of this database."""

    agent: str
    breaker: BreakerState
    opens_at: datetime | None = None
    """From when on an agent that is not asked now may be tried."""
    busy: int
    """Calls under way."""
    calls: int
    failed: int
    in_a_row: int
    """Failures since it answered last."""
    mean_seconds: float
    slowest_seconds: float
    called_at: datetime | None = None
    failed_at: datetime | None = None
    error: str | None = None
    """What it failed with last."""


def runs_of(events: Iterable[Event]) -> list[MeshRun]:
    """The meshes of a job. A hop that was given out anew after a crash counts as it was then."""
    hops: dict[tuple[str, str], dict[int, MeshHop]] = {}
    stopped: dict[tuple[str, str], MeshError] = {}
    for event in events:
        data, what = event.data, event.type.removeprefix("mesh.")
        key = (data["node"], data["run"])
        known = hops.setdefault(key, {})
        if what == "stopped":
            stopped[key] = MeshError(**data["error"])
        elif what == "asked":
            stopped.pop(key, None)
            known[data["hop"]] = _asked_hop(event)
        else:
            known[data["hop"]] = _ended_hop(known.get(data["hop"]) or _hop(event), event)
    return [
        MeshRun(
            node=node,
            run=run,
            hops=tuple(known[number] for number in sorted(known)),
            stopped=stopped.get((node, run)),
        )
        for (node, run), known in hops.items()
    ]


def _hop(event: Event) -> MeshHop:
    named = ("hop", "asker", "capability", "agent", "outcome", "attempt")
    return MeshHop(**{name: event.data[name] for name in named}, data=event.data.get("data"))


def _asked_hop(event: Event) -> MeshHop:
    return _hop(event).model_copy(update={"asked_at": event.at})


def _ended_hop(hop: MeshHop, event: Event) -> MeshHop:
    error, asked_at = event.data["error"], hop.asked_at
    seconds = None if asked_at is None else round((event.at - asked_at).total_seconds(), 6)
    return hop.model_copy(
        update={
            "ended_at": event.at,
            "seconds": seconds,
            "outcome": event.data["outcome"],
            "error": error and MeshError(**error),
        }
    )


def mesh_agents(
    rows: Sequence[Row], busy: Mapping[str, int], rules: BreakerRules, now: float
) -> list[MeshAgent]:
    """The agents that meshes called, by name."""
    known = {row["agent"]: _agent(row, busy, rules, now) for row in rows}
    # One that is called for the first time has no counts yet.
    first = {name: _new(name, calls) for name, calls in busy.items() if name not in known}
    return [agent for _, agent in sorted({**known, **first}.items())]


def _agent(row: Row, busy: Mapping[str, int], rules: BreakerRules, now: float) -> MeshAgent:
    breaker = breaker_of(row)
    state = state_of(breaker, rules, now)
    return record_of(
        MeshAgent,
        row,
        breaker=state,
        opens_at=time_of(opens_at(breaker, rules)) if state is BreakerState.OPEN else None,
        busy=busy.get(row["agent"], 0),
        mean_seconds=round(row["seconds"] / row["calls"], 6),
        slowest_seconds=round(row["slowest"], 6),
    )


def _new(name: str, busy: int) -> MeshAgent:
    return MeshAgent(
        agent=name,
        breaker=BreakerState.CLOSED,
        busy=busy,
        calls=0,
        failed=0,
        in_a_row=0,
        mean_seconds=0.0,
        slowest_seconds=0.0,
    )

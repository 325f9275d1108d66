"""How the agents of meshes fare, in the job database: their breakers, and how busy they are.

Not fenced: a call that was made counts, whichever attempt made it. A call under way counts as long
as its job runs in the attempt that makes it, so that those of a worker that died count no more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ucop.graphs.nodes.breaker import Breaker, BreakerRules, BreakerState, state_of
from ucop.graphs.nodes.mesh_rules import AgentStanding, best

from ..jobs.job import JobId
from ..ledger.operation import One, Operation, Row, clock

if TYPE_CHECKING:
    from ..database.database import Database

PRUNE_EVERY = 60.0
"""Seconds between two looks for calls of jobs that no longer run."""

AGENTS = """
select agent, calls, failed, in_a_row, seconds, slowest, called_at, failed_at, trial_at, error
from mesh_agents"""

BUSY = """
select mesh_calls.agent as agent, count(*) as calls from mesh_calls
join jobs on jobs.id = mesh_calls.job_id and jobs.attempt = mesh_calls.attempt
where jobs.status = 'running' group by mesh_calls.agent"""

# Another worker may have begun a trial just now: then this one is not the first.
_TRY = """
update mesh_agents set trial_at = :at where agent = :agent and coalesce(trial_at, 0) = :last
returning agent"""

_BEGIN = """
insert into mesh_calls (key, job_id, attempt, agent, began_at)
values (:key, :job, :attempt, :agent, {now})
on conflict (key) do update set attempt = excluded.attempt, agent = excluded.agent,
    began_at = excluded.began_at"""

_DROP = "delete from mesh_calls where key = :key and attempt = :attempt"

_COUNT = """
insert into mesh_agents (agent, calls, failed, in_a_row, seconds, slowest, called_at, failed_at,
    error)
values (:agent, 1, :failed, :failed, :seconds, :seconds, {now},
    case when :failed = 1 then {now} end, :error)
on conflict (agent) do update set
    calls = mesh_agents.calls + 1,
    failed = mesh_agents.failed + :failed,
    in_a_row = case when :failed = 1 then mesh_agents.in_a_row + 1 else 0 end,
    seconds = mesh_agents.seconds + :seconds,
    slowest = case when mesh_agents.slowest < :seconds then :seconds
        else mesh_agents.slowest end,
    called_at = {now},
    failed_at = case when :failed = 1 then {now} else mesh_agents.failed_at end,
    error = coalesce(:error, mesh_agents.error)"""

_PRUNE = """
delete from mesh_calls where not exists (select 1 from jobs
    where jobs.id = mesh_calls.job_id and jobs.status = 'running')"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an agent, for one hop of one job's mesh."""

    key: str
    job: JobId
    attempt: int
    agent: str

    @property
    def params(self) -> dict[str, Any]:
        return {"key": self.key, "job": self.job, "attempt": self.attempt, "agent": self.agent}


def choose(
    agents: Sequence[str], rules: BreakerRules, key: str, job: JobId, attempt: int
) -> Operation[str | None]:
    """The best of `agents`, for which a call is under way from then on; None where breakers let
    none be called."""
    at = yield from clock()
    found: Sequence[Row] = yield One(AGENTS, {})
    known = {row["agent"]: breaker_of(row) for row in found if row["agent"] in agents}
    busy = {row["agent"]: row["calls"] for row in (yield One(BUSY, {}))}
    left = list(agents)
    while left:
        standings = [
            AgentStanding(
                agent=name,
                breaker=state_of(known.get(name, Breaker()), rules, at),
                calls=busy.get(name, 0),
            )
            for name in left
        ]
        if (one := best(standings)) is None:
            return None
        if one.breaker is BreakerState.CLOSED or (
            yield One(_TRY, {"agent": one.agent, "at": at, "last": known[one.agent].trial_at})
        ):
            call = Call(key=key, job=job, attempt=attempt, agent=one.agent)
            yield One(_BEGIN, {**call.params})
            return one.agent
        left.remove(one.agent)
    return None


def begin(call: Call) -> Operation[None]:
    """A call is under way, if it was not already."""
    yield One(_BEGIN, {**call.params})


def end(call: Call, seconds: float, error: str | None) -> Operation[None]:
    """A call is over, and counts."""
    yield from drop(call)
    failed = int(error is not None)
    told = {"agent": call.agent, "failed": failed, "seconds": seconds, "error": error}
    yield One(_COUNT, told)


def drop(call: Call) -> Operation[None]:
    """A call is over, and does not count."""
    yield One(_DROP, {"key": call.key, "attempt": call.attempt})


def prune() -> Operation[None]:
    """Forget calls of jobs that no longer run."""
    yield One(_PRUNE, {})


def breaker_of(row: Row) -> Breaker:
    """An agent's breaker from its row."""
    return Breaker(
        failures=row["in_a_row"],
        failed_at=row["failed_at"] or 0.0,
        trial_at=row["trial_at"] or 0.0,
    )


class Meshes:
    """What one worker's attempts tell of the agents of meshes."""

    def __init__(self, database: Database, rules: BreakerRules) -> None:
        self._database, self._rules = database, rules
        self._pruned = -PRUNE_EVERY

    def calls_of(self, job: JobId, attempt: int) -> AttemptCalls:
        """Those of one attempt."""
        return AttemptCalls(self, job, attempt)

    async def choose(self, key: str, agents: Sequence[str], job: JobId, attempt: int) -> str | None:
        if time.monotonic() - self._pruned >= PRUNE_EVERY:
            self._pruned = time.monotonic()
            await self._database.write(prune)
        return await self._database.write(lambda: choose(agents, self._rules, key, job, attempt))

    async def begin(self, call: Call) -> None:
        await self._database.write(lambda: begin(call))

    async def end(self, call: Call, seconds: float, error: str | None) -> None:
        await self._database.write(lambda: end(call, seconds, error))

    async def drop(self, call: Call) -> None:
        await self._database.write(lambda: drop(call))


@dataclass(frozen=True)
class AttemptCalls:
    """See graphs.mesh.Calls."""

    meshes: Meshes
    job: JobId
    attempt: int

    async def choose(self, key: str, agents: Sequence[str]) -> str | None:
        return await self.meshes.choose(key, agents, self.job, self.attempt)

    async def began(self, key: str, agent: str) -> None:
        await self.meshes.begin(self._call(key, agent))

    async def ended(self, key: str, agent: str, seconds: float, error: str | None) -> None:
        await self.meshes.end(self._call(key, agent), seconds, error)

    async def dropped(self, key: str) -> None:
        await self.meshes.drop(self._call(key, ""))

    def _call(self, key: str, agent: str) -> Call:
        return Call(key=key, job=self.job, attempt=self.attempt, agent=agent)

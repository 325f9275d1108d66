"""Reading the ledger: light, synchronous, from any thread and any process.

Reading commands use this alone, so it imports neither LangGraph nor DBOS nor SQLAlchemy.
It never takes a write lock and never creates a database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..database.read_only import Connection, connect
from ..database.read_only import NoDatabase as NoDatabase
from ..errors import InvalidInput, JobNotFound
from ..jobs.command import TAKES, Command
from ..jobs.filter import Filter, among
from ..jobs.job import (
    Attempt,
    Checkpoint,
    Event,
    Job,
    JobId,
    Question,
    Step,
    event_of,
)
from ..jobs.status import JobStatus
from ..ledger.operation import One, Operation, Params, Row, Statement, clock, run
from ..record import record_of, time_of
from .rows import job_of, json_of, step_of, usage_of
from .workers import SILENT, WorkerState

if TYPE_CHECKING:
    from ucop.graphs.nodes.breaker import BreakerRules

    from ..declared.queue_limits import QueueLimits
    from ..queue.limits import QueueState
    from ..stores.mesh_trace import MeshAgent, MeshRun
    from .why import Dispatch

T = TypeVar("T")

EVERY = Filter()
"""Every job that is not archived."""

EVERY_AGE = Filter(archived=None)
"""Every job."""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The place of a job in a list, whose order is that of `Reader.jobs`."""

    created_at: float
    """Seconds since the epoch, as the database has it."""
    id: str


_JOBS = """
select id, workflow, status, reason, input, run, output, error, thread_id, attempt, queue, priority,
    tenant, not_before, labels, key, parent_job_id, parent_checkpoint_id, created_at, started_at,
    finished_at, budget, archived_at
from jobs"""

# What a list shows: inputs and outputs may be long.
_LISTED = _JOBS.replace(" input, run, output,", " '{}' as input, '{}' as run, null as output,")

_TOTAL = "select count(*) as jobs from jobs"

_DELAYED = "(status = 'pending' and not_before > 0)"

_OF_QUEUE = "select 1 from jobs where queue = :queue limit 1"

_COUNT = "select status, count(*) as jobs from jobs{where} group by status"

# Ids are hexadecimal: what begins with the prefix lies between it and the prefix with a "g".
_FIND = "select id from jobs where id >= :prefix and id < :end{of} order by id limit 3"

_OF_TENANT = " and tenant = :tenant"

_WARNINGS = "select data from events where job_id = :id and type = 'model.warning' order by seq"

_STEPS = """
select node, task_id, status, attempt, started_at, finished_at, model_calls, tokens_in,
    tokens_out, tokens_cached, tokens_reasoning, seconds_waited, seconds_generating, cached_calls,
    cost, models, cached, output, error, tries
from steps where job_id = :id
order by coalesce(started_at, finished_at), finished_at, task_id"""

# What `usage_of_steps` counts, without reading what the steps wrote.
_SPENT = """
select job_id, node, sum(model_calls) as model_calls, sum(tokens_in) as tokens_in,
    sum(tokens_out) as tokens_out, sum(tokens_cached) as tokens_cached,
    sum(tokens_reasoning) as tokens_reasoning, sum(seconds_waited) as seconds_waited,
    sum(seconds_generating) as seconds_generating, sum(cached_calls) as cached_calls,
    sum(case when model_calls > 0 then cost end) as cost,
    sum(case when model_calls > 0 and cost is null then 1 else 0 end) as unpriced,
    sum(finished_at - started_at) as seconds
from steps where job_id in (select id from jobs{chosen}) group by job_id, node"""

_EVENTS = """
select job_id, seq, type, at, data, position from events
where job_id = :id and seq > :after order by seq limit :limit"""

_ATTEMPTS = """
select number, status, worker, started_at, finished_at, outcome
from attempts where job_id = :id order by number"""

_QUESTIONS = """
select id, node, question, answer_schema, asked_at, due_at, default_answer, answer, answered_at,
    by_default, consumed_at, withdrawn_at
from questions where job_id = :id order by asked_at, id"""

_DEFINITION = """
select definitions.body from definitions join jobs on jobs.fingerprint = definitions.fingerprint
where jobs.id = :id"""

_FORKS = """
select id, parent_checkpoint_id from jobs where parent_job_id = :id order by created_at, id"""

_DISPATCH = """
select needs, queue, workflow, not_before, queued_at, worker, want,
    coalesce((select min(other.id) from jobs other where other.thread_id = jobs.thread_id
        and other.status = 'running' and other.id <> jobs.id),
        (select min(other.id) from jobs other where other.thread_id = jobs.thread_id
        and other.status = 'pending' and (other.queued_at, other.id) < (jobs.queued_at, jobs.id)
        and jobs.status = 'pending')) as busy_with,
    (select count(*) from jobs other where other.status = 'pending' and other.not_before = 0
        and other.lane = jobs.lane and (other.priority > jobs.priority
        or (other.priority = jobs.priority
            and (other.queued_at, other.id) < (jobs.queued_at, jobs.id)))) as ahead
from jobs where id = :id"""

_RUNNING = """
select worker, queue, workflow, count(*) as jobs from jobs where status = 'running'
group by worker, queue, workflow"""

_STARTS = """
select count(*) as starts, min(at) as oldest from queue_starts
where queue = :queue and at > :since"""

_QUEUES = "select name, changes from queues"

_BACKLOG = """
select queue, tenant, 'pending' as what, count(*) as jobs, min(queued_at) as since
from jobs where status = 'pending' and not_before = 0 group by queue, tenant
union all
select queue, tenant, 'delayed', count(*), null
from jobs where status = 'pending' and not_before > 0 group by queue, tenant
union all
select queue, tenant, 'running', count(*), null
from jobs where status = 'running' group by queue, tenant"""

_STATUS = "select status, reason from jobs where id = :id"

_STANDINGS = "select id, status, seq from jobs where id in {listed}"

_BEHIND = "(created_at < :at or (created_at = :at and id > :behind))"

_WORKERS = """
select id, host, pid, started_at, beat_at, lost, knows, serves, blocked from workers
order by started_at"""


class Reader:
    """Reads jobs, steps, events and attempts. Close it, or use it in a `with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def jobs(self, filter: Filter = EVERY, *, limit: int = 50) -> list[Job]:
        """The jobs that a filter names, the newest first, with their usage and without their
        steps."""
        return self._listed(_JOBS, filter, limit, 0)

    def jobs_behind(
        self, filter: Filter, behind: Cursor | None, *, limit: int
    ) -> tuple[list[Job], Cursor | None]:
        """`jobs` that stand behind a cursor, and the cursor of the last of them; None where no
        more follow. What is added or deleted meanwhile moves no other job to another page."""
        where, params = self._where(filter, *((_BEHIND,) if behind else ()))
        if behind is not None:
            params = {**params, "at": behind.created_at, "behind": behind.id}
        chosen = f"{where} order by created_at desc, id limit :limit"
        rows = self._rows(f"{_JOBS}{chosen}", {**params, "limit": limit + 1})
        jobs = self._with_usage(rows[:limit], chosen, {**params, "limit": limit})
        last = rows[limit - 1] if len(rows) > limit else None
        return jobs, None if last is None else Cursor(created_at=last["created_at"], id=last["id"])

    def page(self, filter: Filter, *, offset: int, limit: int) -> list[Job]:
        """`jobs` from the job at `offset` on, without inputs and outputs."""
        return self._listed(_LISTED, filter, limit, offset)

    def _listed(self, columns: str, filter: Filter, limit: int, offset: int) -> list[Job]:
        where, params = self._where(filter)
        chosen = f"{where} order by created_at desc, id limit :limit offset :offset"
        params = {**params, "limit": limit, "offset": offset}
        return self._with_usage(self._rows(f"{columns}{chosen}", params), chosen, params)

    def _with_usage(self, rows: Sequence[Row], chosen: str, params: Params) -> list[Job]:
        spent: dict[str, list[Row]] = {}
        for row in self._rows(_SPENT.format(chosen=chosen), params) if rows else ():
            spent.setdefault(row["job_id"], []).append(row)
        return [job_of(row, usage=usage_of(spent.get(row["id"], ()))) for row in rows]

    def total(self, filter: Filter) -> int:
        """How many jobs a filter names."""
        where, params = self._where(filter)
        return int(self._rows(f"{_TOTAL}{where}", params)[0]["jobs"])

    def ids(
        self, filter: Filter, taken: Collection[JobStatus], *, delayed: bool = False
    ) -> list[tuple[JobId, JobStatus]]:
        """(id, status) of all jobs that a filter names and whose status is one of `taken`, or
        which are pending and `delayed`; the oldest first."""
        meant = f"({among(taken)} or {_DELAYED})" if delayed else among(taken)
        where, params = self._where(filter, meant)
        sql = f"select id, status from jobs{where} order by created_at, id"  # noqa: S608 - ours
        return [(JobId(row["id"]), JobStatus(row["status"])) for row in self._rows(sql, params)]

    def taken(
        self,
        command: Command,
        jobs: Filter | Iterable[str],
        declared: Collection[str],
        *,
        now: bool = False,
    ) -> list[JobId]:
        """The jobs that a command takes, in the order of their creation, or as they are named.
        With `now`, `resume` takes delayed jobs too. Raises InvalidInput if `jobs` names none."""
        if isinstance(jobs, Filter):
            self.check_queue(jobs.queue, declared)
            delayed = now and command is Command.RESUME
            return [id for id, _ in self.ids(jobs, TAKES[command], delayed=delayed)]
        if isinstance(jobs, str):  # whose letters would pass for ids
            raise InvalidInput(f"jobs: a list of ids or a Filter, not the text {jobs!r}")
        return [JobId(id) for id in dict.fromkeys(jobs)]

    def _where(self, filter: Filter, *more: str) -> tuple[str, Params]:
        conditions, params = filter.conditions()
        found = " and ".join((*conditions, *more))
        return f" where {found}" if found else "", params

    def check_queue(self, name: str | None, declared: Collection[str]) -> None:
        """Raises InvalidInput for a queue that neither the settings nor any job names: of a
        filter that finds nothing nobody would see why."""
        if name is None or name in declared or self._rows(_OF_QUEUE, {"queue": name}):
            return
        from ..declared.queue_limits import undeclared

        raise undeclared(name, declared)

    def counts(self, filter: Filter = EVERY_AGE) -> dict[JobStatus, int]:
        """How many jobs have each status, of those that a filter names."""
        where, params = self._where(filter)
        rows = self._rows(_COUNT.format(where=where), params)
        return {JobStatus(row["status"]): row["jobs"] for row in rows}

    def find(self, prefix: str, *, tenant: str | None = None) -> str:
        """The id of the one job whose id is, or begins with, `prefix`; with `tenant` of the jobs
        of that tenant. Raises JobNotFound."""
        between = {"prefix": prefix, "end": prefix + "g"}
        sql = _FIND.format(of="" if tenant is None else _OF_TENANT)
        if tenant is not None:
            between["tenant"] = tenant
        listed = [str(row["id"]) for row in self._rows(sql, between)] if prefix else []
        found = [id for id in listed if id.startswith(prefix)]  # databases sort as they like
        if prefix in found:
            return prefix
        if len(found) == 1:
            return found[0]
        if found:
            raise JobNotFound(f"several jobs begin with {prefix!r}; give more of the id")
        raise JobNotFound(f"no job {prefix!r}; `ucop jobs list` shows the jobs there are")

    def job(self, id: str) -> Job:
        """One job whole, by its id or the beginning of it. Raises JobNotFound."""
        id = self.find(id)
        row = self._rows(f"{_JOBS} where id = :id", {"id": id})[0]
        return job_of(row, self.steps(id))

    def status(self, id: str) -> tuple[JobStatus, str | None]:
        """A job's status and reason, by its whole id. Raises JobNotFound."""
        rows = self._rows(_STATUS, {"id": id})
        if not rows:
            raise JobNotFound(f"no job {id!r}")
        return JobStatus(rows[0]["status"]), rows[0]["reason"]

    def standings(self, ids: Collection[str]) -> dict[str, tuple[JobStatus, int]]:
        """The status of jobs and the number of their newest event, by their whole ids."""
        listed = self._connection.dialect.tables.listed.format(name="ids")
        rows = self._rows(_STANDINGS.format(listed=listed), {"ids": json.dumps(list(ids))})
        return {row["id"]: (JobStatus(row["status"]), int(row["seq"])) for row in rows}

    def steps(self, id: str) -> list[Step]:
        """The job's node runs in the order in which they began."""
        steps = [step_of(row) for row in self._rows(_STEPS, {"id": id})]
        told: dict[str, list[str]] = {}
        for row in self._rows(_WARNINGS, {"id": id}):
            data = json.loads(row["data"])
            told.setdefault(data["task_id"], []).append(data["message"])
        if not told:
            return steps
        return [
            step.model_copy(update={"warnings": tuple(dict.fromkeys(told.get(step.task_id, ())))})
            for step in steps
        ]

    def events(self, id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Up to `limit` events with numbers above `after`, in order and without a gap."""
        rows = self._rows(_EVENTS, {"id": id, "after": after, "limit": limit})
        return [event_of(row) for row in rows]

    def hops(self, id: str) -> list[MeshRun]:
        """What the job's meshes did, in the order in which they began, by its whole id."""
        from ..stores.mesh_trace import MESH_EVENTS, runs_of

        rows = self._rows(MESH_EVENTS, {"id": id})
        return runs_of([event_of(row) for row in rows])

    def mesh_agents(self, rules: BreakerRules) -> list[MeshAgent]:
        """How the agents fare that meshes called, by name."""
        from ..stores.mesh_calls import AGENTS, BUSY
        from ..stores.mesh_trace import mesh_agents

        busy = {row["agent"]: row["calls"] for row in self._rows(BUSY, {})}
        return mesh_agents(self._rows(AGENTS, {}), busy, rules, self.now())

    def attempts(self, id: str) -> list[Attempt]:
        """The job's attempts from the first."""
        return [record_of(Attempt, row) for row in self._rows(_ATTEMPTS, {"id": id})]

    def questions(self, id: str) -> list[Question]:
        """What the job asked people, the answered ones too, in the order of asking."""
        return [
            record_of(
                Question,
                row,
                question=json.loads(row["question"]),
                answer_schema=json.loads(row["answer_schema"]) if row["answer_schema"] else None,
                default_answer=json_of(row["default_answer"]),
                has_default=row["default_answer"] is not None,
                answer=json_of(row["answer"]),
            )
            for row in self._rows(_QUESTIONS, {"id": id})
        ]

    def checkpoints(self, id: str) -> list[Checkpoint]:
        """The job's saved states, the newest first, by its whole id. Raises JobNotFound."""
        from ..checkpoints.snapshots import checkpoints

        thread = self.job(id).thread_id
        yaml = self.definition(id)["kind"] == "yaml"
        return checkpoints(
            self._rows, id, thread, yaml=yaml, apart=self._connection.dialect.tables.apart
        )

    def forks(self, id: str) -> list[tuple[JobId, str]]:
        """(job, checkpoint) of the jobs that were forked from this one, in their order."""
        rows = self._rows(_FORKS, {"id": id})
        return [(JobId(row["id"]), row["parent_checkpoint_id"]) for row in rows]

    def definition(self, id: str) -> dict[str, Any]:
        """The workflow's definition that the job was submitted with. Raises JobNotFound."""
        rows = self._rows(_DEFINITION, {"id": id})
        if not rows:
            raise JobNotFound(f"no job {id!r}")
        body: dict[str, Any] = json.loads(rows[0]["body"])
        return body

    def export(self, id: str, *, redact: bool = False) -> Iterator[str]:
        """The lines of a file that holds a job whole (job_file.py), by its whole id, without
        secrets; with `redact` of every text only its shape. It holds what was there at one moment,
        also of a job that runs. Raises JobNotFound, and, amid the lines, DatabaseError."""
        self.status(id)
        return self._exported(id, redact)

    def _exported(self, id: str, redact: bool) -> Iterator[str]:
        from importlib.metadata import version

        from ..jobs.redaction import Redaction
        from ..transfer.job_file import write

        head = {"ucop": version("ucop"), "exported_at": datetime.now(UTC).isoformat()}
        apart, redaction = self._connection.dialect.tables.apart, Redaction(contents=redact)
        with self._connection.snapshot() as rows:
            yield from write(rows, id, apart=apart, redaction=redaction, head=head)

    def workers(self, *, silent_after: float = SILENT) -> list[str]:
        """Ids of workers that take jobs, and gave a heartbeat within `silent_after` seconds.
        One that runs its own jobs alone serves no queue."""
        oldest = self.now() - silent_after
        alive = [
            row for row in self._rows(_WORKERS, {}) if not row["lost"] and row["beat_at"] > oldest
        ]
        return [row["id"] for row in alive if json.loads(row["serves"])]

    def worker_states(self) -> list[WorkerState]:
        """Workers that are known, the oldest first; those that were lost are kept for a while."""
        running, now = _counted(self._rows(_RUNNING, {})), self.now()
        return [
            WorkerState(
                id=row["id"],
                host=row["host"],
                pid=row["pid"],
                started_at=time_of(row["started_at"]),
                beat_at=time_of(row["beat_at"]),
                silent=now - row["beat_at"] > SILENT,
                lost=bool(row["lost"]),
                knows=sorted(json.loads(row["knows"])),
                serves=sorted(json.loads(row["serves"])),
                running=running.get(row["id"], 0),
            )
            for row in self._rows(_WORKERS, {})
        ]

    def queues(self, declared: Mapping[str, QueueLimits]) -> list[QueueState]:
        """The queues that the settings declare, and those that have jobs, by name."""
        from ..queue.limits import states

        changes = {row["name"]: row["changes"] for row in self._rows(_QUEUES, {})}
        return states(declared, changes, self._rows(_BACKLOG, {}), self.now())

    def dispatch(
        self,
        id: str,
        declared: Mapping[str, QueueLimits] | None = None,
        workflows: Mapping[str, int] | None = None,
    ) -> Dispatch:
        """What decides whether a job runs, by its whole id; `declared` are the queues of the
        settings, `workflows` the limits of those. Raises JobNotFound."""
        from ..ledger.commands import overtaken
        from ..queue.limits import QueueState
        from .why import Dispatch, WorkerSeen

        rows = self._rows(_DISPATCH, {"id": id})
        if not rows:
            raise JobNotFound(f"no job {id!r}")
        row = rows[0]
        states = {state.name: state for state in self.queues(declared or {})}
        queue = states.get(row["queue"]) or QueueState(name=row["queue"])
        now, running = self.now(), self._rows(_RUNNING, {})
        return Dispatch(
            needs=frozenset(json.loads(row["needs"])),
            queue=queue,
            waited=now - row["queued_at"],
            rate_in=self._rate_in(queue, now),
            of_workflow=sum(r["jobs"] for r in running if r["workflow"] == row["workflow"]),
            workflow_limit=(workflows or {}).get(row["workflow"]),
            running=_counted(running),
            running_of_queue=_counted([r for r in running if r["queue"] == row["queue"]]),
            not_before=row["not_before"],
            worker=row["worker"],
            want=row["want"],
            busy_with=row["busy_with"],
            overtaken=self.ask(overtaken(id)),
            ahead=row["ahead"],
            workers=[
                WorkerSeen(
                    id=worker["id"],
                    host=worker["host"],
                    pid=worker["pid"],
                    beat_at=worker["beat_at"],
                    knows=frozenset(json.loads(worker["knows"])),
                    serves=frozenset(json.loads(worker["serves"])),
                    blocked=json.loads(worker["blocked"]) if worker["blocked"] else None,
                )
                for worker in self._rows(_WORKERS, {})
                if not worker["lost"]
            ],
        )

    def _rate_in(self, queue: QueueState, now: float) -> float | None:
        """Seconds until a queue's rate allows another to begin."""
        from ..declared.queue_limits import rate_of

        if queue.rate is None:
            return None
        rate = rate_of(queue.rate)
        since = {"queue": queue.name, "since": now - rate.period}
        found = self._rows(_STARTS, since)[0]
        if found["starts"] < rate.starts:
            return None
        return max(0.0, float(found["oldest"]) + rate.period - now)

    def now(self) -> float:
        """What time it is, in seconds since the epoch, on the database's clock: ages and times to
        come are counted from that, and not from the clock of who looks."""
        return self.ask(clock())

    def ask(self, operation: Operation[T]) -> T:
        """Run an operation that only reads."""
        return run(operation, self._answer)

    def _answer(self, statement: Statement) -> Sequence[Row]:
        assert isinstance(statement, One)
        return self._rows(statement.sql, statement.params)

    def _rows(self, sql: str, params: Params) -> Sequence[Row]:
        return self._connection.rows(sql, params)


def open_reader(url: str) -> Reader:
    """A reader of the database at `url`. Raises DatabaseError; creates nothing."""
    return Reader(connect(url))


def _counted(running: Sequence[Row]) -> Mapping[str, int]:
    """Jobs by worker."""
    found = Counter[str]()
    for row in running:
        found[row["worker"]] += row["jobs"]
    return found

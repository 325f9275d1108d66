"""What the database holds, read without ucop; and everything that must hold at the end."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import mazes
from tests.chaos.witness import Record, Witness

Rows = list[dict[str, Any]]


class Auditor:
    """Reads ledger and checkpoints with the drivers and LangGraph's own savers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = not url.startswith("sqlite:")
        self._saver: Any = None
        if self.is_postgres:
            import psycopg
            from langgraph.checkpoint.postgres import PostgresSaver
            from psycopg.rows import dict_row

            self._connection: Any = psycopg.connect(
                url, autocommit=True, row_factory=dict_row, options="-c search_path=ucop,public"
            )
            self._saver = PostgresSaver(self._connection)
        else:
            from langgraph.checkpoint.sqlite import SqliteSaver

            path = Path(url.removeprefix("sqlite:///"))
            self._connection = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._saver = SqliteSaver(self._connection)
            self._saver.is_setup = True  # it is read only here, and setup would write

    def __enter__(self) -> Auditor:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, sql: str, *params: Any) -> Rows:
        if self.is_postgres:
            return list(self._connection.execute(sql.replace("?", "%s"), params).fetchall())
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, params)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str) -> None:
        if self.is_postgres:
            self._connection.execute(sql)
        else:
            self._connection.executescript(sql)

    def held(self, thread: str) -> set[str]:
        """Visits that the checkpointer holds as done, in graphs inside nodes too."""
        found: set[str] = set()
        sql = "select distinct checkpoint_ns from checkpoints where thread_id = ?"
        for row in self.rows(sql, thread):
            config = {"configurable": {"thread_id": thread, **row}}
            saved = self._saver.get_tuple(config)
            if saved is not None:
                found.update(mazes.labels_in(saved.checkpoint["channel_values"]))
                found.update(mazes.labels_in([value for _, _, value in saved.pending_writes or ()]))
        return found

    def running_on(self, pid: int) -> Rows:
        """Jobs that a process has, as the ledger knows it."""
        sql = """select jobs.id, jobs.thread_id, jobs.input from jobs
            join workers on workers.id = jobs.worker
            where workers.pid = ? and jobs.status = 'running'"""
        return self.rows(sql, pid)

    def unsettled(self) -> Rows:
        return self.rows(
            "select id, status, attempt, workflow, reason, error from jobs"
            " where status not in ('completed', 'failed', 'cancelled')"
        )

    def queued(self) -> Rows:
        """What DBOS holds; the embedded queue is the ledger itself."""
        if not self.is_postgres:
            return []
        return self.rows(
            "select workflow_uuid, status, executor_id, application_version, delay_until_epoch_ms"
            " from dbos.workflow_status where status in ('PENDING', 'ENQUEUED', 'DELAYED')"
        )

    def settled(self) -> bool:
        """Every job has ended, and DBOS, which hears of it a moment later, holds none any more."""
        return not self.unsettled() and not self.queued()


def story(auditor: Auditor, job: str) -> str:
    """All that the ledger tells of a job, for a finding."""
    told = [auditor.rows("select * from jobs where id = ?", job)]
    told.append(auditor.rows("select * from attempts where job_id = ? order by number", job))
    told.append(
        auditor.rows(
            "select task_id, attempt, node, status, started_at, finished_at, error from steps"
            " where job_id = ? order by started_at",
            job,
        )
    )
    told.append(
        auditor.rows("select seq, type, at, data from events where job_id = ? order by seq", job)
    )
    return "\n".join(str(row) for rows in told for row in rows)


@dataclass(frozen=True)
class Held:
    """What the checkpointer held for a job when its worker was killed."""

    position: int
    """Of the witness's file: what is told after it came later."""
    name: str
    labels: frozenset[str]


def hold(auditor: Auditor, witness: Witness, pid: int) -> list[Held]:
    """The held visits of a killed process's running jobs."""
    found = []
    for row in auditor.running_on(pid):
        labels = frozenset(auditor.held(row["thread_id"]))
        name = json.loads(row["input"])["name"]
        found.append(Held(witness.size, name, labels))
    return found


def run_again(witness: Witness, held: Iterable[Held]) -> list[tuple[str, str]]:
    """Visits that began although the checkpointer held them already."""
    return [
        (record.name, record.label)
        for each in held
        for record in witness.records(each.position)
        if record.what == "begin" and record.name == each.name and record.label in each.labels
    ]


@dataclass(frozen=True)
class Findings:
    """What was wrong at the end; all of it must be empty."""

    lost: list[str]
    stuck: list[str]
    failed: list[str]
    falsely_completed: list[str]
    steps: list[str]
    events: list[str]
    attempts: list[str]
    queue: list[str]

    @property
    def count(self) -> int:
        return sum(len(each) for each in vars(self).values())

    def counts(self) -> dict[str, int]:
        return {name: len(each) for name, each in vars(self).items()}


def judge(auditor: Auditor, records: Sequence[Record], accepted: Iterable[str]) -> Findings:
    """Compare the ledger at the end with what was accepted and with what the witness saw."""
    jobs = auditor.rows("select * from jobs")
    known = {job["id"] for job in jobs}
    ended: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.what == "end":
            ended[record.name].add(record.label)
    return Findings(
        lost=[id for id in accepted if id not in known],
        stuck=[
            _told(job)
            for job in jobs
            if job["status"] in ("pending", "running", "paused", "waiting")
        ],
        failed=[f"{_told(job)}: {job['error']}" for job in jobs if job["status"] == "failed"],
        falsely_completed=[
            _told(job)
            for job in jobs
            if job["status"] == "completed" and not _really_completed(job, ended)
        ],
        steps=list(_wrong_steps(auditor, jobs)),
        events=list(_wrong_events(auditor, jobs)),
        attempts=list(_wrong_attempts(auditor, jobs)),
        queue=_left_in_queue(auditor),
    )


def _told(job: dict[str, Any]) -> str:
    return f"{job['id']} {job['workflow']} {job['status']} attempt {job['attempt']}"


def _really_completed(job: dict[str, Any], ended: dict[str, set[str]]) -> bool:
    name = json.loads(job["input"])["name"]
    right = mazes.output_is_right(job["workflow"], json.loads(job["output"]))
    return right and ended.get(name, set()) >= mazes.visits(job["workflow"])


def _wrong_steps(auditor: Auditor, jobs: Rows) -> Iterable[str]:
    """One completed step for each node run, and nothing left open."""
    found: defaultdict[str, Rows] = defaultdict(list)
    for row in auditor.rows("select * from steps"):
        found[row["job_id"]].append(row)
    for job in jobs:
        if job["status"] != "completed":
            continue
        steps = found[job["id"]]
        completed = [step for step in steps if step["status"] == "completed"]
        nodes = Counter(step["node"] for step in completed)
        if nodes != mazes.steps(job["workflow"]):
            wrong = {
                node: (nodes[node], mazes.steps(job["workflow"])[node])
                for node in {*nodes, *mazes.steps(job["workflow"])}
                if nodes[node] != mazes.steps(job["workflow"])[node]
            }
            yield f"{_told(job)}: completed steps (found, due) {wrong}"
        if len({step["task_id"] for step in completed}) != len(completed):
            yield f"{_told(job)}: a task completed twice"
        rest = [step for step in steps if step["status"] not in ("completed", "failed")]
        if rest:
            yield f"{_told(job)}: open steps {[(s['node'], s['status']) for s in rest]}"
        done = {step["task_id"]: step["attempt"] for step in completed}
        ghosts = [
            (step["node"], step["attempt"], done[step["task_id"]])
            for step in steps
            if step["status"] == "failed" and step["attempt"] > done.get(step["task_id"], 10**9)
        ]
        if ghosts:
            yield f"{_told(job)}: steps begun again after they were done {ghosts}"
        untimed = [s["node"] for s in completed if not s["started_at"] or not s["finished_at"]]
        if untimed:
            yield f"{_told(job)}: steps without times {untimed}"


def _wrong_events(auditor: Auditor, jobs: Rows) -> Iterable[str]:
    """Numbers from 1 without a gap, the last one the job's, and a story that is whole."""
    found: defaultdict[str, Rows] = defaultdict(list)
    for row in auditor.rows("select * from events order by job_id, seq"):
        found[row["job_id"]].append(row)
    for job in jobs:
        events = found[job["id"]]
        numbers = [event["seq"] for event in events]
        if numbers != list(range(1, job["seq"] + 1)):
            yield f"{_told(job)}: event numbers {numbers[:3]}…{numbers[-3:]}, job has {job['seq']}"
        types = [event["type"] for event in events]
        if types[:1] != ["job.submitted"] or types.count("job.submitted") != 1:
            yield f"{_told(job)}: does not begin with one job.submitted"
        if job["status"] != "completed":
            continue
        if types[-1] != "job.completed" or types.count("job.completed") != 1:
            yield f"{_told(job)}: does not end with one job.completed: {types[-3:]}"
        if types.count("step.completed") != mazes.steps(job["workflow"]).total():
            yield f"{_told(job)}: {types.count('step.completed')} step.completed"


def _wrong_attempts(auditor: Auditor, jobs: Rows) -> Iterable[str]:
    found: defaultdict[str, Rows] = defaultdict(list)
    for row in auditor.rows("select * from attempts order by job_id, number"):
        found[row["job_id"]].append(row)
    for job in jobs:
        attempts = found[job["id"]]
        if [a["number"] for a in attempts] != list(range(1, job["attempt"] + 1)):
            yield f"{_told(job)}: attempts {[a['number'] for a in attempts]}"
        if job["status"] == "completed" and any(a["status"] != "ended" for a in attempts):
            yield f"{_told(job)}: open attempts {[(a['number'], a['status']) for a in attempts]}"


def _left_in_queue(auditor: Auditor) -> list[str]:
    """Rows of DBOS that no attempt will take: they would count against its limits for ever."""
    return [f"{row['workflow_uuid']} {row['status']}" for row in auditor.queued()]

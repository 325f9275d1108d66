"""Two workers and a process that submits and reads get along on one database."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.audit import Auditor, judge
from tests.chaos.fleet import Fleet
from tests.chaos.mazes import start_of, visits
from tests.support.waiting import until
from ucop.engine import Engine

JOBS = 500


def test_two_workers_and_a_submitter_run_every_job_once(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    jobs = JOBS if not auditor.is_postgres else JOBS // 5
    fleet.nap = 0
    for _ in range(2):
        fleet.worker(concurrency=20)
    handles = [engine.submit("twig", start_of("twig", f"j{n}")) for n in range(jobs)]

    assert len(engine.jobs(limit=jobs)) == jobs
    until(auditor.settled, "all jobs to end", fleet.logs, seconds=150)

    records = fleet.records()
    findings = judge(auditor, records, [handle.id for handle in handles])
    assert findings.count == 0, findings
    began = Counter((r.name, r.label) for r in records if r.what == "begin")
    assert set(began.values()) == {1}
    assert len(began) == jobs * len(visits("twig"))
    workers = {r.pid for r in records if r.what == "begin"}
    assert len(workers) == 2, "one worker did everything"
    assert auditor.rows("select max(attempt) as n from jobs") == [{"n": 1}]


def test_processes_that_meet_on_a_new_database_all_get_in(
    request: pytest.FixtureRequest, fleet: Fleet
) -> None:
    url = fleet.url
    if not url.startswith("sqlite:"):
        url = request.getfixturevalue("postgres_server").empty()
    scripts = [
        fleet.start(
            "submit", url=url, jobs=[{"workflow": "twig", "input": start_of("twig", f"j{n}")}]
        )
        for n in range(5)
    ]
    for script in scripts:
        until(lambda s=script: s.wait(0) is not None, "a script to end", fleet.logs)  # type: ignore[misc]
    assert [script.status for script in scripts] == [0] * 5, fleet.logs()
    with Auditor(url) as auditor:
        assert auditor.rows("select count(*) as n from jobs") == [{"n": 5}]

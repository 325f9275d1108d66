"""One key, one job: from many threads, from many processes, with deaths in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet
from tests.chaos.mazes import start_of
from tests.support.waiting import until
from ucop.engine import Engine, KeyConflict


def test_twenty_threads_with_one_key_get_one_job(engine: Engine, auditor: Auditor) -> None:
    given = start_of("twig", "j")
    with ThreadPoolExecutor(20) as threads:
        submits = [threads.submit(engine.submit, "twig", given, key="one") for _ in range(20)]
        ids = {submit.result().id for submit in submits}
    assert ids == {row["id"] for row in auditor.rows("select id from jobs")}
    assert len(ids) == 1
    assert auditor.rows("select count(*) as n from attempts") == [{"n": 1}]
    assert auditor.rows("select count(*) as n from events") == [{"n": 1}]


def test_processes_that_submit_the_same_keys_and_die_get_the_same_jobs(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    keys = [f"k{number}" for number in range(8)]
    jobs = [{"workflow": "twig", "input": start_of("twig", key), "key": key} for key in keys]
    faults = ["", "inside ledger write:4", "after submit:3", "before submit:6", ""]
    scripts = [fleet.start("submit", jobs=jobs, fault=fault) for fault in faults]
    for script in scripts:
        until(lambda s=script: s.wait(0) is not None, "a script to end", fleet.logs)  # type: ignore[misc]

    assert [script.status for script in scripts] == [0, -9, -9, -9, 0], fleet.logs()
    rows = auditor.rows("select id, key from jobs")
    assert sorted(row["key"] for row in rows) == keys
    known = {row["key"]: row["id"] for row in rows}
    told = [(r.name, r.label) for r in fleet.records() if r.what == "accepted"]
    assert len(told) >= 2 * len(keys)
    assert all(known[name] == id for name, id in told)


def test_another_input_under_a_used_key_is_refused(engine: Engine, auditor: Auditor) -> None:
    first = engine.submit("twig", start_of("twig", "j"), key="one")
    with pytest.raises(KeyConflict, match=first.id):
        engine.submit("twig", start_of("twig", "other"), key="one")
    with pytest.raises(KeyConflict, match="another workflow"):
        engine.submit("maze", start_of("maze", "j"), key="one")
    assert auditor.rows("select count(*) as n from jobs") == [{"n": 1}]

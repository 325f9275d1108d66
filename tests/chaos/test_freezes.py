"""A short run of what `python -m tests.chaos.freezes` does at length, and stops at the worst
moment: inside a transaction."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.audit import Auditor, judge
from tests.chaos.fleet import Fleet, Forge
from tests.chaos.freezes import winter
from tests.chaos.mazes import start_of
from tests.support.waiting import until
from ucop.engine import Engine


def test_a_worker_that_froze_beyond_its_lease_commits_nothing_when_it_wakes(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = winter(tmp_path, url, tries=3, seed=seed, forge=forge)
    print(verdict)
    assert verdict.violations == 0, str(verdict)
    assert verdict.summary["commits_audited"] > 0
    assert verdict.summary["taken_over"] > 0


@pytest.mark.parametrize("point", ["inside saver write:4", "inside ledger write:2"])
def test_a_worker_stopped_inside_a_transaction_keeps_nobody_waiting(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("maze", start_of("maze", "j"))
    zombie = fleet.worker(fault=f"{point}=STOP", ready=False, lease=1.0)
    until(lambda: zombie.state == "T", "the worker to stop itself", fleet.logs)

    heir = fleet.worker(ready=False, lease=1.0)

    until(auditor.settled, "the job to be taken over and to end", fleet.logs)
    findings = judge(auditor, fleet.records(), [job.id])
    assert findings.count == 0, findings
    if auditor.is_postgres and "ledger" in point:
        # Whoever is stopped before a claim may hold nothing that anybody misses; it goes on.
        zombie.thaw()
        later = engine.submit("maze", start_of("maze", "later"))
        until(auditor.settled, "the later job to end", fleet.logs)
        assert judge(auditor, fleet.records(), [job.id, later.id]).count == 0
        return
    if auditor.is_postgres:
        zombie.thaw()
        until(lambda: "declared lost" in zombie.log, "the zombie to say so", fleet.logs)
        until(lambda: "a new worker takes its place" in zombie.log, "its successor", fleet.logs)
    else:
        assert zombie.wait(30) == -signal.SIGKILL
    told = heir.log + zombie.log
    assert "stopped" in told

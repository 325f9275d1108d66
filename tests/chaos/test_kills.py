"""A short run of what `python -m tests.chaos.kills` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.fleet import Forge
from tests.chaos.kills import carnage


def test_workers_killed_at_random_lose_no_job_and_repeat_no_held_node(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = carnage(tmp_path, url, kills=10, seed=seed, forge=forge)
    print(verdict)
    assert verdict.violations == 0, str(verdict)
    assert verdict.summary["kills_amid_jobs"] > 0
    assert verdict.summary["completed"] == verdict.summary["jobs"] >= 12

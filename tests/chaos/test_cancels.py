"""A short run of what `python -m tests.chaos.cancels` does at length; no time is asserted."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.cancels import trial
from tests.chaos.fleet import Forge


def test_a_cancel_ends_calls_that_hang_and_neither_it_nor_a_pause_lets_another_begin(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = trial(tmp_path / "project", url, tries=5, pauses=2, seed=seed, forge=forge)
    print(verdict)
    assert verdict.violations == 0, str(verdict)
    assert verdict.summary["cancels"] == 5
    assert verdict.summary["pauses"] > 0

"""A short run of what `python -m tests.chaos.forks` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.forks import branching


def test_forks_give_what_their_parents_gave_and_leave_them_as_they_are(
    url: str, tmp_path: Path, seed: int
) -> None:
    verdict = branching(tmp_path / "project", url, forks=20, seed=seed, graphs=4)
    print(verdict)
    assert verdict.wrong == [], str(verdict)
    assert verdict.summary["forks"] == 20

"""A short run of what `python -m tests.chaos.edits` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.edits import changing


def test_forks_edits_and_restores_lead_where_the_rules_say(
    url: str, tmp_path: Path, seed: int
) -> None:
    verdict = changing(tmp_path / "project", [url], jobs=25, seed=seed, graphs=4)
    print(verdict)
    assert verdict.wrong == [], str(verdict)
    assert verdict.summary["jobs"] >= 25

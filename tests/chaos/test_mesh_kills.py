"""A short run of what `python -m tests.chaos.meshes` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.fleet import Forge
from tests.chaos.meshes import havoc, repeated
from tests.chaos.witness import Record


def test_meshes_whose_workers_are_killed_go_on_and_ask_nobody_twice(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = havoc(tmp_path, url, kills=4, seed=seed, forge=forge)
    print(verdict)
    assert verdict.wrong == []
    assert verdict.taken_over > 0


def test_the_judge_sees_a_visit_that_began_again_without_a_kill() -> None:
    visits = [Record("begin", pid, "j0", "weigh") for pid in (1, 2)]
    assert repeated(visits, {1}) == []
    assert len(repeated(visits, {2})) == 1

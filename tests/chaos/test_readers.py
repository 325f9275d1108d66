"""A short run of what `python -m tests.chaos.readers` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.fleet import Forge
from tests.chaos.readers import cutting


def test_a_reader_that_is_cut_off_gets_every_event_exactly_once_and_in_order(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = cutting(tmp_path, url, cuts=20, seed=seed, forge=forge)
    print(verdict)
    assert verdict.wrong == []
    assert verdict.summary["events"] > 50

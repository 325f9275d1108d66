"""`[retention]`: how long jobs are kept, as a project says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucop.engine import Settings
from ucop.engine.errors import InvalidSettings


def test_ages_are_times_or_seconds(tmp_path: Path) -> None:
    said = '[retention]\ncompleted = "30d"\nfailed = 3600\ncheckpoints = "12h"\n'
    (tmp_path / "ucop.toml").write_text(said, encoding="utf-8")
    kept = Settings.load(tmp_path).retention
    assert (kept.completed, kept.failed, kept.checkpoints) == (2_592_000, 3_600, 43_200)
    assert (kept.cancelled, kept.archive) == (None, None)
    assert not kept.is_none
    assert Settings.load(tmp_path.parent).retention.is_none


@pytest.mark.parametrize(
    "said", ['completed = "soon"', "failed = 0", 'finished = "30d"', "archive = true"]
)
def test_what_is_no_age_is_refused_by_name(tmp_path: Path, said: str) -> None:
    (tmp_path / "ucop.toml").write_text(f"[retention]\n{said}\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=f"retention.{said.split()[0]}"):
        Settings.load(tmp_path)

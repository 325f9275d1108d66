"""The transition table, against DESIGN's, written out a second time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ucop.engine.jobs.status import FINAL, TRANSITIONS, Change, JobStatus, follow, sources, target

ALLOWED = {
    ("pending", "running"),
    ("pending", "paused"),
    ("running", "paused"),
    ("pending", "cancelled"),
    ("running", "cancelled"),
    ("paused", "cancelled"),
    ("waiting", "cancelled"),
    ("running", "waiting"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "pending"),
    ("paused", "pending"),
    ("waiting", "pending"),
    ("waiting", "failed"),
    ("failed", "pending"),
    # Its thread is handed on to who goes on with it.
    ("paused", "completed"),
    ("waiting", "completed"),
    # The deadline passes while nobody works on the job.
    ("pending", "failed"),
    ("paused", "failed"),
    ("waiting", "failed"),
}


def test_the_table_allows_exactly_the_transitions_of_the_design() -> None:
    found = {(source, target(change)) for change in Change for source in sources(change)}
    assert found == ALLOWED


def test_every_change_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Change)


@given(st.lists(st.sampled_from(list(Change))))
def test_a_final_status_never_changes(changes: list[Change]) -> None:
    status = JobStatus.PENDING
    for change in changes:
        before, after = status, follow(status, change)
        if before in FINAL:
            assert after is None
        status = after or status

"""Workers, as those see them who only read."""

from __future__ import annotations

from datetime import datetime

from ..record import Record

SILENT = 60.0
"""Seconds without a heartbeat after which a worker is spoken of as gone."""


class WorkerState(Record):
    """A worker, and what it does."""

    id: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    silent: bool
    """Whether it gave no heartbeat for a minute."""
    lost: bool
    """Whether it was declared lost: its jobs belong to others."""
    knows: list[str]
    """What workflows may need that it has, such as `graph:NAME`."""
    serves: list[str]
    """The queues that it takes jobs from."""
    running: int
    """Jobs that it runs."""

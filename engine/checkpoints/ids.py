"""Ids of checkpoints: UUIDs of version 6, which sort by time.

LangGraph takes the checkpoint with the highest id for a thread's newest. The clock of a machine may
be behind that of the one which saved what it goes on from; so who reads a checkpoint gives only
later ids from then on, as a logical clock does (Lamport, 1978).
"""

from __future__ import annotations

import uuid

from langgraph.checkpoint.base import id as langgraph_ids


def follow(id: str) -> None:
    """See to it that every id which this process gives from now on sorts after `id`."""
    time = _time(id)
    known = langgraph_ids._last_v6_timestamp
    if time is not None and (known is None or known < time):
        langgraph_ids._last_v6_timestamp = time  # type: ignore[assignment, unused-ignore]


def _time(id: str) -> int | None:
    """The time of an id in steps of 100 ns, where LangGraph gave it (RFC 9562); None else."""
    try:
        found = uuid.UUID(id)
    except ValueError:
        return None
    if found.version != 6:
        return None
    return (found.int >> 80) << 12 | (found.int >> 64) & 0xFFF

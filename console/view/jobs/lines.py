"""An event as one line: `ucop jobs events` and `ucop events`."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ..tables import first_line, on_terminal

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Event


def event_line(event: Event, *before: str) -> str:
    """Number, time, type and details, with tabs off a terminal; `before` stands before it."""
    at = event.at.astimezone(None if on_terminal() else UTC)
    time = at.strftime("%H:%M:%S.%f")[:-3] if on_terminal() else at.isoformat()
    cells = [*before, str(event.seq), time, event.type, details(event.data)]
    if not on_terminal():
        return "\t".join(cells)
    told = [*before, f"{event.seq:>4}", time, f"{event.type:<15}", cells[-1]]
    return "  ".join(told).rstrip()


def details(data: dict[str, Any]) -> str:
    """What an event tells beside its type, in one line."""
    shown = {key: value for key, value in data.items() if key != "task_id" and value != ""}
    return " ".join(f"{key}={_short(value)}" for key, value in shown.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and (not text or " " in text or "\n" in text):
        text = json.dumps(text, ensure_ascii=False)
    return first_line(text, 120)

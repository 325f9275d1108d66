"""Times as people write them: `500ms`, `60s`, `5m`, `1h`, `2d`, and moments: `2026-11-28T18:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

LONGEST = 1000 * 365.25 * 86_400
"""A thousand years in seconds: so long from now on is still a date, which the year 10000 is not."""

WRITTEN = r"\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(value: Any) -> float | None:
    """The seconds of a time such as `500ms`, `60s`, `5m`, `1h` or `2d`, or of a number of seconds; None
    where it is no time, not above zero, or more than a thousand years."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = _DURATION.fullmatch(value if isinstance(value, str) else str(value))
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    return seconds if 0 < seconds <= LONGEST else None


def moment_of(text: str) -> datetime | None:
    """The moment of a date, or of a date and a time, in ISO 8601: in UTC, if no zone is named.
    None if it is none, as a year alone."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""JSON as the ledger keeps it and as people are shown it."""

from __future__ import annotations

import json
import re
from typing import Any

from ucop.agents.text.raised import clean

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON as the ledger keeps it. One encoder for all: to make one costs more than to use it."""


def shown_json(value: Any) -> str:
    """JSON of what is only shown (a step's output, an event's data): never raises. Half surrogate
    pairs are written out, and what JSON cannot hold is named."""
    try:
        text = to_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        return to_json({"…": f"cannot be shown: {clean(str(error))}"})
    return text if text.isascii() else _HALF.sub(_written_out, text)


_HALF = re.compile("[\ud800-\udfff]")


def _written_out(found: re.Match[str]) -> str:
    return f"\\\\u{ord(found[0]):x}"

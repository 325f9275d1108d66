"""How a state looks: a sign, a word and a colour, so that none of them is needed alone."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from rich.text import Text

from ..view.tables import COLOURS

SIGNS = {
    "pending": "○",
    "running": "▶",
    "waiting": "?",
    "paused": "‖",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "skipped": "»",
    "done": "✓",
    "asks": "?",
    "stopped": "‖",
    "not run": "·",
}
"""Of jobs, steps and nodes alike."""

NOT_YET = "·"
"""Of a node whose turn has not come: `waiting` in the words of a progress display, which of a
job means that a person's answer is due."""


def marked(state: str) -> Text:
    """`✓ completed`, in its colour."""
    return Text(f"{SIGNS.get(state, ' ')} {state}", style=COLOURS.get(state, ""))


def clean(text: str) -> str:
    """A text in which nothing steers the terminal: what is no letter or sign is shown as one."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return character
    return " " if character == "\t" else "\N{REPLACEMENT CHARACTER}"


def one_line(text: str) -> str:
    """`clean`, with line ends as blanks."""
    return clean(" ".join(text.split()) if "\n" in text else text)


def written(value: Any, most: int) -> str:
    """A value of JSON as a person reads it, cut after `most` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) <= most:
        return clean(text)
    return f"{clean(text[:most])}… ({len(text):,} characters)"

"""The two streams: data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from . import streams
from .exits import OutputLost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel


LONGEST_NOTE = 10_000
"""Characters of a note, or of a line of the log."""

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def harmless(text: str) -> str:
    """A text as a terminal may show it: what a job holds, which others may have sent, gives the
    terminal no orders."""
    return text.translate(_CONTROLS)


def put(text: str, end: str = "\n") -> bool:
    """Write a line of data, or with another `end` a piece of one, off a terminal as it is. False
    where nobody reads any more (`| head`): then stop. Raises OutputLost where stdout is closed, or its disk full."""
    stdout = streams.stdout()
    try:
        stdout.write((harmless(text) if stdout.isatty() else text) + end)
        stdout.flush()
    except BrokenPipeError:
        close_quietly()
        return False
    except OSError as error:
        close_quietly()
        raise OutputLost(f"the output was not written: {error.strerror}") from error
    return True


def put_json(value: Any) -> bool:
    """Write one value as JSON."""
    return put(json.dumps(value, ensure_ascii=False, indent=2))


def put_records(records: Iterable[BaseModel]) -> bool:
    """Write pydantic models as one JSON array."""
    return put_json([record.model_dump(mode="json") for record in records])


def shortened(text: str) -> str:
    """A text that a person is told: an error may hold a whole document."""
    if len(text) <= LONGEST_NOTE:
        return text
    return f"{text[:LONGEST_NOTE]}… ({len(text) - LONGEST_NOTE:,} more characters)"


def note(text: str = "") -> None:
    """Tell a person something that is not data."""
    try:
        print(harmless(shortened(text)), file=sys.stderr, flush=True)
    except OSError:  # closed, or full: nobody can be told
        streams.drop_stderr()


def close_quietly() -> None:
    """Let what is still written to a closed stdout vanish, instead of failing at exit."""
    streams.drop_stdout()


def as_text(output: Any) -> str:
    """A job's output for a person: a text as it is, fields as rows, the rest as JSON.

    An object with one text in it is that text: the path of an article, say.
    """
    if isinstance(output, dict) and len(output) == 1:
        (only,) = output.values()
        output = only if isinstance(only, str) else output
    if isinstance(output, str):
        return output
    if isinstance(output, dict) and output and all(map(_is_short, output.values())):
        return "\n".join(f"{name}: {_word(value)}" for name, value in output.items())
    return json.dumps(output, ensure_ascii=False, indent=2)


def _is_short(value: Any) -> bool:
    return not isinstance(value, dict | list) and "\n" not in str(value)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

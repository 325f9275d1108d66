"""What code raised, as far as it can be told: some errors cannot even say what they are.

Texts of errors go into the state, the ledger and the log. They are bounded, hold nothing that a
database refuses, and asking for one never raises.
"""

from __future__ import annotations

MOST_TEXT = 8_000
"""Characters of an error's text that are kept."""

_HEAD = 6_000
"""Of these, those from its beginning; the rest are from its end."""


NUL = "\N{REPLACEMENT CHARACTER}"
"""What stands for a NUL."""


class Escaped(Exception):
    """Something that only a process, a task or LangGraph may raise, and that a node's code did.

    `SystemExit`, `KeyboardInterrupt`, `GeneratorExit` and other exceptions that are no `Exception`
    would end the event loop that all jobs share; words of LangGraph's own, like `GraphDrained`,
    would be taken for its own. `error` is what was raised; who tells of it tells of that.
    """

    def __init__(self, error: BaseException, hint: str) -> None:
        self.error, self.hint = error, hint
        super().__init__(f"{type(error).__name__}: {text_of(error)}")


EXITS = "code that exits ends its node, and not the worker"


def escaped(error: BaseException) -> Escaped:
    """An exception that is no `Exception`, as one that a node may raise."""
    hint = EXITS if isinstance(error, SystemExit | KeyboardInterrupt) else ""
    made = Escaped(error, hint)
    made.__cause__ = error
    return made


def source_of(error: BaseException) -> BaseException:
    """What was really raised."""
    while isinstance(error, Escaped):
        error = error.error
    return error


def type_of(error: BaseException) -> str:
    """The name of the class of what was really raised."""
    return clean(type(source_of(error)).__name__)


def text_of(error: BaseException) -> str:
    """What an error says; its `repr` where it says nothing. Never raises."""
    if isinstance(error, Escaped):
        text = text_of(error.error)
        return f"{text} ({error.hint})" if error.hint else text
    try:
        text = str(error) or repr(error)
    except BaseException as fault:  # noqa: BLE001 - whatever the error's own code does
        return f"its text cannot be had: str() of it raised {clean(type(fault).__name__)}"
    return clean(bounded(text))


def first_line(error: BaseException) -> str:
    """The first line of what an error says, else its class."""
    return (str(error) or type(error).__name__).splitlines()[0]


def bounded(text: str, most: int = MOST_TEXT) -> str:
    """`text`, its middle cut out where it is long."""
    if len(text) <= most:
        return text
    head = most * _HEAD // MOST_TEXT
    return f"{text[:head]} … ({len(text)} characters in all) … {text[head - most :]}"


def clean(text: str) -> str:
    """`text` as every database keeps it: no NUL, and no half of a surrogate pair."""
    if text.isascii():
        return text.replace("\0", NUL)
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", NUL)

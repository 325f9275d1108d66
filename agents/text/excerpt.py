"""Text of a file at a finding: the word that it is about, and marks under it."""

from __future__ import annotations

import re
import unicodedata

from ..finding import Finding
from .source import LINE_BREAK


def offending(finding: Finding, text: str) -> str:
    """The word of `text` that a finding is about; "" without a place, or at the end of a line."""
    line = _line_of(finding, text)
    word = _WORD.match(line, finding.position.column - 1) if finding.position and line else None
    return word.group() if word else ""


def underline(finding: Finding, text: str) -> str:
    """The line of `text` a finding points at, with ^^^ under the place; "" without a place."""
    line = _line_of(finding, text)
    if finding.position is None or line is None:
        return ""
    start = min(finding.position.column - 1, len(line))
    marked = offending(finding, text) or " "
    number = f"{finding.position.line} | "
    # Tabs stay tabs, so that the marks stand under the place in any terminal.
    before = "".join("\t" if c == "\t" else " " * _columns(c) for c in line[:start])
    marks = "^" * max(1, sum(_columns(c) for c in marked))
    return f"{number}{line}\n{' ' * len(number)}{before}{marks}"


_WORD = re.compile(r"""(\$\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,:\[\]{}#"']+(?::\S+)?)""")


def _line_of(finding: Finding, text: str) -> str | None:
    lines = LINE_BREAK.split(text)
    known = finding.position is not None and 1 <= finding.position.line <= len(lines)
    return lines[finding.position.line - 1] if finding.position and known else None


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

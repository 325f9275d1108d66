"""Mistakes in definitions, each with its line underlined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exits import Exit
from .output import note, put, put_json
from .tables import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ucop.agents.finding import Finding


def report_findings(
    checked: Mapping[str, Sequence[Finding]], folders: Sequence[Path], *, as_json: bool
) -> Exit:
    """What was found, by what was looked at, and how the command ends."""
    found = list(dict.fromkeys(one for some in checked.values() for one in some))
    if as_json:
        put_json([finding_json(one, folders) for one in found])
    else:
        for name, findings in checked.items():
            tell_findings(findings, folders)
            mistakes = sum(_is_mistake(one) for one in findings)
            put(f"{name}: {plural(mistakes, 'mistake') if mistakes else 'ok'}")
    return Exit.USAGE if any(map(_is_mistake, found)) else Exit.OK


def _is_mistake(finding: Finding) -> bool:
    return finding.severity == "error"


def tell_findings(findings: Iterable[Finding], folders: Sequence[Path] = ()) -> None:
    """Every finding with its place, and its line underlined."""
    for finding in findings:
        place = f"{finding.position}: " if finding.position else ""
        note(f"{place}{finding.severity}: {finding.message}")
        if shown := _underline(finding, folders):
            note(shown)
        if finding.hint:
            note(f"  {finding.hint}")


def finding_json(finding: Finding, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """A finding for programs; columns count characters from 1, `end_column` is past the last."""
    from ucop.agents.text.excerpt import offending

    position = finding.position
    text = _text_of(finding, folders)
    end = position.column + len(offending(finding, text)) if position and text else None
    return {
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "hint": finding.hint,
        "file": position.file if position else None,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "end_column": end,
    }


def _underline(finding: Finding, folders: Sequence[Path]) -> str:
    from ucop.agents.text.excerpt import underline

    text = _text_of(finding, folders)
    return "\n".join(f"  {line}" for line in underline(finding, text).splitlines())


def _text_of(finding: Finding, folders: Sequence[Path]) -> str:
    """The file that a finding points into; empty where it cannot be read."""
    if finding.position is None:
        return ""
    for folder in (Path(), *folders):
        try:
            return (folder / finding.position.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return ""

"""Mistakes in definitions, each with its line underlined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ucop.console.cli.output import note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ucop.agents.source import Finding


def tell_findings(findings: Iterable[Finding], folders: Sequence[Path] = ()) -> None:
    """Every finding with its place, and its line underlined."""
    for finding in findings:
        place = f"{finding.position}: " if finding.position else ""
        note(f"{place}{finding.severity}: {finding.message}")
        if shown := _underlined(finding, folders):
            note(shown)
        if finding.hint:
            note(f"  {finding.hint}")


def _underlined(finding: Finding, folders: Sequence[Path]) -> str:
    from ucop.agents.source import underline

    if finding.position is None:
        return ""
    for folder in (Path(), *folders):
        try:
            text = (folder / finding.position.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return "\n".join(f"  {line}" for line in underline(finding, text).splitlines())
    return ""

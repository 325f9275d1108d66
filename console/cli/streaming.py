"""Showing what a job emits while it runs: tokens as text, or each part as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ucop.engine.jobs.status import JobStatus

from ..view.output import note, put

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job

TOKENS = ("messages",)
PARTS = ("values", "updates", "messages", "custom")


def modes_for(*, as_json: bool) -> tuple[str, ...]:
    """The stream modes that are shown."""
    return PARTS if as_json else TOKENS


def show_parts(parts: Iterable[Mapping[str, Any]], *, as_json: bool) -> bool:
    """Show parts while they come; whether there were any."""
    return _show_json(parts) if as_json else _show_tokens(parts)


def show_end(job: Job) -> None:
    """The job itself, as the last line of JSON."""
    _line({"type": "job", "data": job.model_dump(mode="json")})


def output_is_shown(job: Job, shown: bool) -> bool:
    """Whether the tokens stand for the job's output, which is not repeated."""
    return shown and job.status is JobStatus.COMPLETED


def _show_json(parts: Iterable[Mapping[str, Any]]) -> bool:
    from ucop.agents.text.plain import plain

    shown = False
    for part in parts:
        shown = True
        if not _line(plain(dict(part))):
            break
    return shown


def _line(value: Any) -> bool:
    return put(json.dumps(value, ensure_ascii=False))


def _show_tokens(parts: Iterable[Mapping[str, Any]]) -> bool:
    """Text to stdout. Who speaks, and that an attempt begins again, is told on stderr."""
    speaker: tuple[Any, ...] | None = None
    attempt, line_is_open = 1, False
    for part in parts:
        message, metadata = part["data"]
        if not (text := _text(message)):
            continue
        now = (part["attempt"], metadata.get("langgraph_checkpoint_ns"), message.id)
        if now != speaker:
            if line_is_open and not put(""):
                return True
            if part["attempt"] != attempt:
                attempt = part["attempt"]
                note(f"attempt {attempt} goes on from the last checkpoint:")
            note(f"{metadata.get('langgraph_node', 'the graph')}:")
            speaker = now
        if not put(text, end=""):
            return True
        line_is_open = not text.endswith("\n")
    if line_is_open:
        put("")
    return speaker is not None


def _text(message: Any) -> str:
    """What a message says in words; tool calls and their results are no words."""
    if getattr(message, "type", "") in ("tool", "human", "system", "remove"):
        return ""
    return str(getattr(message, "text", ""))

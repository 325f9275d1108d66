"""What jobs ask people, and the commands that answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ucop.console.cli.tables import first_line, until

if TYPE_CHECKING:
    from ucop.console.cli.place import Place
    from ucop.engine.job import Job, Question
    from ucop.engine.reader import Reader

JOB = 12
"""Characters of a job's id where it stands alone: its milliseconds, and some of chance."""

SHORT = 8
"""Characters of a question's id in commands; any unique beginning is understood."""


def open_questions(reader: Reader, job_id: str) -> list[Question]:
    """What the job asks and nobody has answered yet."""
    return [question for question in reader.questions(job_id) if question.is_open]


def asked_as_text(question: Question) -> str:
    """The question as a person reads it."""
    value = question.question
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def due(question: Question, now: datetime) -> str:
    """Until when it waits, and what happens then; empty where it waits for ever."""
    if question.due_at is None:
        return ""
    then = "fails"
    if question.has_default:
        then = first_line(json.dumps(question.default_answer, ensure_ascii=False), 40)
    return f"{until(question.due_at, now)}, then {then}"


def how_to_answer(place: Place, job: Job) -> list[str]:
    """Each open question of a waiting job, with the command that answers it."""
    with place.reader() as reader:
        found = open_questions(reader, job.id)
    return [
        line
        for question in found
        for line in (
            f"{question.node}: {asked_as_text(question)}" + _and_due(question),
            "  " + place.command(command(job.id, question, several=len(found) > 1)),
        )
    ]


def _and_due(question: Question) -> str:
    when = due(question, datetime.now(UTC))
    return f" ({when})" if when else ""


def command(job_id: str, question: Question, *, several: bool) -> str:
    """The words after `ucop` that answer a question, with the types in place of values."""
    named = f" --question {question.id[:SHORT]}" if several else ""
    return f"jobs answer {job_id}{named} {_values(question.answer_schema or {})}"


def _values(schema: Mapping[str, Any]) -> str:
    fields: Mapping[str, Any] = schema.get("properties") or {}
    if not fields:
        return _value(schema)
    needed: Sequence[str] = schema.get("required") or list(fields)
    return " ".join(f"-i {shlex.quote(name)}={_value(fields[name])}" for name in needed)


def _value(schema: Any) -> str:
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    return {"boolean": "true", "integer": "N", "number": "N"}.get(str(declared), "TEXT")

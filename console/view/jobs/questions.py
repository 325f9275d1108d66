"""What jobs ask people, and the commands that answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..tables import first_line, until
from .approvals import approval_of

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job, Question
    from ucop.engine.reading.reader import Reader

    from ..place import Place

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
    if (approval := approval_of(value)) is not None:
        return approval.text
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def state_of(question: Question) -> str:
    """A question in one line, with what became of it."""
    if question.answered_at is not None:
        given = first_line(json.dumps(question.answer, ensure_ascii=False), 60)
        told = f"answered {given}" + (", by default" if question.by_default else "")
        told += "" if question.consumed_at or question.withdrawn_at else ", not used yet"
    else:
        told = "open" if question.is_open else "withdrawn"
    return f"{question.id[:SHORT]} {question.node}: {first_line(asked_as_text(question))} ({told})"


def due(question: Question, now: datetime) -> str:
    """Until when it waits, and what happens then; empty where it waits for ever."""
    if question.due_at is None:
        return ""
    then = "fails"
    if question.has_default:
        then = first_line(json.dumps(question.default_answer, ensure_ascii=False), 40)
    return f"{until(question.due_at, now)}, then {then}"


def is_asking(place: Place, job: Job) -> bool:
    """Whether a waiting job waits for an answer, and not at a breakpoint."""
    with place.reader() as reader:
        return bool(open_questions(reader, job.id))


def how_to_go_on(place: Place, job: Job) -> list[str]:
    """Each open question of a waiting job, with the command that answers it; if it waits at a
    breakpoint, the command that lets it pass."""
    with place.reader() as reader:
        found = open_questions(reader, job.id)
    if not found:
        return [f"go on with: {place.command(f'jobs resume {job.id}')}"]
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
    return f"jobs answer {job_id}{named} {_example(question)}"


def typed(schema: Mapping[str, Any], text: str) -> Any:
    """The value that a typed answer means: text where the schema wants text, else what it says as
    JSON if the schema allows that, or there is none. What is no JSON is text."""
    from ucop.agents.text.schema import json_or_text
    from ucop.agents.text.validation import validate

    if schema.get("type") == "string":
        return text
    value = json_or_text(text)
    return text if schema and validate(schema, value) and not validate(schema, text) else value


def _example(question: Question) -> str:
    approval = approval_of(question.question)
    if approval is not None and (approval.batched or not question.answer_schema):
        return shlex.quote(approval.example)
    schema = question.answer_schema or {}
    return _values(next(iter(_choices(schema)), schema))


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The kinds of object that an answer may be, where a schema lists them."""
    defined: Mapping[str, Any] = schema.get("$defs") or {}
    listed = schema.get("oneOf") or schema.get("anyOf") or ()
    named = (each.get("$ref", "").rpartition("/")[2] for each in listed)
    found = [defined.get(name, each) for name, each in zip(named, listed, strict=True)]
    return [each for each in found if each.get("properties")]


def _values(schema: Mapping[str, Any]) -> str:
    fields: Mapping[str, Any] = schema.get("properties") or {}
    if not fields:
        return _value(schema)
    needed: Sequence[str] = schema.get("required") or list(fields)
    return " ".join(f"-i {shlex.quote(name)}={_value(fields[name])}" for name in needed)


def _value(schema: Any) -> str:
    if isinstance(schema, Mapping) and "const" in schema:
        return str(schema["const"])
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    return {"boolean": "true", "integer": "N", "number": "N"}.get(str(declared), "TEXT")

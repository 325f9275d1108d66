"""What the command line prints, reads and returns, piece by piece."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ucop.agents.errors import UcopError
from ucop.console.view.exits import Exit, UsageProblem, exit_of_error, exit_of_job
from ucop.console.view.inputs import pairs, read_input, text_input
from ucop.console.view.jobs.follow import tail
from ucop.console.view.jobs.job_facts import remark_on
from ucop.console.view.output import as_text
from ucop.console.view.place import Place
from ucop.console.view.schemas import fields_of
from ucop.console.view.tables import ago, duration, first_line, moment
from ucop.engine import errors
from ucop.engine.job_error import StepError
from ucop.engine.jobs.job import Event, Step
from ucop.engine.jobs.status import JobStatus, StepStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("words", "words"),
        ({"path": "articles/x.md"}, "articles/x.md"),
        (
            {"path": "x.md", "words": 3, "ok": True, "left": None},
            "path: x.md\nwords: 3\nok: true\nleft: null",
        ),
        ({"count": 3}, "count: 3"),
        ({"parts": [1]}, '{\n  "parts": [\n    1\n  ]\n}'),
        ([1], "[\n  1\n]"),
        ({}, "{}"),
    ],
)
def test_an_output_is_printed_as_plainly_as_it_can_be(output: Any, text: str) -> None:
    assert as_text(output) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_read_naturally(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (59, "59 s ago"), (60, "1 min ago"), (3600, "1 h ago"), (200000, "2 d ago")],
)
def test_moments_read_naturally(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_moments_are_iso_for_programs() -> None:
    assert moment(NOW - timedelta(hours=1)) == "2026-01-01T11:00:00Z"
    assert moment(None) == ""


def test_long_texts_are_cut_to_a_line() -> None:
    assert first_line("one\ntwo") == "one"
    assert first_line("x" * 200) == "x" * 99 + "…"
    assert first_line(None) == ""


def test_every_status_a_job_rests_in_has_an_exit_code() -> None:
    resting = set(JobStatus) - {JobStatus.PENDING, JobStatus.RUNNING}
    codes = {status: int(exit_of_job(status)) for status in resting}
    assert codes == {"completed": 0, "failed": 1, "cancelled": 1, "waiting": 4, "paused": 5}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.JobNotFound(), Exit.NOT_FOUND),
        (errors.UnknownWorkflow(), Exit.NOT_FOUND),
        (errors.UnknownAgent(), Exit.NOT_FOUND),
        (errors.InvalidInput(), Exit.USAGE),
        (errors.InvalidDefinition([]), Exit.USAGE),
        (errors.KeyConflict(), Exit.USAGE),
        (UsageProblem(), Exit.USAGE),
        (errors.DatabaseDamaged(), Exit.FAILED),
        (UcopError(), Exit.FAILED),
    ],
)
def test_every_error_has_an_exit_code(error: UcopError, code: Exit) -> None:
    assert exit_of_error(error) is code


def workflow(**properties: Any) -> Any:
    required = [name for name, field in properties.items() if "default" not in field]
    schema = {"type": "object", "properties": properties, "required": required}
    return SimpleNamespace(name="w", input_schema=schema, takes_values=True)


def test_typed_inputs_have_their_declared_types() -> None:
    kinds = workflow(
        count={"type": "integer"}, text={"type": "string"}, flags={"type": "array"}, free={}
    )
    typed = ["count=3", "text=3", "flags=[true]", "free=3", "eq=a=b", "unknown=[1]"]
    assert read_input(kinds, typed, None) == {
        "count": 3,
        "text": "3",
        "flags": [True],
        "free": "3",
        "eq": "a=b",
        "unknown": "[1]",
    }


def test_the_text_goes_into_the_first_required_input_that_takes_text() -> None:
    field: dict[str, Any] = {"type": "string"}
    kinds = workflow(count={"type": "integer"}, style={**field, "default": ""}, topic=field)
    assert text_input(kinds) == "topic"
    with pytest.raises(UsageProblem, match="count"):
        text_input(workflow(count={"type": "integer"}))


def test_every_wrong_pair_is_named() -> None:
    assert pairs(["a=1", " b =2=3", "c="], "-i") == {"a": "1", "b": "2=3", "c": ""}
    with pytest.raises(UsageProblem, match="'nope', '=x'"):
        pairs(["nope", "a=1", "=x"], "-i")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("in.json", "{", "not JSON"),
        ("in.json", "[1]", "names and values"),
        ("in.yaml", "- 1", "names and values"),
    ],
)
def test_an_input_file_that_is_no_object_is_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageProblem, match=said):
        read_input(workflow(), [], str(file))


def test_an_input_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageProblem, match=r"nowhere\.json"):
        read_input(workflow(), [], "nowhere.json")


def test_schemas_are_told_in_words() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "integer"}, "default": []},
            "c": {"enum": ["x", 1]},
            "d": {"type": ["string", "null"]},
        },
        "required": ["a"],
    }
    assert fields_of(schema) == [
        "a: string, required",
        "b: array of integer, default []",
        'c: one of "x", 1',
        "d: string or null",
    ]
    assert fields_of({"type": "object", "properties": {}}) == ["nothing"]
    assert fields_of(None) == ["any object"]


def test_commands_name_the_place_that_was_given() -> None:
    place = Place(project=Path("my project"), database="sqlite:///x.db")
    assert place.command("jobs list") == (
        "ucop --project 'my project' --database sqlite:///x.db jobs list"
    )
    assert Place().command("jobs list") == "ucop jobs list"


def test_a_password_is_not_shown() -> None:
    for url in ("postgresql://me:secret@host/db", "postgresql://me@host/db?password=secret"):
        assert "secret" not in Place(database=url).command("jobs list")


class Growing:
    """A reader whose job gets an event at every pause."""

    def __init__(self, last: int) -> None:
        self.number, self.last = 1, last

    def status(self, id: str) -> tuple[JobStatus, None]:
        return (JobStatus.RUNNING if self.number < self.last else JobStatus.FAILED), None

    def events(self, id: str, *, after: int) -> list[Event]:
        numbers = range(after + 1, min(self.number, after + 2) + 1)
        return [Event(job_id=id, seq=n, type="progress", at=NOW) for n in numbers]

    def grow(self) -> None:
        self.number += 1


def test_a_tail_gives_every_event_once_until_the_job_rests() -> None:
    reader: Any = Growing(last=7)
    seen = [event.seq for event in tail(reader, "j", pause=reader.grow)]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert [event.seq for event in tail(reader, "j", after=5, follow=False)] == [6, 7]


@pytest.mark.parametrize(
    ("caught", "tries", "said"),
    [
        (None, 1, ""),
        (None, 3, "3 tries"),
        (False, 1, "no answer"),
        (True, 1, "caught: no answer"),
        (True, 2, "2 tries: caught: no answer"),
    ],
)
def test_a_step_tells_of_its_error_and_its_tries(
    caught: bool | None, tries: int, said: str
) -> None:
    error = None if caught is None else StepError(type="E", message="no answer", caught=caught)
    status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
    step = Step(node="a", task_id="t", status=status, attempt=1, tries=tries, error=error)
    assert remark_on(step) == said

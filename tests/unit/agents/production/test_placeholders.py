"""Placeholders are told from honest text, each with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.outputs import HONEST, NAMES, UNFILLED
from ucop.agents.production.placeholders import placeholder_problems, placeholders
from ucop.agents.text.paths import path_text


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]


def test_the_corpus_is_large_enough_and_says_nothing_twice() -> None:
    assert len({shown(one) for one in HONEST}) == len(HONEST) >= 100
    assert len({shown(one) for one, _ in UNFILLED}) == len(UNFILLED) >= 100


@pytest.mark.parametrize("value", HONEST, ids=shown)
def test_an_honest_output_passes(value: Any) -> None:
    assert placeholder_problems(value, names=NAMES) == []


@pytest.mark.parametrize(("value", "path"), UNFILLED, ids=shown)
def test_an_unfilled_output_is_told_with_its_place(value: Any, path: str) -> None:
    problems = placeholder_problems(value, names=NAMES)
    assert [path_text(problem.path) for problem in problems] == [path]
    assert "was left to be filled in" in str(problems[0])


def test_what_stands_alone_in_a_field_of_its_own_input_is_told() -> None:
    assert placeholders("On {tea} and {topic}.", ["topic"]) == ["{topic}"]
    assert placeholders("On {tea} and {topic}.") == []


def test_every_placeholder_of_a_text_is_told_once() -> None:
    text = "Dear [Your Name],\n\nwe at [Company] thank you, [Your Name].\n\nTODO"
    assert placeholders(text) == ["[Your Name]", "[Company]", "TODO"]


# What a schema says


def test_what_the_schema_prescribes_is_no_placeholder() -> None:
    schema = {
        "type": "object",
        "properties": {"state": {"enum": ["TODO", "done"]}, "next": {"enum": ["TBD"]}},
    }
    assert placeholder_problems({"state": "TODO", "next": "TBD"}, schema) == []
    assert placeholder_problems({"state": "TODO", "note": "FIXME"}, schema) != []


def test_a_text_that_its_schema_calls_a_template_may_have_fields() -> None:
    html = {"type": "string", "contentMediaType": "text/x-handlebars-template"}
    schema = {"properties": {"mail": html, "all": {"items": html}, "title": {"type": "string"}}}
    field = "Dear {{name}},"
    assert placeholder_problems({"mail": field, "all": [field], "title": "Hello"}, schema) == []
    assert len(placeholder_problems({"mail": field, "title": field}, schema)) == 1


def test_what_was_passed_on_is_no_placeholder_of_whoever_passes_it_on() -> None:
    given = {"text": "Dear [Your Name], TODO"}
    assert placeholder_problems({"text": "Dear [Your Name], TODO"}, given=given) == []
    (problem,) = placeholder_problems({"text": "Dear [Your Name] of [Company]"}, given=given)
    assert str(problem) == "text: “[Company]” was left to be filled in"


LETTER = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "note": {"type": "string"},
        "remark": {"type": "string", "minLength": 0},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
            },
        },
    },
    "required": ["title", "remark", "parts"],
}


def test_a_required_text_that_is_empty_is_told_with_its_place() -> None:
    value = {"title": " ", "note": "", "remark": "", "parts": [{"text": "a"}, {"text": "\n"}]}
    assert [str(problem) for problem in placeholder_problems(value, LETTER)] == [
        "title: is required, and empty",
        "parts[1].text: is required, and empty",
    ]
    assert placeholder_problems(value, LETTER, may_be_empty=True) == []
    assert placeholder_problems("", {"type": "string"}) != []
    assert placeholder_problems({"title": ""}, {"type": "object"}) == []


# Any text at all


@drawn(st.text(alphabet="[]{}<>()$%Yourname TODhr_`\n#*.-:\"'", max_size=300))
def test_no_text_breaks_the_rules(text: str) -> None:
    for found in placeholders(text, ["name"]):
        assert found in text


@pytest.mark.parametrize(
    "piece",
    [
        "[", "[a ", "[Your Name] ", "{{", "{{a ", "${", "<your ", "```\n", "`", "<code>", "TODO ",
        "a ", "\n", "    a\n", "your name ", "Lorem ipsum dolor ", "{name} ", "; ", "[a-b-", "a.b.",
        "[Your Name such as ", "\n\n    ", "- - - ", "\"[Name]\" ",
    ],
    ids=repr,
)  # fmt: skip
def test_a_hostile_text_is_read_quickly(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    assert effort(lambda: placeholders(text, ["name"]), tries=1) < 100

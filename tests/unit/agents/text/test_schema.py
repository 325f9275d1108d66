"""Schemas: the short form, what does not fit in plain words, defaults, and text from a shell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucop.agents.text.schema import (
    check_schema,
    coerce_text,
    declared_schema,
    fields_schema,
    is_schema,
    normalise,
    with_defaults,
)
from ucop.agents.text.validation import validate

BLOG = fields_schema(
    {
        "topic": {"type": "string", "minLength": 3},
        "sections": {"type": "integer", "default": 3, "maximum": 8},
        "tags": {"type": "array", "items": "string", "default": []},
    }
)


def told(schema: dict[str, Any], value: Any) -> list[str]:
    return [str(problem) for problem in validate(schema, value)]


def test_a_type_name_is_short_for_a_schema_wherever_a_schema_stands() -> None:
    assert normalise("string") == {"type": "string"}
    assert normalise({"type": "array", "items": "integer"})["items"] == {"type": "integer"}
    assert normalise({"anyOf": ["string", "null"]}) == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    assert normalise({"enum": ["string"]}) == {"enum": ["string"]}


def test_fields_are_an_object_with_exactly_these_fields() -> None:
    assert BLOG["required"] == ["topic"]
    assert BLOG["additionalProperties"] is False
    assert BLOG["properties"]["tags"]["items"] == {"type": "string"}


def test_a_mapping_is_a_schema_only_where_all_its_keys_are_keywords() -> None:
    assert is_schema({"type": "string", "maxLength": 5})
    assert is_schema("string")
    assert not is_schema({"type": "string", "score": "integer"})
    assert not is_schema({"title": "string", "description": "string"})
    assert declared_schema({"type": "string", "score": "integer"})["required"] == ["type", "score"]


def test_every_problem_is_told_with_its_place() -> None:
    assert told(BLOG, {"topic": "ab", "sections": "x", "tags": ["a", 1], "sektion": 1}) == [
        "topic: must have at least 3 characters, and has 2",
        'sections: must be a whole number, not "x"',
        "tags[1]: must be text, not 1",
        "sektion: is not expected; did you mean 'sections'?",
    ]
    assert told(BLOG, {}) == ["'topic' is missing"]
    assert told(BLOG, None) == ["must be an object, not null"]
    assert told(BLOG, {"topic": "abc", "sections": 9}) == ["sections: must be at most 8, not 9"]


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"enum": ["a", "b"]}, "c", 'must be one of "a", "b", not "c"'),
        ({"const": 1}, 2, "must be 1, not 2"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 5, "must be text or null, not 5"),
        ({"type": ["string", "null"]}, 5, "must be text or null, not 5"),
        ({"type": "array", "minItems": 1}, [], "must have at least 1 item, and has 0"),
        ({"type": "integer"}, True, "must be a whole number, not true"),
        ({"pattern": "^a"}, "b", '"b" does not match the pattern ^a'),
        ({"uniqueItems": True}, [1, 1], "has the same item twice"),
        ({"exclusiveMinimum": 0}, 0, "must be more than 0, not 0"),
    ],
)
def test_a_problem_is_a_sentence(schema: dict[str, Any], value: Any, message: str) -> None:
    assert told(schema, value) == [message]


def test_inside_a_choice_the_form_that_came_nearest_is_told() -> None:
    choice = {"anyOf": [fields_schema({"a": "string"}), {"type": "null"}]}
    assert told(choice, {"a": 1}) == ["a: must be text, not 1"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strng"}, "type: 'strng' is not a type; did you mean 'string'?"),
        ({"type": "list"}, "type: 'list' is not a type; did you mean 'array'?"),
        (
            {"type": "string", "maxlength": 3},
            "maxlength: this is not a keyword of JSON Schema; did you mean 'maxLength'?",
        ),
        ({"pattern": "("}, "pattern: the pattern is not a regular expression"),
        ({"minimum": "a"}, 'minimum: must be a number, not "a"'),
        ({"$ref": "https://example.org/x"}, "$ref: a $ref must stay in this schema"),
        ({"$ref": "#/$defs/a"}, "$ref: '#/$defs/a' leads nowhere in this schema"),
        ({"properties": {"a": 5}}, "properties.a: a type must be a type name or a JSON Schema"),
    ],
)
def test_a_wrong_schema_is_told_with_its_place(schema: dict[str, Any], message: str) -> None:
    (problem,) = check_schema(schema)
    assert str(problem).startswith(message)


def test_a_schema_without_mistakes_has_no_problems() -> None:
    assert check_schema(BLOG) == []
    assert check_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}) == []


def test_a_schema_that_leads_back_to_itself_is_a_problem_and_no_crash() -> None:
    assert told({"$ref": "#"}, 1) == ["the value or its schema is nested too deep"]


def test_a_reference_out_of_the_schema_is_never_fetched() -> None:
    assert check_schema({"$ref": "http://127.0.0.1:9/x"})


def test_missing_fields_have_their_defaults_and_the_given_value_is_left_alone() -> None:
    given: dict[str, Any] = {"topic": "abc"}
    filled = with_defaults(BLOG, given)
    assert filled == {"topic": "abc", "sections": 3, "tags": []}
    filled["tags"].append("x")
    assert given == {"topic": "abc"}
    assert with_defaults(BLOG, given)["tags"] == []


def test_defaults_reach_into_objects_and_lists() -> None:
    inner = {"type": "object", "properties": {"n": {"default": 1}}}
    schema = {"properties": {"one": inner, "many": {"type": "array", "items": inner}}}
    assert with_defaults(schema, {"one": {}, "many": [{}, {"n": 2}]}) == {
        "one": {"n": 1},
        "many": [{"n": 1}, {"n": 2}],
    }


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ("string", "5", "5"),
        ("integer", "5", 5),
        ("number", "1.5", 1.5),
        ("boolean", "true", True),
        ("array", '["a"]', ["a"]),
        ("object", '{"a": 1}', {"a": 1}),
        ("integer", "five", "five"),
        ("number", "NaN", "NaN"),
        ({"type": ["string", "null"]}, "null", "null"),
        ({"enum": [1, 2]}, "2", 2),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({}, "5", "5"),
    ],
)
def test_text_from_a_shell_becomes_the_declared_type(schema: Any, text: str, value: Any) -> None:
    assert coerce_text(normalise(schema), text) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    [
        "type",
        "enum",
        "items",
        "properties",
        "required",
        "pattern",
        "minLength",
        "anyOf",
        "$ref",
        "const",
    ]
)


@given(st.dictionaries(KEYWORDS, JSON, max_size=4), JSON)
def test_no_declaration_is_a_crash_and_an_accepted_schema_can_be_used(
    declared: dict[str, Any], value: Any
) -> None:
    schema = declared_schema(declared)
    if not check_schema(schema):
        validate(schema, value)
        with_defaults(schema, value)
        coerce_text(schema, "5")

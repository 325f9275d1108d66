"""JSON's `1000.0` and `1e3` where a schema declares an integer, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ucop.agents.text.whole_numbers import with_whole_numbers

INT: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}

READ: dict[str, tuple[dict[str, Any], str, str]] = {
    "plain": (INT, "1000.0", "1000"),
    "in scientific notation": (INT, "1e3", "1000"),
    "zero with a sign": (INT, "-0.0", "0"),
    "one of several types": ({"type": ["integer", "null"]}, "2.0", "2"),
    "a field": ({"type": "object", "properties": {"n": INT}}, '{"n": 2.0}', '{"n": 2}'),
    "an unlisted field": ({"additionalProperties": INT}, '{"n": 2.0}', '{"n": 2}'),
    "a field by pattern": ({"patternProperties": {"^n": INT}}, '{"n": 2.0}', '{"n": 2}'),
    "items": ({"items": INT}, "[1.0, 2e0]", "[1, 2]"),
    "first items": ({"prefixItems": [INT], "items": NUMBER}, "[1.0, 1.0]", "[1, 1.0]"),
    "of a choice": ({"anyOf": [INT, {"type": "null"}]}, "2.0", "2"),
    "of a choice of one": ({"oneOf": [{"type": "string"}, INT]}, "2.0", "2"),
    "all of it": ({"allOf": [INT, {"minimum": 1}]}, "2.0", "2"),
    "a listed value": ({"enum": [1, 2]}, "2.0", "2"),
    "the one value": ({"const": 2}, "2.0", "2"),
    "by reference": ({"$defs": {"n": INT}, "items": {"$ref": "#/$defs/n"}}, "[2.0]", "[2]"),
    "in a tree": (
        {"properties": {"n": INT, "in": {"$ref": "#"}}},
        '{"n": 1.0, "in": {"n": 2.0}}',
        '{"n": 1, "in": {"n": 2}}',
    ),
    "in the object that fits": (
        {
            "anyOf": [
                {"properties": {"kind": {"const": "a"}, "n": NUMBER}},
                {"properties": {"kind": {"const": "b"}, "n": INT}},
            ]
        },
        '[{"kind": "b", "n": 2.0}]'[1:-1],
        '{"kind": "b", "n": 2}',
    ),
}

KEPT: dict[str, tuple[dict[str, Any], str]] = {
    "a number": (NUMBER, "2.0"),
    "either": ({"type": ["number", "integer"]}, "2.0"),
    "a choice with numbers": ({"anyOf": [INT, NUMBER]}, "2.0"),
    "a choice of anything": ({"anyOf": [INT, {}]}, "2.0"),
    "anything": ({}, "2.0"),
    "no whole number": (INT, "2.5"),
    "a text": (INT, '"2.0"'),
    "true": (INT, "true"),
    "a listed number": ({"enum": [2.0]}, "2.0"),
    "a reference that leads nowhere": ({"$ref": "#/$defs/none"}, "2.0"),
    "a reference to itself": ({"$ref": "#"}, "2.0"),
}


@pytest.mark.parametrize("case", READ)
def test_a_whole_number_that_is_declared_an_integer_is_one(case: str) -> None:
    schema, given, wanted = READ[case]
    assert json.dumps(with_whole_numbers(schema, json.loads(given))) == wanted


@pytest.mark.parametrize("case", KEPT)
def test_what_is_declared_otherwise_stays_as_it_is(case: str) -> None:
    schema, given = KEPT[case]
    assert json.dumps(with_whole_numbers(schema, json.loads(given))) == given


def test_the_value_itself_is_not_changed() -> None:
    given = {"n": [1.0]}
    assert with_whole_numbers({"properties": {"n": {"items": INT}}}, given) == {"n": [1]}
    assert type(given["n"][0]) is float

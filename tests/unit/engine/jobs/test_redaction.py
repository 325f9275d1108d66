"""What leaves a database: no secrets, and on request no words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, SecretStr

from ucop.engine.jobs.redaction import Redaction
from ucop.engine.values.packed import Packed, mapped, pack, unpack

# The strictness that the engine switches on is the whole process's.
SERDE = JsonPlusSerializer(allowed_msgpack_modules=[("test_redaction", "Person")])


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcdefghijklmnop",
        "AIza" + "B" * 35,
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "ghp_" + "a1" * 12,
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_secrets_are_known_by_their_looks(secret: str) -> None:
    assert Redaction().text(f"use {secret}, please") == "use [redacted], please"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://ann:pw@db/x", "postgresql://[redacted]@db/x"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("authorization: bearer abc.def-123", "authorization: bearer [redacted]"),
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("the risk-averse asked", "the risk-averse asked"),
    ],
)
def test_only_the_secret_goes(text: str, left: str) -> None:
    assert Redaction().text(text) == left


def test_secrets_are_known_by_their_names() -> None:
    given = {
        "api_key": "x1",
        "OPENAI_API_KEY": "x2",
        "db": {"password": "x3", "user": "ann"},
        "tokens": ["x4"],
        "accessToken": "x5",
        "dbPassword": "x6",
        "max_tokens": 5,
        "monkey": "banana",
        "secretary": "Ann",
    }
    assert Redaction().value(given) == {
        "api_key": "[redacted]",
        "OPENAI_API_KEY": "[redacted]",
        "db": {"password": "[redacted]", "user": "ann"},
        "tokens": ["[redacted]"],
        "accessToken": "[redacted]",
        "dbPassword": "[redacted]",
        "max_tokens": 5,
        "monkey": "banana",
        "secretary": "Ann",
    }


def test_of_contents_the_shape_stays() -> None:
    given = {"name": "Zoë B. 42", "node": "greet", "size": 7, "sure": True, "none": None}
    kept = Redaction(contents=True).value(given, frozenset({"node"}))
    assert kept == {"name": "xxx x. 00", "node": "greet", "size": 7, "sure": True, "none": None}


class Person(BaseModel):
    name: str
    password: str


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "text"], 3: b"raw"},
        Person(name="Ann", password="pw"),
        datetime(2026, 1, 2, tzinfo=UTC),
        {"Ann", "Bob"},
        Send("node", {"name": "Ann"}),
        Interrupt("Ann?", id="q1"),
        Path("/home/ann"),
        [Person(name="Ann", password="pw")],
    ],
)
def test_values_are_put_together_as_they_were(value: Any) -> None:
    _, data = SERDE.dumps_typed(value)
    assert pack(unpack(data)) == data
    assert pack(mapped(unpack(data), lambda _, text: text)) == data


def shapes_of(value: Any) -> Any:
    _, data = SERDE.dumps_typed(value)
    return SERDE.loads_typed(
        ("msgpack", pack(mapped(unpack(data), Redaction(contents=True).named)))
    )


def test_words_inside_objects_go_and_what_they_are_stays() -> None:
    assert shapes_of(Send("greet", {"name": "Ann"})) == Send("greet", {"name": "xxx"})
    assert shapes_of(Interrupt("Ann?", id="q1")) == Interrupt("xxx?", id="q1")
    assert shapes_of({"Ann"}) == {"xxx"}
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert shapes_of([at]) == [at]
    assert shapes_of(Path("/home/ann")) == Path("/xxxx/xxx")
    assert shapes_of(Person(name="Ann", password="pw")).model_dump() == {
        "name": "xxx",
        "password": "[redacted]",
    }
    assert b"hidden" not in pack(mapped(unpack(SERDE.dumps_typed(SecretStr("hidden"))[1]), str_of))


def str_of(_: str | None, text: str) -> str:
    return text


def test_nothing_is_called_on_the_way() -> None:
    danger = pack(Packed(0, pack(["os", "system", "exit 1"])))
    assert unpack(danger) == Packed(0, pack(["os", "system", "exit 1"]))
    assert pack(mapped(unpack(danger), str_of)) == danger


@pytest.mark.parametrize("given", [[], 3, "node", None])
def test_a_value_that_is_not_what_it_says_stays_as_it_is(given: Any) -> None:
    for name in ("Send", 3):
        odd = pack(Packed(1, pack(["langgraph.types", name, given])))
        assert pack(mapped(unpack(odd), str_of)) == odd

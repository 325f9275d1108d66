"""Values of parts, packed and unpacked."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque, namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel, ConfigDict, SecretStr

from ucop.engine.live.batch import Batch, parts_of
from ucop.engine.live.parts import PART_LIMIT, Omitted, pack, unpack


class Colour(Enum):
    RED = "red"


class Plan(BaseModel):
    title: str
    messages: list[Any] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclasses.dataclass
class Point:
    x: int
    colour: Colour


Pair = namedtuple("Pair", "a b")


def through(value: Any) -> Any:
    return unpack(pack(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, "a", 2.5, True, None, b"bytes"],
        (1, (2, [3])),
        {1: "one", "two": (2,)},
        {1, 2},
        frozenset({(1, 2)}),
        deque([1, 2], maxlen=3),
        10**40,
        -(2**70),
        float("inf"),
        datetime(2026, 11, 30, tzinfo=UTC),
        timedelta(seconds=1.5),
        UUID(int=7),
        Decimal("1.10"),
        AIMessageChunk(content="to", id="m1", usage_metadata=None),
        AIMessage("x", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}]),
        ToolMessage("done", tool_call_id="c"),
        Document("text"),
        Interrupt(value=("a", {"b": HumanMessage("c")}), id="i"),
        Send("node", {"arg": (1,)}),
        Command(update={"a": (1,)}, goto="b"),
        Overwrite([1]),
        Omitted("why"),
    ],
    ids=repr,
)
def test_what_every_process_knows_comes_back_as_it_was(value: Any) -> None:
    assert through(value) == value
    assert type(through(value)) is type(value)


def test_a_deque_keeps_how_long_it_may_be() -> None:
    assert through(deque([1, 2], maxlen=3)).maxlen == 3


def test_objects_of_a_graphs_own_classes_come_back_as_what_they_hold() -> None:
    assert through(Plan(title="t", messages=[AIMessage("hi", id="1")])) == {
        "title": "t",
        "messages": [AIMessage("hi", id="1")],
    }
    assert through(Open(more=1)) == {"more": 1}  # type: ignore[call-arg]
    assert through(Point(1, Colour.RED)) == {"x": 1, "colour": "red"}
    assert through(Pair(1, 2)) == (1, 2)
    assert through(ValueError("no")) == "ValueError('no')"
    assert through(bytearray(b"x")) == b"x"


class Bad(Exception):
    def __repr__(self) -> str:
        raise RuntimeError


def test_what_has_no_form_is_marked_where_it_was() -> None:
    lock = threading.Lock()
    assert through([1, {"lock": lock}]) == [
        1,
        {"lock": Omitted("a value of _thread.lock cannot be sent")},
    ]
    assert through({"key": SecretStr("hunter2")}) == {"key": Omitted("a secret is not sent")}
    assert through(["\ud800", "fine"]) == [Omitted("a text that is not valid Unicode"), "fine"]
    assert through({"\ud800": 1}) == {"\\ud800": 1}
    assert isinstance(through([Bad()])[0], Omitted)
    endless: list[Any] = []
    endless.append(endless)
    assert through([1, endless])[0] == 1


def test_large_values_are_left_out_and_the_others_stay() -> None:
    state = {"title": "t", "document": "x" * PART_LIMIT, "nested": {"b": b"y" * PART_LIMIT, "c": 1}}
    found = through([["node"], state, []])[1]
    assert found["title"] == "t"
    assert isinstance(found["document"], Omitted)
    assert found["nested"]["c"] == 1
    assert isinstance(found["nested"]["b"], Omitted)
    assert len(pack(list(range(PART_LIMIT)))) < 200


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text() | st.integers(min_value=-(2**63), max_value=2**63)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    return st.one_of(lists, st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=4))


values = st.recursive(scalars | st.binary(), containers, max_leaves=20)


@given(values)
def test_any_plain_value_comes_back(value: Any) -> None:
    assert through(value) == value


def test_a_batch_gives_back_its_parts_and_says_metadata_once() -> None:
    batch, metadata = Batch(), {"langgraph_node": "a", "long": "x" * 1000}
    first = {"type": "values", "ns": ("a:1",), "data": {"n": 1}, "interrupts": ()}
    batch.add(first)
    tokens = []
    for word in ("to", "ken"):
        chunk = AIMessageChunk(content=word, id="m")
        tokens.append({"type": "messages", "ns": (), "data": (chunk, metadata)})
        batch.add(tokens[-1])
    body = batch.body()
    assert [part for _, part in parts_of(body, frozenset({"values", "messages"}))] == [
        first,
        *tokens,
    ]
    assert [index for index, _ in parts_of(body, frozenset({"messages"}))] == [1, 2]
    assert body.count(b"langgraph_node") == 1

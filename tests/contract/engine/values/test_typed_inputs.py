"""Inputs as Python has them: a node finds what LangGraph alone gives it, on both databases."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from ucop.engine import Engine, InvalidInput

DEADLINE = 30.0


class Colour(Enum):
    RED = "red"


class Size(StrEnum):
    BIG = "big"


@dataclass
class Part:
    name: str
    made: date | None = None


class Order(BaseModel):
    id: UUID
    price: Decimal
    parts: list[Part] = []


class Many(TypedDict, total=False):
    at: datetime
    days: set[int]
    colour: Colour
    size: Size | None
    part: Part
    order: Order
    parts: dict[str, Part]
    pair: tuple[int, str]
    raw: bytes
    file: Path
    wait: timedelta
    text: str
    any: Any
    seen: str


@dataclass
class AsDataclass:
    at: datetime
    parts: list[Part] = field(default_factory=list)
    seen: str = ""


class AsModel(BaseModel):
    at: datetime
    parts: list[Part] = []
    seen: str = ""


class Untyped(TypedDict, total=False):
    items: Annotated[list, operator.add]  # type: ignore[type-arg]
    seen: str


class Chat(TypedDict, total=False):
    messages: Annotated[list, add_messages]  # type: ignore[type-arg]
    seen: str


class Talk(TypedDict, total=False):
    history: list[AnyMessage]
    seen: str


@dataclass
class Unnamed:
    x: int


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ORDER = Order(id=UUID(int=7), price=Decimal("1.10"), parts=[Part("bolt", date(2026, 1, 2))])
MANY: Many = {
    "at": NOON,
    "days": {1, 2},
    "colour": Colour.RED,
    "size": Size.BIG,
    "part": Part("nut"),
    "order": ORDER,
    "parts": {"a": Part("bolt", date(2026, 1, 2))},
    "pair": (1, "x"),
    "raw": b"\x00\xff",
    "file": Path("a/b.txt"),
    "wait": timedelta(seconds=90),
    "text": "2026-05-01",
    "any": [1, {"a": None}],
}
MANY_AS_JSON = {
    "at": "2026-05-01T12:00:00Z",
    "days": [1, 2],
    "colour": "red",
    "size": "big",
    "part": {"name": "nut"},
    "order": {
        "id": str(UUID(int=7)),
        "price": "1.10",
        "parts": [{"name": "bolt", "made": "2026-01-02"}],
    },
    "parts": {"a": {"name": "bolt", "made": "2026-01-02"}},
    "pair": [1, "x"],
    "raw": "AP8=",
    "file": "a/b.txt",
    "wait": 90,
    "text": "2026-05-01",
    "any": [1, {"a": None}],
}


def telling(schema: Any, **more: Any) -> Any:
    """A graph whose node writes what it finds as its state."""

    def tell(state: Any) -> dict[str, str]:
        return {"seen": _seen(state)}

    builder = StateGraph(schema, **more)
    builder.add_node("tell", tell)
    builder.add_edge(START, "tell")
    return builder.compile(name="telling")


def _seen(state: Any) -> str:
    fields = state if isinstance(state, dict) else vars(state)
    told = {name: value for name, value in fields.items() if name != "seen"}
    return f"{type(state).__name__} {sorted(told.items())!r}"


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "many types": (lambda: telling(Many), MANY),
    "a dataclass's fields": (lambda: telling(AsDataclass), {"at": NOON, "parts": [Part("nut")]}),
    "a dataclass": (lambda: telling(AsDataclass), AsDataclass(NOON, [Part("nut")])),
    "a model's fields": (lambda: telling(AsModel), {"at": NOON, "parts": [Part("nut")]}),
    "a model": (lambda: telling(AsModel), AsModel(at=NOON, parts=[Part("nut")])),
    "an input schema": (lambda: telling(Many, input_schema=AsModel), AsModel(at=NOON)),
    "a class that no schema names": (lambda: telling(Many), {"any": [Unnamed(3)]}),
    "an untyped list": (lambda: telling(Untyped), {"items": [NOON, (1, 2), {3}]}),
    "messages in an untyped list": (
        lambda: telling(Untyped),
        {"items": [HumanMessage("hi", id="1"), AIMessage("you", id="2")]},
    ),
    "message objects": (
        lambda: telling(Chat),
        {"messages": [SystemMessage("be kind", id="0"), HumanMessage("hi", id="1")]},
    ),
    "messages with contents": (
        lambda: telling(Chat),
        {
            "messages": [
                HumanMessage([{"type": "text", "text": "hi"}], id="1", name="bo"),
                AIMessage(
                    "",
                    id="2",
                    tool_calls=[{"name": "look", "args": {"at": 1}, "id": "c"}],
                    usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
                ),
            ]
        },
    ),
    "messages without a reducer": (lambda: telling(Talk), {"history": [HumanMessage("hi")]}),
}


@pytest.mark.parametrize("case", CASES)
def test_given_an_input_of_Python_then_nodes_find_what_LangGraph_alone_gives_them(
    engine: Engine, case: str
) -> None:
    make, data = CASES[case]
    graph = make()
    job = engine.submit(graph, data)
    assert job.result(DEADLINE)["seen"] == graph.invoke(data)["seen"]


def test_given_JSON_then_it_becomes_what_the_schema_declares(engine: Engine) -> None:
    graph = telling(Many)
    seen = engine.submit(graph, MANY_AS_JSON).result(DEADLINE)["seen"]
    assert seen == graph.invoke(MANY)["seen"]


@pytest.mark.parametrize(
    "given",
    [
        ("user", "hi"),
        [("user", "hi"), ("ai", "you")],
        {"role": "user", "content": "hi"},
        [{"role": "user", "content": "hi"}, {"type": "ai", "content": "you"}],
        "hi",
        HumanMessage("hi"),
    ],
)
def test_given_messages_in_any_form_then_they_are_what_LangGraph_makes_of_them(
    engine: Engine, given: Any
) -> None:
    def told(messages: list[BaseMessage]) -> list[tuple[str, Any]]:
        return [(m.type, m.content) for m in messages]

    def tell(state: Chat) -> Chat:
        return {"seen": repr(told(state["messages"]))}

    builder = StateGraph(Chat)
    builder.add_node("tell", tell)
    builder.add_edge(START, "tell")
    graph = builder.compile(name="telling")
    bare = graph.invoke({"messages": given})["seen"]
    assert engine.submit(graph, {"messages": given}).result(DEADLINE)["seen"] == bare


def test_given_messages_as_JSON_without_a_reducer_then_nodes_find_messages(engine: Engine) -> None:
    job = engine.submit(telling(Talk), {"history": [{"role": "user", "content": "hi"}]})
    assert "HumanMessage(content='hi'" in job.result(DEADLINE)["seen"]


class Hidden:
    """A class that no schema names, and that nothing stores."""


@pytest.mark.parametrize(
    ("schema", "data", "why"),
    [
        (Many, {"at": "yesterday"}, "at: "),
        (Many, {"colour": "blue"}, "colour: "),
        (Many, {"part": {"nam": "nut"}}, "part"),
        (Many, {"parts": {"a": {"name": "x", "made": "?"}}}, r"parts\.a\.made"),
        (Many, {"raw": "?"}, "base64"),
        (Many, {"pair": [1, "x", 2]}, "2 items"),
        (Many, {"any": Hidden()}, "cannot be kept"),
        (Many, {"any": float("nan")}, "not a JSON number"),
        (Many, {"any": 2**70}, "64 bits"),
        (Many, {"any": lambda: 1}, "cannot be kept"),
        (Chat, {"messages": [{"content": "hi"}]}, "no message"),
        (Chat, {"messages": [3]}, "no message"),
        (Many, 3, "must be an object, not a int"),
        (Many, Command(goto="tell"), "is a Command"),
    ],
)
def test_given_what_cannot_be_kept_then_nothing_is_written(
    engine: Engine, schema: Any, data: Any, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        engine.submit(telling(schema), data)
    assert engine.jobs() == []


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (str, "a text"),
        (int, 7),
        (list[int], [1, 2]),
        (datetime, NOON),
        (Order, ORDER),
        (Part, Part("nut")),
        (Any, {"a": 1}),
        (HumanMessage, HumanMessage("hi", id="1")),
    ],
)
def test_given_an_entrypoint_then_its_input_may_be_anything(
    engine: Engine, hint: Any, data: Any
) -> None:
    async def told(given: Any) -> str:
        return repr(given)

    told.__annotations__["given"] = hint
    flow = entrypoint()(told)
    job = engine.submit(flow, data)
    assert job.result(DEADLINE) == repr(data)


def test_given_an_entrypoint_without_an_input_then_it_is_refused(engine: Engine) -> None:
    @entrypoint()
    async def flow(given: Any) -> Any:
        return given

    with pytest.raises(InvalidInput, match="missing"):
        engine.submit(flow)


def test_given_a_job_that_has_not_begun_then_its_input_is_changed_by_name(engine: Engine) -> None:
    def tell(state: AsModel) -> dict[str, str]:
        if not state.parts:
            raise ValueError("no parts")
        return {"seen": _seen(state)}

    builder = StateGraph(AsModel)
    builder.add_node("tell", tell)
    builder.add_edge(START, "tell")
    graph = builder.compile(name="telling")
    job = engine.submit(graph, {"at": NOON, "parts": []}, delay=3600)
    job.pause()
    job.resume(input={"parts": [Part("nut", date(2026, 1, 2))]}, now=True)
    given: Any = {"at": NOON, "parts": [Part("nut", date(2026, 1, 2))]}
    bare = graph.invoke(given)["seen"]
    assert job.result(DEADLINE)["seen"] == bare


def test_given_another_process_then_the_input_is_there_as_well(
    open_engine: Callable[..., Engine],
) -> None:
    sender = open_engine(worker=False)
    sender.add("telling", telling(Many))
    job = sender.submit("telling", MANY)
    assert job.get().input["order"]["price"] == "1.10"
    worker = open_engine()
    worker.add("telling", telling(Many))
    assert worker.job(job.id).result(DEADLINE)["seen"] == telling(Many).invoke(MANY)["seen"]

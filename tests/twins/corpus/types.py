"""States of dataclasses and pydantic models, and values of every type."""

from __future__ import annotations

import operator
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.twins.nodes import chain
from tests.twins.twin import twin
from tests.twins.witness import saw


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int = 0
    y: int = 0
    colour: Colour = Colour.RED


class Person(BaseModel):
    name: str
    age: int = 0
    tags: list[str] = Field(default_factory=list)


class Boss(Person):
    staff: list[Person] = Field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: str


@dataclass
class Bag:
    log: Annotated[list[str], operator.add] = field(default_factory=list)
    point: Point = field(default_factory=Point)
    person: Person | None = None


class Model(BaseModel):
    log: Annotated[list[str], operator.add] = Field(default_factory=list)
    count: int = 0
    person: Person | None = None


class Typed(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    point: Point
    person: Person
    when: datetime
    colour: Colour
    pair: Pair
    value: Any
    values: dict[str, Any]


def names(label: str) -> Any:
    """A node that logs of which type each value of the state is."""

    def node(state: Any) -> dict[str, Any]:
        saw(label)
        found = sorted((key, type(state[key]).__name__) for key in state if key != "log")
        return {"log": [f"{label} {found}"]}

    return node


def stops(state: Any) -> dict[str, Any]:
    """The values come back from the database after it."""
    return {"log": [str(interrupt("go on?"))]}


def writes(**values: Any) -> Any:
    return lambda state: values


def through(**values: Any) -> Any:
    """A graph that writes values, is asked, and then looks at them again."""
    return chain(writes(**values), names("before"), stops, names("after"), schema=Typed)


STREAMED = {"stream": "Values in a stream"}
KEPT = {"history": "Values in the state"}


@twin(input={"log": ["begun"]}, differs=STREAMED)
def a_state_that_is_a_dataclass() -> Any:
    def move(state: Bag) -> dict[str, Any]:
        saw("move")
        return {"point": Point(state.point.x + 1, 2, Colour.BLUE), "log": ["moved"]}

    def meet(state: Bag) -> dict[str, Any]:
        return {"person": Person(name=f"at {state.point}")}

    return chain(move, meet, move, schema=Bag)


GIVEN = dict.fromkeys(["stream", "result", "history"], "Input and output")


@twin(input={"count": 1, "person": {"name": "Ada", "age": 36}}, differs=GIVEN)
def a_state_that_is_a_pydantic_model() -> Any:
    def grow(state: Model) -> dict[str, Any]:
        saw("grow")
        assert isinstance(state.person, Person)
        return {"count": state.count + 1, "log": [state.person.name]}

    return chain(grow, grow, schema=Model)


@twin(input={"count": "not a number"})
def an_input_that_a_pydantic_state_refuses() -> Any:
    return chain(lambda state: {"count": state.count + 1}, schema=Model)


@twin(input={"count": 1}, differs=STREAMED)
def an_update_that_a_pydantic_state_refuses_later() -> Any:
    return chain(lambda state: {"count": "three"}, lambda state: {"log": ["b"]}, schema=Model)


@twin()
def a_dataclass_over_a_question() -> Any:
    return through(point=Point(1, 2, Colour.BLUE))


@twin()
def a_pydantic_model_over_a_question() -> Any:
    return through(person=Person(name="Ada", age=36, tags=["x"]))


@twin()
def a_subclass_of_a_declared_type() -> Any:
    return through(person=Boss(name="Bo", staff=[Person(name="Al")]))


@twin()
def a_datetime_and_an_enum() -> Any:
    return through(when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), colour=Colour.BLUE)


@twin()
def a_named_tuple() -> Any:
    return through(pair=Pair(1, "r"))


@twin()
def a_class_that_the_schema_does_not_name() -> Any:
    return through(value=Point(3, 4))


@twin()
def classes_deep_inside_plain_containers() -> Any:
    return through(values={"people": [Person(name="Ada"), {"at": Point(1, 1)}], "c": Colour.RED})


@twin(differs=KEPT)
def sets_tuples_bytes_and_integer_keys() -> Any:
    return through(value={"s": {1, 2}, "t": (1, (2,)), "b": b"\x00\xff", "k": {1: "one", 2: "two"}})


@twin(differs={**STREAMED, **KEPT})
def frozen_sets_and_deques() -> Any:
    return through(value=[frozenset({1}), deque([1, 2], maxlen=3)])


@twin()
def floats_that_json_does_not_have() -> Any:
    return through(value=[float("inf"), float("-inf"), -0.0, 1e308, float("nan")])


@twin()
def a_float_at_the_top_that_json_does_not_have() -> Any:
    return through(value=float("nan"))


@twin()
def a_text_with_a_null_character() -> Any:
    return through(value="a\x00b")


@twin()
def large_and_negative_integers() -> Any:
    return through(value=[2**63 - 1, -(2**63), 2**64 - 1])


@twin()
def the_standard_library_s_values() -> Any:
    return through(
        value=[
            Decimal("1.10"),
            UUID(int=7),
            date(2026, 1, 2),
            timedelta(seconds=90),
            Path("a/b"),
            ip_address("127.0.0.1"),
            complex(1, 2).real,
        ]
    )


@twin()
def a_pydantic_model_in_a_send() -> Any:
    def work(state: Person) -> dict[str, Any]:
        saw("work")
        answer = interrupt(f"hire {state.name}?")
        return {"log": [f"{type(state).__name__} {state.name} {answer}"]}

    graph = StateGraph(Typed)
    graph.add_node("work", work, input_schema=Person)
    graph.add_conditional_edges(START, lambda state: Send("work", Person(name="Ada")), ["work"])
    return graph


@twin()
def a_dataclass_in_a_send() -> Any:
    def work(state: Any) -> dict[str, Any]:
        saw("work")
        answer = interrupt("go on?")
        return {"log": [f"{type(state['item']).__name__} {answer}"]}

    graph = StateGraph(Typed)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda s: Send("work", {"item": Point(1, 2)}), ["work"])
    return graph


@twin()
def a_question_that_is_a_dataclass() -> Any:
    def ask(state: Any) -> dict[str, Any]:
        return {"log": [str(interrupt(Point(1, 2, Colour.BLUE)))]}

    return chain(ask, schema=Typed)


@twin()
def an_empty_text_and_none() -> Any:
    return through(value=None, values={"": None})


@twin()
def a_large_value() -> Any:
    return through(value="x" * 300_000)


class Verdict(BaseModel):
    verdict: str
    """Required, and written by the last node only."""


class Case(TypedDict, total=False):
    notes: str
    verdict: str


@twin(differs=STREAMED)
def an_output_schema_that_is_a_pydantic_model() -> Any:
    return chain(
        lambda state: {"notes": "n"},
        lambda state: {"verdict": "v"},
        schema=Case,
        output_schema=Verdict,
    )


@dataclass
class Short:
    verdict: str = "none"


@twin(differs=STREAMED)
def an_output_schema_that_is_a_dataclass() -> Any:
    return chain(
        lambda state: {"notes": "n"},
        lambda state: {"verdict": "v"},
        schema=Case,
        output_schema=Short,
    )

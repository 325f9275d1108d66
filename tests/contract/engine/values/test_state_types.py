"""Types survive checkpoints, failures, edits, forks and restores alike, on both databases; what
would not is refused when a node gives it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from tests.support.state_values import VALUES, Color, Inner, Plan, Point, Wider, told
from ucop.engine import Engine, InvalidInput, JobFailed, JobHandle
from ucop.engine.errors import Unstorable

DEADLINE = 60.0

NAMES = {f"v{number}": name for number, name in enumerate(VALUES)}
"""A channel for each value."""

CHANNELS: Any = {
    **dict.fromkeys(NAMES, Any),
    "all": Any,
    "log": Annotated[list[str], operator.add],
    "other": Any,
}
made_dict: Any = TypedDict
State: Any = made_dict("State", CHANNELS, total=False)

Seen = list[tuple[str, Any]]


def graph(seen: Seen, broken: list[bool]) -> StateGraph[Any]:
    """`gives` gives every value, each node after it notes what it is given; `breaks` may fail."""

    def gives(state: Any) -> Any:
        values = {channel: VALUES[name] for channel, name in NAMES.items()}
        return {**values, "all": [VALUES], "log": ["gives"]}

    def breaks(state: Any) -> Any:
        seen.append(("breaks", told(state["all"])))
        if broken:
            raise ValueError("not yet")
        return {"log": ["breaks"]}

    def last(state: Any) -> Any:
        for channel, name in NAMES.items():
            if channel in state:
                seen.append((name, told(state[channel])))
        return {"log": ["last"], "all": None, **dict.fromkeys(NAMES)}

    made = StateGraph(State)
    for node in (gives, breaks, last):
        made.add_node(node.__name__, node)
    for before, after in ((START, "gives"), ("gives", "breaks"), ("breaks", "last"), ("last", END)):
        made.add_edge(before, after)
    return made


def failed(open_engine: Callable[..., Engine], seen: Seen, broken: list[bool]) -> JobHandle:
    engine = open_engine()
    job = engine.submit(engine.add("typed", graph(seen, broken)), {"log": []})
    with pytest.raises(JobFailed, match="not yet"):
        job.result(DEADLINE)
    broken.clear()
    seen.clear()
    return job


def check(seen: Seen) -> None:
    assert seen[0] == ("breaks", told([VALUES]))
    found = dict(seen[1:])
    assert found.keys() == VALUES.keys()
    wrong = [name for name, value in VALUES.items() if found[name] != told(value)]
    assert wrong == []


def test_types_survive_a_failure(open_engine: Callable[..., Engine]) -> None:
    seen: Seen = []
    job = failed(open_engine, seen, [True])
    job.resume()
    assert job.result(DEADLINE)["log"] == ["gives", "breaks", "last"]
    check(seen)


def test_types_survive_an_edit_of_something_else(open_engine: Callable[..., Engine]) -> None:
    seen: Seen = []
    job = failed(open_engine, seen, [True])
    job.resume(replace={"other": 1})
    assert job.result(DEADLINE)["other"] == 1
    check(seen)


def test_types_survive_a_fork_and_an_edited_fork(open_engine: Callable[..., Engine]) -> None:
    seen: Seen = []
    job = failed(open_engine, seen, [True])
    at = next(c.id for c in job.checkpoints() if "breaks" in c.next)
    edits: tuple[dict[str, Any], ...] = (
        {},
        {"replace": {"other": Point(1)}},
        {"update": {"log": ["x"]}},
    )
    for edit in edits:
        seen.clear()
        job.fork(at, **edit).result(DEADLINE)
        check(seen)


def test_types_survive_a_restore(open_engine: Callable[..., Engine]) -> None:
    seen: Seen = []
    job = failed(open_engine, seen, [True])
    at = next(c.id for c in job.checkpoints() if "breaks" in c.next)
    job.restore(at)
    job.resume()
    job.result(DEADLINE)
    check(seen)


def test_what_a_node_is_sent_keeps_its_types(open_engine: Callable[..., Engine]) -> None:
    seen: list[Any] = []
    broken = [True]

    def sends(state: Any) -> list[Send]:
        return [Send("takes", value) for value in VALUES.values()]

    def takes(state: Any) -> Any:
        if broken:
            raise ValueError("not yet")
        seen.append(told(state))
        return {"log": ["x"]}

    made = StateGraph(State)
    made.add_node("first", lambda state: {"log": ["first"]})
    made.add_node("takes", takes)
    made.add_edge(START, "first")
    made.add_conditional_edges("first", sends, ["takes"])
    engine = open_engine()
    job = engine.submit(engine.add("sends", made), {"log": []})
    with pytest.raises(JobFailed, match="not yet"):
        job.result(DEADLINE)
    broken.clear()
    job.resume()
    job.result(DEADLINE)
    assert sorted(map(repr, seen)) == sorted(repr(told(value)) for value in VALUES.values())


class Plainly:
    """No data."""


def test_what_would_not_come_back_fails_the_node_that_gives_it(
    open_engine: Callable[..., Engine],
) -> None:
    ran: list[str] = []

    def gives(state: Any) -> Any:
        ran.append("gives")
        return {"other": {"deep": [Plainly()]}}

    made = StateGraph(State)
    made.add_node("gives", gives)
    made.add_edge(START, "gives")
    engine = open_engine()
    job = engine.submit(engine.add("refused", made), {"log": []})
    with pytest.raises(JobFailed) as error:
        job.result(DEADLINE)
    assert "'gives'" in str(error.value)
    assert "'other'" in str(error.value)
    assert "Plainly" in str(error.value)
    assert ran == ["gives"]


def test_an_edit_with_what_would_not_come_back_is_refused(
    open_engine: Callable[..., Engine],
) -> None:
    job = failed(open_engine, [], [True])
    with pytest.raises((Unstorable, InvalidInput), match="Plainly"):
        job.resume(replace={"other": Plainly()})
    assert job.status == "failed"


def test_a_merged_number_is_the_same_on_both_databases(open_engine: Callable[..., Engine]) -> None:
    """A reducer makes values that no node gave."""
    seen: list[str] = []

    class Sums(TypedDict):
        sum: Annotated[float, operator.add]
        text: Annotated[str, operator.add]

    made = StateGraph(Sums)
    made.add_node("a", lambda state: {"sum": math.inf, "text": "a\0"})
    made.add_node("b", lambda state: {"sum": -math.inf, "text": "b"})

    def notes(state: Any) -> dict[str, Any]:
        seen.append(repr(state))
        return {}

    made.add_node("c", notes)
    for before, after in ((START, "a"), ("a", "b"), ("b", "c")):
        made.add_edge(before, after)
    engine = open_engine()
    job = engine.submit(engine.add("sums", made), {"sum": 0.0, "text": ""})
    assert job.result(DEADLINE) == {"sum": "NaN", "text": "a\0b"}
    assert seen == ["{'sum': nan, 'text': 'a\\x00b'}"]


def test_outputs_that_json_does_not_hold_are_converted_or_an_error(
    open_engine: Callable[..., Engine],
) -> None:
    engine = open_engine()

    def gives(value: Any) -> StateGraph[Any]:
        made = StateGraph(State)
        made.add_node("gives", lambda state: {"other": value})
        made.add_edge(START, "gives")
        return made

    converted = {
        "enum": Color.RED,
        "address": VALUES["address"],
        "deque": VALUES["deque"],
        "nan": [math.nan, math.inf, -math.inf],
        "tuple": Point(1, {2}),
        "model": Plan.model_construct(title="a", parts=[Wider(text="b", more=1)]),
        "keys": {2: Inner(text="a"), None: 2, True: 3, Color.RED: 4},
    }
    job = engine.submit(engine.add("converted", gives(converted)), {"log": []})
    output = job.result(DEADLINE)["other"]
    assert output["enum"] == "red"
    assert output["address"] == "::1"
    assert output["deque"] == [1, 2]
    assert output["nan"] == ["NaN", "Infinity", "-Infinity"]
    assert output["tuple"] == [1, [2]]
    assert output["model"]["parts"] == [{"text": "b", "more": 1}]
    assert output["keys"] == {"2": {"text": "a"}, "null": 2, "true": 3, "red": 4}

    for value in (1j, {1: 1, "1": 2}):
        job = engine.submit(engine.add(f"none {value}", gives(value)), {"log": []})
        with pytest.raises(JobFailed, match="JSON"):
            job.result(DEADLINE)


class MakesUp:
    """A proxy, such as those of remote clients and of mocks: it has whatever it is asked for."""

    def __call__(self, state: Any) -> Any:
        return {"log": ["proxy"], "other": Point(1)}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MakesUp()


def test_a_node_may_have_attributes_of_any_name(open_engine: Callable[..., Engine]) -> None:
    made = StateGraph(State)
    made.add_node("proxy", MakesUp())
    made.add_edge(START, "proxy")
    made.add_conditional_edges("proxy", lambda state: END)
    engine = open_engine()
    job = engine.submit(engine.add("proxies", made), {"log": []})
    assert job.result(DEADLINE)["log"] == ["proxy"]

"""The rules of a mesh: who is asked next, when it stops, and what a breaker lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucop.agents.spec.agent import Agent
from ucop.agents.spec.function import agent, agent_of
from ucop.graphs.errors import (
    MeshAgentDead,
    MeshCycle,
    MeshInputRefused,
    MeshStopped,
    MissingCapability,
    TooManyHops,
)
from ucop.graphs.language.definition import Mesh
from ucop.graphs.nodes.breaker import Breaker, BreakerRules, BreakerState, state_of
from ucop.graphs.nodes.mesh_rules import AgentStanding, Finish, Return, Seek, Switchboard, best

CLOSED, HALF, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


def made(name: str, *capabilities: str, asks: tuple[str, ...] = ()) -> Agent:
    @agent(name, capabilities=capabilities, asks=asks)
    def body(n: int = 0) -> int:
        return n

    found = agent_of(body)
    assert found is not None
    return found


AGENTS = [
    made("writer", "write", asks=("research",)),
    made("editor", "write"),
    made("anna", "research"),
    made("bert", "research"),
]


def board(**mesh: Any) -> Switchboard:
    named = {each.name: each for each in AGENTS}
    declared = Mesh(**{"entry": "writer", "agents": tuple(named), **mesh})
    return Switchboard(declared, named)


class Talk:
    """A mesh in which the test says what the agents say."""

    def __init__(self, **mesh: Any) -> None:
        self.board = board(**mesh)
        self.move: Any = self.board.start({"n": 1})
        self.take()

    def take(self, agent: str | None = None) -> None:
        """The router chooses: the first, unless the test says who."""
        if isinstance(self.move, Seek):
            self.may = self.move.agents
            self.move = self.move.given_to(agent or self.may[0])

    @property
    def called(self) -> str:
        assert isinstance(self.move, Return)
        return self.move.stack[-1]["agent"]

    def says(self, said: dict[str, Any], *, attempt: int = 1, agent: str | None = None) -> None:
        assert isinstance(self.move, Return)
        self.move = self.board.after(said, self.move.stack, self.move.path, attempt)
        self.take(agent)

    def answers(self, value: Any) -> None:
        self.says({"answer": value})

    def asks(self, capability: str, agent: str | None = None, **data: Any) -> None:
        self.says({"ask": {"capability": capability, "data": data}}, agent=agent)

    def fails(self, *, in_attempt: int = 1, now: int = 1) -> None:
        told = {"type": "OSError", "message": "no line"}
        self.says({"error": told, "attempt": in_attempt}, attempt=now)


def test_an_answer_without_a_question_ends_the_mesh() -> None:
    talk = Talk()
    talk.answers("done")
    assert isinstance(talk.move, Finish)
    assert talk.move.answer == "done"
    assert [hop["outcome"] for hop in talk.move.path] == ["answered"]


def test_an_answer_goes_back_to_who_asked_with_all_that_came_before() -> None:
    talk = Talk()
    talk.asks("research", n=1)
    assert talk.called == "anna"
    talk.answers("one")
    assert talk.called == "writer"
    talk.asks("research", n=2)
    talk.answers("two")
    assert talk.move.stack[-1]["answers"] == [
        {"capability": "research", "data": {"n": 1}, "answer": "one"},
        {"capability": "research", "data": {"n": 2}, "answer": "two"},
    ]
    talk.answers("whole")
    assert len(talk.move.path) == 3  # going back is no hop


def test_an_entry_by_capability_is_open_to_all_who_declare_it() -> None:
    talk = Talk(entry="", entry_capability="write")
    assert talk.may == ("editor", "writer")
    assert talk.called == "editor"


def test_an_agent_that_failed_is_followed_by_the_others_and_then_the_mesh_stops() -> None:
    talk = Talk()
    talk.asks("research")
    talk.fails()
    assert (talk.may, talk.called) == (("bert",), "bert")
    with pytest.raises(MeshAgentDead, match="each of anna, bert failed: OSError: no line") as dead:
        talk.fails()
    assert [(hop["agent"], hop["outcome"]) for hop in dead.value.path] == [
        ("writer", "waiting"),
        ("anna", "failed"),
        ("bert", "failed"),
    ]


def test_in_a_later_attempt_those_that_failed_are_asked_again() -> None:
    talk = Talk()
    talk.asks("research")
    talk.fails()
    talk.fails(in_attempt=1, now=2)
    assert talk.may == ("anna", "bert")


def test_who_waits_is_not_asked() -> None:
    talk = Talk()
    talk.asks("write")
    assert talk.called == "editor"
    with pytest.raises(MeshCycle, match="each of editor, writer that could answer waits") as cycle:
        talk.asks("write")
    assert "2 writer asked editor for write (waiting)" in str(cycle.value)


def test_a_question_that_nobody_declares_stops_the_mesh() -> None:
    with pytest.raises(MissingCapability, match="they declare research, write"):
        Talk().asks("magic")


def test_data_that_nobody_takes_stops_the_mesh() -> None:
    with pytest.raises(MeshInputRefused, match="anna does not take the data: n: must be"):
        Talk().asks("research", n="x")


def test_hops_are_counted_and_what_failed_counts_too() -> None:
    talk = Talk(max_hops=3)
    talk.asks("research")
    talk.fails()
    talk.answers("late")
    with pytest.raises(TooManyHops, match="max_hops is 3") as many:
        talk.asks("research")
    assert len(many.value.path) == 3


@given(
    st.lists(
        st.sampled_from(["answer", "research", "write", "magic", "fail"]), min_size=1, max_size=40
    ),
    st.integers(1, 8),
)
def test_whatever_agents_say_a_mesh_ends_within_its_hops_and_tells_them_all(
    script: list[str], most: int
) -> None:
    talk = Talk(max_hops=most)
    for word in script:
        if isinstance(talk.move, Finish):
            break
        waiting = [frame["agent"] for frame in talk.move.stack]
        assert len(set(waiting)) == len(waiting)
        if (stopped := stops(talk, word)) is not None:
            assert len(stopped.path) <= most
            assert str(stopped).count(" asked ") == len(stopped.path)
            break
        path: Any = talk.move.path
        assert len(path) <= most
        assert [hop["hop"] for hop in path] == list(range(1, len(path) + 1))


def stops(talk: Talk, word: str) -> MeshStopped | None:
    """Why the mesh stops after what an agent says, if it does."""
    try:
        match word:
            case "answer":
                talk.answers(word)
            case "fail":
                talk.fails()
            case _:
                talk.asks(word)
    except MeshStopped as stopped:
        return stopped
    return None


# ---- who is best


def test_the_healthy_go_first_then_the_idle_then_by_name() -> None:
    standings = [
        AgentStanding(agent="a", breaker=OPEN),
        AgentStanding(agent="b", breaker=HALF),
        AgentStanding(agent="c", calls=2),
        AgentStanding(agent="e", calls=1),
        AgentStanding(agent="d", calls=1),
    ]
    order = []
    while (one := best(standings)) is not None:
        order.append(one.agent)
        standings.remove(one)
    assert order == ["d", "e", "c", "b"]  # a is not asked at all


# ---- breakers

RULES = BreakerRules(failures=3, pause=10.0)


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    states = [state_of(Breaker(failures=n, failed_at=100.0), RULES, 101.0) for n in range(5)]
    assert states == [CLOSED, CLOSED, CLOSED, OPEN, OPEN]


def test_a_breaker_is_half_open_when_its_pause_is_over() -> None:
    broken = Breaker(failures=3, failed_at=100.0)
    assert [state_of(broken, RULES, now) for now in (109.9, 110.0, 1e9)] == [OPEN, HALF, HALF]


def test_a_trial_keeps_others_away_until_it_failed_or_took_too_long() -> None:
    tried = Breaker(failures=3, failed_at=100.0, trial_at=115.0)
    assert [state_of(tried, RULES, now) for now in (115.0, 124.9, 125.0)] == [OPEN, OPEN, HALF]
    failed = Breaker(failures=4, failed_at=120.0, trial_at=115.0)
    assert [state_of(failed, RULES, now) for now in (125.0, 130.0)] == [OPEN, HALF]


def test_a_success_closes_it() -> None:
    assert state_of(Breaker(failures=0, failed_at=120.0, trial_at=115.0), RULES, 121.0) == CLOSED

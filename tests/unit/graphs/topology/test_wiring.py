"""Python graphs that changed under a job: what may go on, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from tests.support.graphs import Log, chain
from ucop.graphs.topology.wiring import Standing, Wiring, complaint, wiring_from, wiring_of


def standing(*due: str, done: str = "", scheduled: str = "") -> Standing:
    return Standing(
        due=frozenset(due), done=frozenset(done.split()), scheduled=frozenset(scheduled.split())
    )


def wired(*edges: tuple[str | list[str], str]) -> Wiring:
    graph = StateGraph(Log)
    names = {name for s, end in edges for name in ([s] if isinstance(s, str) else s) + [end]}
    for name in sorted(names - {START, END}):
        graph.add_node(name, lambda state: {"log": []})
    for source, end in edges:
        graph.add_edge(source, end)
    return wiring_of(graph)


ABC = wiring_of(chain("a", "b", "c"))
FORK = wired((START, "a"), ("a", "b"), ("a", "c"), (["b", "c"], "d"), ("d", END))


@pytest.mark.parametrize(
    ("old", "new", "stands", "told"),
    [
        (ABC, chain("a", "x", "c"), standing("b"), "no node 'b' any more, which is due now"),
        (ABC, chain("a", "b", "d"), standing("b"), "no node 'c' any more, which was still to run"),
        (ABC, chain("a", "c"), standing("a"), "no node 'b' any more"),
        (ABC, chain("a", "bb", "c"), standing("b"), "renamed to 'bb'"),
        (
            ABC,
            wired((START, "a"), ("a", "c"), ("b", "c"), ("c", END)),
            standing("a"),
            "nothing leads to node 'b' any more",
        ),
        (
            ABC,
            wired((START, "a"), ("a", "b"), ("b", END), ("c", END)),
            standing("b"),
            "nothing leads to node 'c' any more",
        ),
        # b is done and told the old join; nobody tells the new one.
        (
            FORK,
            wired((START, "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("d", END)),
            standing("b", "c", done="b"),
            "nothing leads to node 'd' any more",
        ),
        (
            FORK,
            wired((START, "a"), ("a", "b"), ("a", "c"), (["a", "b", "c"], "d"), ("d", END)),
            standing("b", "c"),
            "nothing leads to node 'd' any more",
        ),
        (ABC, chain("x", "y"), standing(START), "no node 'a' any more"),
    ],
)
def test_given_a_change_that_would_leave_nodes_out_then_it_names_them(
    old: Wiring, new: Any, stands: Standing, told: str
) -> None:
    wiring = new if isinstance(new, Wiring) else wiring_of(new)
    assert told in (complaint(old, wiring, stands) or "nothing")
    assert complaint(wiring_from({"nodes": old.nodes, **old.to_json()}), wiring, stands)


@pytest.mark.parametrize(
    ("old", "new", "stands"),
    [
        (ABC, ABC, standing("b")),
        (ABC, wiring_of(chain("a", "x", "b", "c")), standing("b")),
        (ABC, wiring_of(chain("a", "b", "x", "c", "y")), standing("b")),
        # a ran already, and nothing leads to it again
        (ABC, wiring_of(chain("b", "c")), standing("b")),
        (ABC, wiring_of(chain("renamed", "b", "c")), standing("b")),
        (
            ABC,
            wired((START, "a"), ("a", "b"), ("a", "x"), ("b", "c"), ("x", "c"), ("c", END)),
            standing("a"),
        ),
        (FORK, FORK, standing("b", "c", done="b")),
        (
            FORK,
            wired((START, "a"), ("a", "b"), ("a", "c"), (["b", "c"], "d"), ("d", "e"), ("e", END)),
            standing("c", done=""),
        ),
        (ABC, ABC, standing("b", done="b", scheduled="c")),
    ],
)
def test_given_a_change_elsewhere_then_the_job_may_go_on(
    old: Wiring, new: Wiring, stands: Standing
) -> None:
    assert complaint(old, new, stands) is None


def test_given_a_node_that_chooses_freely_then_only_nodes_that_are_gone_are_told() -> None:
    def chooses(*names: str) -> Wiring:
        graph = StateGraph(Log)
        graph.add_node("first", lambda state: Command(goto=names[0]))
        for name in names:
            graph.add_node(name, lambda state: {"log": []})
        graph.add_edge(START, "first")
        return wiring_of(graph)

    assert complaint(chooses("a", "b"), chooses("a", "b", "c"), standing("first")) is None
    told = complaint(chooses("a", "b"), chooses("a"), standing("first"))
    assert told is not None
    assert "no node 'b'" in told


def test_given_a_job_of_an_older_version_then_nodes_that_are_gone_are_told() -> None:
    old = wiring_from({"nodes": ["a", "b"]})
    assert complaint(old, wiring_of(chain("a", "b", "c")), standing("a")) is None
    assert "no node 'b'" in (complaint(old, wiring_of(chain("a", "c")), standing("a")) or "")

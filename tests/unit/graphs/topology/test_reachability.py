"""What leads to what, on any graph and with little effort on long ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.check.check import check
from ucop.graphs.topology.reachability import Reachability
from ucop.graphs.topology.topology import reach

NAMES = "abcdefgh"


class Asked(dict[str, Sequence[str]]):
    """Edges that count how often each node's are asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: Counter[str] = Counter()

    def get(self, node: str, default: Any = None) -> Any:
        self.asked[node] += 1
        return super().get(node, default)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4)))
def test_on_any_graph_it_is_what_a_walk_along_the_edges_finds(edges: dict[str, list[str]]) -> None:
    found = Reachability(edges)
    for source in NAMES:
        walked = reach(source, edges)
        assert found.names(found.beyond(source)) == walked
        assert {target for target in NAMES if found.leads(source, target)} == walked


@pytest.mark.parametrize("closed", [False, True])
def test_each_node_is_looked_at_a_fixed_number_of_times(closed: bool) -> None:
    size = 5_000
    edges = Asked({f"n{i}": [f"n{i + 1}"] for i in range(size)})
    if closed:
        edges[f"n{size}"] = ["n0"]
    found = Reachability(edges)
    assert edges.asked.total() <= 3 * (size + 1)
    assert found.leads("n0", f"n{size}")
    assert found.leads(f"n{size}", "n0") == closed
    assert edges.asked.total() <= 3 * (size + 1), "nothing is asked for again"


@agent("step")
def step(value: Any = None) -> Any:
    return value


def _chain(size: int) -> str:
    nodes = [
        f"  n{i}: {{agent: step, with: {{value: '${{v{i - 1}}}'}}, writes: v{i}}}"
        for i in range(1, size)
    ]
    ways = " -> ".join(f"n{i}" for i in range(size))
    first = "  n0: {agent: step, writes: v0}"
    return "\n".join(
        ["name: chain", "nodes:", first, *nodes, "edges:", f"  - START -> {ways} -> END"]
    )


def _ladder(size: int) -> str:
    """Forks and joins in a row; each fork reads what the join before it wrote."""
    lines, ways, read = ["name: ladder", "nodes:"], [], "1"
    for i in range(0, size, 3):
        given = f"with: {{value: '${{{read}}}'}}"
        lines += [f"  {name}{i}: {{agent: step, {given}, writes: {name}v{i}}}" for name in "ab"]
        lines.append(
            f"  c{i}: {{agent: step, with: {{value: '${{[av{i}, bv{i}]}}'}}, writes: cv{i}}}"
        )
        ways.append(f"[a{i}, b{i}] -> c{i}")
        read = f"cv{i}"
    return "\n".join([*lines, "edges:", f"  - START -> {' -> '.join(ways)} -> END"])


@pytest.mark.parametrize("text", [_chain, _ladder])
def test_the_check_of_a_graph_that_is_four_times_as_long_is_not_sixteen_times_the_effort(
    text: Any,
) -> None:
    registry = Registry.of(step)
    small, large = (read_yaml(text(size), "flow.yaml") for size in (375, 1_500))
    assert not check(large, registry).findings
    ratio = effort(lambda: check(large, registry)) / effort(lambda: check(small, registry))
    assert ratio < 9, "about 5 when this was written; 12 where every pair of nodes was walked"

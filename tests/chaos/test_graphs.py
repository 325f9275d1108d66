"""A short run of what `python -m tests.chaos.graphs` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.fleet import Forge
from tests.chaos.graphs import rampage, random_graphs, wrong_order
from tests.support.shapes import Reading


def test_random_graphs_run_as_their_definitions_say_while_workers_are_killed(
    url: str, tmp_path: Path, forge: Forge, seed: int
) -> None:
    verdict = rampage(tmp_path, url, kills=8, seed=seed, forge=forge, graphs=12)
    print(verdict)
    assert not verdict.wrong, str(verdict)
    assert verdict.summary["kills_amid_nodes"] > 0


def test_the_judge_sees_a_node_that_ran_too_early_twice_or_never() -> None:
    (graph,) = random_graphs(1, 7)
    right = list(Reading(graph).all_runs())
    assert wrong_order(graph, right) is None
    assert wrong_order(graph, right[:-1]) is not None
    assert wrong_order(graph, [*right, right[-1]]) is not None
    assert wrong_order(graph, [*right[1:], right[0]]) is not None

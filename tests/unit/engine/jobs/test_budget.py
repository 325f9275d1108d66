"""Budgets: what is read, what is refused, and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.flows import flow
from ucop.agents.models.meter import Usage
from ucop.agents.text.duration import seconds_of
from ucop.engine.errors import DeadlinePassed, InvalidInput, StepsUsedUp
from ucop.engine.jobs.budget import Budget, Spent, read_budget
from ucop.graphs.check.limits import fewest_steps
from ucop.graphs.topology.topology import topology_of


def budget(before: Spent | None = None, **limits: float) -> Budget:
    return Budget(job_id="j", limits=limits, since=1000.0, before=before or Spent())


NO_TIMES: list[Any] = ["", "0", 0, -1, "soon", "1w", True, None, [], float("inf")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("60s", 60),
        ("5m", 300),
        ("1h", 3600),
        ("1.5h", 5400),
        ("2d", 172_800),
        (3, 3),
        ("7", 7),
        *((wrong, None) for wrong in NO_TIMES),
    ],
)
def test_times_are_read(text: Any, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_a_budget_is_read_with_its_deadline_in_seconds() -> None:
    assert read_budget({"cost": 2, "deadline": "5m"}) == {"deadline": 300.0, "cost": 2.0}


def test_everything_that_is_wrong_with_a_budget_is_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_budget({"tokens": 0, "minutes": 3, "seconds": "soon", "steps": True})
    told = str(caught.value)
    assert "'tokens' must be at least 1" in told
    assert "there is no limit 'minutes'; there is deadline, steps" in told
    assert "'seconds' must be a time" in told
    assert "'steps' must be a whole number" in told


@pytest.mark.parametrize(
    ("limits", "used", "told"),
    [
        ({"model_calls": 3}, Usage(model_calls=1), None),
        ({"model_calls": 3}, Usage(model_calls=2), "3 model calls of 3 model calls"),
        ({"tokens": 50}, Usage(tokens_in=20, tokens_out=9), None),
        ({"tokens": 50}, Usage(tokens_in=20, tokens_out=20), "50 tokens of 50 tokens"),
        ({"seconds": 9.0}, Usage(seconds=3.9), None),
        ({"seconds": 9.0}, Usage(seconds=4.5), "9.5 seconds of models of 9.0 seconds of models"),
        ({"cost": 0.5}, Usage(cost=0.1), None),
        ({"cost": 0.5}, Usage(cost=0.3), "$0.5500 of $0.5000"),
        ({"cost": 0.25}, Usage(model_calls=9, cost=None), "$0.2500 of $0.2500"),
        ({"steps": 1, "deadline": 1}, Usage(model_calls=99), None),
    ],
)
def test_earlier_attempts_count(limits: dict[str, float], used: Usage, told: str | None) -> None:
    reason = budget(Spent(model_calls=1, tokens=10, seconds=5.0, cost=0.25), **limits).refusal(used)
    assert (told or "") in (reason or "")
    assert (reason is None) == (told is None)
    assert reason is None or f"ucop jobs resume j --budget {next(iter(limits))}=" in reason


def test_steps_of_earlier_attempts_count() -> None:
    limited = budget(Spent(steps=2), steps=3)
    limited.begin_step(1, "a")
    with pytest.raises(StepsUsedUp, match="node b"):
        limited.begin_step(2, "b")


def test_the_deadline_counts_from_submission() -> None:
    assert budget(deadline=60).seconds_left(1015.0) == 45.0
    assert budget(tokens=60).seconds_left(1e9) is None
    with pytest.raises(DeadlinePassed, match="within 60 s"):
        budget(deadline=60).seconds_left(1060.0)


@pytest.mark.parametrize(
    ("nodes", "edges", "fewest"),
    [
        ("a b c", "  - START -> a -> b -> c -> END", 3),
        ("a b c", '  - START -> a -> [b, c]\n  - "[b, c] -> END"', 2),
        (
            "a b",
            "  - START -> a\n  - {from: a, to: [{node: b, when: 'a_ == 1'}, END]}\n  - b -> END",
            1,
        ),
        (
            "a b",
            "  - START -> a -> b\n  - {from: b, to: [{node: a, when: 'b_ == 1', at_most: 3}, END]}",
            2,
        ),
        (
            "  a: {agent: step, on_error: {node: d}}\n  b: {agent: step}\n  c: {agent: step}\n"
            "  d: {agent: step}",
            "  - START -> a -> b -> c -> END\n  - d -> END",
            2,
        ),
    ],
)
def test_the_fewest_steps_of_a_run_are_known(nodes: str, edges: str, fewest: int) -> None:
    definition = flow(nodes, edges).workflow.definition
    assert fewest_steps(definition, topology_of(definition)) == fewest

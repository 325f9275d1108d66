"""What jobs cost, and the limit on it, with a provider's own client on both databases."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from pydantic import SecretStr
from typing_extensions import TypedDict

from tests.support.openai import ScriptedOpenAI
from ucop.agents.models.prices import price_of
from ucop.engine import Engine, JobStatus

DEADLINE = 60.0
EACH = price_of("openai:gpt-4o", {"input_tokens": 1000, "output_tokens": 100}) or 0.0


class State(TypedDict):
    said: Annotated[list[str], operator.add]


@pytest.fixture
def openai() -> Iterator[ScriptedOpenAI]:
    with ScriptedOpenAI(tokens_in=1000, tokens_out=100) as endpoint:
        yield endpoint


def four(endpoint: ScriptedOpenAI) -> StateGraph[Any]:
    """Four nodes, one after the other, that ask once each."""
    graph = StateGraph(State)
    model = ChatOpenAI(
        model="gpt-4o", base_url=endpoint.url, api_key=SecretStr("none"), max_retries=0
    )

    async def ask(state: State) -> dict[str, list[str]]:
        return {"said": [str((await model.ainvoke("Well?")).content)]}

    names = [f"n{number}" for number in range(4)]
    for name in names:
        graph.add_node(name, ask)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def test_a_job_tells_what_it_cost(
    open_engine: Callable[..., Engine], openai: ScriptedOpenAI
) -> None:
    engine = open_engine()
    engine.add("four", four(openai))
    job = engine.submit("four", {"said": []})
    assert job.result(DEADLINE)["said"] == ["fine"] * 4
    assert EACH > 0
    assert job.get().usage.cost == pytest.approx(4 * EACH)
    assert [step.cost for step in job.steps()] == [pytest.approx(EACH)] * 4


def test_a_limit_of_the_cost_pauses_and_more_of_it_goes_on(
    open_engine: Callable[..., Engine], openai: ScriptedOpenAI
) -> None:
    engine = open_engine()
    engine.add("four", four(openai))
    job = engine.submit("four", {"said": []}, budget={"cost": 2 * EACH})
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert openai.calls == 2
    assert "budget" in (job.get().reason or "")
    job.resume(budget={"cost": 1.0})
    assert job.result(DEADLINE)["said"] == ["fine"] * 4
    assert openai.calls == 4

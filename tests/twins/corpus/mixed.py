"""Graphs in entrypoints, tasks and entrypoints in nodes."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.func import entrypoint
from langgraph.types import StreamWriter, interrupt

from tests.twins.corpus.functional import double, triple
from tests.twins.nodes import chain, does
from tests.twins.twin import twin
from tests.twins.witness import saw


@twin(input={"n": 1})
def a_graph_in_an_entrypoint() -> Any:
    inside = chain(does("a"), does("b")).compile()

    @entrypoint()
    async def flow(given: dict[str, Any]) -> Any:
        return (await inside.ainvoke({"log": ["given"]}))["log"]

    return flow


@twin(input={"n": 1})
def a_graph_in_a_synchronous_entrypoint() -> Any:
    inside = chain(does("a"), does("b")).compile()

    @entrypoint()
    def flow(given: dict[str, Any]) -> Any:
        return inside.invoke({"log": ["given"]})["log"]

    return flow


@twin()
def tasks_in_a_node_of_a_graph() -> Any:
    async def node(state: Any) -> dict[str, Any]:
        return {"total": sum(await asyncio.gather(triple(1), triple(2)))}

    return chain(does("a"), node, does("z"))


@twin()
def a_task_and_a_question_in_a_node() -> Any:
    async def node(state: Any) -> dict[str, Any]:
        first = await triple(1)
        answer = interrupt(f"{first}?")
        return {"log": [f"{answer} {await triple(2)}"]}

    return chain(does("a"), node, does("z"))


@twin()
def an_entrypoint_as_a_node() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> dict[str, Any]:
        return {"total": await triple(5)}

    return chain(does("a"), ("flow", flow), does("z"))


@twin()
def a_synchronous_entrypoint_called_in_a_node() -> Any:
    @entrypoint()
    def flow(given: dict[str, Any]) -> int:
        return double(given["n"]).result()

    def node(state: Any) -> dict[str, Any]:
        saw("node")
        return {"total": flow.invoke({"n": 21})}

    return chain(does("a"), node, does("z"))


@twin(input={"n": 1})
def an_entrypoint_with_a_writer() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any], *, writer: StreamWriter) -> str:
        writer({"at": "half"})
        return "done"

    return flow

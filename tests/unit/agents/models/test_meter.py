"""The meter inside real LangGraph graphs, against what the scripted endpoint counted."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_ollama import ChatOllama
from langgraph.func import task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from tests.support import ollama as scripted
from tests.support.graphs import Node
from tests.support.ollama import ScriptedOllama
from ucop.agents.models.meter import OUTSIDE, Meter, Usage
from ucop.agents.models.models import Models
from ucop.agents.providers.retry import RetryRules


class State(TypedDict):
    out: Annotated[list[Any], operator.add]


Graph = CompiledStateGraph[State, None, State, State]


def graph_of(**nodes: Any) -> Graph:
    """All nodes side by side."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


async def usage_by_node(graph: Graph, meter: Meter) -> dict[str, Usage]:
    """Run, taking each task's usage at the moment its node ends."""
    usage: dict[str, Usage] = {}
    config: RunnableConfig = {"callbacks": [meter]}
    async for event in graph.astream({"out": []}, config, stream_mode="tasks"):
        if "result" in event or "error" in event:
            taken = meter.take(event["id"])
            usage[event["name"]] = usage.get(event["name"], Usage()) + taken
    return usage


def agrees(meter: Meter, endpoint: ScriptedOllama) -> bool:
    total = meter.total()
    counted = (endpoint.calls, endpoint.tokens_in, endpoint.tokens_out)
    return (total.model_calls, total.tokens_in, total.tokens_out) == counted


@asynccontextmanager
async def plain_chat(endpoint: ScriptedOllama) -> AsyncIterator[ChatOllama]:
    """What an unchanged Python graph uses; closed, because warnings are errors here."""
    chat = ChatOllama(model="llama3.2", base_url=endpoint.url)
    yield chat
    clients: list[Any] = [chat._async_client, chat._client]
    await clients[0].close()
    clients[1].close()


def calling(chat: ChatOllama, words: str) -> Node:
    async def node(state: State) -> dict[str, Any]:
        return {"out": [(await chat.ainvoke(words)).content]}

    return node


async def test_parallel_nodes_are_told_apart() -> None:
    def reply(request: dict[str, Any]) -> scripted.Reply:
        size = len(request["messages"][0]["content"])
        return scripted.text("ok", delay=0.05, tokens=(size, 2 * size))

    meter = Meter()
    with ScriptedOllama(reply) as ollama:
        async with plain_chat(ollama) as chat:
            usage = await usage_by_node(
                graph_of(a=calling(chat, "x"), b=calling(chat, "xx"), c=calling(chat, "xxx")), meter
            )
    assert {name: (u.model_calls, u.tokens_in, u.tokens_out) for name, u in usage.items()} == {
        "a": (1, 1, 2),
        "b": (1, 2, 4),
        "c": (1, 3, 6),
    }
    assert all(0.05 <= one.seconds < 5 for one in usage.values())
    assert usage["a"].models == ("ollama:llama3.2",)
    assert usage["a"].cost is None
    assert agrees(meter, ollama)


async def test_calls_of_tasks_and_sync_nodes_are_their_own_and_those_of_subgraphs_the_outer_nodes() -> (
    None
):
    meter = Meter()
    with ScriptedOllama() as ollama:
        async with plain_chat(ollama) as chat:

            @task
            async def one_item(item: str) -> object:
                return (await chat.ainvoke(item)).content

            async def items(state: State) -> dict[str, Any]:
                await chat.ainvoke("before")
                return {"out": await asyncio.gather(*(one_item(word) for word in "abcd"))}

            def sync(state: State) -> dict[str, Any]:
                return {"out": [chat.invoke("sync").content]}

            async def streamed(state: State) -> dict[str, Any]:
                return {"out": [piece.content async for piece in chat.astream("stream")]}

            inner = graph_of(x=sync, y=calling(chat, "y"))
            outer = graph_of(deep=inner)

            async def invoked(state: State) -> dict[str, Any]:
                return {"out": (await outer.ainvoke({"out": []}))["out"]}

            graph = graph_of(
                items=items, sync=sync, streamed=streamed, invoked=invoked, nested=outer
            )
            usage = await usage_by_node(graph, meter)
    calls = {name: one.model_calls for name, one in usage.items() if one.model_calls}
    assert calls == {"items": 1, "one_item": 4, "sync": 1, "streamed": 1, "invoked": 2, "nested": 2}
    assert agrees(meter, ollama)


async def test_each_task_of_a_fan_out_has_its_own_count() -> None:
    meter = Meter()
    with ScriptedOllama() as ollama:
        async with plain_chat(ollama) as chat:
            graph = StateGraph(State)
            graph.add_node("item", calling(chat, "x"))
            graph.add_conditional_edges(
                START, lambda state: [Send("item", {"out": []})] * 3, ["item"]
            )
            config: RunnableConfig = {"callbacks": [meter]}
            counts = [
                meter.take(event["id"]).model_calls
                async for event in graph.compile().astream({"out": []}, config, stream_mode="tasks")
                if "result" in event
            ]
    assert counts == [1, 1, 1]
    assert agrees(meter, ollama)


async def test_failed_and_repeated_calls_are_counted_as_the_endpoint_saw_them() -> None:
    replies = [scripted.status(500), scripted.cut(), scripted.status(429), scripted.text("at last")]
    meter = Meter()
    with ScriptedOllama(replies) as ollama:
        models = Models(ollama_host=ollama.url, embedded=False, retry=RetryRules(backoff=0.01))

        async def asks(state: State) -> dict[str, Any]:
            return {"out": [(await models.ask(None, [])).content]}

        async def fails(state: State) -> dict[str, Any]:
            chat = ChatOllama(model="llama3.2", base_url="http://127.0.0.1:9")
            try:
                await chat.ainvoke("nobody listens there")
            except Exception as error:
                return {"out": [str(error)]}
            raise AssertionError("port 9 answered")

        usage = await usage_by_node(graph_of(asks=asks, fails=fails), meter)
        await models.aclose()
    assert usage["asks"].model_calls == 4
    assert usage["fails"].model_calls == 0
    assert agrees(meter, ollama)


async def test_a_running_call_is_live_and_a_cancelled_one_is_counted() -> None:
    meter = Meter()
    with ScriptedOllama([scripted.hang(after=2)]) as ollama:
        async with plain_chat(ollama) as chat:
            run = asyncio.create_task(usage_by_node(graph_of(a=calling(chat, "x")), meter))
            async with asyncio.timeout(10):
                while not (live := _live(meter)) or live.tokens_out < 2:
                    await asyncio.sleep(0.01)
            assert live.model_calls == 1
            assert live.seconds > 0
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            assert await asyncio.to_thread(ollama.until, lambda seen: seen.hang_ups == 1)
    assert meter.total().model_calls == 1
    assert meter.total().tokens_out == 0


def _live(meter: Meter) -> Usage | None:
    tasks = list(meter._counted)
    return meter.live(tasks[0]) if tasks else None


async def test_a_task_inside_another_is_counted_apart_until_the_outer_one_takes_the_rest() -> None:
    meter = Meter()
    with ScriptedOllama() as ollama:
        async with plain_chat(ollama) as chat:
            inner = graph_of(x=calling(chat, "x"), y=calling(chat, "y"))
            names: dict[str, str] = {}
            taken: dict[str, int] = {}
            stream: Any = graph_of(deep=inner).astream(
                {"out": []}, {"callbacks": [meter]}, stream_mode="tasks", subgraphs=True
            )
            async for _, event in stream:
                names[event["name"]] = event["id"]
                if "result" in event and event["name"] != "y":
                    live = meter.live(event["id"], names.values())
                    assert meter.live(event["id"]).model_calls >= live.model_calls
                    taken[event["name"]] = meter.take(event["id"]).model_calls
    assert taken == {"x": 1, "deep": 1}, "y was never taken"
    assert agrees(meter, ollama)


async def test_a_call_outside_of_any_graph_is_counted_too() -> None:
    meter = Meter()
    with ScriptedOllama() as ollama:
        async with plain_chat(ollama) as chat:
            await chat.ainvoke("hello", {"callbacks": [meter]})
    assert meter.take(OUTSIDE).model_calls == 1
    assert meter.take(OUTSIDE) == Usage()
    assert agrees(meter, ollama)


async def test_a_call_that_is_refused_is_neither_made_nor_counted_nor_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[int] = []

    def ask(used: Usage) -> None:
        told.append(used.model_calls)
        if used.model_calls >= 2:
            raise PermissionError("no more")

    meter = Meter(ask=ask)
    with ScriptedOllama() as ollama:
        async with plain_chat(ollama) as chat:
            config: RunnableConfig = {"callbacks": [meter]}
            ends = await asyncio.gather(
                *(chat.ainvoke("hello", config) for _ in range(4)),
                asyncio.to_thread(chat.invoke, "hello", config),
                return_exceptions=True,
            )
        assert ollama.calls == 2
    assert [type(end) for end in ends].count(PermissionError) == 3
    assert sorted(told) == [0, 1, 2, 2, 2]
    assert agrees(meter, ollama)
    logging.getLogger("langchain_core.callbacks.manager").warning("heard: %s", "this")
    assert [record.getMessage() for record in caplog.records] == ["heard: this"]


def test_usage_adds_up_and_an_unknown_cost_stays_unknown() -> None:
    one = Usage(model_calls=1, tokens_in=2, tokens_out=3, seconds=0.5, models=("a",))
    two = Usage(model_calls=1, seconds=0.25, cost=0.1, models=("b", "a"))
    assert one + one == Usage(model_calls=2, tokens_in=4, tokens_out=6, seconds=1.0, models=("a",))
    assert (one + two).cost == 0.1
    assert (one + two).models == ("a", "b")


@pytest.mark.parametrize("others", [1, 2, 5, 20])
def test_the_meter_is_the_last_handler_of_a_merged_manager(others: int) -> None:
    meter = Meter()
    given = [BaseCallbackHandler() for _ in range(others)]
    one = AsyncCallbackManager(handlers=[meter, *given[::2]])
    other = AsyncCallbackManager(handlers=[meter, *given[1::2]])
    merged = one.merge(other).handlers
    assert merged[-1] is meter
    assert len(merged) == others + 1

"""ToolNode, tools that write the state, structured answers, and agents inside graphs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, tools_condition
from langgraph.types import Command
from pydantic import BaseModel

from tests.twins.corpus.agents import ASK, LOOK, broken, careful, weather
from tests.twins.models import says, scripted
from tests.twins.nodes import chain
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw


class Report(BaseModel):
    """What is answered in the end."""

    city: str
    degrees: int


@twin(input=ASK)
def an_answer_with_a_schema() -> Any:
    report = says("", ("Report", {"city": "Oslo", "degrees": 3}))
    return create_agent(scripted(LOOK, report), [weather], response_format=ToolStrategy(Report))


@twin(input=ASK)
def an_answer_that_its_schema_refuses_at_first() -> Any:
    bad = says("x", ("Report", {"city": "Oslo", "degrees": "cold"}))
    good = says("y", ("Report", {"city": "Oslo", "degrees": 3}))
    return create_agent(scripted(bad, good), [], response_format=ToolStrategy(Report))


def _tool_graph(tools: list[Any], *messages: Any, **terms: Any) -> StateGraph[Any]:
    model = scripted(*messages)

    async def call(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call)
    graph.add_node("tools", ToolNode(tools, **terms))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph


@twin(input=ASK)
def a_tool_node() -> Any:
    return _tool_graph([weather], LOOK, "sunny")


@twin(input=ASK)
def a_tool_node_that_catches_errors() -> Any:
    return _tool_graph([broken], says("", ("broken", {"x": 1})), "done", handle_tool_errors=True)


@twin(input=ASK)
def a_tool_node_that_lets_errors_through() -> Any:
    return _tool_graph([broken], says("", ("broken", {"x": 1})), "done", handle_tool_errors=False)


@twin(input=ASK)
def a_question_in_a_tool_node() -> Any:
    calls = says("", ("careful", {"what": "x"}), ("weather", {"city": "Rome"}))
    return _tool_graph([careful, weather], calls, "done")


@twin(input=ASK)
def a_tool_that_returns_a_command() -> Any:
    @tool
    def rename(name: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Write the state."""
        saw("rename")
        return Command(update={"messages": [ToolMessage(name, tool_call_id=tool_call_id, id="r")]})

    return _tool_graph([rename], says("", ("rename", {"name": "Ada"})), "done")


@twin(input=ASK)
def a_tool_that_reads_the_state() -> Any:
    @tool
    def count(state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Count messages."""
        return str(len(state["messages"]))

    return _tool_graph([count], says("", ("count", {})), "done")


@twin(input=ASK)
def a_tool_with_a_runtime() -> Any:
    @tool
    async def note(text: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Keep a note."""
        assert runtime.store is not None
        await runtime.store.aput(("notes",), "n", {"note": text})
        runtime.stream_writer({"noted": text})
        return f"{runtime.tool_call_id} {len(runtime.state['messages'])}"

    return create_agent(scripted(says("", ("note", {"text": "hi"})), "done"), [note])


@twin(input=ASK)
def an_agent_as_a_node() -> Any:
    agent = create_agent(scripted(LOOK, "sunny"), [weather])
    return chain(("agent", agent), schema=MessagesState)


@twin(input=ASK)
def an_agent_invoked_in_a_synchronous_node() -> Any:
    @tool
    def dice(sides: int) -> str:
        """Throw."""
        saw("dice")
        return str(sides)

    agent = create_agent(scripted(says("", ("dice", {"sides": 6})), "six"), [dice])

    def call(state: Any) -> dict[str, Any]:
        saw("call")
        return {"messages": agent.invoke({"messages": state["messages"]})["messages"]}

    return chain(call, schema=MessagesState)


@twin(input=ASK)
def an_agent_invoked_in_a_tool() -> Any:
    inner = create_agent(scripted(LOOK, "inner is done"), [weather])

    @tool
    async def delegate(task: str) -> str:
        """Ask another agent."""
        await asaw("delegate")
        given: Any = {"messages": [{"role": "user", "content": task, "id": "d"}]}
        return str((await inner.ainvoke(given))["messages"][-1].content)

    return create_agent(scripted(says("", ("delegate", {"task": "t"})), "done"), [delegate])


@twin(input=ASK)
def an_agent_invoked_in_a_synchronous_tool() -> Any:
    inner = create_agent(scripted("inner is done"), [])

    @tool
    def delegate(task: str) -> str:
        """Ask another agent."""
        saw("delegate")
        given: Any = {"messages": [{"role": "user", "content": task, "id": "d"}]}
        return str(inner.invoke(given)["messages"][-1].content)

    return create_agent(scripted(says("", ("delegate", {"task": "t"})), "done"), [delegate])


@twin(input=ASK)
def a_question_in_an_agent_in_a_tool() -> Any:
    inner = create_agent(scripted(says("", ("careful", {"what": "deep"})), "inner done"), [careful])

    @tool
    async def delegate(task: str) -> str:
        """Ask another agent."""
        await asaw("delegate")
        given: Any = {"messages": [{"role": "user", "content": task, "id": "d"}]}
        return str((await inner.ainvoke(given))["messages"][-1].content)

    return create_agent(scripted(says("", ("delegate", {"task": "t"})), "done"), [delegate])


@twin(input=ASK)
def a_supervisor_with_two_agents() -> Any:
    def worker(name: str) -> Any:
        return create_agent(scripted(f"{name} is done"), [], name=name)

    graph = StateGraph(MessagesState)
    for name in ["one", "two"]:
        graph.add_node(name, worker(name))
        graph.add_edge(name, "supervisor")

    def supervise(state: Any) -> Command[Any]:
        saw("supervise")
        done = [m.content for m in state["messages"]]
        left = [name for name in ["one", "two"] if f"{name} is done" not in done]
        return Command(goto=left[0] if left else "__end__")

    graph.add_node("supervisor", supervise, destinations=("one", "two", "__end__"))
    graph.add_edge(START, "supervisor")
    return graph


@twin(input=ASK)
def tools_that_end_in_another_order() -> Any:
    @tool
    async def slow(n: int) -> str:
        """Take a while."""
        await asaw(f"slow {n}")
        for _ in range(5 - n):
            await asyncio.sleep(0)
        return str(n)

    return create_agent(scripted(says("", *(("slow", {"n": n}) for n in range(4))), "done"), [slow])

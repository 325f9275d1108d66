"""Prebuilt agents: create_agent, ToolNode, middleware."""

from __future__ import annotations

from typing import Any

from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    after_model,
    before_agent,
    before_model,
    dynamic_prompt,
    wrap_model_call,
    wrap_tool_call,
)
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.types import interrupt

from tests.twins.models import Scripted, says, scripted
from tests.twins.twin import Again, Turns, twin
from tests.twins.witness import asaw, saw

ASK = {"messages": [{"role": "user", "content": "please", "id": "u1"}]}


@tool
async def weather(city: str) -> str:
    """The weather of a city."""
    await asaw(f"weather {city}")
    return f"sun in {city}"


@tool
def pay(amount: int) -> str:
    """Pay an amount."""
    saw(f"pay {amount}")
    return f"paid {amount}"


@tool
async def careful(what: str) -> str:
    """Do it if a person agrees."""
    await asaw(f"careful {what}")
    return f"{what}: {interrupt(f'do {what}?')}"


@tool
def broken(x: int) -> str:
    """Fail."""
    saw("broken")
    raise ValueError(f"cannot {x}")


LOOK = says("", ("weather", {"city": "Oslo"}))
PAY = says("", ("pay", {"amount": 5}))
BOTH = says("", ("weather", {"city": "Oslo"}), ("pay", {"amount": 5}))


@twin(input=ASK)
def an_agent_without_tools() -> Any:
    return create_agent(scripted("hello"), [])


@twin(input=ASK)
def an_agent_with_a_tool() -> Any:
    return create_agent(scripted(LOOK, "sunny"), [weather])


@twin(input=ASK)
def an_agent_with_two_calls_at_once() -> Any:
    return create_agent(scripted(BOTH, "done"), [weather, pay], system_prompt="Be brief.")


@twin(input=ASK, then=(Again({"messages": [{"role": "user", "content": "again", "id": "u2"}]}),))
def an_agent_over_two_turns() -> Any:
    return create_agent(scripted(LOOK, "sunny", "still sunny"), [weather])


@twin(input=ASK)
def a_tool_that_asks() -> Any:
    return create_agent(scripted(says("", ("careful", {"what": "it"})), "done"), [careful])


@twin(input=ASK, answers={"do one?": "1", "do two?": "2"})
def two_tools_that_ask_at_once() -> Any:
    calls = says("", ("careful", {"what": "one"}), ("careful", {"what": "two"}))
    return create_agent(scripted(calls, "done"), [careful])


@twin(input=ASK)
def a_tool_that_fails() -> Any:
    return create_agent(scripted(says("", ("broken", {"x": 1})), "done"), [broken])


@twin(input=ASK)
def a_tool_that_is_not_there() -> Any:
    return create_agent(scripted(says("", ("unheard", {})), "sorry"), [weather])


@twin(input=ASK)
def arguments_that_a_tool_refuses() -> Any:
    return create_agent(scripted(says("", ("pay", {"amount": "much"})), "sorry"), [pay])


def _asks_first(**on: Any) -> HumanInTheLoopMiddleware:
    return HumanInTheLoopMiddleware(interrupt_on=on or {"pay": True})


def _decides(*decisions: dict[str, Any]) -> dict[str, Any]:
    return {"decisions": list(decisions)}


@twin(input=ASK, answers=Turns((_decides({"type": "approve"}),)))
def an_approved_call() -> Any:
    return create_agent(scripted(PAY, "paid"), [pay], middleware=[_asks_first()])


@twin(input=ASK, answers=Turns((_decides({"type": "reject", "message": "too much"}),)))
def a_rejected_call() -> Any:
    return create_agent(scripted(PAY, "a pity"), [pay], middleware=[_asks_first()])


EDITED = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 1}}}


@twin(input=ASK, answers=Turns((_decides(EDITED),)))
def an_edited_call() -> Any:
    return create_agent(scripted(PAY, "paid"), [pay], middleware=[_asks_first()])


@twin(input=ASK, answers=Turns((_decides({"type": "approve"}, {"type": "reject"}),)))
def one_call_approved_and_one_rejected() -> Any:
    return create_agent(
        scripted(BOTH, "done"), [weather, pay], middleware=[_asks_first(pay=True, weather=True)]
    )


@twin(
    input=ASK,
    retries=1,
    answers=Turns((_decides({"type": "nonsense"}), _decides({"type": "approve"}))),
)
def a_decision_that_the_middleware_refuses() -> Any:
    return create_agent(scripted(PAY, "paid"), [pay], middleware=[_asks_first()])


@twin(input=ASK, answers=Turns((_decides({"type": "approve"}),)))
def two_approvals_one_after_the_other() -> Any:
    second = says("", ("pay", {"amount": 6}))
    return create_agent(scripted(PAY, second, "paid"), [pay], middleware=[_asks_first()])


@twin(input=ASK)
def hooks_before_and_after_the_model() -> Any:
    @before_model
    def before(state: Any, runtime: Any) -> dict[str, Any] | None:
        saw("before model")
        return None

    @after_model
    def after(state: Any, runtime: Any) -> dict[str, Any] | None:
        saw("after model")
        return None

    @before_agent
    async def first(state: Any, runtime: Any) -> dict[str, Any] | None:
        await asaw("before agent")
        return None

    return create_agent(scripted(LOOK, "sunny"), [weather], middleware=[before, after, first])


@twin(input=ASK)
def a_hook_that_ends_the_agent() -> Any:
    @before_model(can_jump_to=["end"])
    def stop(state: Any, runtime: Any) -> dict[str, Any] | None:
        if len(state["messages"]) < 3:
            return None
        return {"messages": [AIMessage("enough", id="enough")], "jump_to": "end"}

    return create_agent(scripted(LOOK, "sunny"), [weather], middleware=[stop])


@twin(input=ASK)
def a_wrapped_model_and_a_wrapped_tool() -> Any:
    @wrap_model_call
    async def around(request: Any, handler: Any) -> Any:
        await asaw("around model")
        return await handler(request)

    @wrap_tool_call
    async def guard(request: Any, handler: Any) -> Any:
        await asaw("around tool")
        found = await handler(request)
        return ToolMessage(f"({found.content})", tool_call_id=found.tool_call_id)

    return create_agent(scripted(LOOK, "sunny"), [weather], middleware=[around, guard])


@twin(input=ASK)
def a_dynamic_prompt() -> Any:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return f"{len(request.messages)} messages"

    return create_agent(scripted("hello"), [], middleware=[prompt])


class Counting(AgentMiddleware[Any, Any]):
    class State(AgentState[Any]):
        calls: int

    state_schema = State

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"calls": state.get("calls", 0) + 1}


@twin(input=ASK)
def middleware_with_a_state() -> Any:
    return create_agent(scripted(LOOK, "sunny"), [weather], middleware=[Counting()])


@twin(input=ASK, once=True)  # the limit of a run counts anew in each attempt
def a_limit_of_model_calls() -> Any:
    limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="end")
    return create_agent(scripted(LOOK), [weather], middleware=[limit])


@twin(input=ASK, once=True)  # the limit of a run counts anew in each attempt
def a_limit_of_model_calls_that_raises() -> Any:
    limit = ModelCallLimitMiddleware(run_limit=1, exit_behavior="error")
    return create_agent(scripted(LOOK), [weather], middleware=[limit])


@twin(input=ASK, once=True)  # the limit of a run counts anew in each attempt
def a_limit_of_tool_calls() -> Any:
    limit = ToolCallLimitMiddleware(run_limit=1)
    return create_agent(scripted(LOOK, LOOK, "enough"), [weather], middleware=[limit])


class Failing(Scripted):
    def _next(self, messages: Any) -> AIMessage:
        saw("failing model")
        raise ConnectionError("no model")


@twin(input=ASK)
def a_model_with_a_fallback() -> Any:
    other = ModelFallbackMiddleware(scripted("from the second"))
    return create_agent(Failing(says=[]), [], middleware=[other])


@twin(input=ASK)
def a_model_that_is_asked_again() -> Any:
    again = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    return create_agent(Failing(says=[]), [], middleware=[again])


@twin(input=ASK)
def a_model_that_fails() -> Any:
    return create_agent(Failing(says=[]), [])


@twin(input=ASK)
def a_tool_that_is_called_again() -> Any:
    @tool
    async def shaky(x: int) -> str:
        """Fail once."""
        if await asaw("shaky") == 1:
            raise ConnectionError("once")
        return "worked"

    again = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    return create_agent(
        scripted(says("", ("shaky", {"x": 1})), "done"), [shaky], middleware=[again]
    )


@twin(input={"messages": [{"role": "user", "content": "mail me: ada@example.org", "id": "u"}]})
def personal_data_that_is_masked() -> Any:
    return create_agent(scripted("will do"), [], middleware=[PIIMiddleware("email")])


@twin(input=ASK)
def a_list_of_things_to_do() -> Any:
    todo = says("", ("write_todos", {"todos": [{"content": "x", "status": "pending"}]}))
    return create_agent(scripted(todo, "noted"), [], middleware=[TodoListMiddleware()])

"""One call of an agent with tools: the model calls them until it answers, and the answer fits.

The loop is LangChain's `create_agent`, a LangGraph graph. Inside a workflow's node it is a
subgraph with checkpoints of its own: after a crash it goes on behind the last answer of the model
and the last tool that was done. What is ucop's here is the form of the answer. The model is free
to call tools until it answers in words; then, where an output is declared and the words are not
it, the model writes its answer once more in the form of the schema, without tools. Small models
do one of the two at a time, and Ollama cannot ask for both.

Imported where a tool agent is called: LangChain's agents take seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelCallLimitMiddleware,
    ToolCallLimitMiddleware,
    ToolErrorMiddleware,
    hook_config,
)
from langchain.agents.middleware.model_call_limit import ModelCallLimitExceededError
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.tools import BaseTool, StructuredTool

from ..errors import AgentInputError, AgentOutputError, ToolUnavailable, UcopError
from ..models.chat import ModelChat
from ..spec.agent import Agent
from ..spec.mcp import McpTools, open_tools
from ..spec.spec import AgentSpec
from ..spec.tool import Tool
from ..text.whole_numbers import with_whole_numbers
from .context import AgentContext, where
from .model_agent import Check, all_of, gate, no_answer_fits, prompt_of
from .prompt import Answer, Prompt, feedback, read_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.messages import ToolCall, ToolMessage
    from langgraph.runtime import Runtime
    from langgraph.types import Command

SHOWN_ERROR = 1000
"""How much of a tool's error the model is told, in characters."""


async def ask_with_tools(
    agent: Agent,
    data: Mapping[str, Any],
    *,
    context: AgentContext,
    call: Callable[..., Awaitable[Any]],
) -> Any:
    """Ask the model of an agent, which may call the agent's tools, until its answer fits.

    `data` is input that was accepted; `call` calls the agents among its tools. Raises
    AgentOutputError when the limits or the repairs are
    used up, ToolUnavailable, and ModelError.
    """
    spec = agent.spec
    assert spec is not None
    prompt = prompt_of(spec, data, context)
    check = all_of(gate(prompt, data, context))
    served = [bound for bound in agent.tools.values() if isinstance(bound, McpTools)]
    async with open_tools(served, context.folder) as further:
        end = await _run(spec, prompt, check, _tools(agent, further, call), context)
    # Read again: an attempt that ended right after its last answer only finds it here.
    return read_answer(end, prompt.schema, check).value


async def _run(
    spec: AgentSpec, prompt: Prompt, check: Check, tools: Sequence[BaseTool], context: AgentContext
) -> AIMessage:
    """The loop, to its last answer."""
    limits = spec.limits
    form = _Form(spec, prompt, context, check)
    middleware: list[Any] = [
        form,  # the first looks at an answer last: when it was counted
        ModelCallLimitMiddleware(run_limit=limits.model_calls, exit_behavior="error"),
        ToolCallLimitMiddleware(run_limit=limits.tool_calls),
        ToolErrorMiddleware(_error_text),
        _Calls(),
    ]
    graph: Any = create_agent(
        form.model(0),
        tools,
        system_prompt=prompt.system,
        middleware=middleware,
        context_schema=AgentContext,
    )
    try:
        end = await graph.ainvoke({"messages": prompt.question_messages()}, context=context)
    except ModelCallLimitExceededError as error:
        raise AgentOutputError(
            f"agent {spec.name!r}{where(context)}: no answer within {limits.model_calls} calls "
            "of its model. Raise `limits: {model_calls: …}`, say in its prompt when to stop, or "
            "use a larger model."
        ) from error
    last: AIMessage = end["messages"][-1]
    return last


def _tools(
    agent: Agent, further: Sequence[BaseTool], call: Callable[..., Awaitable[Any]]
) -> list[BaseTool]:
    """What the model may call, under names that differ. Raises ToolUnavailable."""
    assert agent.spec is not None
    if missing := [name for name in agent.spec.tools if name not in agent.tools]:
        raise ToolUnavailable(
            f"agent {agent.name!r}: its tools {', '.join(missing)} were not looked up; "
            "take the agent from a registry"
        )
    bound = agent.tools.values()
    tools = [one.body for one in bound if isinstance(one, Tool)]
    tools += [_agent_tool(one, call) for one in bound if isinstance(one, Agent)]
    tools += further
    names = [tool.name for tool in tools]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ToolUnavailable(
            f"agent {agent.name!r} has two tools named {', '.join(twice)}; "
            "name single tools of a server: mcp:SERVER/TOOL"
        )
    return tools


def _agent_tool(agent: Agent, call: Callable[..., Awaitable[Any]]) -> BaseTool:
    """Another agent as a tool; its input is checked where it is called."""

    async def run(runtime: ToolRuntime[AgentContext], **data: Any) -> str:
        output = await call(agent, data, context=runtime.context)
        return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)

    return StructuredTool(
        name=agent.name,
        description=agent.description or agent.name,
        args_schema=dict(agent.input_schema),
        coroutine=run,
    )


def _error_text(error: Exception, request: ToolCallRequest) -> str | None:
    """What the model is told of a tool that raised; None if the step must fail: a model or an
    agent inside that gave up has its own retries behind it, and limits are not the model's."""
    if isinstance(error, UcopError) and not isinstance(error, AgentInputError):
        return None
    return f"{type(error).__name__}: {error}"[:SHOWN_ERROR]


class _Calls(AgentMiddleware[AgentState[Any], AgentContext, Any]):
    """Gives each call of a tool its own key, and tells people of it."""

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        runtime: ToolRuntime[Any, Any] = request.runtime
        context: AgentContext = runtime.context
        name, id = request.tool_call["name"], request.tool_call["id"]
        context.progress(f"calls {name}")
        own = replace(context, key=f"{context.key}/{id}")
        asked = replace(request, tool_call=_with_whole_numbers(request))
        return await handler(replace(asked, runtime=replace(runtime, context=own)))


def _with_whole_numbers(request: ToolCallRequest) -> ToolCall:
    """The call as its tool declares it. Where pydantic reads the arguments it sees to that; the
    tools of servers are sent what the model wrote."""
    call, tool = request.tool_call, request.tool
    declared = tool.args_schema if tool is not None else None
    if not isinstance(declared, dict):
        return call
    return {**call, "args": with_whole_numbers(declared, call["args"])}


class _Form(AgentMiddleware[AgentState[Any], AgentContext, Any]):
    """Looks at each answer without calls; one that does not fit goes back to the model."""

    def __init__(
        self, spec: AgentSpec, prompt: Prompt, context: AgentContext, check: Check
    ) -> None:
        super().__init__()
        self._spec, self._prompt, self._context, self._check = spec, prompt, context, check
        self._loop = asyncio.get_running_loop()
        self._bad: list[Answer] = []
        """Of this attempt: one that runs again after it failed has all its tries again."""
        self._asked = False
        """Whether this attempt has asked the model: an answer from before it was judged there."""
        self._before = len(prompt.question_messages())

    def model(self, tries: int, *, in_form: bool = False) -> ModelChat:
        return ModelChat(
            self._context.models,
            loop=self._loop,
            name_asked=self._spec.model,
            options=self._prompt.options(tries),
            answer_schema=self._prompt.schema if in_form else None,
            cache_for=self._spec.cache_seconds,
        )

    async def awrap_model_call(
        self,
        request: ModelRequest[AgentContext],
        handler: Callable[[ModelRequest[AgentContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        self._asked = True
        answered = self._words(request.messages) is not None
        model = self.model(len(self._bad), in_form=answered)
        tools = [] if answered else request.tools
        return await handler(request.override(model=model, tools=tools))

    @hook_config(can_jump_to=["model"])
    async def aafter_model(
        self, state: AgentState[Any], runtime: Runtime[AgentContext]
    ) -> dict[str, Any] | None:
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or last.tool_calls:
            return None
        answer = read_answer(last, self._prompt.schema, self._check)
        if not answer.problems:
            return None
        if self._prompt.schema is not None and self._words(state["messages"]) is last:
            # Words: they were asked for in a form that tools leave no room for.
            return {"messages": [HumanMessage(_in_form(self._prompt))], "jump_to": "model"}
        return self._again(last, answer)

    def _again(self, last: AIMessage, answer: Answer) -> dict[str, Any]:
        if self._asked:
            self._count(last, answer)
        if self._spec.repair == "reseed" and last.id is not None:
            return {"messages": [RemoveMessage(id=last.id)], "jump_to": "model"}
        return {"messages": [HumanMessage(feedback(answer))], "jump_to": "model"}

    def _count(self, last: AIMessage, answer: Answer) -> None:
        """Raises AgentOutputError if the repairs are used up."""
        self._bad.append(answer)
        self._context.logger.info(
            "%s: answer %d does not fit: %s", self._spec.name, len(self._bad), answer.problems[0]
        )
        if len(self._bad) > self._spec.repairs:
            model = str(last.response_metadata.get("model_name") or "the model")
            told = no_answer_fits(self._spec, self._context, self._bad, model)
            raise AgentOutputError(told)

    def _words(self, messages: Sequence[AnyMessage]) -> AIMessage | None:
        """The first answer without calls; from then on tools are not offered any more."""
        for message in messages[self._before :]:
            if isinstance(message, AIMessage) and not message.tool_calls:
                return message
        return None


def _in_form(prompt: Prompt) -> str:
    """The model may not see the schema otherwise: not every provider is given it."""
    schema = json.dumps(prompt.schema, ensure_ascii=False)
    return f"Now give that answer as JSON only, in the form of this JSON Schema:\n{schema}"

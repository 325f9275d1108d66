"""One call of one agent: input checked, body run, output checked, a bad answer repaired."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..errors import AgentInputError
from ..models.interceptor import AgentRun, current, through
from ..spec.agent import Agent
from ..spec.spec import AgentSpec
from ..text.raised import escaped
from ..text.schema import with_defaults
from ..text.validation import validate
from ..text.whole_numbers import with_whole_numbers
from .answered import Ask
from .context import AgentContext, does_not_fit
from .function_agent import run_function
from .model_agent import ask


async def call(agent: Agent, data: Mapping[str, Any], *, context: AgentContext) -> Any:
    """Run an agent once on `data` and return its output as JSON.

    Raises AgentInputError before anything runs, AgentOutputError for an output that does not
    fit, or in production is a placeholder (an AgentSpec's after the repairs), ModelError, and
    whatever a function raises: as Escaped, if that is no Exception.
    """
    given = accept(agent, data, context=context)
    context = context.for_agent(agent.name)
    try:
        if (intercepted := current.get()) is not None and intercepted[0].agent_call:
            interceptors, node = intercepted
            run = AgentRun(agent=agent.name, input=given, node=node)
            return await through(interceptors.agent_call, run, partial(_run, agent, given, context))
        return await _run(agent, given, context)
    except (Exception, asyncio.CancelledError, Ask):
        raise
    except BaseException as error:
        raise escaped(error) from error


async def _run(agent: Agent, given: dict[str, Any], context: AgentContext) -> Any:
    if isinstance(agent.body, AgentSpec):
        if agent.body.tools:
            from .tool_loop import ask_with_tools

            return await ask_with_tools(agent, given, context=context, call=call)
        return await ask(agent.body, given, context=context)
    return await run_function(agent, agent.body, given, context)


def accept(agent: Agent, data: Mapping[str, Any], *, context: AgentContext) -> dict[str, Any]:
    """An agent's input with its defaults. Raises AgentInputError, which names each mistake."""
    given: dict[str, Any] = with_defaults(agent.input_schema, dict(data))
    if problems := validate(agent.input_schema, given):
        raise AgentInputError(does_not_fit("input", agent.name, context, problems))
    accepted: dict[str, Any] = with_whole_numbers(agent.input_schema, given)
    return accepted

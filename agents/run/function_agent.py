"""An agent that is a function of Python."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import AgentInputError, AgentOutputError
from ..production.placeholders import placeholder_problems
from ..spec.agent import Agent
from ..spec.function_body import CONTEXT, FunctionBody
from ..text.raised import escaped
from ..text.validation import Problem
from .answered import Ask
from .context import AgentContext, does_not_fit


async def run_function(
    agent: Agent, body: FunctionBody, data: Mapping[str, Any], context: AgentContext
) -> Any:
    arguments = _arguments(agent, body, data, context)
    if body.takes_context:
        arguments[CONTEXT] = context if body.is_async else _for_thread(context)
    if body.is_async:
        value = await body.function(**arguments)
    else:
        value = await in_thread(lambda: body.function(**arguments))
    return _as_json(agent, body, value, data, context)


def _for_thread(context: AgentContext) -> AgentContext:
    """The context for a function outside the loop: progress is told on the loop."""
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        loop.call_soon_threadsafe(context.progress, text)

    return replace(context, progress=tell, _loop=loop)


def _arguments(
    agent: Agent, body: FunctionBody, data: Mapping[str, Any], context: AgentContext
) -> dict[str, Any]:
    """The inputs as the hints want them: models as models, dates as dates."""
    from pydantic import ValidationError

    arguments: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in data.items():
        adapter = body.inputs.get(name)
        try:
            arguments[name] = adapter.validate_python(value) if adapter else value
        except ValidationError as error:
            problems += _problems_of(error, name)
    if problems:
        raise AgentInputError(does_not_fit("input", agent.name, context, problems))
    return arguments


def _as_json(
    agent: Agent, body: FunctionBody, value: Any, data: Mapping[str, Any], context: AgentContext
) -> Any:
    from pydantic import ValidationError
    from pydantic_core import PydanticSerializationError

    try:
        checked = body.output.validate_python(value)
        output = body.output.dump_python(checked, mode="json")
    except ValidationError as error:
        problems = _problems_of(error)
        raise AgentOutputError(does_not_fit("output", agent.name, context, problems)) from error
    except PydanticSerializationError as error:
        problems = [Problem((), str(error))]
        raise AgentOutputError(does_not_fit("output", agent.name, context, problems)) from error
    if context.production:
        _refuse_placeholders(agent, output, data, context)
    return output


def _refuse_placeholders(
    agent: Agent, output: Any, data: Mapping[str, Any], context: AgentContext
) -> None:
    """A function may pass on what it was given, and say nothing if it has nothing to say."""
    schema = agent.output_schema
    if problems := placeholder_problems(output, schema, names=data, given=data, may_be_empty=True):
        raise AgentOutputError(does_not_fit("output", agent.name, context, problems))


def _problems_of(error: Any, *before: str) -> list[Problem]:
    return [Problem((*before, *mistake["loc"]), mistake["msg"]) for mistake in error.errors()]


async def in_thread(function: Callable[[], Any]) -> Any:
    """Run a blocking function in a daemon thread of its own and wait for it.

    Not the loop's pool: its few threads would make slow agents wait for each other, and
    Python waits for them at exit. Cancelled, the wait ends at once and the thread runs on.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    variables = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def work() -> None:
        value: Any = None
        raised: BaseException | None = None
        try:
            value = variables.run(function)
        except StopIteration as error:  # a future cannot carry it
            raised = RuntimeError(f"the agent raised {error!r}")
        except (Exception, asyncio.CancelledError, Ask) as error:  # noqa: BLE001 - carried over
            raised = error
        except BaseException as error:  # noqa: BLE001 - it must not get to the loop as it is
            raised = escaped(error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, raised)

    threading.Thread(target=work, name="ucop-agent", daemon=True).start()
    return await done

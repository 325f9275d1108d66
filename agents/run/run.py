"""One call of one agent: input checked, body run, output checked, a bad answer repaired."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AgentInputError, AgentOutputError, NobodyToAsk
from ..interceptor import AgentRun, current, through
from ..memory.memory import Memory, NoMemory
from ..production.placeholders import unfilled
from ..spec.function import CONTEXT, FunctionBody
from ..spec.spec import Agent, AgentSpec, filled_schema
from ..text.raised import escaped
from ..text.schema import Problem, validate, with_defaults
from ..text.template import TemplateError, path_lookup
from ..text.whole_numbers import with_whole_numbers
from .asking import Answered, Ask, answer_to
from .prompt import Answer, Prompt, read_answer

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from pydantic_core import CoreSchema

    from ..models.models import Models

SHOWN_PROBLEMS = 5

Check = Callable[[Any], list[Problem]]


def _no_progress(text: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, kw_only=True)
class AgentContext:
    """What an agent may know about the call, and may use."""

    job_id: str
    """Of an agent that runs alone, an id that no job has."""
    node: str
    """The workflow's node that calls; empty where the agent runs alone."""
    key: str
    """The same over all attempts at this call, and different for every other call: an agent
    that acts on the world uses it to act once."""
    models: Models
    folder: Path
    """The project's folder: relative paths of files start here."""
    given: Mapping[str, Any] | None = None
    """The context that the run was given (`ucop run --context`); None where it was given none."""
    production: bool = False
    """Whether an output that is a placeholder is refused."""
    progress: Callable[[str], None] = _no_progress
    """Tells people who watch the job what is being done."""
    memory: Memory = field(default_factory=NoMemory)
    """What this agent remembers beyond the job; `memory.shared` is that of all agents,
    `memory.documents()` an ingested folder."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("ucop.agent"))
    answered: Sequence[Answered] | None = None
    """In a mesh: what it asked for and was given so far. None where nobody can be asked."""

    _loop: asyncio.AbstractEventLoop | None = None
    """The event loop, for a function that runs outside of it."""

    def ask(self, capability: str, data: Mapping[str, Any] | None = None) -> Any:
        """What another agent of the mesh, which declares the capability, answers to `data`.

        Where that is not known yet, the call ends here and the agent is called again, from its
        beginning, with the answer; so ask before doing what must not be done twice. The same
        question is asked once. Raises NobodyToAsk outside a mesh.
        """
        if self.answered is None:
            raise NobodyToAsk(
                f"{where(self)} asks for {capability!r}, and is not called in a mesh; call the "
                "agent at a node with `mesh`, or by `ucop mesh run`"
            )
        return answer_to(capability, data, self.answered, where(self))

    def for_agent(self, name: str) -> AgentContext:
        """This context with the memory and the logger of one agent."""
        memory, logger = self.memory.of("agents", name), self.logger.getChild(name)
        return replace(self, memory=memory, logger=logger)

    def model(
        self,
        name: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> BaseChatModel:
        """A chat model of LangChain by `provider:model` or alias, with retries and its chain.

        `options` are Ollama's; `schema` is the form of its answers. An async function awaits
        its `ainvoke`, a sync one calls its `invoke`. Calls are counted and ask the budget.
        """
        from ..models.chat import ModelChat

        return ModelChat(
            self.models,
            loop=self._loop,
            name_asked=name,
            options=dict(options or {}),
            answer_schema=schema,
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """A tool of LangChain takes it as `ToolRuntime[AgentContext]`; pydantic asks no more of it
        than to be one."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


async def call(agent: Agent, data: Mapping[str, Any], *, context: AgentContext) -> Any:
    """Run an agent once on `data` and return its output as JSON.

    Raises AgentInputError before anything runs, AgentOutputError for an output that does not
    fit, or in production is a placeholder (an AgentSpec's after the repairs), ModelError, and
    whatever a function raises: as Escaped, where that is no Exception.
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

            return await ask_with_tools(agent, given, context=context)
        return await ask(agent.body, given, context=context)
    return await _run_function(agent, agent.body, given, context)


def accept(agent: Agent, data: Mapping[str, Any], *, context: AgentContext) -> dict[str, Any]:
    """An agent's input with its defaults. Raises AgentInputError, which names each mistake."""
    given: dict[str, Any] = with_defaults(agent.input_schema, dict(data))
    if problems := validate(agent.input_schema, given):
        raise AgentInputError(_does_not_fit("input", agent.name, context, problems))
    accepted: dict[str, Any] = with_whole_numbers(agent.input_schema, given)
    return accepted


async def ask(
    spec: AgentSpec,
    data: Mapping[str, Any],
    *,
    context: AgentContext,
    check: Check | None = None,
) -> Any:
    """Ask the model of a spec until its answer fits the schema and passes `check`.

    `data` is input that was accepted. The spec's tools are not offered: they belong to an Agent,
    which `call` takes. Raises AgentOutputError when the repairs are used up.
    """
    prompt = prompt_of(spec, data, context)
    fits = all_of(check, gate(prompt, data, context))
    answers: list[Answer] = []
    asked: list[AIMessage] = []
    model = ""
    while len(answers) <= spec.repairs:
        message = await context.models.ask(
            spec.model,
            prompt.messages(answers),
            options=prompt.options(len(answers)),
            schema=prompt.schema,
            cache=spec.cache_seconds,
        )
        asked.append(message)
        model = message.response_metadata.get("model_name") or model
        answer = read_answer(message, prompt.schema, fits)
        if not answer.problems:
            return answer.value
        answers.append(answer)
        context.logger.info(
            "%s: answer %d does not fit: %s", spec.name, len(answers), answer.problems[0]
        )
    # Kept, they would be no good again wherever the agent is tried again.
    await context.models.forget(asked)
    raise AgentOutputError(no_answer_fits(spec, context, answers, model or "the model"))


def gate(prompt: Prompt, data: Mapping[str, Any], context: AgentContext) -> Check | None:
    """Finds placeholders in an answer, which goes back to the model then; in production."""
    if not context.production:
        return None
    return lambda value: unfilled(value, prompt.schema, names=data)


def all_of(*checks: Check | None) -> Check:
    """What any of the checks finds."""
    return lambda value: [problem for check in checks if check for problem in check(value)]


def prompt_of(spec: AgentSpec, data: Mapping[str, Any], context: AgentContext) -> Prompt:
    """The question to a spec's model. Raises AgentInputError."""
    try:
        schema = spec.output_schema
        filled = None if schema is None else filled_schema(schema, path_lookup(data))
        return Prompt.of(spec, data, filled)
    except TemplateError as error:
        raise AgentInputError(
            f"agent {spec.name!r} cannot be asked{where(context)}: {error}. "
            "Give that input a value, or change what refers to it."
        ) from error


# ---- functions ----


async def _run_function(
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
        raise AgentInputError(_does_not_fit("input", agent.name, context, problems))
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
        raise AgentOutputError(_does_not_fit("output", agent.name, context, problems)) from error
    except PydanticSerializationError as error:
        problems = [Problem((), str(error))]
        raise AgentOutputError(_does_not_fit("output", agent.name, context, problems)) from error
    if context.production:
        _refuse_placeholders(agent, output, data, context)
    return output


def _refuse_placeholders(
    agent: Agent, output: Any, data: Mapping[str, Any], context: AgentContext
) -> None:
    """A function may pass on what it was given, and say nothing where it has nothing to say."""
    schema = agent.output_schema
    if problems := unfilled(output, schema, names=data, given=data, may_be_empty=True):
        raise AgentOutputError(_does_not_fit("output", agent.name, context, problems))


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


# ---- messages ----


def _does_not_fit(what: str, name: str, context: AgentContext, problems: list[Problem]) -> str:
    listed = "; ".join(str(problem) for problem in problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    schema = "ucop agents show " + name
    return (
        f"the {what} of agent {name!r}{where(context)} does not fit: {listed}{more}. "
        f"`{schema}` shows what is expected."
    )


def no_answer_fits(
    spec: AgentSpec, context: AgentContext, answers: Sequence[Answer], model: str
) -> str:
    last = answers[-1]
    times = "1 answer" if len(answers) == 1 else f"{len(answers)} answers"
    listed = "; ".join(str(problem) for problem in last.problems[:SHOWN_PROBLEMS])
    began = f" The last one began: {last.text[:200]!r}." if last.text else ""
    return (
        f"agent {spec.name!r}{where(context)}: {times} of {model} did not fit: {listed}."
        f"{began} Loosen the output's schema, give an example, raise `repairs`, or use a larger "
        "model."
    )


def where(context: AgentContext) -> str:
    """Which node of which job calls, to follow the agent's name in a message."""
    return f" in node {context.node!r} of job {context.job_id}" if context.node else ""

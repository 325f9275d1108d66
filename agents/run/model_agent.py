"""An agent of YAML: its model is asked until the answer fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import AgentInputError, AgentOutputError
from ..production.placeholders import placeholder_problems
from ..spec.spec import AgentSpec, filled_schema
from ..text.template import TemplateError, path_lookup
from ..text.validation import Problem
from .context import SHOWN_PROBLEMS, AgentContext, where
from .prompt import Answer, Prompt, read_answer

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


Check = Callable[[Any], list[Problem]]


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
    return lambda value: placeholder_problems(value, prompt.schema, names=data)


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

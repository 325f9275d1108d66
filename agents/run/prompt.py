"""What a chat model is sent for one call of an agent, and what its answer says.

Nothing here talks to a model: messages and options go out of here, an answer comes back in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..providers.thinking import has_thought, without_thinking
from ..spec.spec import AgentSpec
from ..text.schema import with_defaults
from ..text.template import parse, path_lookup
from ..text.validation import Problem, Schema, validate
from ..text.whole_numbers import with_whole_numbers

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

LONGEST_QUOTE = 4000
"""How much of a bad answer is sent back, in characters."""

# Added to the temperature of each new try of `repair: reseed`; they served the small
# embedded model best, which repeats itself at 0 and loses the thread above 0.6.
WARMER = (0.0, 0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: its text, its value, and why that does not do."""

    text: str
    value: Any
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question to a model, rendered."""

    spec: AgentSpec
    system: str | None
    examples: tuple[tuple[str, str], ...]
    question: str
    schema: Schema | None

    @classmethod
    def of(cls, spec: AgentSpec, data: Mapping[str, Any], schema: Schema | None) -> Prompt:
        """Render a spec with its input. Raises TemplateError."""
        template = parse(spec.prompt)
        return cls(
            spec=spec,
            system=parse(spec.system).render_text(path_lookup(data)) if spec.system else None,
            examples=tuple(
                (
                    template.render_text(path_lookup(_input_of(spec, example.input))),
                    _text_of(with_whole_numbers(spec.output_schema, example.output)),
                )
                for example in spec.examples
            ),
            question=template.render_text(path_lookup(data)),
            schema=schema,
        )

    def messages(self, answers: Sequence[Answer] = ()) -> list[BaseMessage]:
        """The conversation to send after `answers` that did not fit."""
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        messages: list[BaseMessage] = [SystemMessage(self.system)] if self.system else []
        messages += self.question_messages()
        if self.spec.repair == "feedback":
            for bad in answers:
                if bad.text:
                    messages.append(AIMessage(bad.text[:LONGEST_QUOTE]))
                messages.append(HumanMessage(feedback(bad)))
        return messages

    def question_messages(self) -> list[BaseMessage]:
        """The examples and the question, without the system's message."""
        from langchain_core.messages import AIMessage, HumanMessage

        messages: list[BaseMessage] = []
        for question, answer in self.examples:
            messages += [HumanMessage(question), AIMessage(answer)]
        return [*messages, HumanMessage(self.question)]

    def options(self, tries: int) -> dict[str, Any]:
        """The model's options after `tries` answers that did not fit."""
        options = self.spec.options.given()
        if tries and self.spec.repair == "reseed":
            options["seed"] = options.get("seed", 0) + tries
            if "temperature" in options:
                warmer = WARMER[min(tries, len(WARMER) - 1)]
                options["temperature"] = min(2.0, options["temperature"] + warmer)
        return options


def read_answer(
    message: AIMessage,
    schema: Schema | None,
    check: Callable[[Any], list[Problem]] | None = None,
) -> Answer:
    """What a model's message says under `schema`; None is plain text that must not be empty."""
    message = without_thinking(message)
    text = message.text.strip()
    value, problems = _value(text, schema)
    if not problems and check is not None:
        problems = check(value)
    if _was_cut(message):
        problems = [Problem((), _cut_message(message, text))]
    return Answer(text=text, value=value, problems=tuple(problems))


def _value(text: str, schema: Schema | None) -> tuple[Any, list[Problem]]:
    if not text:
        return None, [Problem((), "the answer is empty")]
    if schema is None:
        return text, _unfit(text)
    try:
        value = json.loads(_without_fence(text), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return None, [Problem((), f"the answer is not JSON: {error}")]
    problems = validate(schema, value) or _unfit(json.dumps(value, ensure_ascii=False))
    return with_whole_numbers(schema, value), problems


def _unfit(text: str) -> list[Problem]:
    """No database keeps a NUL or half a surrogate pair, and models can write both in JSON."""
    unfit = re.search("\x00|\\\\u0000|[\ud800-\udfff]", text)
    return [Problem((), "the answer holds a character that cannot be stored")] if unfit else []


def _was_cut(message: AIMessage) -> bool:
    metadata = message.response_metadata
    reason = metadata.get("done_reason") or metadata.get("finish_reason") or ""
    return str(reason).lower() in ("length", "max_tokens")


def _cut_message(message: AIMessage, text: str) -> str:
    if text or not has_thought(message):
        return "the answer was cut off at `num_predict` tokens; raise it"
    return (
        "the model was still thinking when `num_predict` tokens were used up; raise it, or set "
        "`think: false`"
    )


def _without_fence(text: str) -> str:
    """The inside of a ```json block, which models write although they were asked for JSON."""
    fence = re.fullmatch(r"```(?:json)?\s*\n(.*)\n\s*```", text, re.DOTALL)
    return fence.group(1) if fence else text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def feedback(answer: Answer) -> str:
    """What the model is told of an answer that does not fit."""
    listed = "\n".join(f"- {problem}" for problem in answer.problems)
    return f"That answer cannot be used:\n{listed}\nAnswer again, with this corrected."


def _text_of(output: Any) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _input_of(spec: AgentSpec, given: Mapping[str, Any]) -> Any:
    return with_whole_numbers(spec.input_schema, with_defaults(spec.input_schema, given))

"""Asking for help: what an agent says in a mesh, where it may ask instead of answering.

A function asks by `context.ask(capability, data)`, which gives the answer, or ends the call by
raising Ask: the agent is called again once there is an answer. A prompt that declares `asks` is
given the choice by its schema: `{answer: …}`, or `{ask: {capability, data}}` for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import AgentOutputError
from ..spec.agent import Agent
from ..spec.spec import AgentSpec
from ..text.schema import map_subschemas
from ..text.validation import Problem, Schema, validate
from .answered import ANSWER, ASK, Answered, Ask, find_answer
from .model_agent import ask
from .run import accept, call

if TYPE_CHECKING:
    from .context import AgentContext

ANSWERS = "answers_so_far"
"""The input in which a prompt gets what it was answered."""

_HOW = """
Answer as {"answer": …}. If you cannot answer without help, ask for it instead, as
{"ask": {"capability": …, "data": …}}; you will be asked again with what came back. You may ask for:
"""


def is_said(value: Any) -> bool:
    """Whether a value has the form of what `consult` returns."""
    data = {"capability": {"type": "string"}, "data": {"type": "object"}}
    ways = [_only(ANSWER, {}), _only(ASK, _exactly(data))]
    return not validate({"anyOf": ways}, value)


async def consult(
    agent: Agent,
    data: Mapping[str, Any],
    *,
    context: AgentContext,
    answered: Sequence[Answered],
    asks: Mapping[str, Schema],
) -> dict[str, Any]:
    """Call an agent that may ask; `asks` has the input schema of each capability that there is.

    Returns `{"answer": …}` or `{"ask": {"capability": …, "data": …}}`. Raises as `call`.
    """
    may = {name: asks.get(name, {"type": "object"}) for name in agent.asks}
    try:
        if isinstance(agent.body, AgentSpec) and may:
            return await _choose(agent, data, context, answered, may)
        return {ANSWER: await call(agent, data, context=replace(context, answered=answered))}
    except Ask as asked:
        if may and asked.capability not in may:
            raise AgentOutputError(
                f"agent {agent.name!r} asks for {asked.capability!r}, and declares only "
                f"asks={sorted(may)}; add it there"
            ) from None
        return {ASK: {"capability": asked.capability, "data": dict(asked.data)}}


async def _choose(
    agent: Agent,
    data: Mapping[str, Any],
    context: AgentContext,
    answered: Sequence[Answered],
    may: Mapping[str, Schema],
) -> dict[str, Any]:
    assert isinstance(agent.body, AgentSpec)
    given = accept(agent, data, context=context)
    told = {**given, ANSWERS: _answers_text(answered)}

    def is_new(value: Mapping[str, Any]) -> list[Problem]:
        asked = value.get(ASK)
        if asked is None or find_answer(asked["capability"], asked["data"], answered) is None:
            return []
        return [Problem((ASK,), "was asked and answered already; answer with what came back")]

    spec = asking(agent.body, may)
    said: dict[str, Any] = await ask(spec, told, context=context, check=is_new)
    return said


def asking(spec: AgentSpec, may: Mapping[str, Schema]) -> AgentSpec:
    """The spec of an agent that may ask for what `may` names, with the schemas of the data."""
    listed = "\n".join(f"- {name}: data {_fields(schema)}" for name, schema in may.items())
    # Names and schemas are no templates.
    how = (_HOW + listed).replace("${", "$${")
    examples = [
        one.model_copy(update={"input": {**one.input, ANSWERS: ""}, "output": {ANSWER: one.output}})
        for one in spec.examples
    ]
    return spec.model_copy(
        update={
            "system": f"{spec.system or ''}{how}",
            "prompt": f"{spec.prompt}${{{ANSWERS}}}",
            "output": asking_schema(spec.output_schema, may),
            "examples": examples,
        }
    )


def asking_schema(output: Schema | None, may: Mapping[str, Schema]) -> Schema:
    """An answer that fits `output`, or a question about one of the capabilities."""
    definitions: dict[str, Any] = {}
    answer = output if output is not None else {"type": "string", "minLength": 1}
    ways = [_only(ANSWER, _embed(answer, "answer", definitions))]
    for number, (name, schema) in enumerate(may.items()):
        data = _embed(schema, f"ask{number}", definitions)
        said = {"capability": {"const": name}, "data": data}
        ways.append(_only(ASK, _exactly(said)))
    return {"anyOf": ways, **({"$defs": definitions} if definitions else {})}


def _only(name: str, schema: Schema) -> Schema:
    return _exactly({name: schema})


def _exactly(fields: Mapping[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(fields),
        "additionalProperties": False,
    }


def _embed(schema: Any, prefix: str, definitions: dict[str, Any]) -> Any:
    """A schema as a part of another: what its references lead to moves to the root with them."""
    if not isinstance(schema, Mapping):
        return schema
    for word in ("$defs", "definitions"):
        for name, inner in (schema.get(word) or {}).items():
            definitions[f"{prefix}.{name}"] = _rename_references(inner, prefix)
    return _rename_references(
        {k: v for k, v in schema.items() if k not in ("$defs", "definitions")}, prefix
    )


def _rename_references(schema: Any, prefix: str) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    change: Callable[[Any], Any] = lambda inner: _rename_references(inner, prefix)  # noqa: E731
    found = {
        key: map_subschemas(key, value, change, otherwise=lambda same: same)
        for key, value in schema.items()
    }
    reference = found.get("$ref")
    if isinstance(reference, str):
        found["$ref"] = _reference(reference, prefix)
    return found


def _reference(reference: str, prefix: str) -> str:
    for word in ("#/$defs/", "#/definitions/"):
        if reference.startswith(word):
            return f"#/$defs/{prefix}.{reference.removeprefix(word)}"
    return reference


def _fields(schema: Schema) -> str:
    fields = schema.get("properties") or {}
    return "{" + ", ".join(fields) + "}"


def _answers_text(answered: Sequence[Answered]) -> str:
    """What came back, as the end of a prompt."""
    lines = [
        f"\nYou asked for {one.capability} with {_json(one.data)}, and were answered: "
        f"{_json(one.answer)}"
        for one in answered
    ]
    return "\n" + "".join(lines) if lines else ""


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""What an agent is: a spec from YAML or a Python function, behind one view.

An agent has a name, a description, capabilities, a schema of its input and one of its output,
and a body that does the work. The bodies are `AgentSpec` itself (a prompt for a chat model, that
may have tools to call) and `FunctionBody` (`agents/spec/function.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..text.duration import WRITTEN, seconds_of
from ..text.schema import declared_schema, fields_schema, map_subschemas, subschemas
from ..text.source import DataPath
from ..text.template import Lookup, Template, TemplateError, parse
from ..text.validation import Schema

AGENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

# Keywords of an output schema that may refer to an input.
REFERABLE = frozenset(
    ("enum", "const", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
)


_CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Options(BaseModel):
    """How the model is asked, in Ollama's names; what is left out is the model's default."""

    model_config = _CONFIG

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 for the likeliest words, more for variety."""
    seed: int | None = None
    """Makes a model's choices repeatable."""
    num_predict: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; what the model thinks before it has room of its own."""
    num_ctx: int | None = Field(default=None, ge=1)
    """Size of the model's window, in tokens."""
    repeat_penalty: float | None = Field(default=None, gt=0)
    """How much words that were used are avoided; 1 is not at all."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only the likeliest words that sum up to this share."""
    top_k: int | None = Field(default=None, ge=1)
    """Only so many of the likeliest words."""
    stop: str | list[str] | None = None
    """Text at which the answer ends."""
    think: bool | Literal["low", "medium", "high"] | None = None
    """Whether, or how hard, the model thinks before it answers; `num_predict` is the answer's own."""

    def given(self) -> dict[str, Any]:
        """What was set, as the model's endpoint takes it."""
        given = self.model_dump(exclude_none=True)
        if isinstance(self.stop, str):
            given["stop"] = [self.stop]
        return given


class Example(BaseModel):
    """One question and the answer that was wanted, shown to the model before the real one."""

    model_config = _CONFIG

    input: dict[str, Any]
    """What the agent is given."""
    output: Any
    """What it should answer."""


TOOL_NAME = rf"^({AGENT_NAME.pattern}|mcp:[A-Za-z0-9_-]+(/[A-Za-z0-9_.-]+)?)$"


class AgentLimits(BaseModel):
    """What one call of an agent with tools may use at most; of one attempt, after a crash."""

    model_config = _CONFIG

    model_calls: int = Field(default=10, ge=1, le=1000)
    """Answers of the model; more are an error."""
    tool_calls: int = Field(default=20, ge=1, le=1000)
    """Calls of tools; more are refused, and the model is told so."""


class AgentSpec(BaseModel):
    """An agent as YAML describes it: a prompt for a chat model, and tools that it may call."""

    model_config = _CONFIG

    name: str = Field(pattern=f"^{AGENT_NAME.pattern}$")
    """The agent's name; in a workflow's file it is the key that it stands under."""
    description: str = ""
    """What it does, in a sentence."""
    capabilities: list[str] = []
    """What it can do, in words by which it is found."""
    asks: list[str] = []
    """Capabilities of others that it may ask for in a mesh, instead of answering at once."""
    category: str | None = None
    """A word that groups agents."""
    model: str | None = None
    """`provider:model` or an alias of the project; None is the alias `default`."""
    system: str | None = None
    """The system message: who the model is to be. May hold `${…}` of inputs."""
    prompt: str = Field(min_length=1)
    """The question. `${name}` stands for an input."""
    examples: list[Example] = []
    """Questions and the answers that were wanted, shown to the model."""
    tools: list[Annotated[str, Field(pattern=TOOL_NAME)]] = Field(default=[], max_length=64)
    """What the model may call: tools and agents of the project by name, `mcp:SERVER`, or
    `mcp:SERVER/TOOL`."""
    limits: AgentLimits = AgentLimits()
    input: dict[str, Any] = {}
    """Fields, or the JSON Schema of an object."""
    output: dict[str, Any] | str | None = None
    """Fields or a JSON Schema; None for an agent that answers in plain text."""
    options: Options = Options()
    """How the model is asked."""
    repairs: int = Field(default=2, ge=0, le=10)
    """How often an answer that does not fit is asked for again."""
    repair: Literal["feedback", "reseed"] = "feedback"
    """How: with what was wrong, or anew with another seed."""
    cache: str | None = Field(default=None, pattern=f"^{WRITTEN}$")
    """How long each answer of its model is kept, such as `1h`: the same question is not paid
    for twice within it. None keeps those that the project's `model_cache` keeps."""

    @property
    def cache_seconds(self) -> float | None:
        return None if self.cache is None else seconds_of(self.cache)

    @property
    def input_schema(self) -> Schema:
        """The object schema of the input; `input:` without anything takes no input."""
        schema: Schema = declared_schema(self.input) if self.input else fields_schema({})
        return schema

    @property
    def output_schema(self) -> Schema | None:
        """The output's schema as it is written, references to inputs included."""
        return None if self.output is None else declared_schema(self.output)


# ---- output schemas that refer to inputs ----


def schema_references(schema: Any) -> Iterator[tuple[DataPath, Template]]:
    """The `${…}` in a schema that stand for values, with their paths."""
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        if _refers(key, value):
            yield (key,), parse(value)
    for path, inner in subschemas(schema):
        for inner_path, template in schema_references(inner):
            yield path + inner_path, template


def without_references(schema: Any) -> Any:
    """A copy of a schema without the keywords that refer to an input."""
    return _replace_references(schema, lambda key, text: _LEFT_OUT)


def filled_schema(schema: Any, lookup: Lookup) -> Any:
    """A copy of a schema in which the references are the input's values."""
    return _replace_references(schema, lambda key, text: _value_for(key, parse(text), lookup))


_LEFT_OUT = object()


def _refers(keyword: str, value: Any) -> bool:
    return keyword in REFERABLE and isinstance(value, str) and "${" in value


def _replace_references(schema: Any, value_of: Callable[[str, str], Any]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    replaced = {
        key: value_of(key, value)
        if _refers(key, value)
        else map_subschemas(
            key,
            value,
            lambda inner: _replace_references(inner, value_of),
            otherwise=lambda same: same,
        )
        for key, value in schema.items()
    }
    return {key: value for key, value in replaced.items() if value is not _LEFT_OUT}


def _value_for(keyword: str, template: Template, lookup: Lookup) -> Any:
    value = template.render(lookup)
    if keyword == "enum" and not (isinstance(value, list) and value):
        raise TemplateError(f"{template.text} must be a list with at least one item to choose from")
    return value

"""The body of an agent that is a Python function: its inputs and output by its type hints."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InvalidDefinition
from ..finding import Finding, Position
from ..text.raised import first_line
from ..text.validation import Schema

if TYPE_CHECKING:
    from pydantic import TypeAdapter


CONTEXT = "context"


@dataclass(frozen=True, kw_only=True)
class FunctionBody:
    """A Python function as the body of an agent."""

    function: Callable[..., Any]
    parameters: Mapping[str, inspect.Parameter] = field(repr=False)
    """Its inputs by name, without `context`."""
    takes_context: bool
    open_ended: bool
    """Whether it takes inputs of any other name too (`**rest`)."""

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def source(self) -> str:
        """Its source text; the name of its module if there is none to read."""
        try:
            return inspect.getsource(self.function)
        except OSError:
            return f"{self.function.__module__}.{self.function.__qualname__}"

    @cached_property
    def inputs(self) -> Mapping[str, TypeAdapter[Any]]:
        """What reads each input from JSON."""
        hints = self._hints
        return {name: self._adapter(name, hints.get(name, Any)) for name in self.parameters}

    @cached_property
    def output(self) -> TypeAdapter[Any]:
        """What checks the output and writes it as JSON."""
        return self._adapter("return", self._hints.get("return", Any))

    @cached_property
    def input_schema(self) -> Schema:
        return {
            "type": "object",
            **self._properties(),
            "required": [name for name, p in self.parameters.items() if p.default is p.empty],
            "additionalProperties": self.open_ended,
        }

    @cached_property
    def output_schema(self) -> Schema:
        from pydantic.errors import PydanticInvalidForJsonSchema

        try:
            return self.output.json_schema(mode="serialization")
        except PydanticInvalidForJsonSchema as error:
            refuse(self.function, f"its output has no JSON Schema: {first_line(error)}")

    def _properties(self) -> dict[str, Any]:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticInvalidForJsonSchema

        wanted = [(name, "validation", adapter) for name, adapter in self.inputs.items()]
        try:
            found, shared = TypeAdapter.json_schemas(typing.cast(Any, wanted))
        except PydanticInvalidForJsonSchema as error:
            refuse(self.function, f"an input has no JSON Schema: {first_line(error)}")
        properties = {
            name: dict(found[(name, typing.cast(Any, "validation"))]) for name in self.inputs
        }
        for name, schema in properties.items():
            self._declare_default(name, schema)
        definitions = {key: value for key, value in shared.items() if key == "$defs"}
        return {"properties": properties, **definitions}

    def _declare_default(self, name: str, schema: Schema) -> None:
        default = self.parameters[name].default
        if default is not inspect.Parameter.empty:
            schema["default"] = self.inputs[name].dump_python(default, mode="json")

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            # People import AgentContext under TYPE_CHECKING, where its name means nothing here.
            known = {"AgentContext": Any}
            return typing.get_type_hints(self.function, localns=known, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            refuse(self.function, f"a type hint cannot be read: {error}")

    def _adapter(self, name: str, hint: Any) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        try:
            return TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            what = "the return type" if name == "return" else f"the type of {name!r}"
            refuse(self.function, f"{what} cannot be read from JSON: {first_line(error)}")


def position_of(function: Callable[..., Any]) -> Position:
    code = inspect.unwrap(function).__code__
    return Position(code.co_filename, code.co_firstlineno, 1)


def origin_of(function: Callable[..., Any]) -> str:
    position = position_of(function)
    return f"{Path(position.file).name}:{position.line}"


def refuse(function: Callable[..., Any], message: str) -> NoReturn:
    """Raise InvalidDefinition, with the place of the function."""
    said = f"{function.__name__}: {message}"
    raise InvalidDefinition([Finding.error("function", said, position_of(function))])

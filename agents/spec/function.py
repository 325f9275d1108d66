"""`@agent`: a Python function as an agent; its type hints are the schemas.

    @agent(capabilities=["count"])
    def word_counter(text: str, context: AgentContext) -> int:
        '''Count the words of a text.'''
        return len(text.split())

The function stays what it was and can be called as before. A parameter named `context` is
not an input: it receives the AgentContext of the call.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from ..errors import InvalidDefinition
from ..finding import Finding, Position
from ..text.schema import Schema
from .spec import AGENT_NAME, Agent

if TYPE_CHECKING:
    from pydantic import TypeAdapter

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = "context"
_MARK = "__ucop_agent__"


@overload
def agent(function: F, /) -> F: ...


@overload
def agent(
    name: str | None = None,
    /,
    *,
    description: str | None = None,
    capabilities: Iterable[str] = (),
    asks: Iterable[str] = (),
    category: str | None = None,
) -> Callable[[F], F]: ...


def agent(
    name: Any = None,
    /,
    *,
    description: str | None = None,
    capabilities: Iterable[str] = (),
    asks: Iterable[str] = (),
    category: str | None = None,
) -> Any:
    """Mark a function, sync or async, as an agent.

    The name is the function's own unless one is given; the description is the first
    paragraph of its docstring. `asks` names the capabilities of others that it may ask for in a
    mesh. A sync function runs in a thread of its own. Raises
    InvalidDefinition for a function that cannot be an agent.
    """
    if callable(name):
        return agent()(name)

    def mark(function: F) -> F:
        made = _agent_of_function(
            function,
            name=name or function.__name__,
            description=_first_paragraph(function) if description is None else description,
            capabilities=tuple(capabilities),
            asks=tuple(asks),
            category=category,
        )
        setattr(function, _MARK, made)
        return function

    return mark


def agent_of(value: Any) -> Agent | None:
    """The agent that `value` is, or that `@agent` made of it; None for anything else."""
    found = value if isinstance(value, Agent) else getattr(value, _MARK, None)
    return found if isinstance(found, Agent) else None


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
        """Its source text; the name of its module where there is none to read."""
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
            _refuse(self.function, f"its output has no JSON Schema: {_first_line(error)}")

    def _properties(self) -> dict[str, Any]:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticInvalidForJsonSchema

        wanted = [(name, "validation", adapter) for name, adapter in self.inputs.items()]
        try:
            found, shared = TypeAdapter.json_schemas(typing.cast(Any, wanted))
        except PydanticInvalidForJsonSchema as error:
            _refuse(self.function, f"an input has no JSON Schema: {_first_line(error)}")
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
            _refuse(self.function, f"a type hint cannot be read: {error}")

    def _adapter(self, name: str, hint: Any) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        try:
            return TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            what = "the return type" if name == "return" else f"the type of {name!r}"
            _refuse(self.function, f"{what} cannot be read from JSON: {_first_line(error)}")


def _agent_of_function(
    function: Callable[..., Any],
    *,
    name: str,
    description: str,
    capabilities: tuple[str, ...],
    asks: tuple[str, ...],
    category: str | None,
) -> Agent:
    if not AGENT_NAME.fullmatch(name):
        _refuse(function, f"{name!r} is no name for an agent: letters, digits, _ and -")
    return Agent(
        name=name,
        description=description,
        capabilities=capabilities,
        asks=asks,
        category=category,
        body=_body(function),
        origin=_origin(function),
        position=_position(function),
    )


def _body(function: Callable[..., Any]) -> FunctionBody:
    if not inspect.isfunction(inspect.unwrap(function)):
        raise TypeError("@agent marks functions that are written with def or async def")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        _refuse(function, "a generator cannot be an agent: return the whole output")
    inputs, takes_context, open_ended = {}, False, False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            _refuse(function, f"{name!r} cannot be given by name, as an agent's inputs are")
        elif parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif name == CONTEXT:
            takes_context = True
        else:
            inputs[name] = parameter
    return FunctionBody(
        function=function, parameters=inputs, takes_context=takes_context, open_ended=open_ended
    )


def _first_paragraph(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _position(function: Callable[..., Any]) -> Position:
    code = inspect.unwrap(function).__code__
    return Position(code.co_filename, code.co_firstlineno, 1)


def _origin(function: Callable[..., Any]) -> str:
    position = _position(function)
    return f"{Path(position.file).name}:{position.line}"


def _refuse(function: Callable[..., Any], message: str) -> NoReturn:
    finding = Finding(
        severity="error",
        message=f"{function.__name__}: {message}",
        position=_position(function),
        code="function",
    )
    raise InvalidDefinition([finding])

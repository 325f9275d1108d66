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
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from .agent import Agent
from .function_body import CONTEXT, FunctionBody, origin_of, position_of, refuse
from .spec import AGENT_NAME

F = TypeVar("F", bound=Callable[..., Any])

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
        refuse(function, f"{name!r} is no name for an agent: letters, digits, _ and -")
    return Agent(
        name=name,
        description=description,
        capabilities=capabilities,
        asks=asks,
        category=category,
        body=_body(function),
        origin=origin_of(function),
        position=position_of(function),
    )


def _body(function: Callable[..., Any]) -> FunctionBody:
    if not inspect.isfunction(inspect.unwrap(function)):
        raise TypeError("@agent marks functions that are written with def or async def")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        refuse(function, "a generator cannot be an agent: return the whole output")
    inputs, takes_context, open_ended = {}, False, False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            refuse(function, f"{name!r} cannot be given by name, as an agent's inputs are")
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

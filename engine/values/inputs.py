"""A job's input as its row keeps it: JSON, and, where JSON alone cannot say what Python gave,
the same once more as LangGraph's checkpoints have it."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ucop.agents.text.paths import path_text
from ucop.graphs.errors import StateError
from ucop.graphs.types.input_types import as_json, is_json
from ucop.graphs.types.state import normalise
from ucop.graphs.workflow import Workflow

from ..errors import InvalidInput
from .json_text import to_json

Path = tuple[Any, ...]
Types = Sequence[str]
"""Classes that the setting `[state] types` allows besides the project's own."""


def kept_input(workflow: Workflow, data: Any, types: Types = ()) -> tuple[str, str | None]:
    """An input as JSON text, and as `jobs.run` keeps it where that is not all. Raises InvalidInput
    for what does not fit the workflow, or would come back as something else."""
    accepted = workflow.accept(data)
    where = f"the input of {workflow.name!r}"
    if workflow.kind == "yaml":
        return to_json(accepted), None
    given = data if data is not None else accepted
    try:
        shown = normalise(as_json(given), None, where)
    except StateError as error:
        raise InvalidInput(str(error)) from error
    if is_json(given):
        # A value that the schema made of JSON must be one that a checkpoint can keep, too.
        if not is_json(accepted):
            _pack(workflow, accepted, where, types)
        return to_json(shown), None
    return to_json(shown), _pack(workflow, accepted, where, types)


def json_input(workflow: Workflow, data: Any, types: Types = ()) -> Any:
    """An input as JSON alone, for what is submitted again and again. Raises InvalidInput for one
    that JSON and the workflow's schema do not bring back as it is."""
    text, typed = kept_input(workflow, data, types)
    if workflow.kind == "yaml":
        return {} if data is None else data  # defaults are filled in each time
    shown = json.loads(text)
    if typed is None:
        return shown
    whole, back = workflow.accept(data), workflow.accept(shown)
    if (found := _difference(whole, back, ())) is not None:
        at = path_text(found[0]) if found[0] else "it"
        raise InvalidInput(
            f"the input of {workflow.name!r}: {at} is {_type_text(_at(whole, found[0]))}, which is kept "
            "as JSON here and would come back as another; give it as JSON"
        )
    return shown


def given_input(workflow: Workflow, input: Any, typed: str | None, types: Types = ()) -> Any:
    """What a graph is to begin with, from what its job keeps."""
    if typed is None:
        return workflow.accept(input)
    from .serializer import serializer_of

    kept = ("msgpack", base64.b64decode(typed))
    return serializer_of(workflow.graph(), types).loads_typed(kept)


def _pack(workflow: Workflow, value: Any, where: str, types: Types) -> str:
    """`value` as a checkpoint keeps it. Raises InvalidInput where it would come back changed."""
    from .serializer import serializer_of
    from .stored import culprit

    serializer = serializer_of(workflow.graph(), types)
    try:
        kind, data = serializer.dumps_typed(value)
        back = serializer.loads_typed((kind, data))
    except Exception as error:  # also what code of the project's own types raises
        kind, why = culprit(value, serializer.dumps_typed, error)
        raise InvalidInput(
            f"{where} holds a value of type {kind} and cannot be kept: {why}. Give what JSON or "
            "the graph's input schema can say, and let the graph build the rest"
        ) from error
    if (found := _difference(value, back, ())) is not None:
        path, kept = found
        at = f"{where}: {path_text(path)}" if path else where
        raise InvalidInput(
            f"{at}: {_type_text(_at(value, path))} would come back as {_type_text(kept)}; name the class in "
            "the graph's input schema, so that it is known where the job goes on"
        )
    if kind != "msgpack":
        raise InvalidInput(f"{where} cannot be kept: it is {_type_text(value)}")
    return base64.b64encode(data).decode()


def _difference(one: Any, other: Any, path: Path) -> tuple[Path, Any] | None:
    """Where two values differ, and what the second has there; None where they are the same."""
    if type(one) is not type(other):
        return path, other
    if isinstance(one, Mapping):
        if list(one) != list(other):
            return path, other
        pairs = ((key, one[key], other[key]) for key in one)
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return path, other
        pairs = ((i, a, b) for i, (a, b) in enumerate(zip(one, other, strict=True)))
    elif isinstance(one, BaseModel) or dataclasses.is_dataclass(one):
        pairs = ((name, value, vars(other).get(name)) for name, value in _fields(one))
    else:
        return None if _equal(one, other) else (path, other)
    return next((found for k, a, b in pairs if (found := _difference(a, b, (*path, k)))), None)


def _fields(value: Any) -> list[tuple[str, Any]]:
    return list(vars(value).items()) if hasattr(value, "__dict__") else []


def _equal(one: Any, other: Any) -> bool:
    try:
        if not _compares(one) and hasattr(one, "__dict__"):
            return bool(vars(one) == vars(other))
        return bool(one == other)
    except Exception:  # noqa: BLE001 - code of the project's own types, or arrays
        return repr(one) == repr(other)


def _compares(value: Any) -> bool:
    """Whether its class says when two of them are equal."""
    return any("__eq__" in vars(kind) for kind in type(value).__mro__[:-1])


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step] if isinstance(value, Mapping | list | tuple) else vars(value)[step]
    return value


def _type_text(value: Any) -> str:
    kind = type(value)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return "null" if value is None else f"a {name}"

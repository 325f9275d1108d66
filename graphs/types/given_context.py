"""The context that a run is given, by the graph's `context_schema`: as JSON to be kept, and as
the object that LangGraph gives to the nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import typing_extensions
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.raised import first_line

from ..errors import InvalidInput, StateError
from .input_types import Unfit, convert, hints_of, is_object, reader_of
from .state import normalise

Unchecked = Callable[[Any], bool]
"""Whether a value is only known where the run begins: a secret that is given by name."""


def names_of(schema: Any) -> frozenset[str]:
    """The names that a schema declares."""
    return frozenset(hints_of(schema))


def fields_of(schema: Any) -> dict[str, Any]:
    """The JSON Schema of each name that a schema declares; of those that have one."""
    fields: dict[str, Any] = {}
    for name, hint in hints_of(schema).items():
        try:
            reader = reader_of(hint)
            fields[name] = reader.json_schema() if reader is not None else {}
        except PydanticUserError:
            fields[name] = {}
    return fields


def kept_context(schema: Any, given: Any, where: str, unchecked: Unchecked) -> dict[str, Any]:
    """A context as JSON, checked. Raises InvalidInput naming what is wrong."""
    values = _values(schema, given, where)
    hidden = [name for name, hint in hints_of(schema).items() if _is_secret(hint)]
    shown = [n for n in hidden if values.get(n) is not None and not unchecked(values[n])]
    if shown or any(isinstance(each, SecretStr | SecretBytes) for each in values.values()):
        named = ", ".join(shown) or "what it holds"
        raise InvalidInput(
            f"the context of {where}: {named} is a secret, which ucop does not store; give its "
            "name instead, as ${env:NAME}"
        )
    try:
        kept = normalise(to_jsonable_python(values), None, f"the context of {where}")
    except (PydanticSerializationError, StateError, ValueError) as error:
        raise InvalidInput(
            f"the context of {where} cannot be kept with the job: {first_line(error)}. Give texts, "
            "numbers, lists and objects; what else nodes need, such as a connection, the graph "
            "itself opens (a factory may be a context manager)"
        ) from error
    made: dict[str, Any] = dict(kept)
    if schema is None or not isinstance(schema, type):
        return made
    _refuse_unknown(schema, made, where)
    built = _check_values(schema, made, where, unchecked)
    if built is not None and not isinstance(given, Mapping) and not _same(built, given):
        raise InvalidInput(
            f"the context of {where} cannot be kept with the job: as JSON it would come back as "
            f"{built!r}"
        )
    return made


def built_context(schema: Any, kept: Mapping[str, Any] | None) -> Any:
    """What LangGraph is given. Raises InvalidInput for values that the schema does not take."""
    if kept is None:
        return None
    try:
        return _build(schema, dict(kept))
    except Unfit as error:
        raise InvalidInput(f"the context does not fit: {error}") from error


def _values(schema: Any, given: Any, where: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, BaseModel):
        return {name: getattr(given, name) for name in type(given).model_fields}
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {f.name: getattr(given, f.name) for f in dataclasses.fields(given) if f.init}
    wanted = f"a {schema.__name__}, or " if is_object(schema) else ""
    raise InvalidInput(
        f"the context of {where} must be {wanted}an object of names and values, "
        f"not a {type(given).__name__}"
    )


def _is_secret(hint: Any) -> bool:
    arms = (hint, *typing_extensions.get_args(hint))
    return any(isinstance(a, type) and issubclass(a, SecretStr | SecretBytes) for a in arms)


def _refuse_unknown(schema: type, kept: Mapping[str, Any], where: str) -> None:
    known = names_of(schema)
    if issubclass(schema, BaseModel):
        if schema.model_config.get("extra") == "allow":
            return
        fields = schema.model_fields.values()
        known |= {alias for field in fields if (alias := field.alias) is not None}
    for name in kept:
        if name not in known:
            listed = sorted(known)
            meant = did_you_mean(name, listed) or f"it takes {', '.join(listed)}"
            raise InvalidInput(f"the context of {where} has no {name!r}; {meant}")


def _check_values(schema: type, kept: dict[str, Any], where: str, unchecked: Unchecked) -> Any:
    """The context as its schema makes it; None if that shows only once secrets are known."""
    later = {name for name, value in kept.items() if unchecked(value)}
    missing = sorted(_required_names(schema) - set(kept))
    if missing:
        raise InvalidInput(f"the context of {where} lacks {', '.join(missing)}")
    try:
        if not later:
            return _build(schema, kept)
        hints = hints_of(schema)
        for name, value in kept.items():
            if name not in later and name in hints:
                convert(hints[name], value, (name,))
    except Unfit as error:
        raise InvalidInput(f"the context of {where} does not fit: {error}") from error
    return None


def _required_names(schema: type) -> set[str]:
    if issubclass(schema, BaseModel):
        fields = schema.model_fields.items()
        return {field.alias or name for name, field in fields if field.is_required()}
    if dataclasses.is_dataclass(schema):
        none = dataclasses.MISSING
        return {
            f.name
            for f in dataclasses.fields(schema)
            if f.init and f.default is none and f.default_factory is none
        }
    return set(getattr(schema, "__required_keys__", ()))


def _build(schema: Any, kept: dict[str, Any]) -> Any:
    if not isinstance(schema, type):
        return kept
    if is_object(schema) and (reader := reader_of(schema)) is not None:
        try:
            return reader.validate_json(to_json(kept))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Unfit(first["loc"], str(first["msg"])) from error
    hints = hints_of(schema)
    return {
        name: _checked_type(hints[name], convert(hints[name], value, (name,)), name)
        if name in hints
        else value
        for name, value in kept.items()
    }


def _checked_type(hint: Any, value: Any, name: str) -> Any:
    """A value of a TypedDict, which itself checks nothing."""
    reader = reader_of(hint)
    if reader is None:
        return value
    try:
        reader.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Unfit((name, *first["loc"]), str(first["msg"])) from error
    return value


def _same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - code of the project
        return False

"""CEL at work: the variables that Python resolves, the errors in plain words, the result as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ExpressionError

if TYPE_CHECKING:
    import cel

Scope = Mapping[str, Any]
"""The names of the state, with their values."""


def evaluator(
    program: cel.Program, holes: Mapping[str, Callable[[Scope], Any]]
) -> Callable[[Scope], Any]:
    """A function that runs a program on a scope; `holes` gives the value of each of its variables."""

    def evaluate(scope: Scope) -> Any:
        values: dict[str, Any] = {}
        missing: dict[str, ExpressionError] = {}
        for name, value in holes.items():
            try:
                values[name] = value(scope)
            except ExpressionError as error:
                missing[name] = error
        try:
            result = program.execute(dict(values))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _evaluation_error(error, missing) from None
        return _json(result, values)

    return evaluate


def _evaluation_error(error: Exception, missing: Mapping[str, ExpressionError]) -> ExpressionError:
    for name, reason in missing.items():
        if f"'{name}'" in str(error):
            return reason
    text = str(error)
    if text.startswith("No such overload"):
        text = (
            "these types do not go together; convert with int(x), double(x) or string(x), "
            "and give what may be null a default(path, value)"
        )
    elif isinstance(error, KeyError):
        text = f"there is no {text}"
    elif unfit := re.match(r"Undefined variable or function: '(\w+)'", text):
        # Unknown functions were refused before: CEL says the same of arguments that do not fit.
        text = f"{unfit[1]}() cannot take a value of the type that it is given here"
        if unfit[1] == "string":
            text += "; inside a longer text, ${path} alone writes lists and objects as JSON"
    return ExpressionError(text)


def _json(result: Any, values: Mapping[str, Any]) -> Any:
    """A result as JSON, its objects exchanged for those of the state."""
    originals: dict[str, Any] | None = None

    def convert(value: Any) -> Any:
        nonlocal originals
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [convert(item) for item in value]
        if isinstance(value, dict):
            if originals is None:
                originals = {_canonical(o): o for o in _objects(list(values.values()))}
            return originals.get(_canonical(value), value)
        raise ExpressionError(f"the result is a {type(value).__name__}; make it a string()")

    return convert(result)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)

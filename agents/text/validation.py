"""Values held against a JSON Schema, with problems that a person understands.

jsonschema is imported when something is validated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .nearest import did_you_mean
from .paths import path_text
from .source import DataPath

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

MAX_PROBLEMS = 20

Schema = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One thing that does not fit; `path` leads to it from the value's root.

    `key` tells that the last step itself is wrong (a field that is not expected), not what
    it holds.
    """

    path: DataPath
    message: str
    key: bool = False

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.message}" if self.path else self.message


def validate(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """What in `value` does not fit `schema`; at most 20 problems."""
    try:
        return problems_of(schema, value)
    except RecursionError:
        return [Problem((), "the value or its schema is nested too deep")]


def problems_of(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """As `validate`. Raises RecursionError for what is nested too deep."""
    errors = _errors(_validator_of(schema), value)
    return [problem for error in errors for problem in _problems_of(error)]


def _validator_of(schema: Mapping[str, Any]) -> Draft202012Validator:
    """A validator that never fetches anything: an unknown $ref is an error, not a request."""
    from jsonschema import Draft202012Validator
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    return Draft202012Validator(schema, registry=REGISTRY)


def _errors(validator: Draft202012Validator, value: Any) -> list[ValidationError]:
    from itertools import islice

    from jsonschema.exceptions import relevance

    found = list(islice(validator.iter_errors(value), MAX_PROBLEMS))
    return [_closest(error, relevance) for error in found]


def _closest(
    error: ValidationError, relevance: Callable[[ValidationError], Any]
) -> ValidationError:
    """Of a choice of which nothing fits, the error that was nearest to fitting."""
    while error.context and error.validator in ("anyOf", "oneOf"):
        deepest = max(len(inner.absolute_path) for inner in error.context)
        inner = [e for e in error.context if len(e.absolute_path) == deepest]
        if deepest == len(error.absolute_path) and len(inner) > 1:
            return error
        error = min(inner, key=relevance)
    return error


def _problems_of(error: Any) -> list[Problem]:
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        return [Problem((*path, name), text, key=True) for name, text in _unexpected_fields(error)]
    return [Problem(path, _sentence(error))]


def _sentence(error: Any) -> str:
    say = _SENTENCES.get(str(error.validator))
    return say(error) if say else _shorten(error.message)


def _missing_field(error: Any) -> str:
    missing = [name for name in error.validator_value if name not in error.instance]
    # jsonschema gives one error for each name and tells it only in its message.
    named = next((n for n in missing if error.message.startswith(repr(n))), missing[0])
    return f"{named!r} is missing"


def _unexpected_fields(error: Any) -> Iterable[tuple[str, str]]:
    known = error.schema.get("properties", {})
    patterns = error.schema.get("patternProperties", {})
    for name in error.instance:
        if not isinstance(name, str):
            yield name, "is not expected: every name is a text"
            continue
        if name in known or any(re.search(pattern, name) for pattern in patterns):
            continue
        meant = did_you_mean(name, known) or f"there is {', '.join(known) or 'nothing to give'}"
        yield name, f"is not expected; {meant}"


def _type(error: Any) -> str:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else wanted
    return f"must be {' or '.join(_KINDS[n] for n in names)}, not {_json_text(error.instance)}"


def _choice(error: Any) -> str:
    shown = ", ".join(_json_text(value) for value in error.validator_value[:10])
    more = ", …" if len(error.validator_value) > 10 else ""
    return f"must be one of {shown}{more}, not {_json_text(error.instance)}"


def _any_of(error: Any) -> str:
    if all(inner.validator == "type" for inner in error.context):
        kinds = [_KINDS.get(str(inner.validator_value), "another") for inner in error.context]
        return f"must be {' or '.join(kinds)}, not {_json_text(error.instance)}"
    return f"{_json_text(error.instance)} fits none of the allowed forms"


_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _bound_sentence(words: str) -> Callable[[Any], str]:
    return lambda e: f"must be {words} {e.validator_value}, not {_json_text(e.instance)}"


def _count_sentence(words: str, unit: str) -> Callable[[Any], str]:
    def say(error: Any) -> str:
        limit = error.validator_value
        plural = "" if limit == 1 else "s"
        return f"must have {words} {limit} {unit}{plural}, and has {len(error.instance)}"

    return say


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "required": _missing_field,
    "type": _type,
    "enum": _choice,
    "const": lambda e: f"must be {_json_text(e.validator_value)}, not {_json_text(e.instance)}",
    "minimum": _bound_sentence("at least"),
    "maximum": _bound_sentence("at most"),
    "exclusiveMinimum": _bound_sentence("more than"),
    "exclusiveMaximum": _bound_sentence("less than"),
    "minLength": _count_sentence("at least", "character"),
    "maxLength": _count_sentence("at most", "character"),
    "minItems": _count_sentence("at least", "item"),
    "maxItems": _count_sentence("at most", "item"),
    "pattern": lambda e: f"{_json_text(e.instance)} does not match the pattern {e.validator_value}",
    "uniqueItems": lambda e: "has the same item twice",
    "anyOf": _any_of,
    "oneOf": lambda e: f"{_json_text(e.instance)} must fit exactly one of the allowed forms",
}


def _json_text(value: Any) -> str:
    if value is None:
        return "null"
    return _shorten(json.dumps(value, ensure_ascii=False, default=str))


def _shorten(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "…"

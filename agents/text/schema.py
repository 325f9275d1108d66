"""JSON Schema (draft 2020-12) with a short form: reading declarations, and checking schemas.

Short form: a type name alone (`string`) is `{type: string}`, anywhere a schema may stand; and
a mapping of field names to types (*fields*) is an object with exactly these fields, of which
those with a `default` may be left out.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from .keywords import KEYWORDS, NAMED, SCHEMA, SCHEMAS, TYPES
from .nearest import did_you_mean
from .source import DataPath
from .validation import MAX_PROBLEMS, Problem, Schema, problems_of


def normalise(shorthand: Any) -> Any:
    """A schema with every short form in it written out; other values come back as they are."""
    if isinstance(shorthand, str):
        return {"type": shorthand}
    if not isinstance(shorthand, Mapping):
        return shorthand
    return {
        key: map_subschemas(key, value, normalise, otherwise=copy.deepcopy)
        for key, value in shorthand.items()
    }


def map_subschemas(
    key: str, value: Any, change: Callable[[Any], Any], *, otherwise: Callable[[Any], Any]
) -> Any:
    """The value of a keyword with `change` done to the schemas that it holds, if it holds any."""
    if key in _ONE:
        return change(value)
    if key in _LIST and isinstance(value, list):
        return [change(item) for item in value]
    if key in _NAMED and isinstance(value, Mapping):
        return {name: change(item) for name, item in value.items()}
    return otherwise(value)


def fields_schema(fields: Mapping[str, Any], required: Iterable[str] | None = None) -> Schema:
    """The object schema of a mapping of field names to types.

    `required` names the fields that must be given; without it, all that have no `default`.
    """
    properties = {name: normalise(field) for name, field in fields.items()}
    if required is None:
        required = [name for name, field in properties.items() if not _has_default(field)]
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def is_schema(declaration: Any) -> bool:
    """Is this one schema, rather than a mapping of field names to types?

    A mapping is a schema if each of its keys is a keyword of JSON Schema and one of them
    says what is allowed (`type`, `enum`, `$ref`, …).
    """
    if not isinstance(declaration, Mapping):
        return True
    return (
        not _KEYWORDS_THAT_DECIDE.isdisjoint(declaration) and KEYWORDS.keys() >= declaration.keys()
    )


def declared_parts(declaration: Any) -> list[tuple[DataPath, Any]]:
    """The schemas of a declaration where they are written: each field's, or the whole."""
    if is_schema(declaration):
        return [((), normalise(declaration))]
    return [((name,), normalise(field)) for name, field in declaration.items()]


def declared_schema(declaration: Any) -> Any:
    """The schema of an agent's `input:` or `output:`, given as fields or as a schema."""
    return normalise(declaration) if is_schema(declaration) else fields_schema(declaration)


def subschemas(schema: Mapping[str, Any]) -> Iterable[tuple[DataPath, Any]]:
    """The schemas directly inside a schema, with the paths to them."""
    for key, value in schema.items():
        if key in _ONE:
            yield (key,), value
        elif key in _LIST and isinstance(value, list):
            yield from (((key, index), item) for index, item in enumerate(value))
        elif key in _NAMED and isinstance(value, Mapping):
            yield from (((key, name), item) for name, item in value.items())


def check_schema(schema: Any) -> list[Problem]:
    """What is wrong with a schema itself; paths lead into the schema."""
    try:
        problems = _check_keywords(schema, ())
        told = {problem.path for problem in problems}
        found = problems_of(_meta_schema(), schema)
    except RecursionError:
        return [Problem((), "the schema is nested too deep")]
    problems += [problem for problem in found if problem.path not in told]
    return problems[:MAX_PROBLEMS] or _check_references(schema)


def with_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """A copy of `value` in which missing fields have the defaults that `schema` declares."""
    if isinstance(value, Mapping):
        return _object_with_defaults(schema, value)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [with_defaults(schema["items"], item) for item in value]
    return copy.deepcopy(value)


def coerce_text(schema: Mapping[str, Any], text: str) -> Any:
    """The value that a text from the command line means under `schema`.

    Where the schema allows text, the text is taken verbatim; else it is read as JSON. Text
    that cannot be read stays text, and `validate` then says what was wanted.
    """
    types = _types_of(schema)
    if types is not None and "string" not in types:
        return json_or_text(text)
    return text


# Keywords under which schemas stand, by how they are held.
_ONE, _LIST, _NAMED = (
    frozenset(name for name, (held, _) in KEYWORDS.items() if held is holds)
    for holds in (SCHEMA, SCHEMAS, NAMED)
)
_KEYWORDS_THAT_DECIDE = frozenset(
    [
        "type",
        "enum",
        "const",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "properties",
        "items",
        "prefixItems",
    ]
)


def _has_default(field: Any) -> bool:
    return isinstance(field, Mapping) and "default" in field


def _object_with_defaults(schema: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        properties = {}
    filled = {
        key: with_defaults(properties[key], item)
        if isinstance(properties.get(key), Mapping)
        else copy.deepcopy(item)
        for key, item in value.items()
    }
    for name, field in properties.items():
        if name not in filled and _has_default(field):
            filled[name] = copy.deepcopy(field["default"])
    return filled


def _types_of(schema: Mapping[str, Any]) -> set[str] | None:
    """The types that a schema allows, as far as it says so in plain words."""
    if isinstance(schema.get("type"), str):
        return {schema["type"]}
    if isinstance(schema.get("type"), list):
        return set(schema["type"])
    if isinstance(schema.get("enum"), list):
        return {_type_name(value) for value in schema["enum"]}
    if "const" in schema:
        return {_type_name(schema["const"])}
    found: set[str] = set()
    for choice in schema.get("anyOf") or schema.get("oneOf") or ():
        types = _types_of(choice) if isinstance(choice, Mapping) else None
        if types is None:
            return None
        found |= types
    return found or None


def json_or_text(text: str) -> Any:
    """What a text says as JSON; the text itself if it is none."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# ---- checking schemas ----


def _check_keywords(schema: Any, path: DataPath) -> list[Problem]:
    """Mistakes for which the meta-schema has no good words: unknown keywords and types."""
    if isinstance(schema, bool):
        return []
    if not isinstance(schema, Mapping):
        return [Problem(path, "a type must be a type name or a JSON Schema")]
    problems = [
        Problem((*path, key), _unknown_keyword(key), key=True)
        for key in schema
        if not _is_keyword(key)
    ]
    problems += _check_type(schema.get("type"), (*path, "type"))
    problems += _check_pattern(schema.get("pattern"), (*path, "pattern"))
    problems += _check_local(schema.get("$ref"), (*path, "$ref"))
    for inner_path, inner in subschemas(schema):
        problems += _check_keywords(inner, path + inner_path)
    return problems


def _is_keyword(key: str) -> bool:
    return key in KEYWORDS or key.startswith("x-")


def _unknown_keyword(key: str) -> str:
    return "this is not a keyword of JSON Schema" + did_you_mean(key, KEYWORDS, "; ")


def _check_type(declared: Any, path: DataPath) -> list[Problem]:
    names = declared if isinstance(declared, list) else [declared]
    problems = []
    for name in names:
        if isinstance(name, str) and name not in TYPES:
            wanted = _OTHER_TYPES.get(name, name)
            meant = did_you_mean(wanted, TYPES) or f"there is {', '.join(TYPES)}"
            problems.append(Problem(path, f"{name!r} is not a type; {meant}"))
    return problems


_OTHER_TYPES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
    "none": "null",
}


def _check_pattern(pattern: Any, path: DataPath) -> list[Problem]:
    if not isinstance(pattern, str):
        return []
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return [Problem(path, f"the pattern is not a regular expression: {error}")]
    return []


def _check_local(reference: Any, path: DataPath) -> list[Problem]:
    if isinstance(reference, str) and not reference.startswith("#"):
        return [Problem(path, "a $ref must stay in this schema: it begins with #")]
    return []


def _check_references(schema: Any) -> list[Problem]:
    """Every $ref must lead somewhere; the meta-schema does not look."""
    from referencing.exceptions import Unresolvable

    resolver = _resolver_of(schema)
    problems = []
    for path, reference in _references(schema, ()):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            problems.append(Problem(path, f"{reference!r} leads nowhere in this schema"))
    return problems


def _references(schema: Any, path: DataPath) -> Iterable[tuple[DataPath, str]]:
    if not isinstance(schema, Mapping):
        return
    if isinstance(schema.get("$ref"), str):
        yield (*path, "$ref"), schema["$ref"]
    for inner_path, inner in subschemas(schema):
        yield from _references(inner, path + inner_path)


def _resolver_of(schema: Any) -> Any:
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    return Registry().resolver_with_root(DRAFT202012.create_resource(schema))


@lru_cache(maxsize=1)
def _meta_schema() -> Mapping[str, Any]:
    from jsonschema import Draft202012Validator

    meta: Mapping[str, Any] = Draft202012Validator.META_SCHEMA
    return meta


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
    }
    return names.get(type(value), "object")

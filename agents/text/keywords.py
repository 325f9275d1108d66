"""The keywords of JSON Schema that a type may have: what each holds, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_Holds = dict[str, Any]

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

# `typeName` and `schema` are what a JSON Schema of these keywords calls its own parts.
_INNER = [{"$ref": "#/$defs/typeName"}, {"$ref": "#/$defs/schema"}, {"type": "boolean"}]
SCHEMA: _Holds = {"anyOf": _INNER}
SCHEMAS: _Holds = {"type": "array", "items": SCHEMA, "minItems": 1}
NAMED: _Holds = {"type": "object", "additionalProperties": SCHEMA}
_TYPE: _Holds = {"enum": list(TYPES)}
_TYPES: _Holds = {"anyOf": [_TYPE, {"type": "array", "items": _TYPE}]}
_TEXT: _Holds = {"type": "string"}
_NUMBER: _Holds = {"type": "number"}
_SIZE: _Holds = {"type": "integer", "minimum": 0}
_FLAG: _Holds = {"type": "boolean"}
_LIST: _Holds = {"type": "array"}
_NAMES: _Holds = {"type": "array", "items": _TEXT}
_NAMES_BY_FIELD: _Holds = {"type": "object", "additionalProperties": _NAMES}

KEYWORDS: Mapping[str, tuple[_Holds, str]] = {
    "type": (_TYPES, "What kind of value it is; a list allows several."),
    "title": (_TEXT, "A short name for people."),
    "description": (_TEXT, "What it means, for people and for models."),
    "default": ({}, "What it is if it is not given."),
    "examples": (_LIST, "Values that fit."),
    "enum": (_LIST, "The values that are allowed."),
    "const": ({}, "The only value that is allowed."),
    "minLength": (_SIZE, "The fewest characters of a text."),
    "maxLength": (_SIZE, "The most characters of a text."),
    "pattern": (_TEXT, "A regular expression that a text must match."),
    "format": (_TEXT, "What a text stands for, such as date-time; not checked."),
    "minimum": (_NUMBER, "The smallest number."),
    "maximum": (_NUMBER, "The largest number."),
    "exclusiveMinimum": (_NUMBER, "The number must be more than this."),
    "exclusiveMaximum": (_NUMBER, "The number must be less than this."),
    "multipleOf": ({"type": "number", "exclusiveMinimum": 0}, "What the number is a multiple of."),
    "items": (SCHEMA, "What every item of a list is."),
    "prefixItems": (SCHEMAS, "What the first items of a list are, one by one."),
    "contains": (SCHEMA, "What at least one item of a list is."),
    "minItems": (_SIZE, "The fewest items of a list."),
    "maxItems": (_SIZE, "The most items of a list."),
    "minContains": (_SIZE, "The fewest items that fit `contains`."),
    "maxContains": (_SIZE, "The most items that fit `contains`."),
    "uniqueItems": (_FLAG, "Whether no item may be there twice."),
    "unevaluatedItems": (SCHEMA, "What items are that nothing else tells of."),
    "properties": (NAMED, "The fields of an object, with their types."),
    "required": (_NAMES, "The fields that must be there."),
    "additionalProperties": (SCHEMA, "What other fields are; false forbids them."),
    "patternProperties": (NAMED, "Types of fields whose names match a pattern."),
    "propertyNames": (SCHEMA, "What the names of fields are."),
    "minProperties": (_SIZE, "The fewest fields."),
    "maxProperties": (_SIZE, "The most fields."),
    "dependentRequired": (_NAMES_BY_FIELD, "Fields that must be there where another is."),
    "dependentSchemas": (NAMED, "What must hold where a field is there."),
    "unevaluatedProperties": (SCHEMA, "What fields are that nothing else tells of."),
    "allOf": (SCHEMAS, "All of these must fit."),
    "anyOf": (SCHEMAS, "One of these at least must fit."),
    "oneOf": (SCHEMAS, "Exactly one of these must fit."),
    "not": (SCHEMA, "This must not fit."),
    "if": (SCHEMA, "If this fits, `then` must fit, else `else`."),
    "then": (SCHEMA, "What must fit where `if` fits."),
    "else": (SCHEMA, "What must fit where `if` does not."),
    "$ref": ({"type": "string", "pattern": "^#"}, "Another place in this type: begins with #."),
    "$defs": (NAMED, "Types that `$ref` names."),
    "$id": (_TEXT, "The schema's own address."),
    "$schema": (_TEXT, "The dialect; this language reads draft 2020-12."),
    "$anchor": (_TEXT, "A name that `$ref` may use."),
    "$dynamicRef": (_TEXT, "A reference that is resolved while checking."),
    "$dynamicAnchor": (_TEXT, "A name that `$dynamicRef` may use."),
    "$vocabulary": ({"type": "object"}, "Vocabularies of the dialect."),
    "$comment": (_TEXT, "A note to readers of the file."),
    "deprecated": (_FLAG, "Whether it should no longer be used."),
    "readOnly": (_FLAG, "Whether it is only read."),
    "writeOnly": (_FLAG, "Whether it is only written."),
    "contentEncoding": (_TEXT, "How a text encodes bytes, such as base64."),
    "contentMediaType": (_TEXT, "What a text's content is, such as text/html."),
    "contentSchema": (SCHEMA, "What a text's content is, once it is read."),
}

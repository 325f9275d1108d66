"""The keywords of JSON Schema that a type may have: what each holds, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Holds(Enum):
    """What stands under a keyword."""

    SCHEMA = auto()
    SCHEMAS = auto()
    NAMED = auto()
    """Schemas by name."""
    TYPES = auto()
    TEXT = auto()
    NUMBER = auto()
    POSITIVE = auto()
    SIZE = auto()
    FLAG = auto()
    NAMES = auto()
    NAMES_BY_FIELD = auto()
    REFERENCE = auto()
    LIST = auto()
    OBJECT = auto()
    ANYTHING = auto()


KEYWORDS: Mapping[str, tuple[Holds, str]] = {
    "type": (Holds.TYPES, "What kind of value it is; a list allows several."),
    "title": (Holds.TEXT, "A short name for people."),
    "description": (Holds.TEXT, "What it means, for people and for models."),
    "default": (Holds.ANYTHING, "What it is if it is not given."),
    "examples": (Holds.LIST, "Values that fit."),
    "enum": (Holds.LIST, "The values that are allowed."),
    "const": (Holds.ANYTHING, "The only value that is allowed."),
    "minLength": (Holds.SIZE, "The fewest characters of a text."),
    "maxLength": (Holds.SIZE, "The most characters of a text."),
    "pattern": (Holds.TEXT, "A regular expression that a text must match."),
    "format": (Holds.TEXT, "What a text stands for, such as date-time; not checked."),
    "minimum": (Holds.NUMBER, "The smallest number."),
    "maximum": (Holds.NUMBER, "The largest number."),
    "exclusiveMinimum": (Holds.NUMBER, "The number must be more than this."),
    "exclusiveMaximum": (Holds.NUMBER, "The number must be less than this."),
    "multipleOf": (Holds.POSITIVE, "What the number is a multiple of."),
    "items": (Holds.SCHEMA, "What every item of a list is."),
    "prefixItems": (Holds.SCHEMAS, "What the first items of a list are, one by one."),
    "contains": (Holds.SCHEMA, "What at least one item of a list is."),
    "minItems": (Holds.SIZE, "The fewest items of a list."),
    "maxItems": (Holds.SIZE, "The most items of a list."),
    "minContains": (Holds.SIZE, "The fewest items that fit `contains`."),
    "maxContains": (Holds.SIZE, "The most items that fit `contains`."),
    "uniqueItems": (Holds.FLAG, "Whether no item may be there twice."),
    "unevaluatedItems": (Holds.SCHEMA, "What items are that nothing else tells of."),
    "properties": (Holds.NAMED, "The fields of an object, with their types."),
    "required": (Holds.NAMES, "The fields that must be there."),
    "additionalProperties": (Holds.SCHEMA, "What other fields are; false forbids them."),
    "patternProperties": (Holds.NAMED, "Types of fields whose names match a pattern."),
    "propertyNames": (Holds.SCHEMA, "What the names of fields are."),
    "minProperties": (Holds.SIZE, "The fewest fields."),
    "maxProperties": (Holds.SIZE, "The most fields."),
    "dependentRequired": (Holds.NAMES_BY_FIELD, "Fields that must be there where another is."),
    "dependentSchemas": (Holds.NAMED, "What must hold where a field is there."),
    "unevaluatedProperties": (Holds.SCHEMA, "What fields are that nothing else tells of."),
    "allOf": (Holds.SCHEMAS, "All of these must fit."),
    "anyOf": (Holds.SCHEMAS, "One of these at least must fit."),
    "oneOf": (Holds.SCHEMAS, "Exactly one of these must fit."),
    "not": (Holds.SCHEMA, "This must not fit."),
    "if": (Holds.SCHEMA, "If this fits, `then` must fit, else `else`."),
    "then": (Holds.SCHEMA, "What must fit where `if` fits."),
    "else": (Holds.SCHEMA, "What must fit where `if` does not."),
    "$ref": (Holds.REFERENCE, "Another place in this type: begins with #."),
    "$defs": (Holds.NAMED, "Types that `$ref` names."),
    "$id": (Holds.TEXT, "The schema's own address."),
    "$schema": (Holds.TEXT, "The dialect; this language reads draft 2020-12."),
    "$anchor": (Holds.TEXT, "A name that `$ref` may use."),
    "$dynamicRef": (Holds.TEXT, "A reference that is resolved while checking."),
    "$dynamicAnchor": (Holds.TEXT, "A name that `$dynamicRef` may use."),
    "$vocabulary": (Holds.OBJECT, "Vocabularies of the dialect."),
    "$comment": (Holds.TEXT, "A note to readers of the file."),
    "deprecated": (Holds.FLAG, "Whether it should no longer be used."),
    "readOnly": (Holds.FLAG, "Whether it is only read."),
    "writeOnly": (Holds.FLAG, "Whether it is only written."),
    "contentEncoding": (Holds.TEXT, "How a text encodes bytes, such as base64."),
    "contentMediaType": (Holds.TEXT, "What a text's content is, such as text/html."),
    "contentSchema": (Holds.SCHEMA, "What a text's content is, once it is read."),
}

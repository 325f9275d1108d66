"""JSON Schemas as lines that a person reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def fields_of(schema: Mapping[str, Any] | None) -> list[str]:
    """One line a field: `topic: string, required`."""
    if schema is None:
        return ["any object"]
    fields = schema.get("properties")
    if not fields:
        return ["nothing" if schema.get("type") == "object" else type_of(schema)]
    required = schema.get("required", ())
    return [f"{name}: {_field(field, name in required)}" for name, field in fields.items()]


def type_of(schema: Any) -> str:
    """A schema's type in a few words."""
    if not isinstance(schema, Mapping):
        return "anything"
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value) for value in schema["enum"])
    declared = schema.get("type", "anything")
    if isinstance(declared, list):
        return " or ".join(declared)
    if declared == "array" and isinstance(schema.get("items"), Mapping):
        return f"array of {type_of(schema['items'])}"
    return str(declared)


def _field(field: Any, required: bool) -> str:
    words = type_of(field)
    if isinstance(field, Mapping) and "default" in field:
        return f"{words}, default {json.dumps(field['default'], ensure_ascii=False)}"
    return f"{words}, required" if required else words

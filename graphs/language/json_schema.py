"""The JSON Schema (2020-12) of a workflow's YAML, from which editors complete and underline.

Keys, their forms and meanings are those that the language declares (`definition.py`), and an
agent's own come from its spec; here stand the types, and which keys go together. A schema cannot
see everything that `check.py` sees: what it refuses is wrong, what it lets pass is still checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from ucop.agents.text.keywords import KEYWORDS, TYPES

from ..limits import COUNTS, LIMITS, TIMES, Limits
from .channel import MERGE
from .definition import END, MESH, NOT_IN_A_MESH, ONLY_IN_A_MESH, START, WORKFLOW, Kind
from .edges import ENTRY, ROUTE
from .forms import DURATION, Schema, closed, count, docstrings, keys_of, keys_schema, ref, typed
from .mesh import CAPABILITY, Mesh
from .names import VALUE_NAMES
from .node import KINDS, NODE, POLICIES
from .policies import TTL, Retry, Timeout

FILE_NAME = "workflow.schema.json"
"""What the schema is called if it lies beside workflows."""


@cache
def schema_text() -> str:
    """The schema as it is written into a file."""
    return json.dumps(workflow_schema(), ensure_ascii=False, indent=2) + "\n"


def workflow_schema() -> Schema:
    """The schema of a workflow file. Refers to nothing outside itself."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ucop workflow",
        "description": "A graph of agents that runs as a durable job.",
        **keys_schema(WORKFLOW, ("name",)),
        "if": {
            "properties": {"kind": {"const": Kind.mesh.value, "description": "A mesh."}},
            "required": ["kind"],
        },
        "then": {"required": [MESH], "not": _any_of(NOT_IN_A_MESH)},
        "else": {"required": ["nodes"], "not": _any_of(ONLY_IN_A_MESH)},
        "$defs": {
            "inputs": _named_values(VALUE_NAMES, ref("type")),
            "state": _named_values(VALUE_NAMES, {"anyOf": [ref("typeName"), ref("channel")]}),
            "channel": _channel(),
            "node": _node(),
            "edge": _edge(),
            "entry": _entry(),
            "target": _TARGET,
            "mesh": keys_schema(keys_of(Mesh)),
            "called": {"anyOf": [{"type": "string", "minLength": 1}, CAPABILITY.schema]},
            "retry": keys_schema(keys_of(Retry)),
            "timeout": {**keys_schema(keys_of(Timeout)), "minProperties": 1},
            "cache": TTL.schema,
            "defaults": keys_schema(POLICIES),
            "limits": _limits(),
            "duration": _DURATION,
            "type": _TYPE,
            "typeName": _TYPE_NAME,
            "schema": _json_schema(),
            "fields": _named_values({}, ref("type")),
            "agent": _agent_schema(),
            **_agent_parts(),
        },
    }


def _any_of(keys: Iterable[str]) -> Schema:
    """Has any of these keys."""
    return {"anyOf": [{"required": [key]} for key in keys]}


def _named_values(names: Schema, values: Schema) -> Schema:
    said = {"propertyNames": names} if names else {}
    return {"type": "object", **said, "additionalProperties": values}


def _node() -> Schema:
    return {
        **keys_schema(NODE),
        "oneOf": [{"required": [kind]} for kind in KINDS],
        "description": "One step of the workflow.",
        "dependentRequired": {name: [key.belongs] for name, key in NODE.items() if key.belongs},
    }


def _channel() -> Schema:
    """A declared type with one key more."""
    base = _json_schema()
    return {**base, "properties": {**base["properties"], "merge": MERGE.schema()}}


def _edge() -> Schema:
    chain = typed(
        str,
        description="Nodes in a row; `[b, c]` run side by side.",
        pattern="->",
        examples=["START -> a -> [b, c] -> d -> END"],
    )
    choice = {**keys_schema(ROUTE), "description": "Edges of which one is taken."}
    return {"anyOf": [chain.schema, choice]}


def _entry() -> Schema:
    way = {**keys_schema(ENTRY), "description": "A way on, and when it is taken."}
    return {"anyOf": [ref("target"), way]}


def _limits() -> Schema:
    amounts: dict[str, Schema] = {
        **dict.fromkeys(TIMES, DURATION.schema),
        **dict.fromkeys(COUNTS, count().schema),
        "cost": {"type": "number", "exclusiveMinimum": 0},
    }
    meanings = docstrings(Limits)
    return closed({name: {"description": meanings[name], **amounts[name]} for name in LIMITS}, [])


# ---- targets and times ----

_TIME = r"\d+(?:\.\d+)?\s*(ms|s|m|h|d)?"
_TARGET: Schema = {
    "type": "string",
    "description": f"A node of this workflow, or {END}.",
    "not": {"const": START},
    "examples": [END],
}
_DURATION: Schema = {
    "description": "A time: a number of seconds, or a text such as 500ms, 60s, 5m, 1h or 2d.",
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {
            "type": "string",
            "pattern": f"^{_TIME}$",
            "not": {"pattern": r"^[0.]+\s*(ms|s|m|h|d)?$"},
        },
    ],
    "examples": ["500ms", "60s", "5m", "1h", "2d"],
}

# ---- types ----

_TYPE_NAME: Schema = {"description": "Short for `{type: …}`.", "enum": list(TYPES)}
_TYPE: Schema = {
    "description": "A type's name, or a JSON Schema.",
    "anyOf": [ref("typeName"), ref("schema")],
}


def _json_schema() -> Schema:
    return {
        "type": "object",
        "properties": {
            keyword: {"description": meaning, **holds}
            for keyword, (holds, meaning) in KEYWORDS.items()
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


# ---- agents of the file's own ----


def _agent_schema() -> Schema:
    from ucop.agents.spec.spec import AgentSpec

    said = AgentSpec.model_json_schema(ref_template="#/$defs/agent{model}")
    fields: dict[str, Schema] = _plain(said)["properties"]
    declared = {"anyOf": [ref("schema"), ref("fields")]}
    meanings = {key: fields[key]["description"] for key in ("input", "output")}
    fields["input"] = {"description": meanings["input"], "type": "object", **declared}
    fields["output"] = {
        "description": meanings["output"],
        "anyOf": [ref("typeName"), *declared["anyOf"], {"type": "null"}],
        "examples": [{"score": {"type": "integer", "minimum": 1, "maximum": 10}}],
    }
    return {
        "type": "object",
        "description": "A prompt for a chat model, with the types of what it takes and answers.",
        "properties": fields,
        "required": ["prompt"],
        "additionalProperties": False,
    }


def _agent_parts() -> dict[str, Schema]:
    from ucop.agents.spec.spec import AgentSpec

    said = AgentSpec.model_json_schema(ref_template="#/$defs/agent{model}")
    return {f"agent{name}": _plain(part) for name, part in said["$defs"].items()}


def _plain(said: Any) -> Any:
    """Without pydantic's titles, which repeat the keys, and defaults that say nothing."""
    if isinstance(said, list):
        return [_plain(one) for one in said]
    if not isinstance(said, dict):
        return said
    return {
        key: {name: _plain(one) for name, one in value.items()}
        if key == "properties"
        else _plain(value)
        for key, value in said.items()
        if key != "title" and not (key == "default" and value in (None, "", [], {}))
    }

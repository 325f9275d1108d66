"""The JSON Schema (2020-12) of a workflow's YAML, from which editors complete and underline.

Which keys there are is read from the loader, merges from the definition, and an agent's own
keys from its spec; what stands here is what each means. A schema cannot see everything that
`check.py` sees: what it refuses is wrong, what it lets pass is still checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from ucop.agents.text.schema import TYPES

from ..expressions.cel import RESERVED
from .definition import END, MESH, START, Kind, Merge, Mesh, OnError
from .load import KEYS, LARGEST_LIMIT, MERGES, NOT_IN_A_MESH, ONLY_IN_A_MESH

Schema = dict[str, Any]

FILE_NAME = "workflow.schema.json"
"""What the schema is called where it lies beside workflows."""

WORKFLOW_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"
NODE_NAME = "[A-Za-z][A-Za-z0-9_-]*"
VALUE_NAME = "[A-Za-z][A-Za-z0-9_]*"
DURATION = r"\d+(?:\.\d+)?\s*(ms|s|m|h|d)?"
RESERVED_NAMES = sorted({*RESERVED, START, END, "errors"})
KINDS = ("agent", "workflow", "ask", "mesh")
"""Keys of which a node has exactly one."""


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
        **_object("workflow", _WORKFLOW, ("name",)),
        "if": {
            "properties": {"kind": {"const": Kind.mesh.value, "description": "A mesh."}},
            "required": ["kind"],
        },
        "then": {"required": [MESH], "not": _any_of(NOT_IN_A_MESH)},
        "else": {"required": ["nodes"], "not": _any_of(ONLY_IN_A_MESH)},
        "$defs": {
            "inputs": _named(_VALUE_NAMES, _ref("type")),
            "state": _named(_VALUE_NAMES, {"anyOf": [_ref("typeName"), _ref("channel")]}),
            "channel": _channel(),
            "node": _node(),
            "edge": _edge(),
            "entry": _entry(),
            "target": _NODE_OR_END,
            "mesh": _object("mesh", _MESH, ("entry",)),
            "called": _CALLED,
            "retry": _object("retry", _RETRY, ()),
            "timeout": {**_object("timeout", _TIMEOUT, ()), "minProperties": 1},
            "cache": _object("cache", _CACHE, _CACHE),
            "defaults": _object("defaults", {key: _NODE[key] for key in KEYS["defaults"]}, ()),
            "limits": _object("limits", _LIMITS, ()),
            "duration": _DURATION,
            "type": _TYPE,
            "typeName": _TYPE_NAME,
            "schema": _json_schema(),
            "fields": _named({}, _ref("type")),
            "agent": _agent(),
            **_agent_parts(),
        },
    }


def _any_of(keys: Iterable[str]) -> Schema:
    """Has any of these keys."""
    return {"anyOf": [{"required": [key]} for key in keys]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text(description: str, *examples: str, **rules: Any) -> Schema:
    said: Schema = {"type": "string", "description": description, **rules}
    return {**said, "examples": list(examples)} if examples else said


def _count(description: str, *, most: int | None = None, **rules: Any) -> Schema:
    bound = {} if most is None else {"maximum": most}
    return {"type": "integer", "description": description, "minimum": 1, **bound, **rules}


def _object(section: str, table: Mapping[str, Any], required: Iterable[str]) -> Schema:
    """An object with the loader's keys of a section, and no others."""
    return {
        "type": "object",
        "properties": {key: table.get(key, {}) for key in KEYS[section]},
        "required": list(required),
        "additionalProperties": False,
    }


def _named(names: Schema, values: Schema) -> Schema:
    said = {"propertyNames": names} if names else {}
    return {"type": "object", **said, "additionalProperties": values}


# ---- names and times ----

_NODE_NAMES: Schema = {"pattern": f"^{NODE_NAME}$", "not": {"enum": [START, END]}}
_VALUE_NAMES: Schema = {"pattern": f"^{VALUE_NAME}$", "not": {"enum": RESERVED_NAMES}}
_NODE_OR_END: Schema = {
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
            "pattern": f"^{DURATION}$",
            "not": {"pattern": r"^[0.]+\s*(ms|s|m|h|d)?$"},
        },
    ],
    "examples": ["500ms", "60s", "5m", "1h", "2d"],
}

# ---- the file ----

_MESHES = "Agents among which a router finds who answers, and who is asked on the way."
_WITH: Schema = {
    "type": "object",
    "description": "The inputs: values, and expressions in `${…}`.",
    "examples": [{"question": "${topic}"}],
}

_WORKFLOW: Schema = {
    "name": _text("What the workflow is called.", "blog", pattern=f"^{WORKFLOW_NAME}$"),
    "description": _text("What it does, in a sentence."),
    "input": {
        "description": "What a job is given: names with types. An input without a `default` must be given.",
        "examples": [{"topic": {"type": "string", "minLength": 3}}],
        **_ref("inputs"),
    },
    "state": {
        "description": "Further names of the state, with types, and how writes to them meet.",
        "examples": [{"notes": {"type": "array", "merge": "append"}}],
        **_ref("state"),
    },
    "nodes": {
        "type": "object",
        "description": "The steps, by name.",
        "minProperties": 1,
        "propertyNames": _NODE_NAMES,
        "additionalProperties": _ref("node"),
    },
    "edges": {
        "type": "array",
        "description": "Which node follows which. Left out, they follow from the references.",
        "minItems": 1,
        "items": _ref("edge"),
        "examples": [["START -> research -> write -> END"]],
    },
    "output": {
        "description": "The job's result: any value with `${…}`. Left out: every name that a node wrote.",
        "examples": [{"path": "${article.path}"}, "${text}"],
    },
    "agents": {
        "type": "object",
        "description": "Agents of this file's own, by name: prompts for a chat model.",
        "propertyNames": {"pattern": f"^{NODE_NAME}$"},
        "additionalProperties": _ref("agent"),
    },
    "limits": {
        "description": "What a job may use at most, over all its attempts.",
        "examples": [{"deadline": "30m", "model_calls": 50}],
        **_ref("limits"),
    },
    "kind": {
        "description": "What the file describes: nodes and edges, or nothing but a mesh.",
        "enum": [kind.value for kind in Kind],
        "default": Kind.graph.value,
    },
    "mesh": {"description": _MESHES, **_ref("mesh")},
    "with": _WITH,
    "defaults": {
        "description": "Policies of every node that calls, and has none of its own.",
        **_ref("defaults"),
    },
}

# ---- nodes ----

_CALLED: Schema = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"capability": _text("What the agent must declare that it can do.")},
            "required": ["capability"],
            "additionalProperties": False,
        },
    ],
}

_MESH: Schema = {
    "entry": {
        "description": "Who is called first: an agent, or one that declares a capability.",
        **_ref("called"),
        "examples": ["writer", {"capability": "write"}],
    },
    "agents": {
        "type": "array",
        "description": "Who may be called, by name or capability. Left out: whom the agents may ask.",
        "minItems": 1,
        "items": _ref("called"),
        "examples": [["writer", {"capability": "research"}]],
    },
    "max_hops": _count(
        "How often an agent may be asked at most.", most=LARGEST_LIMIT, default=Mesh.max_hops
    ),
    "retry": {
        "description": "How often one call of an agent is tried, before another agent is asked.",
        **_ref("retry"),
    },
    "timeout": {
        "description": "How long one call of an agent may take, and be without a sign of progress.",
        "anyOf": [_ref("duration"), _ref("timeout")],
    },
}

_NODE: Schema = {
    "agent": {
        "description": "The agent that is called, by name. `ucop agents list` shows them.",
        **_ref("called"),
        "examples": ["researcher", {"capability": "research"}],
    },
    "workflow": _text("The workflow that runs as this one node, by name.", minLength=1),
    "ask": _text("A question to a person; the job waits for the answer.", "Publish “${title}”?"),
    "answer": {
        "description": "What the answer must look like: fields, or a type. Left out: a text.",
        "anyOf": [_ref("typeName"), _ref("schema"), _ref("fields")],
        "examples": [{"approved": {"type": "boolean"}}],
    },
    "within": {
        "description": "How long the question waits. Then `default` is the answer; without one the "
        "job fails.",
        "examples": ["2d"],
        **_ref("duration"),
    },
    "default": {
        "description": "What counts as the answer once `within` has passed.",
        "examples": [{"approved": False}],
    },
    "mesh": {"description": _MESHES, **_ref("mesh")},
    "with": _WITH,
    "writes": {
        **_text("The name that the answer goes to.", "notes"),
        "allOf": [_VALUE_NAMES],
    },
    "each": _text(
        "A list or map: the node runs once per item and writes one list or map in item order.",
        "${outline.sections}",
        pattern=r"\$\{",
    ),
    "as": {
        **_text("What one item of `each` is called inside `with`.", "section", default="item"),
        "allOf": [_VALUE_NAMES],
    },
    "limit": _count(
        "How many items of `each` run at the same time. Left out: all.", most=LARGEST_LIMIT
    ),
    "retry": {"description": "How often a call that failed is tried again.", **_ref("retry")},
    "timeout": {
        "description": "How long one call may take, and be without a sign of progress.",
        "anyOf": [_ref("duration"), _ref("timeout")],
    },
    "cache": {
        "description": "How long an answer is kept for the same inputs; also for other jobs.",
        "anyOf": [_ref("duration"), _ref("cache")],
        "examples": ["1h", {"ttl": "1h"}],
    },
    "on_error": {
        "description": "What an error does: `fail` the job, `continue` with null, or go to a node.",
        "default": OnError.fail.value,
        "anyOf": [
            {"enum": [policy.value for policy in OnError]},
            {
                "type": "object",
                "properties": {
                    "node": _text("The node that an error leads to; it reads `errors.<node>`.")
                },
                "required": ["node"],
                "additionalProperties": False,
            },
        ],
        "examples": ["continue", {"node": "apologise"}],
    },
}

_TIMEOUT: Schema = {
    "whole": {"description": "How long the whole call may take.", **_ref("duration")},
    "idle": {
        "description": "How long it may be silent: without a token, or a word of progress.",
        **_ref("duration"),
    },
}

_CACHE: Schema = {"ttl": {"description": "How long an answer is kept.", **_ref("duration")}}

_RETRY: Schema = {
    "attempts": _count("Calls in all, the first one counted.", most=100, default=3),
    "delay": {
        "description": "The pause before the second call; it doubles with each further one.",
        "default": "500ms",
        **_ref("duration"),
    },
    "longest": {"description": "The longest pause.", "default": "60s", **_ref("duration")},
}


_LIMITS: Schema = {
    "deadline": {
        "description": "How long after its submission a job that has not ended is failed.",
        **_ref("duration"),
    },
    "steps": _count("Runs of nodes; a job that would make one more is failed."),
    "model_calls": _count("Calls of models; before one more, the job is paused."),
    "tokens": _count("Tokens in and out; once they are used, the job is paused."),
    "seconds": {
        "description": "For how long models may answer, all calls added up; then the job is paused.",
        **_ref("duration"),
    },
    "cost": {
        "type": "number",
        "description": "US dollars, as far as prices are known; then the job is paused.",
        "exclusiveMinimum": 0,
    },
}


def _node() -> Schema:
    kinds = [key for key in KINDS if key in KEYS["node"]]
    said = _object("node", _NODE, kinds if len(kinds) == 1 else ())
    if len(kinds) > 1:
        said["oneOf"] = [{"required": [kind]} for kind in kinds]
    said["description"] = "One step of the workflow."
    belongs = {
        "as": ["each"],
        "limit": ["each"],
        "answer": ["ask"],
        "within": ["ask"],
        "default": ["within"],
    }
    said["dependentRequired"] = {key: to for key, to in belongs.items() if key in KEYS["node"]}
    return said


_CUSTOM = "A Python function of the project that is marked with @merge, by name."


def _channel() -> Schema:
    """A declared type with one key more."""
    base = _json_schema()
    merge = {
        "description": "How a write meets what is there.",
        "anyOf": [
            {"enum": list(MERGES)},
            {
                "type": "object",
                "properties": {"custom": _text(_CUSTOM, "newest")},
                "required": ["custom"],
                "additionalProperties": False,
            },
        ],
        "default": Merge.replace.value,
    }
    return {**base, "properties": {**base["properties"], "merge": merge}}


# ---- edges ----

_EDGE: Schema = {
    "from": {
        **_text("The node that the edges leave, or START.", START),
        "not": {"const": END},
    },
    "to": {
        "description": "The first entry that holds is taken; one without `when` always holds.",
        "anyOf": [
            _ref("entry"),
            {"type": "array", "minItems": 1, "items": _ref("entry")},
        ],
        "examples": [[{"node": "draft", "when": "review.score < 7", "at_most": 2}, END]],
    },
}

_ENTRY: Schema = {
    "node": _ref("target"),
    "when": {
        "description": "A condition in CEL, without braces.",
        "anyOf": [
            {"type": "boolean"},
            {"type": "string", "not": {"pattern": r"^\$\{[\s\S]*\}$"}},
        ],
        "examples": ["review.score < 7", "size(notes) > 2 && !done"],
    },
    "at_most": _count("Makes it a loop edge, taken at most so often per entry into its loop."),
}


def _edge() -> Schema:
    chain = _text(
        "Nodes in a row; `[b, c]` run side by side.",
        "START -> a -> [b, c] -> d -> END",
        pattern="->",
    )
    choice = _object("edge", _EDGE, ("from", "to"))
    return {"anyOf": [chain, {**choice, "description": "Edges of which one is taken."}]}


def _entry() -> Schema:
    said = _object("entry", _ENTRY, ("node",))
    return {"anyOf": [_ref("target"), {**said, "description": "A way on, and when it is taken."}]}


# ---- types ----

_TYPE_NAME: Schema = {"description": "Short for `{type: …}`.", "enum": list(TYPES)}
_TYPE: Schema = {
    "description": "A type's name, or a JSON Schema.",
    "anyOf": [_ref("typeName"), _ref("schema")],
}
_INNER: Schema = {"anyOf": [_ref("typeName"), _ref("schema"), {"type": "boolean"}]}
_INNER_LIST: Schema = {"type": "array", "items": _INNER, "minItems": 1}
_INNER_MAP: Schema = {"type": "object", "additionalProperties": _INNER}
_NUMBER: Schema = {"type": "number"}
_SIZE: Schema = {"type": "integer", "minimum": 0}
_NAMES: Schema = {"type": "array", "items": {"type": "string"}}
_STRING: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}

KEYWORDS: Mapping[str, tuple[Schema, str]] = {
    "type": (
        {"anyOf": [{"enum": list(TYPES)}, {"type": "array", "items": {"enum": list(TYPES)}}]},
        "What kind of value it is; a list allows several.",
    ),
    "title": (_STRING, "A short name for people."),
    "description": (_STRING, "What it means, for people and for models."),
    "default": ({}, "What it is where it is not given."),
    "examples": ({"type": "array"}, "Values that fit."),
    "enum": ({"type": "array"}, "The values that are allowed."),
    "const": ({}, "The only value that is allowed."),
    "minLength": (_SIZE, "The fewest characters of a text."),
    "maxLength": (_SIZE, "The most characters of a text."),
    "pattern": (_STRING, "A regular expression that a text must match."),
    "format": (_STRING, "What a text stands for, such as date-time; not checked."),
    "minimum": (_NUMBER, "The smallest number."),
    "maximum": (_NUMBER, "The largest number."),
    "exclusiveMinimum": (_NUMBER, "The number must be more than this."),
    "exclusiveMaximum": (_NUMBER, "The number must be less than this."),
    "multipleOf": ({"type": "number", "exclusiveMinimum": 0}, "What the number is a multiple of."),
    "items": (_INNER, "What every item of a list is."),
    "prefixItems": (_INNER_LIST, "What the first items of a list are, one by one."),
    "contains": (_INNER, "What at least one item of a list is."),
    "minItems": (_SIZE, "The fewest items of a list."),
    "maxItems": (_SIZE, "The most items of a list."),
    "minContains": (_SIZE, "The fewest items that fit `contains`."),
    "maxContains": (_SIZE, "The most items that fit `contains`."),
    "uniqueItems": (_FLAG, "Whether no item may be there twice."),
    "unevaluatedItems": (_INNER, "What items are that nothing else tells of."),
    "properties": (_INNER_MAP, "The fields of an object, with their types."),
    "required": (_NAMES, "The fields that must be there."),
    "additionalProperties": (_INNER, "What other fields are; false forbids them."),
    "patternProperties": (_INNER_MAP, "Types of fields whose names match a pattern."),
    "propertyNames": (_INNER, "What the names of fields are."),
    "minProperties": (_SIZE, "The fewest fields."),
    "maxProperties": (_SIZE, "The most fields."),
    "dependentRequired": (
        {"type": "object", "additionalProperties": _NAMES},
        "Fields that must be there where another is.",
    ),
    "dependentSchemas": (_INNER_MAP, "What must hold where a field is there."),
    "unevaluatedProperties": (_INNER, "What fields are that nothing else tells of."),
    "allOf": (_INNER_LIST, "All of these must fit."),
    "anyOf": (_INNER_LIST, "One of these at least must fit."),
    "oneOf": (_INNER_LIST, "Exactly one of these must fit."),
    "not": (_INNER, "This must not fit."),
    "if": (_INNER, "Where this fits, `then` must fit, else `else`."),
    "then": (_INNER, "What must fit where `if` fits."),
    "else": (_INNER, "What must fit where `if` does not."),
    "$ref": ({"type": "string", "pattern": "^#"}, "Another place in this type: begins with #."),
    "$defs": (_INNER_MAP, "Types that `$ref` names."),
    "$id": (_STRING, "The schema's own address."),
    "$schema": (_STRING, "The dialect; this language reads draft 2020-12."),
    "$anchor": (_STRING, "A name that `$ref` may use."),
    "$dynamicRef": (_STRING, "A reference that is resolved while checking."),
    "$dynamicAnchor": (_STRING, "A name that `$dynamicRef` may use."),
    "$vocabulary": ({"type": "object"}, "Vocabularies of the dialect."),
    "$comment": (_STRING, "A note to readers of the file."),
    "deprecated": (_FLAG, "Whether it should no longer be used."),
    "readOnly": (_FLAG, "Whether it is only read."),
    "writeOnly": (_FLAG, "Whether it is only written."),
    "contentEncoding": (_STRING, "How a text encodes bytes, such as base64."),
    "contentMediaType": (_STRING, "What a text's content is, such as text/html."),
    "contentSchema": (_INNER, "What a text's content is, once it is read."),
}
"""The keywords of a type: what each holds, and what it means."""


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

_AGENT_MEANINGS = {
    "name": "The agent's name; here it is the key that it stands under.",
    "description": "What it does, in a sentence.",
    "capabilities": "What it can do, in words by which it is found.",
    "category": "A word that groups agents.",
    "asks": "What it may ask others for in a mesh, in words of their capabilities.",
    "system": "The system message: who the model is to be. May hold `${…}` of inputs.",
    "prompt": "The question. `${name}` stands for an input.",
    "examples": "Questions and the answers that were wanted, shown to the model.",
    "options": "How the model is asked.",
    "repair": "How: with what was wrong, or anew with another seed.",
    "temperature": "0 for the likeliest words, more for variety.",
    "seed": "Makes a model's choices repeatable.",
    "repeat_penalty": "How much words that were used are avoided; 1 is not at all.",
    "top_p": "Only the likeliest words that sum up to this share.",
    "top_k": "Only so many of the likeliest words.",
}


def _agent() -> Schema:
    from ucop.agents.spec.spec import AgentSpec

    said = AgentSpec.model_json_schema(ref_template="#/$defs/agent{model}")
    fields: dict[str, Schema] = _plain(said)["properties"]
    declared = {"anyOf": [_ref("schema"), _ref("fields")]}
    meanings = {key: fields[key]["description"] for key in ("input", "output")}
    fields["input"] = {"description": meanings["input"], "type": "object", **declared}
    fields["output"] = {
        "description": meanings["output"],
        "anyOf": [_ref("typeName"), *declared["anyOf"], {"type": "null"}],
        "examples": [{"score": {"type": "integer", "minimum": 1, "maximum": 10}}],
    }
    return {
        "type": "object",
        "description": "A prompt for a chat model, with the types of what it takes and answers.",
        "properties": _described(fields),
        "required": ["prompt"],
        "additionalProperties": False,
    }


def _agent_parts() -> dict[str, Schema]:
    from ucop.agents.spec.spec import AgentSpec

    said = AgentSpec.model_json_schema(ref_template="#/$defs/agent{model}")
    parts = {f"agent{name}": _plain(part) for name, part in said["$defs"].items()}
    for part in parts.values():
        part["properties"] = _described(part["properties"])
    parts["agentExample"]["properties"]["input"]["description"] = "What the agent is given."
    parts["agentExample"]["properties"]["output"]["description"] = "What it should answer."
    return parts


def _described(fields: Mapping[str, Schema]) -> dict[str, Schema]:
    meant = {key: {"description": text} for key, text in _AGENT_MEANINGS.items()}
    return {key: {**meant.get(key, {}), **field} for key, field in fields.items()}


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

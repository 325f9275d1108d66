"""Nodes: who does their work, with what, and what happens if it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from ucop.agents.text.places import Path
from ucop.agents.text.schema import check_schema, declared_parts, declared_schema, with_defaults
from ucop.agents.text.validation import validate

from .forms import (
    ANYTHING,
    DURATION,
    MAPPING,
    TEXT,
    Form,
    Key,
    KeysOf,
    Reader,
    count,
    keys_of,
    read_keys,
    ref,
    section,
    typed,
    write_keys,
)
from .mesh import CALLED, LARGEST_LIMIT, Mesh
from .names import END, NODE_NAMES, START, VALUE_NAME, check_node_name
from .policies import CACHE, ON_ERROR, RETRY, TIMEOUT, OnError, Retry

# ---- questions to a person ----


def _read_answer(reader: Reader, value: Any, path: Path) -> Mapping[str, Any]:
    """The JSON Schema of an answer."""
    if not isinstance(value, str | Mapping) or value == {}:
        reader.error("bad-type", "an answer is a type, or fields with types", path)
        return {}
    before = len(reader.findings)
    for part, schema in declared_parts(value):
        for problem in check_schema(schema):
            reader.error("bad-type", problem.message, (*path, *part, *problem.path))
    return {} if len(reader.findings) > before else declared_schema(value)


_ANSWER = Form(_read_answer, {"anyOf": [ref("typeName"), ref("schema"), ref("fields")]}, dict)


class NoDefault(Enum):
    """Stands for the default of an answer if there is none: null may be one."""

    none = "none"


@dataclass(frozen=True, kw_only=True)
class AnswerDeadline:
    """When a question has waited long enough, in seconds from when it was asked; and what then."""

    within: Annotated[float, Key(DURATION, belongs="ask", examples=["2d"])]
    """How long the question waits. Then `default` is the answer; without one the job fails."""
    default: Annotated[
        Any, Key(ANYTHING, belongs="within", shown="", examples=[{"approved": False}])
    ] = NoDefault.none
    """What counts as the answer once `within` has passed."""

    @property
    def fails(self) -> bool:
        """Whether the job fails; else `default` is the answer."""
        return self.default is NoDefault.none


# ---- nodes ----


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of an agent, a workflow, a mesh or a person, or with `each` one per item."""

    name: str
    agent: Annotated[
        str, Key(CALLED, also="capability", examples=["researcher", {"capability": "research"}])
    ] = ""
    """The agent that is called, by name. `ucop agents list` shows them."""
    # What an agent must be able to do: once it is checked, `agent` is the first that can, by name.
    capability: str | None = None
    workflow: Annotated[str, Key(typed(str, minLength=1))] = ""
    """The workflow that runs as this one node, by name."""
    mesh: Annotated[Mesh | None, Key(section(Mesh, "mesh"))] = None
    """Agents among which a router finds who answers, and who is asked on the way."""
    ask: Annotated[str | None, Key(TEXT, examples=["Publish “${title}”?"])] = None
    """A question to a person; the job waits for the answer."""
    answer: Annotated[
        Mapping[str, Any],
        Key(_ANSWER, belongs="ask", written=True, examples=[{"approved": {"type": "boolean"}}]),
    ] = field(default_factory=dict)
    """What the answer must look like: fields, or a type. Left out: a text."""
    deadline: Annotated[AnswerDeadline | None, KeysOf(AnswerDeadline)] = None
    inputs: Annotated[
        Mapping[str, Any],
        Key(MAPPING, name="with", of_call=True, examples=[{"question": "${topic}"}]),
    ] = field(default_factory=dict)
    """The inputs: values, and expressions in `${…}`."""
    writes: Annotated[str | None, Key(VALUE_NAME, examples=["notes"])] = None
    """The name that the answer goes to."""
    each: Annotated[
        str | None, Key(typed(str, pattern=r"\$\{"), examples=["${outline.sections}"])
    ] = None
    """A list or map: the node runs once per item and writes one list or map in item order."""
    item: Annotated[
        str, Key(VALUE_NAME, name="as", belongs="each", written=True, examples=["section"])
    ] = "item"
    """What one item of `each` is called inside `with`."""
    limit: Annotated[int | None, Key(count(LARGEST_LIMIT), belongs="each", of_call=True)] = None
    """How many items of `each` run at the same time. Left out: all."""
    retry: Annotated[Retry | None, Key(RETRY, of_call=True, policy=True)] = None
    """How often a call that failed is tried again."""
    timeout: Annotated[float | None, Key(TIMEOUT, also="idle", of_call=True, policy=True)] = None
    """How long one call may take, and be without a sign of progress."""
    # Seconds without a sign of progress: a token, or an agent's word.
    idle: float | None = None
    cache: Annotated[
        float | None, Key(CACHE, of_call=True, policy=True, examples=["1h", {"ttl": "1h"}])
    ] = None
    """How long an answer is kept for the same inputs; also for other jobs."""
    on_error: Annotated[
        OnError | str, Key(ON_ERROR, policy=True, examples=["continue", {"node": "apologise"}])
    ] = OnError.fail
    """What an error does: `fail` the job, `continue` with null, or go to a node."""
    path: Path = field(default=(), compare=False)

    @property
    def catches(self) -> bool:
        """Whether the run goes on after an error of this node."""
        return self.on_error is not OnError.fail


NODE = keys_of(Node)
POLICIES = {name: key for name, key in NODE.items() if key.policy}
"""What `defaults` may have."""
KINDS = ("agent", "workflow", "mesh", "ask")
"""Keys of which each node has one."""
_OF_QUESTION = [name for name, key in NODE.items() if key.belongs in ("ask", "within")]
_OF_CALL = [name for name, key in NODE.items() if key.of_call]


def _read_defaults(reader: Reader, value: Any, path: Path) -> dict[str, dict[str, Any]]:
    """By key, the fields of the nodes that do not have the key."""
    given = MAPPING.read(reader, value, path) or {}
    reader.known(given, path, POLICIES)
    known = given.keys() & POLICIES.keys()
    return {name: POLICIES[name].values(reader, given[name], (*path, name)) for name in known}


def _read_nodes(reader: Reader, value: Any, path: Path) -> dict[str, Node]:
    nodes = MAPPING.read(reader, value, path) or {}
    if value == {}:
        reader.error("no-nodes", "a workflow needs at least one node", path)
    for name in nodes:
        check_node_name(reader, name, (*path, name))
    own = {name: fields for name, fields in nodes.items() if name not in (START, END)}
    return {name: _node(reader, name, fields, (*path, name)) for name, fields in own.items()}


DEFAULTS = Form(_read_defaults, ref("defaults"))
NODES = Form(
    _read_nodes,
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": NODE_NAMES,
        "additionalProperties": ref("node"),
    },
    lambda nodes: {name: write_keys(node, NODE) for name, node in nodes.items()},
)


def _node(reader: Reader, name: str, given: Any, path: Path) -> Node:
    fields = reader.mapping(given, path, f"node {name!r}") or {}
    _check_kind(reader, fields, path, needed=isinstance(given, Mapping))
    for key in ("as", "limit"):
        if key in fields and "each" not in fields:
            reader.error("without-each", f"{key!r} belongs to 'each'", (*path, key), key=True)
    asks = "ask" in fields
    values = {} if asks else _usual(reader, name, fields)
    values |= read_keys(reader, fields, path, NODE, ("default",) if asks else _OF_QUESTION)
    if asks:
        values |= _question(reader, fields, values, path)
    return Node(name=name, path=path, **values)


def _usual(reader: Reader, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the workflow's `defaults` say of a node. The node that errors lead to does not catch its own, and
    only calls of agents are kept."""
    usual = {key: values for key, values in reader.defaults.items() if key not in fields}
    if "agent" not in fields:
        usual.pop("cache", None)
    if usual.get("on_error") == {"on_error": name}:
        del usual["on_error"]
    return {field: value for values in usual.values() for field, value in values.items()}


def _check_kind(reader: Reader, fields: Mapping[str, Any], path: Path, *, needed: bool) -> None:
    """A node does one thing, and has what belongs to it."""
    kinds = [key for key in KINDS if key in fields]
    if needed and not kinds:
        *others, last = (repr(kind) for kind in KINDS)
        what = f"node {path[-1]!r} needs {', '.join(others)} or {last}"
        reader.error("missing-key", what, path, key=True)
    for key in kinds[1:]:
        what = f"node {path[-1]!r} has {kinds[0]!r} already: a node does one thing"
        reader.error("several-kinds", what, (*path, key), key=True)
    if kinds in (["workflow"], ["mesh"]) and "cache" in fields:
        what = f"'cache' belongs to the call of an agent, and this node runs a {kinds[0]}"
        hint = "give it to nodes of that workflow" if kinds == ["workflow"] else None
        reader.error("wrong-kind", what, (*path, "cache"), hint, key=True)
    misplaced = (
        _OF_CALL if kinds == ["ask"] else _OF_QUESTION if kinds and "ask" not in kinds else ()
    )
    for key in misplaced:
        what = f"{key!r} belongs to 'ask'"
        if key in _OF_CALL:
            what = f"{key!r} belongs to a call, and this node asks a person"
        if key in fields:
            reader.error("wrong-kind", what, (*path, key), key=True)


def _question(
    reader: Reader, fields: Mapping[str, Any], values: dict[str, Any], path: Path
) -> dict[str, Any]:
    """The type of the answer, and how long the question waits for it."""
    answer: Mapping[str, Any] = values["answer"] if "answer" in fields else {"type": "string"}
    within, here = values.pop("within", None), (*path, "default")
    deadline = None if within is None else AnswerDeadline(within=within)
    if "default" in fields:
        if "within" not in fields:
            what = "'default' is the answer once a time has passed: say it with 'within'"
            reader.error("missing-key", what, here, key=True)
        default = with_defaults(answer, fields["default"])
        for problem in validate(answer, default) if answer else ():
            what = f"the default does not fit the answer: {problem}"
            reader.error("bad-value", what, (*here, *problem.path))
        if "${" in str(default):
            what = "'default' is a plain value; `${…}` is not filled in here"
            reader.error("bad-value", what, here)
        if within is not None:
            deadline = AnswerDeadline(within=within, default=default)
    return {"answer": answer, "deadline": deadline}

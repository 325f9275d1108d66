"""From a YAML document to a Definition, with every mistake of form that is in it.

What can be understood is kept, so that the checks of meaning (`check.py`) can report their
findings in the same pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from ucop.agents.finding import Finding, Position
from ucop.agents.text.duration import seconds_of
from ucop.agents.text.places import Path, Places
from ucop.agents.text.schema import (
    check_schema,
    declared_parts,
    declared_schema,
    normalise,
    validate,
    with_defaults,
)
from ucop.agents.text.source import Document, nearest

from ..expressions.cel import RESERVED
from ..limits import LIMITS, Limits, limits_of, refused
from .definition import (
    END,
    MESH,
    RESULT,
    START,
    AnswerDeadline,
    Channel,
    Definition,
    Entry,
    Kind,
    Merge,
    Mesh,
    Node,
    OnError,
    Retry,
    Route,
)

LARGEST_LIMIT = 1_000
T = TypeVar("T")

_TOP = (
    "name",
    "kind",
    "description",
    "input",
    "state",
    "nodes",
    "edges",
    "output",
    "agents",
    "defaults",
    "limits",
    "mesh",
    "with",
)
NOT_IN_A_MESH = ("state", "nodes", "edges", "defaults")
"""Keys that say nothing where the workflow is a mesh."""
ONLY_IN_A_MESH = ("mesh", "with")
_MESH = ("entry", "agents", "max_hops", "retry", "timeout")
_NODE = (
    "agent",
    "workflow",
    "mesh",
    "ask",
    "answer",
    "within",
    "default",
    "with",
    "writes",
    "each",
    "as",
    "limit",
    "retry",
    "timeout",
    "cache",
    "on_error",
)
_KINDS = ("agent", "workflow", "mesh", "ask")
"""Node keys of which each node has one."""
_NOT_ASKED = ("with", "limit", "retry", "timeout", "cache")
"""Node keys that mean nothing where a person is asked."""
_ASKED = ("answer", "within", "default")
"""Node keys that mean nothing where nobody is asked."""
_ROUTE = ("from", "to")
_ENTRY = ("node", "when", "at_most")
_RETRY = ("attempts", "delay", "longest")
_TIMEOUT = ("whole", "idle")
_CACHE = ("ttl",)
_DEFAULTS = ("retry", "timeout", "cache", "on_error")
KEYS = {
    "workflow": _TOP,
    "node": _NODE,
    "mesh": _MESH,
    "edge": _ROUTE,
    "entry": _ENTRY,
    "retry": _RETRY,
    "timeout": _TIMEOUT,
    "cache": _CACHE,
    "defaults": _DEFAULTS,
    "limits": LIMITS,
}
"""Every key of the language by where it stands: what `json_schema.py` has to describe."""

MERGES = tuple(merge.value for merge in Merge if merge is not Merge.custom)
"""How writes can meet without a function of the project."""

_NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_CHANNEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORKFLOW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ONE_NODE = (
    Route(source=START, entries=(Entry(target=MESH),)),
    Route(source=MESH, entries=(Entry(target=END),)),
)
_WORD = re.compile(r"[^\s,\[\]]+")

_NO_CALL = "{!r} belongs to a call, and this node asks a person"

TYPE_WORDS = {
    str: "a text",
    dict: "a mapping",
    list: "a list",
    int: "a whole number",
}


class Loaded(NamedTuple):
    """What a document says, as far as it could be understood, and what is wrong with it."""

    definition: Definition
    findings: list[Finding]
    edges_broken: bool
    """Whether an edge could not be understood, so that nothing follows from the others."""


def load(document: Document) -> Loaded:
    """Read a workflow's document."""
    return _Loader(Places(document)).load(document.data)


def load_data(data: Any) -> Loaded:
    """Read a workflow that a job kept: the same language, without places."""
    return _Loader(Places()).load(data)


class Policies(NamedTuple):
    """What holds for calls of nodes that do not say otherwise."""

    retry: Retry | None = None
    timeout: tuple[float | None, float | None] = (None, None)
    cache: float | None = None
    """For nodes that call an agent."""
    on_error: OnError | str = OnError.fail

    def on_error_of(self, node: str) -> OnError | str:
        """What an error of `node` does; one of the node that errors lead to ends the job."""
        return OnError.fail if self.on_error == node else self.on_error


class _Loader:
    """Collects findings while it reads; one object reads one document."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.findings: list[Finding] = []
        self.edges_broken = False
        self.defaults = Policies()

    def load(self, data: Any) -> Loaded:
        top = self.mapping(data, (), "a workflow") or {}
        kind = self.kind_of_workflow(top)
        self.known_keys(top, (), _TOP)
        self.keys_of_kind(top, kind)
        for needed in ("name", MESH if kind is Kind.mesh else "nodes"):
            if needed not in top and isinstance(data, dict):
                self.error("missing-key", f"a workflow needs {needed!r}", self.places.at(()))
        self.defaults = self.policies(top)
        nodes = self.nodes(top) if kind is Kind.graph else self.only_mesh(top)
        routes = self.routes(top) if kind is Kind.graph else ONE_NODE
        definition = Definition(
            name=self.workflow_name(top),
            kind=kind,
            description=self.text(top, "description") or "",
            inputs=self.channels(top, "input"),
            state=self.channels(top, "state"),
            nodes=nodes,
            routes=routes,
            derived=kind is Kind.graph and "edges" not in top,
            output=top.get("output"),
            agents=self.optional(top, "agents", dict, ()) or {},
            limits=self.limits(top),
            places=self.places,
        )
        return Loaded(definition, self.findings, self.edges_broken)

    # ---- parts ----

    def kind_of_workflow(self, top: Mapping[str, Any]) -> Kind:
        given = top.get("kind", Kind.graph.value)
        if given in [kind.value for kind in Kind]:
            return Kind(given)
        what = f"kind is {Kind.graph.value} or {Kind.mesh.value}, not {_shown(given)}"
        self.error("bad-value", what, self.places.at(("kind",)))
        return Kind.graph

    def keys_of_kind(self, top: Mapping[str, Any], kind: Kind) -> None:
        """A mesh has no nodes of its own, and a graph has its meshes at its nodes."""
        for key in NOT_IN_A_MESH if kind is Kind.mesh else ONLY_IN_A_MESH:
            if key not in top:
                continue
            if kind is Kind.mesh:
                what, hint = f"{key!r} says nothing in a workflow of kind: mesh", None
            else:
                what = f"{key!r} belongs to a node, or to a workflow of kind: mesh"
                hint = "add kind: mesh, or write it at a node"
            self.error("wrong-kind", what, self.key((key,)), hint)

    def only_mesh(self, top: Mapping[str, Any]) -> dict[str, Node]:
        """The one node of a workflow that is a mesh. It stands where the file does; without
        `with`, the inputs go to the agent as they are."""
        if RESULT in self.declared_inputs(top):
            what = f"{RESULT!r} is what the mesh writes"
            self.error("duplicate-name", what, self.key(("input", RESULT)), "name the input else")
        given = self.optional(top, "with", dict, ())
        inputs = {name: f"${{{name}}}" for name in self.declared_inputs(top)}
        node = Node(
            name=MESH,
            mesh=self.mesh(top, ()),
            inputs=inputs if given is None else given,
            writes=None if RESULT in self.declared_inputs(top) else RESULT,
        )
        return {MESH: node}

    def mesh(self, fields: Mapping[str, Any], path: Path) -> Mesh | None:
        given = self.optional(fields, MESH, dict, path)
        if given is None:
            return None
        here: Path = (*path, MESH)
        self.known_keys(given, here, _MESH)
        if "entry" not in given:
            what = "a mesh needs 'entry': who is called first"
            self.error("missing-key", what, self.places.at(here), "name an agent of the mesh")
        whole, idle = self.timeout(given, here)
        agents, capabilities = self.candidates(given, here)
        return Mesh(
            entry=self.agent(given, here, "entry"),
            entry_capability=self.capability(given, here, "entry"),
            agents=agents,
            capabilities=capabilities,
            max_hops=self.count(given, "max_hops", here, LARGEST_LIMIT) or Mesh.max_hops,
            retry=self.retry(given, here),
            timeout=whole,
            idle=idle,
        )

    def candidates(
        self, given: Mapping[str, Any], path: Path
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those who may be called, by name and by what they can do."""
        listed = self.optional(given, "agents", list, path) or []
        if listed == [] and "agents" in given and isinstance(given["agents"], list):
            what = "'agents' is empty"
            hint = "leave it out to have everyone whom the agents may ask for"
            self.error("bad-value", what, self.key((*path, "agents")), hint)
        items, here = dict(enumerate(listed)), (*path, "agents")
        names = [self.agent(items, here, index) for index in items]
        able = [self.capability(items, here, index) for index in items]
        return tuple(filter(None, names)), tuple(name for name in able if name)

    def policies(self, top: Mapping[str, Any]) -> Policies:
        """The workflow's `defaults`."""
        here: Path = ("defaults",)
        given = self.optional(top, "defaults", dict, ()) or {}
        self.known_keys(given, here, _DEFAULTS)
        return Policies(
            retry=self.retry(given, here),
            timeout=self.timeout(given, here),
            cache=self.cache(given, here),
            on_error=self.on_error(given, here),
        )

    def limits(self, top: Mapping[str, Any]) -> Limits:
        here: Path = ("limits",)
        given = self.optional(top, "limits", dict, ()) or {}
        self.known_keys(given, here, LIMITS)
        for name, value in given.items():
            if name in LIMITS and (wrong := refused(name, value)):
                what = f"{name!r} {wrong}, not {_shown(value)}"
                self.error("bad-value", what, self.places.at((*here, name)))
        return limits_of(given)

    def workflow_name(self, top: Mapping[str, Any]) -> str:
        name = self.text(top, "name")
        if name is not None and not _WORKFLOW_NAME.fullmatch(name):
            self.error(
                "bad-name",
                f"{name!r} cannot name a workflow: letters, digits, '_', '-' and '.' only",
                self.places.at(("name",)),
            )
        return name or ""

    def channels(self, top: Mapping[str, Any], section: str) -> dict[str, Channel]:
        found: dict[str, Channel] = {}
        for name, declared in (self.optional(top, section, dict, ()) or {}).items():
            path: Path = (section, name)
            self.channel_name(name, path, key=True)
            if section == "state" and name in self.declared_inputs(top):
                self.error("duplicate-name", f"{name!r} is an input already", self.key(path))
            found[name] = self.channel(name, declared, path, section)
        return found

    @staticmethod
    def declared_inputs(top: Mapping[str, Any]) -> Mapping[str, Any]:
        given = top.get("input")
        return given if isinstance(given, dict) else {}

    def channel(self, name: str, declared: Any, path: Path, section: str) -> Channel:
        merge, function = Merge.replace, ""
        if section == "state" and isinstance(declared, Mapping) and "merge" in declared:
            merge, function = self.merge(declared["merge"], (*path, "merge"))
            declared = {key: value for key, value in declared.items() if key != "merge"}
        schema = normalise(declared)
        problems = check_schema(schema) if isinstance(schema, dict) else None
        if problems is None:
            self.error("bad-type", "a type is a name or a JSON Schema", self.places.at(path))
            return Channel(name=name, merge=merge, function=function, path=path)
        for problem in problems:
            self.error("bad-type", problem.message, self.places.at((*path, *problem.path)))
        if problems:
            return Channel(name=name, merge=merge, function=function, path=path)
        self.default(schema, path)
        return Channel(name=name, schema=schema, merge=merge, function=function, path=path)

    def default(self, schema: Mapping[str, Any], path: Path) -> None:
        if "default" not in schema:
            return
        for problem in validate(schema, schema["default"]):
            self.error("bad-default", f"default: {problem}", self.places.at((*path, "default")))

    def merge(self, given: Any, path: Path) -> tuple[Merge, str]:
        """How writes meet, and the function that says so where it is the project's own."""
        if isinstance(given, Mapping):
            return Merge.custom, self.merge_function(given, path)
        if given in MERGES:
            return Merge(given), ""
        if given == Merge.custom.value:
            what, hint = "merge: custom needs a function", "write merge: {custom: NAME}"
        else:
            what = f"there is no merge {given!r}; there is {', '.join(MERGES)}, {{custom: NAME}}"
            hint = _meant(given, MERGES) or ""
        self.error("bad-merge", what, self.places.at(path), hint or None)
        return Merge.replace, ""

    def merge_function(self, given: Mapping[str, Any], path: Path) -> str:
        self.known_keys(given, path, ("custom",))
        if "custom" not in given:
            self.error("missing-key", "merge needs a name or 'custom'", self.places.at(path))
        return self.optional(given, "custom", str, path) or ""

    def nodes(self, top: Mapping[str, Any]) -> dict[str, Node]:
        section = self.optional(top, "nodes", dict, ()) or {}
        if "nodes" in top and top["nodes"] == {}:
            self.error("no-nodes", "a workflow needs at least one node", self.places.at(("nodes",)))
        for name in section:
            self.node_name(name)
        known = {name: given for name, given in section.items() if name not in (START, END)}
        return {name: self.node(name, given) for name, given in known.items()}

    def node_name(self, name: str) -> None:
        where = self.key(("nodes", name))
        if name in (START, END):
            self.error("reserved-name", f"{name} is a reserved name", where)
        elif name.startswith("_"):
            self.error("reserved-name", "names with a leading underscore are reserved", where)
        elif not _NODE_NAME.fullmatch(name):
            self.error(
                "bad-name",
                f"{name!r} cannot name a node: letters, digits, '_' and '-' only, a letter first",
                where,
            )

    def node(self, name: str, given: Any) -> Node:
        path: Path = ("nodes", name)
        fields = self.mapping(given, path, f"node {name!r}") or {}
        self.known_keys(fields, path, _NODE)
        self.kind(fields, path, needed=isinstance(given, Mapping))
        usual = Policies() if "ask" in fields else self.defaults
        whole, idle = self.timeout(fields, path) if "timeout" in fields else usual.timeout
        answer = self.answer(fields, path)
        return Node(
            name=name,
            agent=self.agent(fields, path),
            capability=self.capability(fields, path),
            workflow=self.optional(fields, "workflow", str, path) or "",
            mesh=self.mesh(fields, path),
            ask=self.optional(fields, "ask", str, path),
            answer=answer,
            deadline=self.deadline(fields, answer, path) if "ask" in fields else None,
            inputs=self.optional(fields, "with", dict, path) or {},
            writes=self.writes(fields, path),
            each=self.each(fields, path),
            item=self.item(fields, path),
            limit=self.count(fields, "limit", path, LARGEST_LIMIT),
            retry=self.retry(fields, path) if "retry" in fields else usual.retry,
            timeout=whole,
            idle=idle,
            cache=self.cache(fields, path)
            if "cache" in fields or "agent" not in fields
            else usual.cache,
            on_error=self.on_error(fields, path)
            if "on_error" in fields
            else usual.on_error_of(name),
            path=path,
        )

    def kind(self, fields: Mapping[str, Any], path: Path, *, needed: bool) -> None:
        """A node does one thing, and has what belongs to it."""
        kinds = [key for key in _KINDS if key in fields]
        if needed and not kinds:
            self.error("missing-key", f"node {path[-1]!r} needs {_either(_KINDS)}", self.key(path))
        for key in kinds[1:]:
            self.error(
                "several-kinds",
                f"node {path[-1]!r} has {kinds[0]!r} already: a node does one thing",
                self.key((*path, key)),
            )
        if kinds in (["workflow"], ["mesh"]) and "cache" in fields:
            hint = "give it to nodes of that workflow" if kinds == ["workflow"] else None
            self.error(
                "wrong-kind",
                f"'cache' belongs to the call of an agent, and this node runs a {kinds[0]}",
                self.key((*path, "cache")),
                hint,
            )
        misplaced = _NOT_ASKED if kinds == ["ask"] else () if "ask" in kinds else _ASKED
        for key in misplaced:
            if key in fields and kinds:
                what = f"{key!r} belongs to 'ask'" if key in _ASKED else _NO_CALL.format(key)
                self.error("wrong-kind", what, self.key((*path, key)))

    def answer(self, fields: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        if "ask" not in fields:
            return {}
        here: Path = (*path, "answer")
        declared = fields.get("answer", "string")
        if not isinstance(declared, str | Mapping) or declared == {}:
            self.error(
                "bad-type", "an answer is a type, or fields with types", self.places.at(here)
            )
            return {}
        wrong = [
            (part, problem)
            for part, schema in declared_parts(declared)
            for problem in check_schema(schema)
        ]
        for part, problem in wrong:
            self.error("bad-type", problem.message, self.places.at((*here, *part, *problem.path)))
        return {} if wrong else declared_schema(declared)

    def deadline(
        self, fields: Mapping[str, Any], answer: Mapping[str, Any], path: Path
    ) -> AnswerDeadline | None:
        """How long a question waits, and for which answer."""
        here: Path = (*path, "default")
        if "default" in fields and "within" not in fields:
            self.error(
                "missing-key",
                "'default' is the answer once a time has passed: say it with 'within'",
                self.key(here),
            )
        within = self.duration(fields, "within", path)
        if "default" not in fields:
            return None if within is None else AnswerDeadline(within=within)
        default = with_defaults(answer, fields["default"])
        for problem in validate(answer, default) if answer else ():
            self.error(
                "bad-value",
                f"the default does not fit the answer: {problem}",
                self.places.at((*here, *problem.path)) or self.places.at(here),
            )
        if "${" in str(default):
            what = "'default' is a plain value; `${…}` is not filled in here"
            self.error("bad-value", what, self.places.at(here))
        return (
            None if within is None else AnswerDeadline(within=within, fails=False, default=default)
        )

    def agent(self, fields: Mapping[Any, Any], path: Path, key: str | int = "agent") -> str:
        """The agent that is named under `key`; empty where a capability is, or nothing."""
        given = fields.get(key)
        if isinstance(given, str) and given:
            return given
        if key in fields and not isinstance(given, Mapping):
            what = f"{_called(key)} must be a name, or {{capability: NAME}}"
            self.error("wrong-type", what, self.places.at((*path, key)))
        return ""

    def capability(
        self, fields: Mapping[Any, Any], path: Path, key: str | int = "agent"
    ) -> str | None:
        given, here = fields.get(key), (*path, key)
        if not isinstance(given, Mapping):
            return None
        self.known_keys(given, here, ("capability",))
        if "capability" not in given:
            what = f"{_called(key)} needs a name or 'capability'"
            self.error("missing-key", what, self.places.at(here))
        return self.optional(given, "capability", str, here)

    def writes(self, fields: Mapping[str, Any], path: Path) -> str | None:
        name = self.optional(fields, "writes", str, path)
        if name is not None:
            self.channel_name(name, (*path, "writes"))
        return name

    def each(self, fields: Mapping[str, Any], path: Path) -> str | None:
        each = self.optional(fields, "each", str, path)
        if each is None:
            for key in ("as", "limit"):
                if key in fields and "each" not in fields:
                    self.error("without-each", f"{key!r} belongs to 'each'", self.key((*path, key)))
        return each

    def item(self, fields: Mapping[str, Any], path: Path) -> str:
        name = self.optional(fields, "as", str, path)
        if name is not None:
            self.channel_name(name, (*path, "as"))
        return name or "item"

    def retry(self, fields: Mapping[str, Any], path: Path) -> Retry | None:
        here: Path = (*path, "retry")
        given = self.optional(fields, "retry", dict, path)
        if given is None:
            return None
        self.known_keys(given, here, _RETRY)
        attempts = self.count(given, "attempts", here, 100)
        delay = self.duration(given, "delay", here)
        longest = self.duration(given, "longest", here)
        usual = Retry()
        return Retry(
            attempts=attempts or usual.attempts,
            delay=usual.delay if delay is None else delay,
            longest=usual.longest if longest is None else longest,
        )

    def timeout(self, fields: Mapping[str, Any], path: Path) -> tuple[float | None, float | None]:
        """The seconds of a whole call, and those between two signs of progress."""
        given, here = fields.get("timeout"), (*path, "timeout")
        if not isinstance(given, Mapping):
            return self.duration(fields, "timeout", path), None
        self.known_keys(given, here, _TIMEOUT)
        if not given:
            self.error("missing-key", "a timeout needs 'whole' or 'idle'", self.places.at(here))
        return self.duration(given, "whole", here), self.duration(given, "idle", here)

    def cache(self, fields: Mapping[str, Any], path: Path) -> float | None:
        """The seconds for which answers are kept."""
        given, here = fields.get("cache"), (*path, "cache")
        if not isinstance(given, Mapping):
            return self.duration(fields, "cache", path)
        self.known_keys(given, here, _CACHE)
        if "ttl" not in given:
            self.error("missing-key", "cache needs a time, or 'ttl'", self.places.at(here))
        return self.duration(given, "ttl", here)

    def on_error(self, fields: Mapping[str, Any], path: Path) -> OnError | str:
        here: Path = (*path, "on_error")
        given = fields.get("on_error", "fail")
        if isinstance(given, Mapping):
            self.known_keys(given, here, ("node",))
            if "node" not in given:
                self.error("missing-key", "on_error needs 'node'", self.places.at(here))
            return self.optional(given, "node", str, here) or OnError.fail
        if given in [policy.value for policy in OnError]:
            return OnError(given)
        self.error(
            "bad-value",
            f"on_error is fail, continue or {{node: NAME}}, not {given!r}",
            self.places.at(here),
        )
        return OnError.fail

    # ---- edges ----

    def routes(self, top: Mapping[str, Any]) -> tuple[Route, ...]:
        if "edges" not in top:
            return ()
        if top["edges"] is None or top["edges"] == []:
            self.edges_broken = True
            self.error(
                "no-edges",
                "edges is empty",
                self.key(("edges",)),
                "leave it out to have the edges follow from references",
            )
            return ()
        items = self.optional(top, "edges", list, ())
        if items is None:
            self.edges_broken = True
            return ()
        before = len(self.findings)
        routes = [route for i, item in enumerate(items) for route in self.edge(item, ("edges", i))]
        self.edges_broken = len(self.findings) > before
        return tuple(routes)

    def edge(self, item: Any, path: Path) -> Iterable[Route]:
        if isinstance(item, str):
            return self.chain(item, path)
        if isinstance(item, Mapping):
            return self.choice(item, path)
        self.error(
            "wrong-type",
            "an edge is a chain such as a -> b, or {from: a, to: [...]}",
            self.places.at(path),
        )
        return ()

    def chain(self, text: str, path: Path) -> Iterable[Route]:
        links = list(self.links(text, path))
        if len(links) < 2:
            if all(links):
                self.error(
                    "bad-edge", f"{text!r} leads nowhere: write a -> b", self.places.at(path)
                )
            return
        for position, link in enumerate(links):
            for name, offset in link:
                wrong = None
                if name == START and position > 0:
                    wrong = "no edge leads to START"
                if name == END and position < len(links) - 1:
                    wrong = "no edge leads out of END"
                if wrong:
                    self.error("bad-edge", wrong, self.places.inside(path, offset, name))
        for sources, targets in pairwise(links):
            for source, source_offset in sources:
                for target, offset in targets:
                    entry = Entry(target=target, path=path, offset=offset)
                    yield Route(source=source, entries=(entry,), path=path, offset=source_offset)

    def links(self, text: str, path: Path) -> Iterable[list[tuple[str, int]]]:
        """The nodes between the arrows of a chain, each with where it begins."""
        start = 0
        for part in text.split("->"):
            words = [(m.group(), start + m.start()) for m in _WORD.finditer(part)]
            bare = part.strip()
            grouped = bare.startswith("[") and bare.endswith("]") and bare.count("[") == 1
            if not words:
                self.error(
                    "bad-edge", "a node is missing here", self.places.inside(path, start, part)
                )
            elif not (bare == words[0][0] or (grouped and _is_list(bare[1:-1]))):
                self.error(
                    "bad-edge",
                    f"{bare!r} is neither a node nor a list such as [b, c]",
                    self.places.inside(path, words[0][1], words[0][0]),
                )
                words = []
            yield words
            start += len(part) + 2

    def choice(self, item: Mapping[str, Any], path: Path) -> Iterable[Route]:
        self.known_keys(item, path, _ROUTE)
        for key in _ROUTE:
            if key not in item:
                self.error("missing-key", f"an edge needs {key!r}", self.places.at(path))
        source = self.optional(item, "from", str, path)
        if source == END:
            self.error("bad-edge", "no edge leads out of END", self.places.at((*path, "from")))
        given = item.get("to")
        here: Path = (*path, "to")
        if isinstance(given, list):
            entries = [self.entry(to, (*here, i)) for i, to in enumerate(given)]
            if not given:
                self.error("bad-edge", "'to' is empty", self.places.at(here))
        else:
            entries = [self.entry(given, here)] if "to" in item else []
        kept = tuple(entry for entry in entries if entry is not None)
        if source and kept:
            yield Route(source=source, entries=kept, path=path)

    def entry(self, given: Any, path: Path) -> Entry | None:
        if isinstance(given, str):
            return self.target(Entry(target=given, path=path), self.places.at(path))
        fields = self.mapping(given, path, "an entry of 'to'")
        if fields is None:
            return None
        self.known_keys(fields, path, _ENTRY)
        target = self.optional(fields, "node", str, path)
        if "node" not in fields:
            self.error("missing-key", "an entry of 'to' needs 'node'", self.places.at(path))
        entry = Entry(
            target=target or "",
            when=self.condition(fields, path),
            at_most=self.count(fields, "at_most", path, None),
            path=path,
        )
        return self.target(entry, self.places.at((*path, "node"))) if target else None

    def condition(self, fields: Mapping[str, Any], path: Path) -> str | None:
        given = fields.get("when")
        if isinstance(given, bool):
            return "true" if given else "false"
        when = self.optional(fields, "when", str, path)
        if when is not None and when.startswith("${") and when.endswith("}"):
            self.error(
                "bad-expression",
                "'when' is an expression already: write it without ${ }",
                self.places.at((*path, "when")),
            )
            return None
        return when

    def target(self, entry: Entry, place: Position | None) -> Entry | None:
        if entry.target == START:
            self.error("bad-edge", "no edge leads to START", place)
            return None
        return entry

    # ---- values ----

    def text(self, fields: Mapping[str, Any], key: str) -> str | None:
        return self.optional(fields, key, str, ())

    def optional(self, fields: Mapping[str, Any], key: str, kind: type[T], path: Path) -> T | None:
        """The value at `key` if it has the type that it must have."""
        if key not in fields:
            return None
        value = fields[key]
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self.error(
            "wrong-type",
            f"{key!r} must be {TYPE_WORDS[kind]}, not {_shown(value)}",
            self.places.at((*path, key)),
        )
        return None

    def count(
        self, fields: Mapping[str, Any], key: str, path: Path, most: int | None
    ) -> int | None:
        number = self.optional(fields, key, int, path)
        if number is None or (number >= 1 and (most is None or number <= most)):
            return number
        bound = "at least 1" if number < 1 else f"at most {most}"
        self.error("bad-value", f"{key!r} must be {bound}", self.places.at((*path, key)))
        return None

    def duration(self, fields: Mapping[str, Any], key: str, path: Path) -> float | None:
        if key not in fields:
            return None
        value = fields[key]
        if (seconds := seconds_of(value)) is not None:
            return seconds
        self.error(
            "bad-value",
            f"{key!r} must be a time such as 500ms, 60s, 5m or 1h, not {_shown(value)}",
            self.places.at((*path, key)),
        )
        return None

    def mapping(self, value: Any, path: Path, what: str) -> dict[str, Any] | None:
        if isinstance(value, dict):
            return value
        self.error(
            "wrong-type", f"{what} must be a mapping, not {_shown(value)}", self.places.at(path)
        )
        return None

    def known_keys(self, fields: Mapping[str, Any], path: Path, known: tuple[str, ...]) -> None:
        for key in fields:
            if key not in known:
                self.error(
                    "unknown-key",
                    f"there is no key {key!r} here",
                    self.key((*path, key)),
                    _meant(key, known) or f"there is {', '.join(known)}",
                )

    def channel_name(self, name: str, path: Path, *, key: bool = False) -> None:
        place = self.places.at(path, key=key)
        if name.startswith("_"):
            self.error("reserved-name", "names with a leading underscore are reserved", place)
        elif name in RESERVED or name in (START, END, "errors"):
            self.error("reserved-name", f"{name} is a reserved name", place)
        elif not _CHANNEL_NAME.fullmatch(name):
            self.error(
                "bad-name",
                f"{name!r} cannot name a value: letters, digits and '_' only, a letter first",
                place,
            )

    def key(self, path: Path) -> Position | None:
        return self.places.at(path, key=True)

    def error(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        self.findings.append(
            Finding(severity="error", message=message, position=position, hint=hint, code=code)
        )


def _called(key: str | int) -> str:
    """What stands under a key; one of a list of agents is an agent."""
    return key if isinstance(key, str) else "agent"


def _either(names: Iterable[str]) -> str:
    *others, last = (repr(name) for name in names)
    return f"{', '.join(others)} or {last}"


def _is_list(inside: str) -> bool:
    return all(_WORD.fullmatch(part.strip()) for part in inside.split(","))


def _meant(name: Any, names: Iterable[str]) -> str | None:
    near = nearest(name, names) if isinstance(name, str) else None
    return f"did you mean {near!r}?" if near else None


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…'"

"""Every mistake in a workflow's definition, found in one pass and before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import InvalidDefinition, UnknownAgent
from ucop.agents.schema import validate
from ucop.agents.source import Document, Finding, Position, nearest
from ucop.agents.spec_file import read_agents
from ucop.graphs.definition import END, START, Definition, Entry, Merge, Node, OnError, Path, Route
from ucop.graphs.expressions import Reference, path_text
from ucop.graphs.load import Loaded, load
from ucop.graphs.references import Readings, derive_routes, read_references
from ucop.graphs.shapes import Shape, can_fit, type_of, words
from ucop.graphs.templates import Use
from ucop.graphs.topology import Topology, topology_of

if TYPE_CHECKING:
    from ucop.agents.registry import Registry
    from ucop.agents.spec import Agent

ERRORS = "errors"


@dataclass(frozen=True)
class Checked:
    """A definition with its agents, as far as both could be understood, and all findings."""

    definition: Definition
    agents: Mapping[str, Agent]
    findings: tuple[Finding, ...]


def check(document: Document, registry: Registry) -> Checked:
    """Read and check a workflow; `registry` holds the agents of the project."""
    loaded = load(document)
    own: dict[str, Agent] = {}
    findings = list(loaded.findings)
    if isinstance(document.data, dict) and isinstance(document.data.get("agents"), dict):
        own, wrong = read_agents(document, ("agents",))
        findings += wrong
    declared = set(loaded.definition.agents)
    checker = _Checker(loaded, registry.extended(own.values()), declared - set(own))
    findings += checker.run()
    return Checked(checker.definition, checker.agents, tuple(_in_order(findings)))


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise InvalidDefinition if any finding is an error."""
    found = tuple(findings)
    if any(finding.severity == "error" for finding in found):
        raise InvalidDefinition(found)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By place, each finding once."""

    def place(finding: Finding) -> tuple[int, int]:
        position = finding.position
        return (position.line, position.column) if position else (0, 0)

    return sorted(dict.fromkeys(findings), key=place)


class _Checker:
    """One pass over one definition. What rests on something broken is not checked."""

    def __init__(self, loaded: Loaded, registry: Registry, broken_agents: set[str]) -> None:
        self.loaded = loaded
        self.definition = loaded.definition
        self.edges_broken = loaded.edges_broken
        self.registry = registry
        self.broken_agents = broken_agents
        self.agents: dict[str, Agent] = {}
        self.findings: list[Finding] = []
        self.readings: Readings = read_references(self.definition)

    def run(self) -> list[Finding]:
        for fault in self.readings.faults:
            place = self.inside(fault.path, fault.offset, fault.needle)
            self.error("bad-expression", fault.message, place, fault.hint)
        self.find_agents()
        self.check_policies()
        if self.definition.derived:
            self.derive()
        sound = self.check_edges()
        self.check_references(sound)
        self.check_inputs()
        if sound:
            self.check_parallel_writes()
        if not self.loaded.findings and all(f.severity == "warning" for f in self.findings):
            self.warn_of_unused()
        return self.findings

    @cached_property
    def topology(self) -> Topology:
        return topology_of(self.definition)

    # ---- agents ----

    def find_agents(self) -> None:
        for node in self.definition.nodes.values():
            if not node.agent or node.agent in self.broken_agents:
                continue
            try:
                self.agents[node.agent] = self.registry.get(node.agent)
            except UnknownAgent:
                self.error(
                    "unknown-agent",
                    f"there is no agent {node.agent!r}",
                    self.at((*node.path, "agent")),
                    _meant(node.agent, self.registry.names()),
                )

    def check_policies(self) -> None:
        for node in self.definition.nodes.values():
            if node.on_error is not OnError.fail:
                self.error(
                    "not-yet",
                    "on_error: not supported yet by this version",
                    self.key((*node.path, "on_error")),
                )

    def check_inputs(self) -> None:
        for node in self.definition.nodes.values():
            agent = self.agents.get(node.agent)
            if agent is not None:
                self.check_input(node, agent)

    def check_input(self, node: Node, agent: Agent) -> None:
        schema = agent.input_schema
        properties = schema.get("properties", {})
        here: Path = (*node.path, "with")
        for name in schema.get("required", ()):
            if name not in node.inputs:
                self.error(
                    "missing-input",
                    f"agent {agent.name!r} needs the input {name!r}",
                    self.key(here) if node.inputs else self.key(node.path),
                )
        for name, value in node.inputs.items():
            if name in properties:
                self.check_value(node, name, value, properties[name], schema)
            elif schema.get("additionalProperties") is False:
                self.error(
                    "unknown-input",
                    f"agent {agent.name!r} has no input {name!r}",
                    self.key((*here, name)),
                    _meant(name, properties) or _one_of(properties),
                )

    def check_value(
        self, node: Node, name: str, value: Any, schema: Any, root: Mapping[str, Any]
    ) -> None:
        if not isinstance(schema, Mapping):
            return
        path: Path = (*node.path, "with", name)
        uses = [use for use in self.readings.inputs[node.name] if use.path[: len(path)] == path]
        if not uses and not _has_template(value):
            self.check_literal(node, path, value, {**schema, "$defs": root.get("$defs", {})})
            return
        wanted = Shape(schema, root).types
        given: frozenset[str] | None = frozenset({type_of(value)})
        if isinstance(value, str):
            given = self.types_of(uses[0], node) if uses and uses[0].whole else given
            if not uses:
                return
        if not can_fit(given, wanted) and given is not None and wanted is not None:
            self.error(
                "wrong-input-type",
                f"input {name!r} of agent {node.agent!r} must be {words(wanted)}, "
                f"and this is {words(given)}",
                self.at(path),
            )

    def check_literal(self, node: Node, path: Path, value: Any, schema: Mapping[str, Any]) -> None:
        for problem in validate(schema, value):
            self.error(
                "wrong-input",
                f"input {path[-1]!r} of agent {node.agent!r}: {problem}",
                self.at((*path, *problem.path)),
            )

    # ---- edges ----

    def derive(self) -> None:
        routes, ambiguous = derive_routes(self.definition, self.readings)
        self.definition = replace(self.definition, routes=routes)
        for node, name in ambiguous:
            self.error(
                "several-writers",
                f"{name!r} is written by several nodes, so the edges do not follow from the "
                "references",
                self.at((*node.path, "writes")),
                "add 'edges'",
            )
        self.edges_broken = self.edges_broken or bool(ambiguous)

    def check_edges(self) -> bool:
        """Whether the graph is sound, so that more can be said about it."""
        if self.edges_broken or not self.definition.nodes:
            return False
        known = self.check_names()
        self.check_choices()
        self.warn_of_repeats()
        if not known:
            return False
        if not self.check_cycles():
            return False
        self.check_reach()
        return self.check_loops()

    def check_names(self) -> bool:
        known = True
        nodes = self.definition.nodes
        said: set[Position | None] = set()
        for name, place_of in self.named_nodes():
            if name in nodes or name in (START, END):
                continue
            known, place = False, place_of()
            if place not in said:
                said.add(place)
                self.error(
                    "unknown-node",
                    f"there is no node {name!r}",
                    place,
                    _meant(name, (*nodes, START, END)),
                )
        return known

    def named_nodes(self) -> Iterator[tuple[str, Callable[[], Position | None]]]:
        for route in self.definition.routes:
            yield route.source, partial(self.source_place, route)
            for entry in route.entries:
                yield entry.target, partial(self.target_place, entry)

    def check_choices(self) -> None:
        for route in self.definition.routes:
            *others, last = route.entries
            if last.when is not None or last.at_most is not None:
                self.error(
                    "no-default",
                    f"no edge out of {route.source} is left when "
                    + ("this one is used up" if last.when is None else "this does not hold"),
                    self.target_place(last),
                    "end the list with an entry without 'when' and 'at_most', or with END",
                )
            for entry, following in zip(others, route.entries[1:], strict=True):
                if entry.when is None and entry.at_most is None:
                    self.error(
                        "never-taken",
                        f"this entry is never tried: {entry.target} before it always holds",
                        self.target_place(following),
                        f"for both at once write {route.source} -> "
                        f"[{entry.target}, {following.target}]",
                    )
                    break

    def warn_of_repeats(self) -> None:
        seen: set[tuple[str, str]] = set()
        for route in self.definition.routes:
            entry = route.entries[0]
            if len(route.entries) > 1 or entry.when is not None or entry.at_most is not None:
                continue
            edge = (route.source, entry.target)
            if edge in seen:
                self.warn(
                    "repeated-edge",
                    f"the edge {route.source} -> {entry.target} is there already",
                    self.target_place(entry),
                )
            seen.add(edge)

    def check_cycles(self) -> bool:
        for cycle in self.topology.cycles:
            _, entry = self.edge(cycle[-1], cycle[0])
            self.error(
                "unbounded-loop",
                f"a loop with no bound: {' -> '.join((*cycle, cycle[0]))}",
                self.target_place(entry),
                self.derived_hint or "give one of its edges 'at_most'",
            )
        return not self.topology.cycles

    @property
    def derived_hint(self) -> str | None:
        return "write 'edges' for a loop" if self.definition.derived else None

    def check_reach(self) -> None:
        if not any(route.source == START for route in self.definition.routes):
            self.error(
                "no-start", "no edge leads out of START", self.key(("edges",)), "add START -> …"
            )
            return
        unreachable = set(self.topology.unreachable)
        for node in self.topology.unreachable:
            before = set(self.topology.predecessors.get(node, ()))
            if not before & unreachable or before <= {node}:
                self.error(
                    "unreachable",
                    f"no edge leads to node {node!r}",
                    self.key(self.definition.nodes[node].path),
                )
        for node in self.topology.dead_ends:
            if not self.topology.successors.get(node):
                self.error(
                    "no-end",
                    f"node {node!r} leads nowhere",
                    self.key(self.definition.nodes[node].path),
                    f"add the edge {node} -> END",
                )

    def check_loops(self) -> bool:
        before = len(self.findings)
        for route in self.definition.routes:
            for entry in route.entries:
                if entry.at_most is None or entry.target == END or route.source == START:
                    leads_back = entry.at_most is None
                else:
                    leads_back = self.topology.leads_back(route.source, entry.target)
                if not leads_back:
                    self.error(
                        "no-loop",
                        f"'at_most' bounds loops, and no edge leads from {entry.target} back to "
                        f"{route.source}",
                        self.key((*entry.path, "at_most")),
                        "leave it out",
                    )
        if len(self.findings) == before:
            self.check_arms()
        return len(self.findings) == before

    def check_arms(self) -> None:
        said: set[str] = set()
        for loop, fork, arm in self.topology.runaways:
            if loop.key in said:
                continue
            said.add(loop.key)
            _, entry = self.edge(loop.source, loop.target, loop=True)
            self.error(
                "loop-leaves-fork",
                f"the loop {loop.source} -> {loop.target} leaves one arm of the fork at {fork}, "
                f"while the arm of {arm} can end without it",
                self.target_place(entry),
                f"let {arm} lead to a node that {loop.source} leads to as well",
            )
        for loop, other in self.topology.rivals:
            if loop.key in said or other.key in said:
                continue
            said |= {loop.key, other.key}
            _, entry = self.edge(loop.source, loop.target, loop=True)
            self.error(
                "loops-together",
                f"the loops {loop.source} -> {loop.target} and {other.source} -> {other.target} "
                "can go round at the same time",
                self.target_place(entry),
                "join the arms of the fork before one of them loops",
            )

    def edge(self, source: str, target: str, *, loop: bool = False) -> tuple[Route, Entry]:
        """The last edge between two nodes, in the order of the file."""
        return [
            (route, entry)
            for route in self.definition.routes
            for entry in route.entries
            if (route.source, entry.target) == (source, target)
            and (entry.at_most is not None) == loop
        ][-1]

    # ---- references ----

    def check_references(self, sound: bool) -> None:
        for node in self.definition.nodes.values():
            self.check_item_name(node)
            for use in self.readings.each[node.name]:
                self.check_use(use, node.name, sound)
                self.check_each(use, node)
            for use in self.readings.inputs[node.name]:
                self.check_use(use, node.name, sound, item=node if node.each else None)
            if node.each is not None and not self.readings.each[node.name]:
                self.check_each_text(node)
        for condition in self.readings.conditions:
            self.check_use(condition.use, condition.route.source, sound, after=True)
        for use in self.readings.output:
            self.check_use(use, END, sound)

    def check_item_name(self, node: Node) -> None:
        if node.each is not None and node.item in self.definition.channels:
            named = (*node.path, "as")
            self.error(
                "hidden-name",
                f"the item's name {node.item!r} hides the state's {node.item!r}",
                self.at(named) if self.has(named) else self.key((*node.path, "each")),
                "choose another with 'as'",
            )

    def check_each_text(self, node: Node) -> None:
        if "${" not in (node.each or ""):
            self.error(
                "bad-each",
                "'each' must be an expression such as ${items}",
                self.at((*node.path, "each")),
            )

    def check_each(self, use: Use, node: Node) -> None:
        types = self.types_of(use, None) if use.whole else frozenset({"string"})
        if types is not None and not types & {"array", "object"}:
            self.error(
                "each-not-list",
                f"'each' needs a list or a map, and {use.expression.source} is {words(types)}",
                self.inside(use.path, use.offset, use.expression.source),
            )

    def check_use(
        self,
        use: Use,
        node: str,
        sound: bool,
        *,
        item: Node | None = None,
        after: bool = False,
    ) -> None:
        """Check what one expression refers to; `after` for conditions, which see `node`'s own."""
        said: set[str] = set()
        for reference in use.expression.references:
            place = self.inside(use.path, use.offset + reference.offset, reference.name)
            if item is not None and reference.name == item.item:
                self.check_path(reference, self.item_shape(item), place)
            elif reference.name == ERRORS and ERRORS not in self.definition.channels:
                self.check_error_reference(reference, place)
            elif reference.name not in self.definition.channels:
                if reference.name not in said:
                    self.unknown(reference, place, item)
                said.add(reference.name)
            else:
                self.check_path(reference, self.shape_of(reference.name), place)
                if sound and reference.name not in said and node != END:
                    self.check_null(use, reference, node, place, after=after)
                    said.add(reference.name)

    def unknown(self, reference: Reference, place: Position | None, item: Node | None) -> None:
        names = [*self.definition.channels, *([item.item] if item else [])]
        self.error(
            "unknown-reference",
            f"there is no {reference.name!r}: no input, state or node's 'writes' has this name",
            place,
            _meant(reference.name, names) or _one_of(names),
        )

    def check_error_reference(self, reference: Reference, place: Position | None) -> None:
        self.error(
            "not-yet", f"{reference.text}: on_error is not supported yet by this version", place
        )

    def check_path(self, reference: Reference, shape: Shape | None, place: Position | None) -> None:
        for position, step in enumerate(reference.path[1:], start=1):
            if shape is None:
                return
            found = shape.field(step)
            if isinstance(found, str):
                fields = shape.resolved().schema.get("properties", {})
                known = found.startswith("has no")
                self.error(
                    "unknown-field",
                    f"{reference.text}: {path_text(reference.path[:position])} {found}",
                    place,
                    (_meant(step, fields) or _one_of(fields)) if known else None,
                )
                return
            shape = found

    def check_null(
        self, use: Use, reference: Reference, node: str, place: Position | None, *, after: bool
    ) -> None:
        channel = self.definition.channels[reference.name]
        given = reference.name in self.definition.inputs
        if given or channel.schema.get("default") is not None:
            return
        writers = [writer.name for writer in self.definition.writers(reference.name)]
        over_all = {w for w in writers if self.writes_before(w, node, after, loops=True)}
        if not over_all:
            self.surely_null(reference, writers, node, place)
            return
        forward = any(self.writes_before(w, node, after, loops=False) for w in over_all)
        needs_value = len(reference.path) > 1 or not use.whole
        if not forward and use.expression.plain and not reference.guarded and needs_value:
            self.error(
                "null-first-time",
                f"{reference.name} is null when {node} runs for the first time: "
                f"only {_listed(sorted(over_all))} writes it, later in the loop",
                place,
                f"write default({reference.text}, …)",
            )

    def surely_null(
        self, reference: Reference, writers: list[str], node: str, place: Position | None
    ) -> None:
        why = (
            f"{_listed(writers)} writes it, and does not run before"
            if writers
            else "no node writes it, and it has no default"
        )
        if reference.guarded:
            self.warn("always-null", f"{reference.name} is always null here: {why}", place)
            return
        where = f"in {node}" if node != START else "at the start"
        self.error("surely-null", f"{reference.name} is always null {where}: {why}", place)

    def writes_before(self, writer: str, node: str, after: bool, *, loops: bool) -> bool:
        if writer == node and after:
            return True
        if loops:
            return node in self.reach_all(writer)
        return node in self.topology.reaches(writer)

    def reach_all(self, node: str) -> frozenset[str]:
        return self.topology.reaches_all(node)

    # ---- shapes ----

    def shape_of(self, name: str) -> Shape | None:
        channel = self.definition.channels[name]
        if channel.schema:
            return Shape.of(channel.schema)
        writers = list(self.definition.writers(name))
        if channel.merge is not Merge.replace or len(writers) != 1:
            return None
        return self.answer_shape(writers[0])

    def answer_shape(self, node: Node) -> Shape | None:
        agent = self.agents.get(node.agent)
        if agent is None:
            return None
        schema: Mapping[str, Any] = (
            {"type": "string"} if agent.output_schema is None else agent.output_schema
        )
        closed = agent.spec is None
        if node.each is None:
            return Shape(schema, schema, closed) if schema else None
        uses = self.readings.each[node.name]
        types = self.types_of(uses[0], None) if len(uses) == 1 else None
        if types is None or len(types - {"null"}) != 1:
            return None
        root = {"$defs": schema.get("$defs", {})}
        if "array" in types:
            return Shape({"type": "array", "items": schema}, root, closed)
        return Shape({"type": "object", "additionalProperties": schema}, root, closed)

    def item_shape(self, node: Node) -> Shape | None:
        uses = self.readings.each[node.name]
        shape = self.value_shape(uses[0], None) if len(uses) == 1 else None
        return shape.items() if shape else None

    def value_shape(self, use: Use, item: Node | None) -> Shape | None:
        """The shape of what a plain path gives."""
        if not use.expression.plain:
            return None
        (reference,) = use.expression.references
        if item is not None and item.each is not None and reference.name == item.item:
            shape = self.item_shape(item)
        elif reference.name in self.definition.channels and reference.name not in self._open:
            self._open.add(reference.name)
            shape = self.shape_of(reference.name)
            self._open.discard(reference.name)
        else:
            return None
        for step in reference.path[1:]:
            found = shape.field(step) if shape else None
            shape = found if isinstance(found, Shape) else None
        return shape

    @cached_property
    def _open(self) -> set[str]:
        """Names whose shape is being found: a loop's node may go over its own answer."""
        return set()

    def types_of(self, use: Use, item: Node | None) -> frozenset[str] | None:
        shape = self.value_shape(use, item)
        return shape.types if shape else None

    # ---- writes ----

    def check_parallel_writes(self) -> None:
        for name, channel in self.definition.channels.items():
            if channel.merge is not Merge.replace:
                continue
            for one, other in combinations(self.definition.writers(name), 2):
                if self.topology.parallel(one.name, other.name):
                    self.error(
                        "parallel-writes",
                        f"{one.name} and {other.name} can run at the same time and both write "
                        f"{name!r}",
                        self.at((*other.path, "writes")),
                        f"declare state: {{{name}: {{merge: append}}}}, or write two names",
                    )

    def warn_of_unused(self) -> None:
        names = self.readings.names
        for name, channel in self.definition.inputs.items():
            if name not in names:
                self.warn(
                    "unused-input", f"the input {name!r} is never used", self.key(channel.path)
                )
        if self.definition.output is None:
            return
        for node in self.definition.nodes.values():
            if node.writes and node.writes not in names:
                self.warn(
                    "unused-write",
                    f"nothing reads {node.writes!r}",
                    self.at((*node.path, "writes")),
                )

    # ---- places ----

    def at(self, path: Path) -> Position | None:
        return self.definition.places.at(path)

    def key(self, path: Path) -> Position | None:
        return self.definition.places.at(path, key=True)

    def inside(self, path: Path, offset: int, needle: str) -> Position | None:
        return self.definition.places.inside(path, offset, needle)

    def has(self, path: Path) -> bool:
        return self.definition.places.has(path)

    def source_place(self, route: Route) -> Position | None:
        if route.offset >= 0:
            return self.inside(route.path, route.offset, route.source)
        return self.at((*route.path, "from"))

    def target_place(self, entry: Entry) -> Position | None:
        if entry.offset >= 0:
            return self.inside(entry.path, entry.offset, entry.target)
        named = (*entry.path, "node")
        return self.at(named if self.has(named) else entry.path)

    def error(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        self.findings.append(
            Finding(severity="error", message=message, position=position, hint=hint, code=code)
        )

    def warn(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        self.findings.append(
            Finding(severity="warning", message=message, position=position, hint=hint, code=code)
        )


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    return isinstance(value, list) and any(map(_has_template, value))


def _meant(name: Any, names: Iterable[str]) -> str | None:
    near = nearest(name, names) if isinstance(name, str) else None
    return f"did you mean {near!r}?" if near else None


def _one_of(names: Iterable[str]) -> str | None:
    listed = list(names)
    return f"there is {', '.join(listed)}" if 0 < len(listed) <= 12 else None


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]

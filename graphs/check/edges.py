"""Mistakes in the edges: unknown nodes, entries never tried, loops, what is out of reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ucop.agents.finding import Position
from ucop.agents.text.nearest import did_you_mean

from ..language.definition import END, START, Definition, Entry, Route
from ..topology.topology import Topology
from .kinds import error_path
from .report import Report

BOUND_IT = "give one of its edges 'at_most'"


@dataclass(frozen=True)
class EdgeCheck:
    """Checks the edges of one definition."""

    definition: Definition
    topology: Topology
    report: Report

    def run(self) -> bool:
        """Whether the graph is sound, so that more can be said about it."""
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
                self.report.error(
                    "unknown-node",
                    f"there is no node {name!r}",
                    place,
                    did_you_mean(name, (*nodes, START, END)) or None,
                )
        return known

    def named_nodes(self) -> Iterator[tuple[str, Callable[[], Position | None]]]:
        for route in self.definition.routes:
            yield route.source, partial(self.report.source_of, route)
            for entry in route.entries:
                yield entry.target, partial(self.report.target_of, entry)

    def check_choices(self) -> None:
        for route in self.definition.routes:
            *others, last = route.entries
            if last.when is not None or last.at_most is not None:
                self.report.error(
                    "no-default",
                    f"no edge out of {route.source} is left when "
                    + ("this one is used up" if last.when is None else "this does not hold"),
                    self.report.target_of(last),
                    "end the list with an entry without 'when' and 'at_most', or with END",
                )
            for entry, following in zip(others, route.entries[1:], strict=True):
                if entry.when is None and entry.at_most is None:
                    self.report.error(
                        "never-taken",
                        f"this entry is never tried: {entry.target} before it always holds",
                        self.report.target_of(following),
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
                self.report.warn(
                    "repeated-edge",
                    f"the edge {route.source} -> {entry.target} is there already",
                    self.report.target_of(entry),
                )
            seen.add(edge)

    def check_cycles(self) -> bool:
        for cycle in self.topology.cycles:
            self.report.error(
                "unbounded-loop",
                f"a loop with no bound: {' -> '.join((*cycle, cycle[0]))}",
                self.closing(cycle[-1], cycle[0]),
                self.derived_hint or self.error_hint(cycle[-1], cycle[0]) or BOUND_IT,
            )
        return not self.topology.cycles

    def closing(self, source: str, target: str) -> Position | None:
        """The place of the edge that closes a cycle; an error may lead along it too."""
        if self.topology.errors.get(source) == target:
            return self.report.at(error_path(self.definition.nodes[source], self.report))
        return self.report.target_of(self.edge(source, target)[1])

    @property
    def derived_hint(self) -> str | None:
        return "write 'edges' for a loop" if self.definition.derived else None

    def error_hint(self, source: str, target: str) -> str | None:
        """What helps where the edge is an error's way, and only `defaults` say so."""
        path = (*self.definition.nodes[source].path, "on_error")
        if self.topology.errors.get(source) != target or self.report.has(path):
            return None
        return f"give {source} an 'on_error' of its own"

    def check_reach(self) -> None:
        if not any(route.source == START for route in self.definition.routes):
            self.report.error(
                "no-start",
                "no edge leads out of START",
                self.report.key(("edges",)),
                "add START -> …",
            )
            return
        unreachable = set(self.topology.unreachable)
        for node in self.topology.unreachable:
            before = set(self.topology.predecessors.get(node, ()))
            if not before & unreachable or before <= {node}:
                self.report.error(
                    "unreachable",
                    f"no edge leads to node {node!r}",
                    self.report.key(self.definition.nodes[node].path),
                )
        for node in self.topology.dead_ends:
            if not self.topology.successors.get(node):
                self.report.error(
                    "no-end",
                    f"node {node!r} leads nowhere",
                    self.report.key(self.definition.nodes[node].path),
                    f"add the edge {node} -> END",
                )

    def check_loops(self) -> bool:
        before = len(self.report.findings)
        for route in self.definition.routes:
            for entry in route.entries:
                if entry.at_most is None or entry.target == END or route.source == START:
                    leads_back = entry.at_most is None
                else:
                    leads_back = self.topology.leads_back(route.source, entry.target)
                if not leads_back:
                    self.report.error(
                        "no-loop",
                        f"'at_most' bounds loops, and no edge leads from {entry.target} back to "
                        f"{route.source}",
                        self.report.key((*entry.path, "at_most")),
                        "leave it out",
                    )
        if len(self.report.findings) == before:
            self.check_arms()
        return len(self.report.findings) == before

    def check_arms(self) -> None:
        said: set[str] = set()
        for loop, fork, arm in self.topology.runaways:
            if loop.key in said:
                continue
            said.add(loop.key)
            _, entry = self.edge(loop.source, loop.target, loop=True)
            self.report.error(
                "loop-leaves-fork",
                f"the loop {loop.source} -> {loop.target} leaves one arm of the fork at {fork}, "
                f"while the arm of {arm} can end without it",
                self.report.target_of(entry),
                f"let {arm} lead to a node that {loop.source} leads to as well",
            )
        for loop, other in self.topology.rivals:
            if loop.key in said or other.key in said:
                continue
            said |= {loop.key, other.key}
            _, entry = self.edge(loop.source, loop.target, loop=True)
            self.report.error(
                "loops-together",
                f"the loops {loop.source} -> {loop.target} and {other.source} -> {other.target} "
                "can go round at the same time",
                self.report.target_of(entry),
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

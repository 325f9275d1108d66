"""Where a run goes after a node: which edges hold, which loops are used up, which joins wait.

Every node tells in the channel RUNNING what it sends the run to, so the channel holds exactly
what runs in a superstep. A node that several forward edges lead to has a gate before it. The
gate goes round as long as something runs that can still lead to its node. Nothing is counted, so
nothing needs a reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExpressionError, WorkflowError
from ..expressions.cel import Expression, compile_expression
from ..expressions.evaluation import Scope
from ..language.definition import END, Definition, Entry, Route
from ..pregel.names import GATE, LOOPS, ROUTE, RUNNING, shown_name
from ..topology.topology import Topology, loop_edges


class RoutingError(WorkflowError):
    """A condition cannot be evaluated; the node's answer is kept."""


@dataclass(frozen=True)
class Turn:
    """Where the run goes, and what the compiler's own channels are to hold."""

    goto: list[str]
    update: dict[str, Any] = field(default_factory=dict)


class Router:
    """The routes of one definition, ready to be asked."""

    def __init__(self, definition: Definition, topology: Topology) -> None:
        self._definition = definition
        self._topology = topology
        self._conditions = {
            entry.when: compile_expression(entry.when)
            for route in definition.routes
            for entry in route.entries
            if entry.when is not None
        }
        self._routes: dict[str, list[Route]] = {}
        for route in definition.routes:
            self._routes.setdefault(route.source, []).append(route)
        self._keys = {id(entry): key for key, _, entry in loop_edges(definition.routes)}
        self._direct = {join: self._direct_to(join) for join in topology.joins}

    @property
    def gates(self) -> dict[str, str]:
        """Joins by the name of their gates."""
        return {join + GATE: join for join in self._topology.nodes if join in self._topology.joins}

    def decides(self, node: str) -> bool:
        """Whether a condition stands at an edge out of `node`."""
        routes = self._routes.get(node, ())
        return any(entry.when is not None for route in routes for entry in route.entries)

    def after(self, node: str, scope: Scope, state: Mapping[str, Any]) -> Turn:
        """Where to go after `node`; `scope` is the state with the node's own writes in it.

        Raises RoutingError if a condition cannot be evaluated.
        """
        counts: Mapping[str, int] = state.get(LOOPS) or {}
        # Only what changes: a node that runs beside this one counts loops of its own.
        changed: dict[str, int] = {}
        targets: list[str] = []
        for route in self._routes.get(node, ()):
            entry = self._choose(route, scope, {**counts, **changed})
            if entry.at_most is not None:
                changed |= self._counts_after(entry, {**counts, **changed})
            targets.append(entry.target)
        return self.to(node, targets, state, {LOOPS: changed} if changed else {})

    def after_error(self, node: str, scope: Scope, state: Mapping[str, Any]) -> Turn:
        """Where to go after `node` when it failed and its `on_error` says how to go on."""
        target = self._topology.errors.get(node)
        return self.after(node, scope, state) if target is None else self.to(node, [target], state)

    def to(
        self,
        node: str,
        targets: Sequence[str],
        state: Mapping[str, Any],
        update: dict[str, Any] | None = None,
    ) -> Turn:
        """Go from `node` to `targets`, through their gates where those are needed."""
        running = state.get(RUNNING) or [node]
        wanted = [target for target in dict.fromkeys(targets) if target != END]
        goto = [
            target + GATE if self._needs_gate(target, running, len(wanted)) else target
            for target in wanted
        ]
        if goto and self._topology.joins:
            update = {**(update or {}), RUNNING: goto}
        return Turn(goto, update or {})

    def failed(self, node: str, state: Mapping[str, Any]) -> Turn:
        """Go to the node that evaluates the routes of `node` again, so that they fail there."""
        goto = [node + ROUTE]
        return Turn(goto, {RUNNING: goto} if self._topology.joins else {})

    def pass_gate(self, join: str, state: Mapping[str, Any]) -> Turn:
        """Go on to `join`, or wait another superstep for what can still lead to it."""
        others = [name for name in state.get(RUNNING) or () if name != join + GATE]
        waits = any(self._topology.ahead.leads(shown_name(name), join) for name in others)
        goto = [join + GATE if waits else join]
        return Turn(goto, {RUNNING: goto})

    def _needs_gate(self, target: str, running: Sequence[str], targets: int) -> bool:
        """Whether anything but what surely arrives now could lead to `target` later."""
        if target not in self._topology.joins:
            return False
        if len(running) == 1 and targets == 1:
            return False
        # Everyone who runs now sees the same list, so all decide alike.
        direct, leads = self._direct[target], self._topology.ahead.leads
        return any(
            name not in direct and (leads(shown_name(name), target) or name == target + GATE)
            for name in running
        )

    def _direct_to(self, join: str) -> frozenset[str]:
        """Nodes whose only way on leads to `join`, without a condition."""
        found = set()
        for node in self._topology.predecessors.get(join, ()):
            if node in self._topology.errors:
                continue
            entries = [e for r in self._topology.routes_of(node) for e in r.entries]
            if all(e.target == join and e.when is None and e.at_most is None for e in entries):
                found.add(node)
        return frozenset(found)

    def _choose(self, route: Route, scope: Scope, counts: Mapping[str, int]) -> Entry:
        for entry in route.entries:
            if entry.at_most is not None and counts.get(self._keys[id(entry)], 0) >= entry.at_most:
                continue
            if entry.when is None or self._holds(route, entry, self._conditions[entry.when], scope):
                return entry
        raise RoutingError(f"no edge out of {route.source} holds; add one without 'when'")

    def _holds(self, route: Route, entry: Entry, condition: Expression, scope: Scope) -> bool:
        try:
            value = condition(scope)
        except ExpressionError as error:
            raise RoutingError(self._condition_error(route, entry, str(error))) from error
        if isinstance(value, bool):
            return value
        raise RoutingError(
            self._condition_error(route, entry, f"gives {value!r}, not true or false")
        )

    def _condition_error(self, route: Route, entry: Entry, why: str) -> str:
        place = self._definition.places.at((*entry.path, "when"))
        where = f" ({place})" if place else ""
        return f"edge {route.source} -> {entry.target}{where}: when {entry.when!r}: {why}"

    def _counts_after(self, entry: Entry, counts: Mapping[str, int]) -> dict[str, int]:
        """The counters that taking a loop edge sets: its own, and those of the loops inside."""
        key = self._keys[id(entry)]
        return {key: counts.get(key, 0) + 1, **dict.fromkeys(self._topology.loops[key].inner, 0)}

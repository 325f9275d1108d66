"""Mistakes in what is referred to: names that are not there, or null, or of another type."""

from __future__ import annotations

from dataclasses import dataclass

from ucop.agents.finding import Position
from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.paths import path_text

from ..expressions.cel import Reference
from ..expressions.templates import Use
from ..language.definition import END, ERRORS, START, Definition, Node
from ..topology.topology import Topology
from ..types.inference import Inference
from ..types.references import Readings
from ..types.shapes import Shape, words
from .kinds import check_error_reference
from .report import Report, either, one_of


@dataclass(frozen=True)
class ReferenceCheck:
    """Checks every expression of one definition.

    `topology` is None if the edges are broken: then nothing is said about null.
    """

    definition: Definition
    readings: Readings
    inference: Inference
    topology: Topology | None
    report: Report

    def run(self) -> None:
        for node in self.definition.nodes.values():
            self.check_item_name(node)
            for use in self.readings.each[node.name]:
                self.check_use(use, node.name)
                self.check_each(use, node)
            for use in self.readings.inputs[node.name]:
                self.check_use(use, node.name, item=node if node.each else None)
            if node.each is not None and not self.readings.each[node.name]:
                self.check_each_text(node)
        for condition in self.readings.conditions:
            self.check_use(condition.use, condition.route.source, after=True)
        for use in self.readings.output:
            self.check_use(use, END)

    def check_item_name(self, node: Node) -> None:
        if node.each is not None and node.item in self.definition.channels:
            named = (*node.path, "as")
            self.report.error(
                "hidden-name",
                f"the item's name {node.item!r} hides the state's {node.item!r}",
                self.report.at(named)
                if self.report.has(named)
                else self.report.key((*node.path, "each")),
                "choose another with 'as'",
            )

    def check_each_text(self, node: Node) -> None:
        if "${" not in (node.each or ""):
            self.report.error(
                "bad-each",
                "'each' must be an expression such as ${items}",
                self.report.at((*node.path, "each")),
            )

    def check_each(self, use: Use, node: Node) -> None:
        types = self.inference.types_of(use, None) if use.whole else frozenset({"string"})
        if types is not None and not types & {"array", "object"}:
            self.report.error(
                "each-not-list",
                f"'each' needs a list or a map, and {use.expression.source} is {words(types)}",
                self.report.inside(use.path, use.offset, use.expression.source),
            )

    def check_use(
        self,
        use: Use,
        node: str,
        *,
        item: Node | None = None,
        after: bool = False,
    ) -> None:
        """Check what one expression refers to; `after` for conditions, which see `node`'s own."""
        said: set[str] = set()
        for reference in use.expression.references:
            place = self.report.inside(use.path, use.offset + reference.offset, reference.name)
            if item is not None and reference.name == item.item:
                self.check_path(reference, self.inference.of_item(item), place)
            elif reference.name == ERRORS and ERRORS not in self.definition.channels:
                check_error_reference(self.definition, reference, place, self.report)
            elif reference.name not in self.definition.channels:
                if reference.name not in said:
                    self.unknown(reference, place, item)
                said.add(reference.name)
            else:
                self.check_path(reference, self.inference.of_name(reference.name), place)
                if self.topology and reference.name not in said and node != END:
                    self.check_null(use, reference, node, place, self.topology, after=after)
                    said.add(reference.name)

    def unknown(self, reference: Reference, place: Position | None, item: Node | None) -> None:
        names = [*self.definition.channels, *([item.item] if item else [])]
        self.report.error(
            "unknown-reference",
            f"there is no {reference.name!r}: no input, state or node's 'writes' has this name",
            place,
            did_you_mean(reference.name, names) or one_of(names),
        )

    def check_path(self, reference: Reference, shape: Shape | None, place: Position | None) -> None:
        for position, step in enumerate(reference.path[1:], start=1):
            if shape is None:
                return
            found = shape.field(step)
            if isinstance(found, str):
                fields = shape.resolved().schema.get("properties", {})
                known = found.startswith("has no")
                self.report.error(
                    "unknown-field",
                    f"{reference.text}: {path_text(reference.path[:position])} {found}",
                    place,
                    (did_you_mean(step, fields) or one_of(fields)) if known else None,
                )
                return
            shape = found

    def check_null(
        self,
        use: Use,
        reference: Reference,
        node: str,
        place: Position | None,
        topology: Topology,
        *,
        after: bool,
    ) -> None:
        channel = self.definition.channels[reference.name]
        given = reference.name in self.definition.inputs
        if given or channel.schema.get("default") is not None:
            return
        own = {node} if after else set()
        writers = [writer.name for writer in self.definition.writers(reference.name)]
        over_all = {w for w in writers if w in own or topology.anywhere.leads(w, node)}
        if not over_all:
            self.surely_null(reference, writers, node, place)
            return
        forward = any(w in own or topology.ahead.leads(w, node) for w in over_all)
        needs_value = len(reference.path) > 1 or not use.whole
        if not forward and use.expression.plain and not reference.guarded and needs_value:
            self.report.error(
                "null-first-time",
                f"{reference.name} is null when {node} runs for the first time: "
                f"only {either(sorted(over_all))} writes it, later in the loop",
                place,
                f"write default({reference.text}, …)",
            )

    def surely_null(
        self, reference: Reference, writers: list[str], node: str, place: Position | None
    ) -> None:
        why = (
            f"{either(writers)} writes it, and does not run before"
            if writers
            else "no node writes it, and it has no default"
        )
        if reference.guarded:
            self.report.warn("always-null", f"{reference.name} is always null here: {why}", place)
            return
        where = f"in {node}" if node != START else "at the start"
        self.report.error("surely-null", f"{reference.name} is always null {where}: {why}", place)

"""What a node gives in `with`, against the input schema of its agent, followed into its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.paths import path_text
from ucop.agents.text.places import Path

from ..expressions.templates import Use
from ..language.definition import Definition, Node
from ..types.fits import misfit, values_of
from ..types.inference import Inference
from ..types.references import Readings
from ..types.shapes import Shape, can_fit, type_of, words
from .report import Report, one_of

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent


@dataclass(frozen=True)
class InputCheck:
    """Checks the inputs of every node whose agent is known."""

    definition: Definition
    readings: Readings
    inference: Inference
    report: Report

    def run(self) -> None:
        for node in self.definition.nodes.values():
            agent = self.inference.called(node)
            if agent is not None:
                self.check_inputs(node, agent)

    def check_inputs(self, node: Node, agent: Agent) -> None:
        schema = agent.input_schema
        here: Path = (*node.path, "with")
        for name in schema.get("required", ()):
            if name not in node.inputs:
                self.report.error(
                    "missing-input",
                    f"agent {agent.name!r} needs the input {name!r}",
                    self.report.key(here) if node.inputs else self.report.key(node.path),
                )
        properties = schema.get("properties", {})
        uses = {use.path: use for use in self.readings.inputs[node.name]}
        given = _Given(node, agent.name, uses)
        for name, value in node.inputs.items():
            if name in properties:
                wanted = Shape(properties[name], schema)
                if isinstance(properties[name], Mapping):
                    self.check_value(given, value, wanted, (*here, name))
            elif schema.get("additionalProperties") is False:
                self.report.error(
                    "unknown-input",
                    f"agent {agent.name!r} has no input {name!r}",
                    self.report.key((*here, name)),
                    did_you_mean(name, properties) or one_of(properties),
                )

    def check_value(self, given: _Given, value: Any, wanted: Shape, path: Path) -> None:
        wanted = wanted.resolved().among(type_of(value))
        if not _has_template(value):
            self.check_literal(given, value, wanted, path)
        elif isinstance(value, str):
            self.check_text(given, wanted, path)
        elif not can_fit(frozenset({type_of(value)}), wanted.types):
            said = f"{words(wanted.types or frozenset())}, and this is {words(_types(value))}"
            self.wrong_type(given, path, f"must be {said}")
        elif any(key in wanted.schema for key in ("anyOf", "oneOf", "allOf")):
            return
        elif isinstance(value, Mapping):
            self.check_fields(given, value, wanted, path)
        else:
            self.check_items(given, value, wanted, path)

    def check_literal(self, given: _Given, value: Any, wanted: Shape, path: Path) -> None:
        for problem in wanted.problems(value):
            self.report.error(
                "wrong-input",
                f"{given.label(path)}: {problem}",
                self.report.at((*path, *problem.path)),
            )

    def check_text(self, given: _Given, wanted: Shape, path: Path) -> None:
        use = given.uses.get(path)
        if use is None:
            return
        if not use.whole:
            if not can_fit(frozenset({"string"}), wanted.types):
                said = f"must be {words(wanted.types or frozenset())}, and this is a text"
                self.wrong_type(given, path, said)
            return
        kinds = self.inference.of_use(use, given.node)
        found = misfit(kinds, wanted)
        if found is not None:
            inside = f"{path_text(('it', *found.path))[3:]}: " if found.path else ""
            self.wrong_type(given, path, f"{inside}{found.why}")
        elif len(kinds) == 1:
            self.warn_of_values(given, kinds[0], wanted, path)

    def warn_of_values(self, given: _Given, kind: Shape, wanted: Shape, path: Path) -> None:
        """Some of the listed values are not among those that the reader takes."""
        values = values_of(kind)
        refused = [value for value in values or () if wanted.problems(value)]
        if values and refused:
            shown = ", ".join(map(repr, refused[:8]))
            self.report.warn(
                "may-not-fit",
                f"{given.label(path)} does not take {shown}, which this may be",
                self.report.at(path),
            )

    def check_fields(
        self, given: _Given, value: Mapping[str, Any], wanted: Shape, path: Path
    ) -> None:
        properties = wanted.schema.get("properties", {})
        for name in wanted.schema.get("required", ()):
            declared = properties.get(name, {})
            if name not in value and "default" not in declared:
                self.report.error(
                    "missing-input",
                    f"{given.label(path)} needs {name!r}",
                    self.report.at(path),
                )
        for name, item in value.items():
            inner = wanted.field(name)
            if isinstance(inner, Shape):
                self.check_value(given, item, inner, (*path, name))
            elif inner is not None and wanted.refuses_others:
                self.report.error(
                    "unknown-input",
                    f"{given.label(path)} has no {name!r}",
                    self.report.key((*path, name)),
                    did_you_mean(name, properties) or one_of(properties),
                )

    def check_items(self, given: _Given, value: list[Any], wanted: Shape, path: Path) -> None:
        least, most = wanted.schema.get("minItems", 0), wanted.schema.get("maxItems")
        if len(value) < least or (most is not None and len(value) > most):
            said = f"at least {least}" if len(value) < least else f"at most {most}"
            self.report.error(
                "wrong-input", f"{given.label(path)} takes {said} items", self.report.at(path)
            )
        inner = wanted.item() if "prefixItems" not in wanted.schema else None
        for index, item in enumerate(value):
            if inner is not None:
                self.check_value(given, item, inner, (*path, index))

    def wrong_type(self, given: _Given, path: Path, said: str) -> None:
        self.report.error("wrong-input-type", f"{given.label(path)} {said}", self.report.at(path))


@dataclass(frozen=True)
class _Given:
    """What one node gives."""

    node: Node
    agent: str
    uses: Mapping[Path, Use]

    def label(self, path: Path) -> str:
        inner = path[len(self.node.path) + 1 :]
        return f"input {path_text(inner)!r} of agent {self.agent!r}"


def _types(value: Any) -> frozenset[str]:
    return frozenset({type_of(value)})


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    return isinstance(value, list) and any(map(_has_template, value))

"""What a node gives in `with`, against the input schema of its agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ucop.agents.schema import validate
from ucop.graphs.definition import Definition, Node, Path
from ucop.graphs.inference import Inference
from ucop.graphs.references import Readings
from ucop.graphs.report import Report, meant, one_of
from ucop.graphs.shapes import Shape, can_fit, type_of, words

if TYPE_CHECKING:
    from ucop.agents.spec import Agent


class InputCheck:
    """Checks the inputs of every node whose agent is known."""

    def __init__(
        self,
        definition: Definition,
        readings: Readings,
        inference: Inference,
        report: Report,
    ) -> None:
        self.definition = definition
        self.readings = readings
        self.inference = inference
        self.report = report

    def run(self) -> None:
        for node in self.definition.nodes.values():
            agent = self.inference.agents.get(node.agent)
            if agent is not None:
                self.check_input(node, agent)

    def check_input(self, node: Node, agent: Agent) -> None:
        schema = agent.input_schema
        properties = schema.get("properties", {})
        here: Path = (*node.path, "with")
        for name in schema.get("required", ()):
            if name not in node.inputs:
                self.report.error(
                    "missing-input",
                    f"agent {agent.name!r} needs the input {name!r}",
                    self.report.key(here) if node.inputs else self.report.key(node.path),
                )
        for name, value in node.inputs.items():
            if name in properties:
                self.check_value(node, name, value, properties[name], schema)
            elif schema.get("additionalProperties") is False:
                self.report.error(
                    "unknown-input",
                    f"agent {agent.name!r} has no input {name!r}",
                    self.report.key((*here, name)),
                    meant(name, properties) or one_of(properties),
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
            given = self.inference.types_of(uses[0], node) if uses and uses[0].whole else given
            if not uses:
                return
        if not can_fit(given, wanted) and given is not None and wanted is not None:
            self.report.error(
                "wrong-input-type",
                f"input {name!r} of agent {node.agent!r} must be {words(wanted)}, "
                f"and this is {words(given)}",
                self.report.at(path),
            )

    def check_literal(self, node: Node, path: Path, value: Any, schema: Mapping[str, Any]) -> None:
        for problem in validate(schema, value):
            self.report.error(
                "wrong-input",
                f"input {path[-1]!r} of agent {node.agent!r}: {problem}",
                self.report.at((*path, *problem.path)),
            )


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    return isinstance(value, list) and any(map(_has_template, value))

"""Answers that do not fit the name they go to, names written twice at once, or read by nothing."""

from __future__ import annotations

from itertools import combinations

from ..language.definition import Channel, Definition, Merge
from ..topology.topology import Topology
from ..types.fits import Misfit, misfit
from ..types.inference import Inference
from ..types.references import Readings
from ..types.shapes import Shape, can_fit, words
from .report import Report


def check_parallel_writes(definition: Definition, topology: Topology, report: Report) -> None:
    """Tell of nodes that can run together and write one unmerged name."""
    for name, channel in definition.channels.items():
        if channel.merge is not Merge.replace:
            continue
        for one, other in combinations(definition.writers(name), 2):
            if topology.parallel(one.name, other.name):
                report.error(
                    "parallel-writes",
                    f"{one.name} and {other.name} can run at the same time and both write {name!r}",
                    report.at((*other.path, "writes")),
                    f"declare state: {{{name}: {{merge: append}}}}, or write two names",
                )


def warn_of_unused(definition: Definition, readings: Readings, report: Report) -> None:
    """Tell of inputs and answers that nothing refers to."""
    names = readings.names
    for name, channel in definition.inputs.items():
        if name not in names:
            report.warn(
                "unused-input", f"the input {name!r} is never used", report.key(channel.path)
            )
    if definition.output is None:
        return
    for node in definition.nodes.values():
        if node.writes and node.writes not in names:
            report.warn(
                "unused-write",
                f"nothing reads {node.writes!r}",
                report.at((*node.path, "writes")),
            )


def check_answers(definition: Definition, inference: Inference, report: Report) -> None:
    """Tell of answers that cannot be written to the name that they go to."""
    for node in definition.nodes.values():
        channel = definition.channels.get(node.writes) if node.writes else None
        answer = inference.of_answer(node) if channel is not None else None
        if channel is None or answer is None:
            continue
        found = _misfit_of(channel, answer)
        if found is not None:
            report.error(
                "wrong-write",
                f"the answer of {node.name} does not fit {channel.name!r}: {found.why}",
                report.at((*node.path, "writes")),
            )


_MERGED = {
    Merge.extend: frozenset({"array"}),
    Merge.union: frozenset({"array"}),
    Merge.sum: frozenset({"integer", "number"}),
    Merge.max: frozenset({"integer", "number", "string"}),
}
"""What a merge needs to be written."""


def _misfit_of(channel: Channel, answer: Shape) -> Misfit | None:
    if channel.merge is Merge.custom:
        return None  # what its function takes is not declared
    declared = Shape.of(channel.schema)
    if channel.merge is Merge.append:
        declared = declared.resolved().item() if declared else None
    needed = _MERGED.get(channel.merge)
    if needed is not None and not can_fit(answer.types, needed):
        given = words(answer.types or needed)
        return Misfit(
            (), f"merge: {channel.merge.value} needs {words(needed)}, and this is {given}"
        )
    return misfit((answer,), declared) if declared else None

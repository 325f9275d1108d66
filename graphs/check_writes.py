"""Two nodes that write one name at the same time, and names that nothing reads."""

from __future__ import annotations

from itertools import combinations

from ucop.graphs.definition import Definition, Merge
from ucop.graphs.references import Readings
from ucop.graphs.report import Report
from ucop.graphs.topology import Topology


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

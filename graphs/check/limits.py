"""Limits that no run of the workflow can keep."""

from __future__ import annotations

from ..language.definition import END, START, Definition, OnError
from ..topology.topology import Topology
from .report import Report


def check_limits(definition: Definition, topology: Topology, report: Report) -> None:
    """Warn of a limit of steps that even the shortest run exceeds."""
    allowed, fewest = definition.limits.steps, fewest_steps(definition, topology)
    if allowed is not None and allowed < fewest:
        report.warn(
            "few-steps",
            f"every run has at least {fewest} steps, and {allowed} are allowed",
            report.at(("limits", "steps")),
        )


def fewest_steps(definition: Definition, topology: Topology) -> int:
    """How many nodes run at the least: along the longest way that cannot be avoided."""
    fewest = {END: 0}

    def after(node: str) -> int:
        ways = (
            [e.target for e in r.entries if e.at_most is None] for r in topology.routes_of(node)
        )
        return max((min((fewest[to] for to in way), default=0) for way in ways), default=0)

    for node in reversed(topology.order):
        policy = definition.nodes[node].on_error
        caught = () if isinstance(policy, OnError) else (fewest[policy],)
        fewest[node] = 1 + min((after(node), *caught))
    return after(START)

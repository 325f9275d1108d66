"""Workflows as jobs began with them, from what the jobs keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.spec import AgentSpec

from ..check.check import raise_errors
from ..check.mesh import members_of
from ..errors import WorkflowChanged
from ..language.load import load_data
from ..workflow import COMPILER_FORMAT, Workflow
from .yaml_file import class_of

if TYPE_CHECKING:
    from ucop.agents.spec.registry import Registry

    from .catalog import Catalog


def restore(stored: Mapping[str, Any], *, catalog: Catalog, registry: Registry) -> Workflow:
    """The workflow that a job began with.

    A YAML workflow comes back with its own agents of then; a Python graph as it is now, and
    `refuse_to_skip` tells whether the job may go on with it. Raises WorkflowChanged for a
    definition that only another version can read.
    """
    if stored["kind"] == "python":
        if stored.get("unnamed"):
            raise WorkflowChanged(
                f"graph {stored['name']!r} has no name of its own, so only the process that "
                "submitted the job knows it; give it one, and submit again"
            )
        return catalog.find(stored["name"]).as_begun(stored)
    if stored["format"] != COMPILER_FORMAT:
        raise WorkflowChanged(
            f"the job's workflow was compiled with format {stored['format']}, this version has "
            f"{COMPILER_FORMAT}; finish the job with the version it began with"
        )
    loaded = load_data(stored["definition"])
    raise_errors(loaded.findings)
    own = [
        spec_agent(AgentSpec.model_validate(spec), "kept by the job")
        for spec in stored["agents"].values()
    ]
    known = registry.extended(own)
    called = [node.agent for node in loaded.definition.nodes.values() if node.agent]
    names = dict.fromkeys((*called, *members_of(loaded.definition)))
    agents = {name: known.get(name) for name in names}
    workflows = {
        name: restore(inner, catalog=catalog, registry=registry)
        for name, inner in stored.get("workflows", {}).items()
    }
    custom = (c.function for c in loaded.definition.state.values() if c.function)
    return class_of(loaded.definition)(
        loaded.definition,
        agents,
        origin="kept by the job",
        workflows=workflows,
        merges={name: registry.merge(name) for name in custom},
    )

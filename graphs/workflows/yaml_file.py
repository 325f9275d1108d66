"""Workflows of YAML files: read, checked and bound to their agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ucop.agents.text.source import Document, read_yaml_file

from ..check.check import check, raise_errors
from ..check.kinds import FindWorkflow
from ..language.definition import Definition, Kind
from .yaml_workflow import YamlWorkflow

if TYPE_CHECKING:
    from ucop.agents.spec.registry import Registry


def read_workflow(path: str | Path, registry: Registry) -> YamlWorkflow:
    """The workflow of a YAML file. Raises InvalidDefinition with every mistake in it."""
    return workflow_of(read_yaml_file(path), registry)


def workflow_of(
    document: Document, registry: Registry, workflows: FindWorkflow | None = None
) -> YamlWorkflow:
    """The workflow of a document that was read; `workflows` finds those that its nodes run."""
    checked = check(document, registry, workflows)
    raise_errors(checked.findings)
    return class_of(checked.definition)(
        checked.definition,
        checked.agents,
        origin=document.file,
        warnings=tuple(checked.findings),
        workflows=checked.workflows,
        merges=checked.merges,
    )


def class_of(definition: Definition) -> type[YamlWorkflow]:
    if definition.kind is Kind.graph:
        return YamlWorkflow
    from .mesh_workflow import MeshWorkflow

    return MeshWorkflow

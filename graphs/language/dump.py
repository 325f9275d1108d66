"""From a Definition back to its own language: the one form in which a job keeps it."""

from __future__ import annotations

from typing import Any

from .definition import MESH, NOT_IN_A_MESH, ONLY_IN_A_MESH, WORKFLOW, Definition, Kind
from .forms import keys_of, write_keys


def dump(definition: Definition) -> dict[str, Any]:
    """The definition in its own language, written out and in one form, as JSON."""
    left_out = {"agents", *(() if definition.kind is Kind.graph else NOT_IN_A_MESH)}
    keys = keys_of(Definition)
    said = write_keys(definition, {name: key for name, key in keys.items() if name not in left_out})
    if definition.kind is Kind.mesh:
        node = definition.nodes[MESH]
        said |= {
            name: WORKFLOW[name].form.write(WORKFLOW[name].held(node)) for name in ONLY_IN_A_MESH
        }
    return said

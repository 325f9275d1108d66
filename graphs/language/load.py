"""From a YAML document to a Definition, with every mistake of form that is in it.

What can be understood is kept, so that the checks of meaning (`check.py`) can report their
findings in the same pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ucop.agents.finding import Finding
from ucop.agents.text.places import Places
from ucop.agents.text.source import Document

from .definition import (
    END,
    MESH,
    NOT_IN_A_MESH,
    ONLY_IN_A_MESH,
    RESULT,
    START,
    WORKFLOW,
    Definition,
    Entry,
    Kind,
    Node,
    Route,
)
from .forms import Reader, read_keys

_READ_APART = ("kind", "nodes", "edges", "defaults", *ONLY_IN_A_MESH)
_MESH_ROUTES = (
    Route(source=START, entries=(Entry(target=MESH),)),
    Route(source=MESH, entries=(Entry(target=END),)),
)


class Loaded(NamedTuple):
    """What a document says, as far as it could be understood, and what is wrong with it."""

    definition: Definition
    findings: list[Finding]
    edges_broken: bool
    """Whether an edge could not be understood, so that nothing follows from the others."""


def load(document: Document) -> Loaded:
    """Read a workflow's document."""
    return _load(Reader(Places(document)), document.data)


def load_data(data: Any) -> Loaded:
    """Read a workflow that a job kept: the same language, without places."""
    return _load(Reader(Places()), data)


def _load(reader: Reader, data: Any) -> Loaded:
    top = reader.mapping(data, (), "a workflow") or {}
    kind = _value(reader, top, "kind") or Kind.graph
    values = read_keys(reader, top, (), WORKFLOW, _READ_APART)
    _check_keys(reader, top, kind, needed=isinstance(data, dict))
    inputs = values.get("inputs", {})
    for name in values.get("state", {}).keys() & inputs.keys():
        what = f"{name!r} is an input already"
        reader.error("duplicate-name", what, ("state", name), key=True)
    reader.defaults = _value(reader, top, "defaults") or {}
    edges_broken = False
    if kind is Kind.graph:
        values["nodes"] = _value(reader, top, "nodes") or {}
        before = len(reader.findings)
        values["routes"] = _value(reader, top, "edges") or ()
        edges_broken = len(reader.findings) > before
    else:
        values |= {"nodes": {MESH: _mesh_node(reader, top, inputs)}, "routes": _MESH_ROUTES}
    derived = kind is Kind.graph and "edges" not in top
    definition = Definition(kind=kind, derived=derived, places=reader.places, **values)
    return Loaded(definition, reader.findings, edges_broken)


def _value(reader: Reader, top: Mapping[str, Any], name: str) -> Any:
    """What stands under a key of the workflow; None if nothing does, or nothing understood."""
    return WORKFLOW[name].form.read(reader, top[name], (name,)) if name in top else None


def _check_keys(reader: Reader, top: Mapping[str, Any], kind: Kind, *, needed: bool) -> None:
    """A mesh has no nodes of its own, and a graph has its meshes at its nodes."""
    what = "belongs to a node, or to a workflow of kind: mesh"
    hint: str | None = "add kind: mesh, or write it at a node"
    if kind is Kind.mesh:
        what, hint = "says nothing in a workflow of kind: mesh", None
    for key in NOT_IN_A_MESH if kind is Kind.mesh else ONLY_IN_A_MESH:
        if key in top:
            reader.error("wrong-kind", f"{key!r} {what}", (key,), hint, key=True)
    for key in ("name", MESH if kind is Kind.mesh else "nodes"):
        if needed and key not in top:
            reader.error("missing-key", f"a workflow needs {key!r}", ())


def _mesh_node(reader: Reader, top: Mapping[str, Any], inputs: Mapping[str, Any]) -> Node:
    """The one node of a workflow that is a mesh. It stands where the file does; without
    `with`, the inputs go to the agent as they are."""
    if RESULT in inputs:
        what = f"{RESULT!r} is what the mesh writes"
        hint = "name the input else"
        reader.error("duplicate-name", what, ("input", RESULT), hint, key=True)
    given = _value(reader, top, "with")
    return Node(
        name=MESH,
        mesh=_value(reader, top, MESH),
        inputs={name: f"${{{name}}}" for name in inputs} if given is None else given,
        writes=None if RESULT in inputs else RESULT,
    )

"""Names in a workflow: which are allowed, which are reserved, and which ucop gives itself."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from ucop.agents.text.places import Path

from ..expressions.tokens import RESERVED
from .forms import TEXT, Form, Reader, Schema

START = "START"
END = "END"
ERRORS = "errors"
"""The name under which the state holds what failed, by node."""

MESH, RESULT = "mesh", "result"
"""The node of a workflow that is a mesh, and the name that it writes."""
SAID, STACK, PATH, GIVEN = "_said", "_stack", "_path", "_given"
"""What else the state of a mesh holds: what the agent that was called last said, who waits for an
answer, every hop so far, and what the mesh was given if its inputs have no names."""
MESH_NAMES = (SAID, STACK, PATH, GIVEN, RESULT)

_WORKFLOW = "[A-Za-z0-9][A-Za-z0-9_.-]*"
NODE_NAME = "[A-Za-z][A-Za-z0-9_-]*"
_VALUE = "[A-Za-z][A-Za-z0-9_]*"
_RESERVED = frozenset((*RESERVED, START, END, ERRORS))

NODE_NAMES: Schema = {"pattern": f"^{NODE_NAME}$", "not": {"enum": [START, END]}}
VALUE_NAMES: Schema = {"pattern": f"^{_VALUE}$", "not": {"enum": sorted(_RESERVED)}}


def check_value_name(reader: Reader, name: str, path: Path, *, key: bool = False) -> None:
    """Report a name that no value of the state can have."""
    if not _is_reserved(reader, name, path, _RESERVED, key=key) and not re.fullmatch(_VALUE, name):
        what = f"{name!r} cannot name a value: letters, digits and '_' only, a letter first"
        reader.error("bad-name", what, path, key=key)


def check_node_name(reader: Reader, name: str, path: Path) -> None:
    """Report a name that no node can have."""
    reserved = _is_reserved(reader, name, path, (START, END), key=True)
    if not reserved and not re.fullmatch(NODE_NAME, name):
        what = f"{name!r} cannot name a node: letters, digits, '_' and '-' only, a letter first"
        reader.error("bad-name", what, path, key=True)


def _is_reserved(
    reader: Reader, name: str, path: Path, reserved: Container[str], *, key: bool
) -> bool:
    if name.startswith("_"):
        what = "names with a leading underscore are reserved"
    elif name in reserved:
        what = f"{name} is a reserved name"
    else:
        return False
    reader.error("reserved-name", what, path, key=key)
    return True


def _workflow_name(reader: Reader, value: Any, path: Path) -> Any:
    name = TEXT.read(reader, value, path)
    if name is not None and not re.fullmatch(_WORKFLOW, name):
        what = f"{name!r} cannot name a workflow: letters, digits, '_', '-' and '.' only"
        reader.error("bad-name", what, path)
    return name


def _value_name(reader: Reader, value: Any, path: Path) -> Any:
    name = TEXT.read(reader, value, path)
    if name is not None:
        check_value_name(reader, name, path)
    return name


WORKFLOW_NAME = Form(_workflow_name, {"type": "string", "pattern": f"^{_WORKFLOW}$"})
VALUE_NAME = Form(_value_name, {"type": "string", "allOf": [VALUE_NAMES]})

"""Paths that agents take as input: always inside the project's folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import AgentInputError


def inside(project: Path, given: str) -> Path:
    """The path `given`, relative to the project's folder or absolute, if it lies inside.

    A job's input may come from someone who may not read or write elsewhere. Links that the
    project's owner put into the folder are followed.
    """
    root = os.path.abspath(project)
    path = os.path.normpath(os.path.join(root, given))
    if "\x00" in given or os.path.commonpath([root, path]) != root:
        raise AgentInputError(
            f"the folder {given!r} is outside the project's folder {root}. "
            "Give one inside it, or put a link to it there."
        )
    return Path(path)

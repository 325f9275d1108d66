"""Files of agents: always inside the project's folder, named after their job, and written whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AgentInputError
from .text import slug

if TYPE_CHECKING:
    from ..run.context import AgentContext


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


def publish(context: AgentContext, folder: str, name: str, text: str) -> str:
    """Write a text into a folder of the project. Returns its path there, with `/` between parts."""
    directory = inside(context.folder, folder)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / name, text)
    return path_in(context, directory / name)


def path_in(context: AgentContext, path: Path) -> str:
    """A path relative to the project's folder, with `/` between its parts."""
    return Path(os.path.relpath(path, context.folder)).as_posix()


def job_part(job_id: str) -> str:
    """A job's id as a part of a file name."""
    plain = slug(job_id) == job_id and len(job_id) <= 40
    return job_id if plain else hashlib.sha256(job_id.encode()).hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

"""Where a project is, and what its file says.

A project is a folder with `ucop.toml`, or `[tool.ucop]` in `pyproject.toml`, or a
`langgraph.json`. It is looked for in the current folder and its parents; where there is
none, the current folder is the project and only the bundled workflows and agents are there.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucop.agents.text.secret_url import shown_url

from .dialect import POSTGRES_PREFIXES, SQLITE_PREFIX
from .errors import InvalidSettings
from .langgraph_json import read_langgraph

DATABASE = "sqlite:///.ucop/ucop.db"

SYNCHRONOUS = ("NORMAL", "FULL")
LEASE = 30.0

PROJECT_FILES = ("ucop.toml", "pyproject.toml", "langgraph.json")


@dataclass(frozen=True, kw_only=True)
class ProjectDatabase:
    """A project's database, and how it is opened; Settings describes the fields."""

    url: str
    synchronous: str = SYNCHRONOUS[0]
    lease: float = LEASE


def project_database(start: Path | str | None = None, given: str | None = None) -> ProjectDatabase:
    """What `Settings.load(start, database=given)` says of the database, and nothing else: most
    commands need no other setting, and the library behind Settings takes longer to load than they
    take to answer. Raises InvalidSettings."""
    root, project, where = find_project(start)
    defaults = {"database": DATABASE, "synchronous": SYNCHRONOUS[0], "lease": LEASE, "root": root}
    known = {**defaults, **project, **_environment()}
    url = known["database"] if given is None else given
    if not isinstance(url, str):
        raise _unfit(where, "database", "must be text", url)
    if known["synchronous"] not in SYNCHRONOUS:
        raise _unfit(where, "synchronous", "must be NORMAL or FULL", known["synchronous"])
    return ProjectDatabase(
        url=absolute_url(url, Path(str(known["root"]))),
        synchronous=known["synchronous"],
        lease=_seconds(where, known["lease"]),
    )


def _seconds(where: Path, lease: Any) -> float:
    try:
        seconds = float(lease)
    except (TypeError, ValueError):
        seconds = 0.0
    if not seconds > 0:
        raise _unfit(where, "lease", "must be a number of seconds above 0", lease)
    return seconds


def _unfit(where: Path, name: str, must: str, value: object) -> InvalidSettings:
    return InvalidSettings(f"{where}: setting {name!r}: {must} (got {shown_url(repr(value))})")


def _environment() -> dict[str, str]:
    """What the environment says, in capitals or not, as Settings reads it."""
    names = {f"UCOP_{name.upper()}": name for name in ("database", "root", "synchronous", "lease")}
    said = ((names.get(name.upper()), value) for name, value in os.environ.items())
    return {name: value for name, value in said if name is not None}


def absolute_url(url: str, root: Path) -> str:
    """`sqlite:///relative` from `root`; a PostgreSQL URL as it is. Raises InvalidSettings."""
    if url.startswith(POSTGRES_PREFIXES):
        return url
    if not url.startswith(SQLITE_PREFIX) or url == SQLITE_PREFIX:
        raise InvalidSettings(
            f"the database URL {shown_url(url)!r} is not known; "
            "use sqlite:///path/to/file.db or postgresql://user@host/name"
        )
    return SQLITE_PREFIX + str((root / url.removeprefix(SQLITE_PREFIX)).absolute())


def find_project(given: Path | str | None) -> tuple[Path, dict[str, Any], Path]:
    """The project's folder, what its file says, and that file."""
    start = Path(given) if given else Path.cwd()
    if start.is_file():
        table = _read_project(start)
        return start.parent.absolute(), table or {}, start
    start = start.absolute()
    if not start.is_dir():
        raise InvalidSettings(f"{start}: no such folder; name a project's folder or its file")
    for folder in (start, *start.parents):
        for name in PROJECT_FILES:
            file = folder / name
            if file.is_file() and (table := _read_project(file)) is not None:
                return folder, table, file
    return start, {}, start


def _read_project(file: Path) -> dict[str, Any] | None:
    """The project's settings in `file`, or None where it holds none."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.name == "langgraph.json":
            return read_langgraph(text, file)
        data = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{file}: cannot be read: {error}") from error
    if file.name == "pyproject.toml":
        table = data.get("tool", {}).get("ucop")
        return dict(table) if isinstance(table, Mapping) else None
    return data

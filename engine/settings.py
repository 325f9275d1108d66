"""The one settings object: keyword, then environment `UCOP_…`, then the project's file.

A project is a folder with `ucop.toml`, or `[tool.ucop]` in `pyproject.toml`, or a
`langgraph.json`. It is looked for in the current folder and its parents; where there is
none, the current folder is the project and only the bundled workflows and agents are there.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ucop.engine.errors import InvalidSettings

_PROJECT = "_project"
"""Carries the file's settings into the sources, below the environment's."""

POSTGRES = ("postgresql://", "postgres://")

PROJECT_FILES = ("ucop.toml", "pyproject.toml", "langgraph.json")


class Settings(BaseSettings):
    """Everything that can be set. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="UCOP_", extra="forbid", frozen=True, populate_by_name=True
    )

    root: Path = Field(default_factory=Path.cwd)
    """The project's folder. Relative paths of workflows, agents and files start here."""
    database: str = "sqlite:///.ucop/ucop.db"
    """`sqlite:///relative`, `sqlite:////absolute` or `postgresql://…`. Holds ledger,
    checkpoints and queue."""
    workflows: tuple[str, ...] = ()
    """YAML files (globs), or `module-or-file:attribute` of a StateGraph."""
    agents: tuple[str, ...] = ()
    """YAML specs (globs), or a module or file with `@agent` functions."""
    mode: Literal["development", "production"] = "development"
    """In production no workflow with test doubles starts, and an agent's output that is a
    placeholder is refused."""
    models: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Aliases: a name for `provider:model`, or for a list of them, a fallback chain."""
    ollama_host: str | None = Field(default=None, validation_alias="OLLAMA_HOST")
    """Where Ollama listens; `OLLAMA_HOST` as Ollama itself reads it."""
    embedded: bool = True
    """Whether the small embedded model stands in for an Ollama model that is not there."""
    model_timeout: float = Field(default=300.0, gt=0)
    """Longest whole call of a model."""
    model_idle_timeout: float = Field(default=60.0, gt=0)
    """Longest pause before and between a model's tokens."""
    concurrency: int = Field(default=100, ge=1)
    """Jobs that one worker runs at the same time."""
    lease: float = Field(default=30.0, gt=0)
    """A worker without a heartbeat for so long is lost, also where its process still exists."""
    sweep: float = Field(default=1.0, gt=0)
    """Pause between two looks for jobs whose worker is gone."""
    poll: float = Field(default=0.1, gt=0)
    """Longest pause before work queued by another process is seen."""
    grace: float = Field(default=10.0, ge=0)
    """How long a stopping worker lets running nodes end before it stops them."""
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """SQLite's `synchronous`. NORMAL survives a killed process; FULL a power cut too."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = dict(getattr(init_settings, "init_kwargs", {}))
        project = given.pop(_PROJECT, {})
        return (
            InitSettingsSource(settings_cls, given),
            env_settings,
            InitSettingsSource(settings_cls, project),
        )

    @classmethod
    def load(cls, start: Path | str | None = None, **given: Any) -> Settings:
        """Settings of the project at `start` (a folder or its file; default: here).

        Raises InvalidSettings, naming the file and every value that does not fit.
        """
        root, project, where = _find_project(Path(start) if start else Path.cwd())
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**{_PROJECT: {"root": root, **project}, **given})
        except ValidationError as error:
            raise InvalidSettings(_explain(error, where)) from None

    @property
    def url(self) -> str:
        """The database's URL with a SQLite path made absolute at the project's folder."""
        return absolute_url(self.database, self.root)


def absolute_url(url: str, root: Path) -> str:
    """`sqlite:///relative` from `root`; a PostgreSQL URL as it is. Raises InvalidSettings."""
    prefix = "sqlite:///"
    if url.startswith(POSTGRES):
        return url
    if not url.startswith(prefix) or url == prefix:
        raise InvalidSettings(
            f"the database URL {url.rpartition('@')[2]!r} is not known; "
            "use sqlite:///path/to/file.db or postgresql://user@host/name"
        )
    return prefix + str((root / url.removeprefix(prefix)).absolute())


def _find_project(start: Path) -> tuple[Path, dict[str, Any], Path]:
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
            return _from_langgraph(json.loads(text), file)
        data = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{file}: cannot be read: {error}") from error
    if file.name == "pyproject.toml":
        table = data.get("tool", {}).get("ucop")
        return dict(table) if isinstance(table, Mapping) else None
    return data


def _from_langgraph(data: Any, file: Path) -> dict[str, Any] | None:
    """The `graphs` of a LangGraph project: `{name: "./file.py:attribute"}`."""
    graphs = data.get("graphs") if isinstance(data, dict) else None
    if not isinstance(graphs, dict):
        return None
    paths = [graph.get("path") if isinstance(graph, dict) else graph for graph in graphs.values()]
    if not all(isinstance(path, str) for path in paths):
        raise InvalidSettings(f'{file}: every entry of "graphs" must be "./file.py:attribute"')
    named = zip(graphs, paths, strict=True)
    return {"workflows": tuple(f"{name}={path}" for name, path in named)}


def _explain(error: ValidationError, where: Path) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        lines.append(f"setting {name!r}: {problem['msg']} (got {problem['input']!r})")
    known = ", ".join(sorted(Settings.model_fields))
    return f"{where}: " + "; ".join(lines) + f". Known settings: {known}"

"""The one settings object: keyword, then environment `UCOP_…`, then the project's file.

The project's file is found by project.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ucop.agents.providers.settings import ProviderSettings
from ucop.agents.spec.mcp_server import McpServer
from ucop.agents.text.secret_url import shown_url

from .declared.queue_limits import QueueLimits, QueueName, undeclared
from .declared.retention import Age, Retention
from .declared.webhook import Webhook
from .errors import InvalidSettings
from .jobs.job import DEFAULT_QUEUE
from .project import DATABASE, LEASE, absolute_url, find_project
from .record import Record

_PROJECT = "_project"
"""Carries the file's settings into the sources, below the environment's."""


class LiveSettings(Record):
    """How long what jobs emit for those who follow them is kept."""

    keep: Age = 600.0
    """After the job rests."""
    rows: int = Field(default=10_000, ge=1)
    """Batches of one job, of which 50 are made in a second at most; the oldest go."""
    bytes: int = Field(default=16 << 20, ge=1 << 20)
    """Of one job; the oldest go."""


class MemorySettings(Record):
    """What agents remember beyond a job."""

    project: str = Field(default="default", min_length=1)
    """Its name in the database, where several projects share one."""
    model: str | None = None
    """What makes the vectors of texts: `provider:model` or an alias. Default: that of the memory;
    of a new one, `ollama:nomic-embed-text`, or where nobody serves it the embedded model."""


class StateSettings(Record):
    """What the states of graphs may hold."""

    types: tuple[
        Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*(\.\*)?(:([\w.]+|\*))?$")], ...
    ] = ()
    """Classes of other packages, beside those of the project and of its graphs' schemas:
    `package.module:Class`, `package.module`, or `package.*`."""


class ServeSettings(Record):
    """What `ucop serve` allows."""

    host: str = "127.0.0.1"
    port: int = Field(default=2024, ge=0, le=65535)
    host_names: tuple[str, ...] = ()
    """Names under which clients reach it, beside its address and those of loopback; what names
    another in `Host` is refused."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages that may use it, beside its own and those of loopback, such as
    `https://smith.langchain.com`."""
    max_body: int = Field(default=4 << 20, ge=1024)
    """Bytes of a request's body."""
    streams: int = Field(default=1000, ge=1)
    """Streams that may be open at the same time."""
    streams_per_key: int = Field(default=50, ge=1)
    """Of those, with one key."""


class Settings(BaseSettings):
    """Everything that can be set. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="UCOP_", extra="forbid", frozen=True, populate_by_name=True
    )

    root: Path = Field(default_factory=Path.cwd)
    """The project's folder. Relative paths of workflows, agents and files start here."""
    database: str = DATABASE
    """`sqlite:///relative`, `sqlite:////absolute` or `postgresql://…`. Holds ledger,
    checkpoints and queue."""
    workflows: tuple[str, ...] = ()
    """YAML files (globs), or `module-or-file:attribute` of a StateGraph."""
    agents: tuple[str, ...] = ()
    """YAML specs (globs), or a module or file with `@agent` functions."""
    mode: Literal["development", "production"] = "development"
    """In production no workflow with test doubles starts, and an agent's output that is a
    placeholder is refused."""
    mcp: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], McpServer] = Field(
        default_factory=dict
    )
    """Servers of the Model Context Protocol, whose tools agents may name as `mcp:NAME`."""
    memory: MemorySettings = Field(default_factory=MemorySettings)
    """The table `[memory]`."""
    state: StateSettings = Field(default_factory=StateSettings)
    """The table `[state]`."""
    models: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Aliases: a name for `provider:model`, or for a list of them, a fallback chain."""
    ollama_host: str | None = Field(default=None, validation_alias="OLLAMA_HOST")
    """Where Ollama listens; `OLLAMA_HOST` as Ollama itself reads it."""
    embedded: bool = True
    """Whether the small embedded model stands in for an Ollama model that is not there."""
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    """Limits of single providers, by LangChain's name of them: see ProviderSettings."""
    model_cache: float | None = Field(default=None, gt=0)
    """How long answers of models are kept that can only be the same again: those asked for at
    temperature 0, or with a seed. Agents may say `cache` for themselves."""
    model_timeout: float = Field(default=300.0, gt=0)
    """Longest whole call of a model."""
    model_idle_timeout: float = Field(default=60.0, gt=0)
    """Longest pause before and between a model's tokens."""
    concurrency: int = Field(default=100, ge=1)
    """Jobs that one worker runs at the same time."""
    queues: dict[QueueName, QueueLimits] = Field(default_factory=dict)
    """Named queues and what they allow; `default` is there also where it is not declared."""
    serves: tuple[str, ...] = ()
    """The queues that a worker takes jobs from; none named: all."""
    workflow_concurrency: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Of each workflow named here, the jobs that run at the same time, over all workers."""
    lease: float = Field(default=LEASE, gt=0)
    """A worker without a heartbeat for so long is lost, also where its process still exists."""
    sweep: float = Field(default=1.0, gt=0)
    """Pause between two looks for jobs whose worker is gone."""
    poll: float = Field(default=0.1, gt=0)
    """Longest pause before work queued by another process is seen."""
    grace: float = Field(default=10.0, ge=0)
    """How long a stopping worker lets running nodes end before it stops them."""
    retention: Retention = Field(default_factory=Retention)
    """How long jobs that have ended are kept. Its workers delete what is older."""
    live: LiveSettings = Field(default_factory=LiveSettings)
    """The table `[live]`: how long what jobs emit is kept; see docs/streaming.md."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """The table `[serve]`: what `ucop serve` allows; see docs/server.md."""
    webhooks: dict[str, Webhook] = Field(default_factory=dict)
    """Addresses that are told of events, by name; see docs/events.md."""
    mesh_failures: int = Field(default=3, ge=1)
    """Failures in a row after which an agent of a mesh is not asked for a while."""
    mesh_pause: float = Field(default=30.0, gt=0)
    """For how long; then one call may try it."""
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
        root, project, where = find_project(start)
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**{_PROJECT: {"root": root, **project}, **given})
        except ValidationError as error:
            raise InvalidSettings(_explain(error, where)) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, shown_url(value) if isinstance(value, str) else value

    @property
    def declared(self) -> dict[str, QueueLimits]:
        """All queues, as they were declared."""
        return {DEFAULT_QUEUE: QueueLimits(), **self.queues}

    def model_options(self) -> dict[str, Any]:
        """What `Models` is told of the project, by the names of its arguments."""
        return {
            "aliases": self.models,
            "ollama_host": self.ollama_host,
            "embedded": self.embedded,
            "timeout": self.model_timeout,
            "idle_timeout": self.model_idle_timeout,
            "providers": self.providers,
        }

    @property
    def served(self) -> dict[str, QueueLimits]:
        """The queues of a worker. Raises InvalidInput for one that is not declared."""
        declared = self.declared
        for name in self.serves:
            if name not in declared:
                raise undeclared(name, declared)
        return {name: declared[name] for name in self.serves or declared}

    @property
    def url(self) -> str:
        """The database's URL with a SQLite path made absolute at the project's folder."""
        return absolute_url(self.database, self.root)


def _explain(error: ValidationError, where: Path) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        # What is said of a server or an address may be, or hold, a secret.
        hidden = problem["loc"][:1] in {("mcp",), ("webhooks",)}
        got = "" if hidden else f" (got {shown_url(repr(problem['input']))})"
        lines.append(f"setting {name!r}: {problem['msg']}{got}")
    known = ", ".join(sorted(Settings.model_fields))
    return f"{where}: " + "; ".join(lines) + f". Known settings: {known}"

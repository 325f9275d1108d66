"""The workflows and agents that this process knows, and the jobs that are made of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from ucop.agents.spec.registry import Registry, load_registry
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.gate import refuse_doubles
from ucop.graphs.workflows.stored import restore

from ..dialect import dialect_of
from ..jobs.run_options import for_factory
from ..ledger import reads
from .local_graphs import LocalGraphs, ended, graph_name, notice
from .submission import new_job, read_submission

if TYPE_CHECKING:
    from ucop.agents.models.models import Models
    from ucop.graphs.workflow import Graph

    from ..database.database import Database
    from ..jobs.job import JobId
    from ..jobs.run_options import RunConfig
    from ..ledger.records import NewJob
    from ..settings import Settings

    Source: TypeAlias = str | Path | Workflow | Graph
    """A workflow by its name, its file, or as a graph."""

log = logging.getLogger("ucop.engine")


class KnownWorkflows:
    """Args:
    registry, catalog: Default: the project's, loaded at the first use.
    runs_jobs: Whether a worker runs in this process.
    on_new: Called when there is another name.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        models: Models,
        *,
        registry: Registry | None = None,
        catalog: Catalog | None = None,
        runs_jobs: bool,
        on_new: Callable[[], None],
    ) -> None:
        self._settings, self._database, self._models = settings, database, models
        self._registry, self._catalog = registry, catalog
        self._runs_jobs, self._on_new = runs_jobs, on_new
        self._local = LocalGraphs()
        self._restored: dict[str, Workflow] = {}
        """By fingerprint."""
        self._added: dict[str, Workflow] = {}
        """What was passed as an object, by name."""
        self._named: set[str] = set()
        """Names that the caller gave to graphs itself."""
        self._notices: WeakKeyDictionary[Workflow, str | None] = WeakKeyDictionary()
        """What was said of who can run them."""
        self._admitted: WeakSet[Workflow] = WeakSet()
        """Workflows in which no test double was found."""
        self._names: str | None = None

    @property
    def registry(self) -> Registry:
        """Raises InvalidDefinition."""
        if self._registry is None:
            settings = self._settings
            self._registry = load_registry(settings.root, settings.agents, servers=settings.mcp)
        return self._registry

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            settings = self._settings
            self._catalog = Catalog(settings.root, settings.workflows, self.registry)
        return self._catalog

    def names(self) -> str:
        """What this process can run, as the ledger keeps it."""
        if self._names is None:
            self._names = names([*self.catalog.supplies(), self._local.process])
        return self._names

    # ------------------------------------------------------------ finding

    def add(self, name: str, graph: Graph, *, named: bool = True) -> Workflow:
        """Make a graph known; `named`: the caller chose the name, and it is not the graph's own."""
        if named:
            self._named.add(name)
        workflow, before = self.catalog.add(name, graph), self._added.get(name)
        if workflow is before:
            return workflow
        # What was made with the graph that had this name before is made anew.
        self._restored, self._added[name] = {}, workflow
        if before is None:
            self._names = None
            self._on_new()
        return workflow

    def find(self, source: Source) -> Workflow:
        """Raises UnknownWorkflow, InvalidDefinition."""
        if isinstance(source, Workflow):
            return source
        if isinstance(source, str | Path):
            return self.catalog.get(source)
        name = graph_name(source)
        return self._local.unnamed(source) if name is None else self.add(name, source, named=False)

    def admitted(self, source: Source) -> Workflow:
        """A workflow that a fork is to go on with. Raises as `ready` does."""
        workflow = self.find(source)
        self._admit(workflow)
        return self._restored.setdefault(workflow.fingerprint, workflow)

    def _admit(self, workflow: Workflow) -> None:
        """The NoMockGate. Raises DoublesRefused in production mode."""
        if self._settings.mode == "production" and workflow not in self._admitted:
            refuse_doubles(workflow, self._models)
            self._admitted.add(workflow)

    # ------------------------------------------------------------ jobs

    def ready(self, source: Source, config: RunConfig) -> tuple[Workflow, str | None]:
        """A workflow that a new job may run, and what to say of who can run it. Raises as
        `Engine.submit` does."""
        workflow = self.find(source).configured(for_factory(config))
        said = None if isinstance(source, str | Path | Workflow) else self._notice(workflow)
        self._admit(workflow)
        if workflow.kind == "yaml" or workflow.is_known_by_name:
            self._restored[workflow.fingerprint] = workflow
        return workflow, said

    def job_of(self, workflow: Workflow, input: Any, **said: Any) -> NewJob:
        """A job by the arguments of `Engine.submit`, for whoever submits it."""
        submission = read_submission(**said)
        configured, _ = self.ready(workflow, submission.config)
        return new_job(configured, input, submission, self._settings)

    def _notice(self, workflow: Workflow) -> str | None:
        if workflow.name in self._named:
            return None
        if workflow in self._notices:
            return self._notices[workflow]
        said = notice(workflow, listed=self.catalog.lists, worker=self._runs_jobs)
        self._notices[workflow] = said
        if said is not None:
            log.warning("graph %r: %s", workflow.name, said)
        return said

    def keep(self, job: str, workflow: Workflow) -> None:
        """`job` runs this very workflow in this process."""
        self._local.keep(job, workflow)

    async def forget(self, job: NewJob | None = None) -> None:
        """Forget a job that was not submitted, and once there are many, those that have ended."""
        if job is not None:
            self._local.forget([job.id])
        if kept := self._local.oldest:
            tables = dialect_of(self._database.url).tables
            self._local.forget(await self._database.read(lambda: ended(tables, kept)))

    async def restore(self, fingerprint: str, job: JobId) -> Workflow:
        """A job's workflow as it was submitted with it."""
        if (own := self._local.of(job)) is not None:
            return own
        restored = self._restored
        known = restored.get(fingerprint)
        if known is None:
            stored = await self._database.read(lambda: reads.definition(fingerprint))
            known = await asyncio.to_thread(self._rebuild, stored)
            restored[fingerprint] = known
        return known

    def _rebuild(self, stored: dict[str, Any]) -> Workflow:
        workflow = restore(stored, catalog=self.catalog, registry=self.registry)
        workflow.graph()
        self._admit(workflow)
        return workflow


def names(known: Iterable[str]) -> str:
    """What a worker can supply, or serves, as the ledger keeps it."""
    return json.dumps(sorted(known))

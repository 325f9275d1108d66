"""What an attempt gives to its graph beside the input: context and config, secrets resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from ucop.graphs.workflow import Run

from ..jobs.run_options import PLAIN, names_secrets, with_secrets

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ..ledger.records import Claimed


@dataclass(frozen=True, kw_only=True)
class Provision:
    """Of one attempt. It lives in this process alone: secrets are never written."""

    context: Mapping[str, Any] | None = None
    configurable: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    recursion_limit: int | None = None
    interrupt_before: Literal["*"] | Sequence[str] | None = None
    interrupt_after: Literal["*"] | Sequence[str] | None = None
    secret: frozenset[str] = frozenset()
    """Names of `configurable` whose values hold secrets. LangGraph would write them into the
    metadata of every checkpoint."""

    @classmethod
    def of(cls, claimed: Claimed) -> Self:
        """Raises MissingSecret for what is not set in this process's environment."""
        run, job = claimed.run, claimed.job_id
        if run is PLAIN:
            return cls()
        asked = {"context": run.context, "configurable": run.config.configurable}
        then = f"; start the worker with it, then `ucop jobs resume {job}`"
        found = with_secrets(asked, f"job {job}", then)
        return cls(
            context=found["context"],
            configurable=found["configurable"],
            tags=tuple(run.config.tags),
            metadata=run.config.metadata,
            recursion_limit=run.config.recursion_limit,
            interrupt_before=run.config.interrupt_before,
            interrupt_after=run.config.interrupt_after,
            secret=frozenset(n for n, v in run.config.configurable.items() if names_secrets(v)),
        )

    def config(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """LangGraph's config: what was given, and before it the engine's `own`."""
        config = {
            **own,
            "configurable": {**self.configurable, **own["configurable"]},
            "metadata": {**self.metadata, **own["metadata"]},
        }
        if self.tags:
            config["tags"] = list(self.tags)
        if self.recursion_limit is not None:
            config["recursion_limit"] = self.recursion_limit
        return config

    def set_breakpoints(self, graph: Any) -> None:
        """Those of this job, in an attempt's own copy of the graph."""
        if self.interrupt_before is not None:
            graph.interrupt_before_nodes = self.interrupt_before
        if self.interrupt_after is not None:
            graph.interrupt_after_nodes = self.interrupt_after

    def for_factory(self, config: Mapping[str, Any], store: BaseStore | None) -> Run:
        """What a factory may know of the run."""
        return Run(config=config, context=self.context, store=store)


NOTHING = Provision()
"""Before it is known."""

"""One agent run alone: without a workflow, a job, or a database, and metered as a job is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .context import AgentContext, no_progress
from .run import accept, call

if TYPE_CHECKING:
    from ..models.meter import Usage
    from ..models.models import Models
    from ..spec.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a run alone ended."""

    output: Any
    """The agent's output as JSON."""
    usage: Usage
    """Model calls, tokens, and which models answered; calls inside tools too."""
    seconds: float
    """From the accepted input to the output."""


async def run_alone(
    agent: Agent,
    data: Mapping[str, Any],
    *,
    models: Models,
    folder: Path | None = None,
    production: bool = False,
    progress: Callable[[str], None] = no_progress,
    context: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Ran:
    """Run `agent` once on `data`. Nothing of it is kept, so nothing can be resumed.

    `folder` is where the agent's relative paths start (default: the current one); in
    `production` an output that is a placeholder is refused. `context` is what the agent finds as
    `context.given`, `config` goes to LangChain: `configurable`, `tags`, `metadata`. Raises AgentInputError before any
    model is asked, AgentOutputError, ModelError, and whatever a function raises.
    """
    name = f"alone-{secrets.token_hex(6)}"
    call_context = AgentContext(
        job_id=name,
        node="",
        key=name,
        models=models,
        folder=folder or Path.cwd(),
        given=context,
        production=production,
        progress=progress,
    )
    accept(agent, data, context=call_context)
    from langchain_core.runnables import RunnableConfig, RunnableLambda

    from ..models.meter import Meter

    meter = Meter()

    async def work(data: Mapping[str, Any]) -> Any:
        return await call(agent, data, context=call_context)

    began = time.monotonic()
    # A runnable, because that is what hands the meter on to every model call inside.
    output = await RunnableLambda(work).ainvoke(
        dict(data), cast(RunnableConfig, {**(config or {}), "callbacks": [meter]})
    )
    return Ran(output=output, usage=meter.total(), seconds=time.monotonic() - began)

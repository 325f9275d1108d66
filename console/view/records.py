"""What commands print with `--json`, and the HTTP API answers, of what is no record itself."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucop.agents.memory.memory import Remembered
    from ucop.agents.spec.agent import Agent
    from ucop.engine.declared.webhook import Webhook
    from ucop.engine.events.webhooks import DeliveryStatus
    from ucop.engine.schedules.schedules import Schedule
    from ucop.engine.stores.mesh_trace import MeshAgent
    from ucop.graphs.workflow import Workflow
    from ucop.graphs.workflows.catalog import Listing

NEXT = 5
"""Next times of a schedule that are told."""


def listing_record(listing: Listing) -> dict[str, Any]:
    return {
        "name": listing.name,
        "kind": listing.kind,
        "origin": listing.origin,
        "description": listing.description,
    }


def workflow_record(workflow: Workflow) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "description": workflow.description,
        "origin": workflow.origin,
        "fingerprint": workflow.fingerprint,
        "needs": list(workflow.needs),
        "input_schema": workflow.input_schema,
        "nodes": workflow.shown_nodes(),
        "definition": workflow.stored,
    }


def body_of(agent: Agent) -> str:
    if agent.spec is None:
        return "python"
    return "tools" if agent.spec.tools else "prompt"


def agent_brief(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "asks": list(agent.asks),
        "category": agent.category,
        "body": body_of(agent),
        "origin": agent.origin,
    }


def agent_record(agent: Agent) -> dict[str, Any]:
    spec = agent.spec.model_dump(mode="json", exclude_none=True) if agent.spec else None
    return {
        **agent_brief(agent),
        "input_schema": agent.input_schema,
        "output_schema": agent.output_schema,
        "spec": spec,
    }


def schedule_record(schedule: Schedule) -> dict[str, Any]:
    from ucop.engine.jobs.run_options import masked

    times = [at.isoformat() for at in next_times(schedule)]
    return {
        **schedule.model_dump(mode="json"),
        "terms": masked(schedule.terms),
        "state": schedule_state(schedule),
        "explanation": schedule_words(schedule),
        "next_times": times,
    }


def schedule_words(schedule: Schedule) -> str:
    from ucop.engine.schedules.schedules import recurrence_of

    return recurrence_of(schedule).explain()


def next_times(schedule: Schedule) -> list[datetime]:
    """The next times, the first of them as the ledger has it."""
    from ucop.engine.schedules.schedules import recurrence_of

    if schedule.next_at is None:
        return []
    rule = recurrence_of(schedule)
    found, after = [schedule.next_at], schedule.next_at.timestamp()
    while len(found) < NEXT and (comes := rule.after(after)) is not None:
        found.append(datetime.fromtimestamp(comes, UTC))
        after = comes
    return found


def schedule_state(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    if schedule.error is not None:
        return "failed"
    return "active" if schedule.next_at is not None else "ended"


def webhook_record(
    name: str, webhook: Webhook, counts: dict[tuple[str, DeliveryStatus], int]
) -> dict[str, Any]:
    from ucop.engine.events.webhooks import DeliveryStatus  # light commands read other records

    return {
        "name": name,
        "address": address(webhook.url),
        "types": list(webhook.types),
        "workflows": list(webhook.workflows),
        "secret_env": webhook.secret_env,
        "secret_is_here": bool(os.environ.get(webhook.secret_env)),
        **{status.value: counts.get((name, status), 0) for status in DeliveryStatus},
    }


def address(url: str) -> str:
    """An address without what stands behind a `?`: it may be a secret."""
    return url.partition("?")[0] + ("?…" if "?" in url else "")


def breaker(fare: MeshAgent | None) -> str:
    return fare.breaker.value if fare is not None else "closed"


def mesh_agent_record(agent: Agent, fare: MeshAgent | None) -> dict[str, Any]:
    opens = fare.opens_at if fare is not None else None
    return {
        "name": agent.name,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "asks": list(agent.asks),
        "origin": agent.origin,
        "breaker": breaker(fare),
        "opens_at": opens.isoformat() if opens else None,
        "busy": fare.busy if fare is not None else 0,
    }


def memory_record(one: Remembered) -> dict[str, Any]:
    return {
        "space": "/".join(one.space),
        "key": one.key,
        "value": one.value,
        "score": one.score,
        "updated_at": one.updated_at.isoformat(),
    }

"""Named queues: what each allows, as settings declare it and as people changed it since."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..declared.queue_limits import QueueLimits, in_force
from ..ledger.operation import Alone, One, Operation, Row
from ..record import Record
from ..values.json_text import to_json

# ---------------------------------------------------------------- what people change

_CHANGES = "select changes from queues where name = :name"

_SET = """
insert into queues (name, changes, changed_at) values (:name, :changes, {now})
on conflict (name) do update set changes = excluded.changes, changed_at = excluded.changed_at"""

_RESET = "delete from queues where name = :name"


def change(name: str, declared: QueueLimits, changes: Mapping[str, Any]) -> Operation[None]:
    """Let values hold from now on, for all workers, in place of the declared ones. Raises
    InvalidInput."""
    yield Alone("turns")  # who claims now has counted with the limits of before
    rows = yield One(_CHANGES, {"name": name})
    merged = {**(json.loads(rows[0]["changes"]) if rows else {}), **changes}
    declared.changed(merged)
    yield One(_SET, {"name": name, "changes": to_json(merged)})


def reset(name: str) -> Operation[None]:
    """Let the declared values hold again."""
    yield Alone("turns")
    yield One(_RESET, {"name": name})


# ---------------------------------------------------------------- how they stand


class Backlog(Record):
    """The jobs of a queue, or of one tenant in it, that have not ended."""

    pending: int = 0
    """Those in line."""
    delayed: int = 0
    """Those whose time has not come."""
    running: int = 0
    oldest: float | None = None
    """Seconds for which the first of those in line has been there."""


class TenantBacklog(Backlog):
    """See Backlog."""

    tenant: str | None
    """None: jobs without a tenant."""


class QueueState(Backlog):
    """A queue, what it allows, and what is in it."""

    name: str
    concurrency: int | None = None
    worker_concurrency: int | None = None
    rate: str | None = None
    paused: bool = False
    changed: tuple[str, ...] = ()
    """What people set in place of the declared values."""
    declared: bool = True
    """False: no setting names it, and nobody serves it."""
    tenants: tuple[TenantBacklog, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether as many run as may at the same time."""
        return self.concurrency is not None and self.running >= self.concurrency


def states(
    declared: Mapping[str, QueueLimits],
    changes: Mapping[str, str],
    backlog: Sequence[Row],
    now: float,
) -> list[QueueState]:
    """Queues by name. Rows of `backlog` have `queue`, `tenant`, `what` (pending, delayed or
    running), `jobs` and `since`."""
    limits = in_force({**dict.fromkeys(changes, QueueLimits()), **declared}, changes)
    counts: dict[str, dict[str | None, dict[str, Any]]] = {name: {} for name in declared}
    for row in backlog:
        tenants = counts.setdefault(row["queue"], {})
        counted = tenants.setdefault(row["tenant"], {})
        counted[row["what"]] = row["jobs"]
        if row["since"] is not None:
            counted["oldest"] = max(0.0, now - row["since"])
    return [
        QueueState(
            name=name,
            **limits.get(name, QueueLimits()).model_dump(),
            changed=tuple(sorted(json.loads(changes.get(name, "{}")))),
            declared=name in declared,
            **_sum(counts[name].values()),
            tenants=tuple(
                TenantBacklog(tenant=tenant, **counted)
                for tenant, counted in sorted(counts[name].items(), key=lambda each: each[0] or "")
            ),
        )
        for name in sorted(counts)
    ]


def _sum(tenants: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    ages = [each["oldest"] for each in tenants if "oldest" in each]
    jobs = {
        what: sum(each.get(what, 0) for each in tenants)
        for what in ("pending", "delayed", "running")
    }
    return {**jobs, "oldest": max(ages, default=None)}

"""What each tenant has had of the workers' slots, so that slots are shared out evenly.

A tenant's standing is the number of slots that its jobs hold now, and twice the number that they
held on average of late (`MEMORY`). Of jobs that take long the second follows the first, and all
tenants hold as many slots as the others. Of short ones a tenant that had little gets more for a
moment: so a burst of jobs is served soon beside a tenant that floods, and a newcomer that floods
delays those that worked before it came for some seconds at most.

The average is a sum over jobs: one that held a slot for `d` seconds adds d / (d + MEMORY), and
what it added fades by MEMORY / (MEMORY + s) in the `s` seconds after its end. Workers write what
their jobs had together with their next claims.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..ledger.operation import One, Operation

MEMORY = 5.0
"""Seconds: about as far back goes what is counted."""

LEAST = 1.0
"""Seconds that a job counts for at least: so of very short ones each tenant gets as many, and not
the one more whose jobs happened to end a little sooner."""

WEIGHT = 2.0
"""Of what was held of late, beside what is held now."""

# Fades without `exp`, which not every SQLite has.
_FADED = "tenants.held * :memory / (:memory + abs({now} - tenants.as_of))"

_SHARES = """
select tenant, count(*) as slots,
    sum(case when seconds < :least then :least else seconds end
        / (:memory + case when seconds < :least then :least else seconds end)) as held
from (select coalesce(jobs.tenant, '') as tenant, {now} - attempts.started_at as seconds
    from jobs join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
    where jobs.status = 'running') as running
group by tenant
union all
select tenant, 0, {faded} from tenants""".replace("{faded}", _FADED)

_HAD = """
insert into tenants (tenant, held, as_of) values (:tenant, :held, {now})
on conflict (tenant) do update set held = {faded} + excluded.held,
    as_of = excluded.as_of""".replace("{faded}", _FADED)

_FORGET = "delete from tenants where as_of < {now} - 20 * :memory"


@dataclass(kw_only=True, slots=True)
class Shares:
    """Of each tenant; what is not there is nothing."""

    slots: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """That its jobs hold now."""
    held: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """That they held on average of late."""

    def standing(self, tenant: str) -> float:
        """Lower is served first."""
        return self.slots[tenant] + WEIGHT * self.held[tenant]

    def serve(self, tenant: str) -> None:
        """Count another slot."""
        self.slots[tenant] += 1
        self.held[tenant] += counted(0.0)


def shares(had: Mapping[str, float]) -> Operation[Shares]:
    """As they are; `had` is not written yet."""
    found = Shares()
    for row in (yield One(_SHARES, {"memory": MEMORY, "least": LEAST})):
        found.slots[row["tenant"]] += row["slots"]
        found.held[row["tenant"]] += row["held"]
    for tenant, held in had.items():
        found.held[tenant] += held
    return found


def note(had: Mapping[str, float]) -> Operation[None]:
    """Count what jobs had that ended."""
    for tenant in sorted(had):  # everyone locks them in the same order
        yield One(_HAD, {"tenant": tenant, "held": had[tenant], "memory": MEMORY})


def forget() -> Operation[None]:
    """Let go of tenants that had nothing for long."""
    yield One(_FORGET, {"memory": MEMORY})


class Ended:
    """What the jobs had that ended in this process, until it is written."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._had: dict[str, float] = {}
        self._as_of = clock()

    def add(self, tenant: str | None, seconds: float) -> None:
        """A job held a slot for so many seconds."""
        self._had = self.had()
        self._as_of = self._clock()
        self._had[tenant or ""] = self._had.get(tenant or "", 0.0) + counted(seconds)

    def had(self) -> dict[str, float]:
        """As it counts now."""
        faded = MEMORY / (MEMORY + self._clock() - self._as_of)
        return {tenant: held * faded for tenant, held in self._had.items()}

    def take(self) -> dict[str, float]:
        """The same, to be written: it is forgotten here."""
        had, self._had = self.had(), {}
        return had


def counted(seconds: float) -> float:
    """What a job adds to an average that held a slot for so many seconds."""
    seconds = max(seconds, LEAST)
    return seconds / (seconds + MEMORY)

"""Webhooks: who is told of which events, and the deliveries that the ledger keeps.

A delivery is written in the transaction in which its webhook moves past the event, so none is
lost, and is struck off in the one that notes the answer: what was sent, but not noted, is sent
again under the same id. webhook_sender.py sends them. Operations, like those in lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..declared.webhook import Webhook
from ..errors import DeliveryNotFound
from ..jobs.job import Event
from ..ledger.operation import Many, One, Operation, Row
from ..record import Record, record_of, time_of
from ..values.json_text import to_json
from .listeners import reached
from .subscriptions import Wanted

KEPT = 7 * 86_400.0
"""Seconds for which deliveries that were made are kept to be looked at."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up. A person may have it sent again."""


class Delivery(Record):
    """One event, to be told to one webhook."""

    webhook: str
    id: str
    """The message's id, the same at every try."""
    job_id: str
    seq: int
    type: str
    body: str
    """What is sent: JSON."""
    status: DeliveryStatus
    tries: int
    """How often it was sent."""
    error: str | None = None
    """Why the last try failed."""
    created_at: datetime
    next_at: datetime
    ended_at: datetime | None = None


def message_id(event: Event) -> str:
    """One id for an event, by which a receiver knows it again."""
    return f"evt_{event.job_id}_{event.seq}"


def body_of(event: Event, workflow: str) -> str:
    """What is sent of an event: `type`, `timestamp` and `data`, as Standard Webhooks has it."""
    told = {
        "type": event.type,
        "timestamp": _utc(event.at),
        "data": {
            "job_id": event.job_id,
            "workflow": workflow,
            "seq": event.seq,
            "position": event.position,
            "event": event.data,
        },
    }
    return to_json(told)


TEST = "ucop.test"
"""The type of a message that a person has sent to see whether it arrives."""


def test_body(now: datetime) -> str:
    """What is sent then."""
    return to_json({"type": TEST, "timestamp": _utc(now), "data": {}})


def _utc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


_ADD = """
insert into deliveries (webhook, id, job_id, seq, type, body, status, tries, created_at, next_at)
values (:webhook, :id, :job_id, :seq, :type, :body, 'pending', 0, {now}, 0)
on conflict (webhook, id) do nothing"""

# The next of each job: its events are told in their order.
_FIRST = """
webhook = :webhook and status = 'pending'
    and not exists (select 1 from deliveries before where before.webhook = deliveries.webhook
        and before.job_id = deliveries.job_id and before.status = 'pending'
        and before.seq < deliveries.seq)"""

_DUE = f"""
select * from deliveries where {_FIRST} and next_at <= {{now}}
order by next_at, created_at, job_id, seq limit :limit"""  # noqa: S608 - ours

# Later ones of a job wait for the first of it, and are due at any time: not counted, or a worker
# would look again and again for as long as the first waits for its next try.
_NEXT = f"select min(next_at) - {{now}} as pause from deliveries where {_FIRST}"  # noqa: S608 - ours

_DELIVERED = """
update deliveries set status = 'delivered', tries = tries + 1, error = null, ended_at = {now}
where webhook = :webhook and id = :id and status = 'pending' and tries = :tries"""

_FAILED = """
update deliveries set tries = tries + 1, error = :error, next_at = {now} + :pause
where webhook = :webhook and id = :id and status = 'pending' and tries = :tries"""

_DEAD = """
update deliveries set status = 'dead', tries = tries + 1, error = :error, ended_at = {now}
where webhook = :webhook and id = :id and status = 'pending' and tries = :tries"""

_FORGET = """
delete from deliveries
where webhook = :webhook and status = 'delivered' and ended_at < {now} - :kept"""


def listener(name: str) -> str:
    """A webhook's row among the listeners."""
    return f"webhook:{name}"


def collect(
    name: str,
    worker: str,
    events: Sequence[Event],
    workflows: Mapping[str, str],
    reach: int,
) -> Operation[bool]:
    """Write the deliveries of some events, and move the webhook past them. False, and nothing is
    written, where another worker has it by now."""
    if not (yield from reached(listener(name), worker, reach)):
        return False
    rows = [
        {
            "webhook": name,
            "id": message_id(event),
            "job_id": event.job_id,
            "seq": event.seq,
            "type": event.type,
            "body": body_of(event, workflows[event.job_id]),
        }
        for event in events
    ]
    if rows:
        yield Many(_ADD, rows)
    return True


_PENDING_OF_JOB = """
select 1 from deliveries
where webhook = :webhook and job_id = :job and status = 'pending' limit 1"""

_POSITION = "select position from listeners where name = :name"


def outstanding(name: str, webhook: Webhook, job: str) -> Operation[bool]:
    """Whether a webhook is still to be told something of a job."""
    if (yield One(_PENDING_OF_JOB, {"webhook": name, "job": job})):
        return True
    at = yield One(_POSITION, {"name": listener(name)})
    asked = Wanted(types=webhook.types, job=job, workflows=webhook.workflows)
    conditions, params = asked.conditions()
    sql = f"""
select 1 from events join jobs on jobs.id = events.job_id
where events.position > :after{conditions} limit 1"""  # noqa: S608 - ours
    return bool((yield One(sql, {**params, "after": at[0]["position"] if at else -1})))


def due(name: str, limit: int) -> Operation[list[Delivery]]:
    """Deliveries whose time has come, at most one of each job."""
    rows = yield One(_DUE, {"webhook": name, "limit": limit})
    return [_delivery(row) for row in rows]


def pause(name: str) -> Operation[float | None]:
    """Seconds until a delivery is due, None where none is."""
    found = (yield One(_NEXT, {"webhook": name}))[0]["pause"]
    return None if found is None else max(0.0, float(found))


def delivered(delivery: Delivery) -> Operation[None]:
    """It arrived."""
    yield One(_DELIVERED, {**_key(delivery)})


def failed(delivery: Delivery, error: str, pause: float | None) -> Operation[None]:
    """It did not arrive; it is tried again after `pause` seconds, or given up where that is
    None."""
    sql = _DEAD if pause is None else _FAILED
    yield One(sql, {**_key(delivery), "error": error, "pause": pause})


def _key(delivery: Delivery) -> dict[str, Any]:
    return {"webhook": delivery.webhook, "id": delivery.id, "tries": delivery.tries}


def forget(name: str) -> Operation[None]:
    """Delete deliveries that were made long ago."""
    yield One(_FORGET, {"webhook": name, "kept": KEPT})


# ---------------------------------------------------------------- what a person does

_LISTED = """
select * from deliveries where (:webhook = '' or webhook = :webhook)
    and (:status = '' or status = :status)
order by created_at desc, webhook, job_id, seq desc limit :limit"""

_COUNTED = "select webhook, status, count(*) as number from deliveries group by webhook, status"

_FOUND = "select * from deliveries where id = :id and (:webhook = '' or webhook = :webhook)"

# One that waits for its next try keeps its tries: it may be under way just now.
_AGAIN = """
update deliveries set status = 'pending', next_at = 0, ended_at = null,
    tries = case when status = 'pending' then tries else 0 end
where webhook = :webhook and id = :id"""

_AGAIN_DEAD = """
update deliveries set status = 'pending', tries = 0, next_at = 0, ended_at = null
where status = 'dead' and (:webhook = '' or webhook = :webhook) returning webhook, id"""


def listed(
    webhook: str | None = None, status: DeliveryStatus | None = None, limit: int = 50
) -> Operation[list[Delivery]]:
    """Deliveries, the newest first."""
    given = {"webhook": webhook or "", "status": status.value if status else "", "limit": limit}
    return [_delivery(row) for row in (yield One(_LISTED, given))]


def counted() -> Operation[dict[tuple[str, DeliveryStatus], int]]:
    """How many deliveries each webhook has of each status."""
    rows = yield One(_COUNTED, {})
    return {(row["webhook"], DeliveryStatus(row["status"])): row["number"] for row in rows}


def again(ids: Collection[str], webhook: str | None = None) -> Operation[int]:
    """Send deliveries again, also those that arrived or wait for their next try, under their old
    ids; how many. Raises DeliveryNotFound, and changes nothing, where one is not there."""
    found: list[Row] = []
    for id in ids:
        rows = yield One(_FOUND, {"id": id, "webhook": webhook or ""})
        if not rows:
            raise DeliveryNotFound(
                f"no delivery {id!r}"
                + (f" of webhook {webhook!r}" if webhook else "")
                + "; `ucop webhooks deliveries` shows those there are"
            )
        found += rows
    for row in found:
        yield One(_AGAIN, {"id": row["id"], "webhook": row["webhook"]})
    return len(found)


def again_dead(webhook: str | None = None) -> Operation[int]:
    """Send again what was given up; how many."""
    return len((yield One(_AGAIN_DEAD, {"webhook": webhook or ""})))


def _delivery(row: Row) -> Delivery:
    return record_of(Delivery, row, next_at=time_of(row["next_at"] or row["created_at"]))

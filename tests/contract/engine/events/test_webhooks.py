"""Webhooks on both databases, against a real receiver that breaks in every way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Signed
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.graphs import chain
from tests.support.receiver import SECRET, Receiver
from ucop.engine import Engine, JobHandle, Settings
from ucop.engine.declared.webhook import Webhook
from ucop.engine.errors import DeliveryNotFound, InvalidSettings
from ucop.engine.events.webhooks import (
    Delivery,
    DeliveryStatus,
    again,
    again_dead,
    forget,
    listed,
    listener,
    pause,
)
from ucop.engine.ledger.operation import Make, One, Operation, Row

DEADLINE = 60.0
ENV = "TOLD_SECRET"
OTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHNhbWUgaG9vaw=="
NAME = listener("told")
ENDS = ("job.submitted", "job.completed")

Open = Callable[..., Engine]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv(ENV, SECRET)
    with Receiver() as receiver:
        yield receiver


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)
    return found


def opened(open_engine: Open, receiver: Receiver, **webhook: Any) -> Engine:
    given = {"url": receiver.url, "secret_env": ENV, "types": ENDS, "retries": ("50ms", "50ms")}
    hook = Webhook(**{**given, **webhook})
    engine = open_engine(settings={"webhooks": {"told": hook}, "lease": 2.0})
    engine.add("flow", chain("a"))
    engine.add("other", chain("b"))
    until(lambda: _position(engine) is not None)
    return engine


def write(engine: Engine, make: Make[Any]) -> Any:
    return engine._loop.call(engine._database.write(make))


def _position(engine: Engine) -> int | None:
    rows = _listener(engine)
    return rows[0]["position"] if rows else None


def _held_until(engine: Engine) -> float:
    return float(_listener(engine)[0]["held_until"])


def _listener(engine: Engine) -> Sequence[Row]:
    def look() -> Operation[Sequence[Row]]:
        return (yield One("select * from listeners where name = :name", {"name": NAME}))

    return engine._loop.call(engine._database.read(look))


def deliveries(engine: Engine, status: str | None = None) -> list[Delivery]:
    found = engine.reader.ask(listed(status=DeliveryStatus(status) if status else None))
    return sorted(found, key=lambda each: (each.job_id, each.seq))


def message(job: JobHandle, seq: int) -> str:
    return f"evt_{job.id}_{seq}"


def test_events_are_told_signed_and_in_order(open_engine: Open, receiver: Receiver) -> None:
    engine = opened(open_engine, receiver)
    job = engine.submit("flow")
    until(lambda: len(deliveries(engine, "delivered")) == 2)
    first, last = receiver.received
    assert first.verified()["type"] == "job.submitted"
    told = last.verified()
    event = list(job.events())[-1]
    assert (told["type"], told["data"]["job_id"], told["data"]["seq"]) == (
        *("job.completed", job.id, event.seq),
    )
    assert (told["data"]["workflow"], told["data"]["event"]) == ("flow", event.data)
    assert [first.id, last.id] == [message(job, 1), message(job, event.seq)]
    with pytest.raises(WebhookVerificationError):
        type(last)(last.path, last.headers, last.body + b" ").verified()
    assert all(SECRET not in str(vars(each)) for each in receiver.received)


def test_several_secrets_sign_side_by_side(
    open_engine: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV, f" {OTHER}  {SECRET} ")
    engine = opened(open_engine, receiver, types=("job.completed",))
    engine.submit("flow")
    until(lambda: receiver.received)
    (message,) = receiver.received
    assert message.verified()["type"] == "job.completed"
    assert Signed(OTHER).verify(message.body, message.headers) == message.verified()
    with pytest.raises(WebhookVerificationError):
        Signed("whsec_bm9uZSBvZiB0aGUgdHdvLCBidXQgYSB0aGlyZA==").verify(
            message.body, message.headers
        )


@pytest.mark.parametrize("breaks", [500, 302, 404])
def test_a_delivery_that_fails_is_sent_again_under_its_id_before_later_ones_of_its_job(
    open_engine: Open, receiver: Receiver, breaks: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script += [breaks, breaks]
    receiver.headers["location"] = receiver.url.replace("/told", "/elsewhere")
    engine = opened(open_engine, receiver)
    with caplog.at_level(logging.WARNING, "ucop.webhooks"):
        job = engine.submit("flow")
        first, last = until(lambda: len(found := deliveries(engine, "delivered")) == 2 and found)
    assert receiver.ids() == [message(job, 1)] * 3 + [last.id]
    assert {each.path for each in receiver.received} == {"/told"}
    assert (first.tries, first.error) == (3, None)
    assert caplog.text.count(f"answered {breaks}") == 2
    assert SECRET not in caplog.text


def test_a_receiver_that_hangs_or_is_not_there_is_tried_again(
    open_engine: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.script += ["hang"]
    engine = opened(open_engine, receiver, timeout=0.3, retries=("50ms",) * 200)
    assert engine.submit("flow").result(DEADLINE)
    until(lambda: len(deliveries(engine, "delivered")) == 2)
    assert len(receiver.received) == 3
    port = receiver.port
    receiver.__exit__()
    job = engine.submit("flow")
    assert job.result(DEADLINE) == {"log": ["a"]}
    until(lambda: [each for each in deliveries(engine, "pending") if "Connect" in str(each.error)])
    with Receiver(port=port) as back:
        until(lambda: len(deliveries(engine, "delivered")) == 4)
        assert back.ids()[0] == message(job, 1)
    receiver.__enter__()


def test_a_webhook_stays_with_its_worker_while_the_receiver_takes_longer_than_the_lease(
    open_engine: Open, receiver: Receiver
) -> None:
    receiver.script += ["hang"]
    engine = opened(open_engine, receiver, timeout=60)
    engine.submit("flow")
    until(lambda: receiver.received)
    began = _held_until(engine)
    until(lambda: _held_until(engine) > began + 2 * engine.settings.lease)
    assert (len(receiver.received), deliveries(engine)[0].tries) == (1, 0)


def test_what_is_given_up_is_seen_and_can_be_sent_again(
    open_engine: Open, receiver: Receiver
) -> None:
    receiver.script += [500, 500, 500]
    engine = opened(open_engine, receiver)
    job = engine.submit("flow")
    (dead,) = until(lambda: deliveries(engine, "dead"))
    assert (dead.id, dead.tries, dead.error) == (message(job, 1), 3, "answered 500")
    until(lambda: deliveries(engine, "delivered"))  # later ones go on
    with pytest.raises(DeliveryNotFound, match="nonesuch"):
        write(engine, lambda: again([dead.id, "nonesuch"]))
    assert len(deliveries(engine, "dead")) == 1
    assert write(engine, lambda: again_dead("told")) == 1
    until(lambda: len(deliveries(engine, "delivered")) == 2)
    assert receiver.ids().count(dead.id) == 4
    assert write(engine, lambda: again([dead.id], "told")) == 1
    until(lambda: receiver.ids().count(dead.id) == 5)


def test_a_receiver_that_is_gone_gets_no_more_tries(open_engine: Open, receiver: Receiver) -> None:
    receiver.script += [410]
    engine = opened(open_engine, receiver)
    engine.submit("flow")
    (dead,) = until(lambda: deliveries(engine, "dead"))
    assert dead.tries == 1


@pytest.mark.parametrize("said", ["3600", lambda: formatdate(time.time() + 3600, usegmt=True)])
def test_a_receiver_says_how_long_it_wants_to_be_left_alone(
    open_engine: Open, receiver: Receiver, said: str | Callable[[], str]
) -> None:
    receiver.script += [429]
    receiver.headers["retry-after"] = said if isinstance(said, str) else said()
    engine = opened(open_engine, receiver)
    engine.submit("flow")
    (waits,) = until(lambda: [each for each in deliveries(engine, "pending") if each.tries])
    assert (waits.next_at - waits.created_at).total_seconds() > 3000
    # A person need not wait for so long.
    assert write(engine, lambda: again([waits.id])) == 1
    until(lambda: len(deliveries(engine, "delivered")) == 2)


def test_a_worker_sleeps_while_later_events_wait_for_one_that_waits_for_its_next_try(
    open_engine: Open, receiver: Receiver
) -> None:
    receiver.script += [429]
    receiver.headers["retry-after"] = "3600"
    engine = opened(open_engine, receiver)
    engine.submit("flow")
    until(lambda: len(deliveries(engine)) == 2 and deliveries(engine)[0].tries)
    left = write(engine, lambda: pause("told"))
    assert left is not None
    assert left > 3000


def test_only_types_and_workflows_that_are_asked_for_are_told(
    open_engine: Open, receiver: Receiver
) -> None:
    engine = opened(open_engine, receiver, types=("job.completed",), workflows=("flow",))
    engine.submit("other").result(DEADLINE)
    job = engine.submit("flow")
    job.result(DEADLINE)
    until(lambda: deliveries(engine, "delivered"))
    (told,) = receiver.received
    assert told.verified()["data"]["job_id"] == job.id


def test_two_workers_tell_each_event_once_between_them(
    open_engine: Open, receiver: Receiver, url: str
) -> None:
    first = opened(open_engine, receiver)
    jobs = [first.submit("flow") for _ in range(5)]
    if url.startswith("sqlite:"):  # one worker a process on PostgreSQL
        second = opened(open_engine, receiver)
        jobs += [second.submit("flow") for _ in range(5)]
    until(lambda: len(deliveries(first, "delivered")) == 2 * len(jobs))
    assert sorted(receiver.ids()) == sorted(each.id for each in deliveries(first))


def test_a_worker_without_the_secret_delivers_nothing_and_says_so(
    open_engine: Open,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = opened(open_engine, receiver)
    engine.close()
    for value, said in (
        ("", f"{ENV} is not set here"),
        ("whsec_!", "is not one"),
        (f"{SECRET} whsec_!", "is not one"),
    ):
        monkeypatch.setenv(ENV, value)
        caplog.clear()
        without = open_engine(settings=_same(engine))
        without.add("flow", chain("a"))
        without.submit("flow").result(DEADLINE)
        assert said in caplog.text
        without.close()
    assert receiver.received == []
    monkeypatch.setenv(ENV, SECRET)
    opened(open_engine, receiver)
    until(lambda: len(receiver.received) == 6)  # what happened meanwhile


def _same(engine: Engine) -> dict[str, Any]:
    return {"webhooks": engine.settings.webhooks, "lease": engine.settings.lease}


def test_what_was_delivered_is_forgotten_after_a_while(
    open_engine: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened(open_engine, receiver)
    engine.submit("flow")
    until(lambda: len(deliveries(engine, "delivered")) == 2)
    write(engine, lambda: forget("told"))
    assert len(deliveries(engine)) == 2
    monkeypatch.setattr("ucop.engine.events.webhooks.KEPT", -60.0)
    write(engine, lambda: forget("told"))
    assert deliveries(engine) == []


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ('url = "ftp://host/x"\nsecret_env = "S"', "https://"),
        ('url = "file:///etc/passwd"\nsecret_env = "S"', "https://"),
        ('url = "https://me:pass@host/x"\nsecret_env = "S"', "no user and password"),
        (f'url = "https://host/x"\nsecret_env = "{SECRET}"', "name of an environment variable"),
        (f'url = "https://host/x"\nsecret = "{SECRET}"', "webhooks.told.secret"),
        ('url = "https://host/x"\nsecret_env = "S"\nretries = ["soon"]', "30m"),
        ('url = "https://host/x"', "secret_env"),
    ],
)
def test_a_webhook_that_is_none_is_refused_and_no_secret_is_shown(
    tmp_path: Path, webhook: str, said: str
) -> None:
    (tmp_path / "ucop.toml").write_text(f"[webhooks.told]\n{webhook}\n")
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(tmp_path)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)

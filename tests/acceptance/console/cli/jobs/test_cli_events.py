"""`ucop events`, `ucop webhooks` and plug-ins, with real workers and a real receiver."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import Ucop, until
from tests.support.project import SETTINGS
from tests.support.receiver import SECRET, Receiver

SAY = ["run", "say", "-i", "text=hello"]


def test_events_of_all_jobs_are_printed_and_replayed_from_any_number(ucop: Ucop) -> None:
    for _ in range(2):
        assert ucop(*SAY).code == 0
    told = [json.loads(line) for line in ucop("events", "--json").out.splitlines()]
    assert len({event["job_id"] for event in told}) == 2
    positions = [event["position"] for event in told]
    assert positions == sorted(set(positions))
    for place in (0, 3, len(told) - 1):
        rest = ucop("events", "--json", "--after", str(positions[place])).out.splitlines()
        assert [json.loads(line) for line in rest] == told[place + 1 :]
    ends = ucop("events", "--type", "job.completed", "--type", "job.failed").rows
    assert [row[0] for row in ends] == [
        str(event["position"]) for event in told if event["type"] == "job.completed"
    ]
    assert {row[4] for row in ends} == {"job.completed"}
    assert ucop("events", "--workflow", "gated").out == ""
    of_job = ucop("jobs", "events", told[0]["job_id"], "--after", "2", "--json").out.splitlines()
    assert json.loads(of_job[0])["seq"] == 3


def test_events_are_followed_until_the_reader_has_enough(ucop: Ucop) -> None:
    assert ucop("events").out == ""
    assert ucop(*SAY, "--detach").code == 0
    follower = ucop.start("events", "--follow", "--after", "0", "--type", "job.*")
    follower.until("job.submitted")
    worker = ucop.start("worker")
    follower.until("job.completed")
    follower.signal()
    worker.signal()
    assert (follower.end().code, worker.end().code) == (130, 130)


WEBHOOK = """
[webhooks.told]
url = "{url}?token=hidden"
secret_env = "TOLD_SECRET"
types = ["job.completed"]
retries = []
"""


def test_webhooks_are_listed_told_given_up_and_sent_again(ucop: Ucop) -> None:
    with Receiver(script=[500]) as receiver:
        ucop.write("ucop.toml", SETTINGS + WEBHOOK.format(url=receiver.url))
        (row,) = ucop("webhooks", "list").rows
        assert row[:2] == ["told", f"{receiver.url}?…"]
        assert "TOLD_SECRET is not set here" in row
        worker = ucop.start("worker", TOLD_SECRET=SECRET)
        worker.until("Ctrl-C stops")
        job = ucop(*SAY, "--detach").out.strip()
        dead = ["webhooks", "deliveries", "--status", "dead", "--json"]
        (delivery,) = until(lambda: ucop(*dead).json, "a delivery that is given up")
        assert (delivery["job_id"], delivery["error"]) == (job, "answered 500")
        assert ucop("webhooks", "retry", "evt_x", "--webhook", "told").code == 3
        assert ucop("webhooks", "retry").code == 2
        assert ucop("webhooks", "retry", delivery["id"], "--json").json == {"queued": 1}
        until(lambda: len(receiver.received) == 2, "it to be sent again")
        listed = ["webhooks", "list", "--json"]
        until(lambda: ucop(*listed, TOLD_SECRET=SECRET).json[0]["delivered"] == 1, "its note")
        assert ucop("webhooks", "retry", "--dead", "--json").json == {"queued": 0}
        worker.signal()
        said = worker.end()
        assert {each.id for each in receiver.received} == {delivery["id"]}
    for text in (SECRET, SECRET.removeprefix("whsec_"), "hidden"):
        assert text not in said.out + said.err
        assert text not in ucop("webhooks", "deliveries", "--json").out


def test_a_webhook_is_tried_by_a_message_of_its_own(ucop: Ucop) -> None:
    with Receiver(script=[500]) as receiver:
        ucop.write("ucop.toml", SETTINGS + WEBHOOK.format(url=receiver.url))
        try_it = ("webhooks", "test", "told")
        failed = ucop(*try_it, TOLD_SECRET=SECRET)
        assert (failed.code, failed.out) == (1, "")
        assert f"did not arrive at {receiver.url}?…: answered 500" in failed.err
        done = ucop(*try_it, TOLD_SECRET=SECRET)
        assert (done.code, done.out[:19]) == (0, "answered 204 after ")
        assert [each.verified()["type"] for each in receiver.received] == ["ucop.test"] * 2
        told = ucop(*try_it, "--json", TOLD_SECRET=SECRET).json
        assert (told["status"], told["error"], told["id"]) == (204, None, receiver.received[-1].id)
        assert "TOLD_SECRET is not set here" in ucop(*try_it).err
        unknown = ucop("webhooks", "test", "tld")
        assert (unknown.code, "there is told" in unknown.err) == (2, True)
        assert not (ucop.folder / ".ucop").exists()
    gone = ucop(*try_it, TOLD_SECRET=SECRET)
    assert (gone.code, "ConnectError" in gone.err) == (1, True)


PLUGIN = '''
import os
import sys


class Keeper:
    """Keeps what it hears of."""

    types = ("job.*",)

    def __call__(self, event):
        if event.type == "job.running":
            raise ValueError("never mind")
        with open(os.environ["KEPT"], "a") as file:
            file.write(f"{event.job_id} {event.type}\\n")


def broken():
    raise AssertionError("never called without an event")


broken.types = 3


def leaver(event):
    sys.exit("I leave")


class Later:
    async def __call__(self, event): ...
'''
ENTRY_POINTS = """[ucop.subscribers]
keeper = ucop_keeper:Keeper
broken = ucop_keeper:broken
gone = ucop_keeper:nonesuch
leaver = ucop_keeper:leaver
later = ucop_keeper:Later
"""


def install(site: Path) -> None:
    """A distribution as pip leaves it in a folder of packages."""
    info = site / "ucop_keeper-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ucop-keeper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "ucop_keeper.py").write_text(PLUGIN)


def test_a_plug_in_hears_of_every_job_and_a_broken_one_takes_nothing_down(ucop: Ucop) -> None:
    site, kept = ucop.folder / "site", ucop.folder / "kept.txt"
    install(site)
    worker = ucop.start("worker", PYTHONPATH=str(site), KEPT=str(kept))
    worker.until("Ctrl-C stops")
    jobs = [ucop(*SAY, "--detach").out.strip() for _ in range(2)]
    whole = {f"{job} job.{what}" for job in jobs for what in ("submitted", "completed")}
    until(lambda: set(ucop.lines("kept.txt")) == whole, "all to be told")
    worker.signal()
    said = worker.end().err
    assert "ValueError: never mind" in said
    assert "the subscriber 'gone' (ucop_keeper:nonesuch) cannot be used" in said
    assert "the subscriber 'broken'" in said
    assert "the subscriber 'later'" in said
    assert "SystemExit: I leave" in said
    # Another worker goes on behind what was told.
    again = ucop.start("worker", PYTHONPATH=str(site), KEPT=str(kept))
    again.until("Ctrl-C stops")
    last = ucop(*SAY, "--detach").out.strip()
    until(lambda: f"{last} job.completed" in ucop.lines("kept.txt"), "the next job to be told")
    again.signal()
    again.end()
    told = ucop.lines("kept.txt")
    assert len(told) == len(set(told)) == 6

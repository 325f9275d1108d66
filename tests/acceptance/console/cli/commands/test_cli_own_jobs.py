"""`ucop run` runs its own job, says which others wait, and tells webhooks before it ends."""

from __future__ import annotations

from tests.support.command import Ucop
from tests.support.project import SETTINGS
from tests.support.receiver import SECRET, Receiver

SAY = ["run", "say", "-i", "text=hello"]

WEBHOOK = """
[webhooks.told]
url = "{url}"
secret_env = "TOLD_SECRET"
types = ["job.completed"]
"""


def test_a_job_that_was_left_is_not_run_by_the_next_command(ucop: Ucop) -> None:
    left = ucop(*SAY, "--detach").out.strip()
    done = ucop(*SAY)
    assert (done.code, done.out) == (0, "HELLO\n")
    assert f"job {left[:12]} is pending and is left alone; run it with:" in done.err
    assert f"ucop jobs resume {left}" in done.err
    assert ucop("jobs", "show", left, "--json").json["status"] == "pending"
    assert ucop("jobs", "resume", left).code == 0
    assert "left alone" not in ucop(*SAY).err


def test_it_says_which_job_is_before_its_own_on_their_thread(ucop: Ucop) -> None:
    first = ucop(*SAY, "--detach", "--thread", "t").out.strip()
    second = ucop.start(*SAY, "--thread", "t")
    second.until(f"it waits for job {first}, which is before it on thread 't'")
    assert ucop("jobs", "resume", first).code == 0
    assert second.end().code == 0


def test_webhooks_are_told_before_it_ends(ucop: Ucop) -> None:
    with Receiver() as receiver:
        ucop.write("ucop.toml", SETTINGS + WEBHOOK.format(url=receiver.url))
        assert ucop(*SAY, TOLD_SECRET=SECRET).code == 0
        (got,) = receiver.received
        assert got.verified()["type"] == "job.completed"

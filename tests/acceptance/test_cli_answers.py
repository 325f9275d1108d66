"""Questions and answers on the command line, as real processes."""

from __future__ import annotations

from tests.support.command import Ucop

APPROVAL = """
name: approval
input: {title: string}
nodes:
  approve:
    ask: "Publish “${title}”?"
    answer: {approved: boolean, note: {type: string, default: none}}
    writes: decision
  thank: {ask: "Whom to thank?", writes: whom}
edges:
  - START -> approve
  - from: approve
    to:
      - {node: thank, when: decision.approved}
      - END
  - thank -> END
output: {whom: "${whom}", note: "${decision.note}"}
"""


def test_a_job_that_asks_is_answered_from_the_command_line(ucop: Ucop) -> None:
    ucop.write("approval.yaml", APPROVAL)
    asks = ucop("run", "approval.yaml", "-i", "title=Tea", "--json")
    assert asks.code == 4
    id = asks.json["id"]
    assert "approve: Publish “Tea”?" in asks.err
    assert f"ucop jobs answer {id} -i approved=true" in asks.err

    (question,) = ucop("jobs", "inbox", "--json").json
    assert (question["job"], question["node"]) == (id, "approve")
    assert ucop("jobs", "inbox").rows[0][2:4] == ["approval", "approve"]
    assert ucop("jobs", "resume", id).code == 4

    refused = ucop("jobs", "answer", id, "-i", "approved=perhaps")
    assert refused.code == 2
    assert "approved" in refused.err
    assert ucop("jobs", "answer", id).code == 2
    assert ucop("jobs", "answer", id, "x", "--question", "zzz").code == 2

    more = ucop("jobs", "answer", id, "-i", "approved=true", "-i", "note=fine")
    assert more.code == 4
    assert "thank: Whom to thank?" in more.err
    done = ucop("jobs", "answer", id, "Ada")
    assert done.code == 0, done.err
    assert "Ada" in done.out
    assert "fine" in done.out

    late = ucop("jobs", "answer", id, "Bob")
    assert late.code == 2
    assert ucop("jobs", "inbox", "--json").json == []


def test_an_answer_may_be_left_to_a_worker(ucop: Ucop) -> None:
    ucop.write("approval.yaml", APPROVAL)
    id = ucop("run", "approval.yaml", "-i", "title=Tea", "--json").json["id"]
    queued = ucop("jobs", "answer", id, "-i", "approved=false", "--detach", "--json")
    assert queued.code == 0, queued.err
    assert queued.json["status"] == "pending"
    assert ucop("jobs", "resume", id).code == 0


def test_without_a_database_nobody_is_asked(ucop: Ucop) -> None:
    assert ucop("jobs", "inbox").code == 0
    assert ucop("jobs", "answer", "abc", "x").code == 3

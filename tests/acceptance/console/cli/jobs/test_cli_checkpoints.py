"""`ucop checkpoints`: looking at saved states, forking from them, and going back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Ucop


@pytest.fixture
def failed(ucop: Ucop) -> str:
    """A job that ran `shout` and failed in `need`."""
    assert ucop("run", "needy", "-i", "text=first").code == 1
    (job,) = ucop("jobs", "list", "--json").json
    return str(job["id"])


def made_by(ucop: Ucop, job: str, *nodes: str) -> Any:
    found = ucop("checkpoints", "list", job, "--json").json
    return next(each for each in found if each["nodes"] == list(nodes) and each["step"] >= 0)


def test_saved_states_are_listed_shown_and_compared(ucop: Ucop, failed: str) -> None:
    rows = ucop("checkpoints", "list", failed[:8]).rows
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("-1", "", ""),
        ("0", "", "shout"),
        ("1", "shout", "need"),
    ]
    last = made_by(ucop, failed, "shout")["id"]
    shown = ucop("checkpoints", "show", failed)
    assert shown.out == ucop("checkpoints", "show", failed, last).out
    assert "due     need" in shown.out
    assert "text: first" in shown.out
    assert f"ucop checkpoints fork {failed} {last}" in shown.err
    changed = ucop("checkpoints", "diff", failed, rows[0][0], last, "--json").json
    assert {"path": "text", "before": "(none)", "after": "first"} in changed
    again = ucop("checkpoints", "diff", failed, last, last)
    assert (again.code, again.out) == (0, "")


def test_long_values_are_cut_unless_all_is_wanted(ucop: Ucop) -> None:
    assert ucop("run", "say", "-i", f"text={'long ' * 200}").code == 0
    (job,) = ucop("jobs", "list", "--json").json
    assert "…" in ucop("checkpoints", "show", job["id"]).out
    assert "long " * 200 in ucop("checkpoints", "show", job["id"], "--full").out


def test_a_fork_goes_on_with_an_edited_state_in_a_new_job(ucop: Ucop) -> None:
    ucop.write("go.txt", "on")
    first = ucop("run", "gated", "-i", "text=hello", "--json").json
    at = made_by(ucop, first["id"], "gate")["id"]
    done = ucop("checkpoints", "fork", first["id"], at, "--set", "word=off", "--json")
    assert done.code == 0
    assert done.json["output"] == {"said": "HELLO", "answer": "OFF"}
    assert done.json["parent"] == {"job_id": first["id"], "checkpoint_id": at}
    assert ucop("jobs", "show", first["id"], "--json").json == {**first, "questions": []}
    row = next(row for row in ucop("checkpoints", "list", first["id"]).rows if row[2] == "gate")
    assert row[5] == done.json["id"][:12]


def test_a_fork_takes_its_edits_from_a_file_and_is_queued(ucop: Ucop) -> None:
    ucop.write("go.txt", "on")
    first = ucop("run", "gated", "-i", "text=hello", "--json").json
    at = made_by(ucop, first["id"], "shout")["id"]
    ucop.write("state.yaml", "said: quiet\n")
    queued = ucop("checkpoints", "fork", first["id"], at, "--from-file", "state.yaml", "--detach")
    fork = ucop("jobs", "resume", queued.out.strip(), "--json")
    assert fork.json["output"] == {"said": "quiet", "answer": "ON"}


def test_a_failed_job_is_set_back_and_goes_on_from_there(ucop: Ucop, failed: str) -> None:
    start = next(
        each["id"]
        for each in ucop("checkpoints", "list", failed, "--json").json
        if each["next"] == ["shout"]
    )
    back = ucop("checkpoints", "restore", failed, start)
    assert (back.code, back.out.strip()) == (0, failed)
    assert "continues before shout" in back.err
    indented = [row[0] for row in ucop("checkpoints", "list", failed).rows]
    assert [id.startswith("│ ") for id in indented] == [False, True, True, False]
    ucop.write("cure.txt", "well")
    assert ucop("jobs", "retry", failed).out.strip() == "WELL"
    assert ucop.lines("ran.txt").count("shout") == 3
    late = ucop("checkpoints", "restore", failed, start)
    assert late.code == 2
    assert "completed" in late.err


def test_a_failed_job_is_retried_from_a_named_checkpoint(ucop: Ucop, failed: str) -> None:
    found = ucop("checkpoints", "list", failed, "--json").json
    start = next(each["id"] for each in found if each["next"] == ["shout"])
    assert ucop("jobs", "retry", "--workflow", "needy", "--checkpoint", start).code == 2
    assert ucop("jobs", "retry", failed, "--checkpoint", "nonesuch").code == 3
    ucop.write("cure.txt", "well")
    assert ucop("jobs", "retry", failed, "--checkpoint", start).out.strip() == "WELL"
    assert ucop.lines("ran.txt").count("shout") == 3


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["show", "nonesuch"], 3, "ucop jobs list"),
        (["show", "JOB", "nonesuch"], 3, "ucop checkpoints list"),
        (["fork", "JOB", "--set", "nonsense"], 2, "KEY=VALUE"),
        (["fork", "JOB", "--set", "nonesuch=1"], 2, "the state has no 'nonesuch'"),
        (["fork", "JOB", "--set", "text.deep=1"], 2, "there is no 'deep'"),
        (["fork", "JOB", "--from-file", "nonesuch.json"], 2, "cannot be read"),
        (["restore", "JOB", ""], 3, "ucop checkpoints list"),
    ],
)
def test_what_does_not_fit_is_told(
    ucop: Ucop, failed: str, args: list[str], code: int, said: str
) -> None:
    done = ucop("checkpoints", *[failed if arg == "JOB" else arg for arg in args])
    assert done.code == code
    assert said in done.err
    assert len(ucop("jobs", "list").rows) == 1


def test_a_state_is_edited_by_hand(ucop: Ucop, failed: str) -> None:
    fork = ["checkpoints", "fork", failed, "--edit", "--detach"]
    same = ucop(*fork, VISUAL="true")
    assert (same.code, same.out) == (2, "")
    assert "not changed" in same.err
    broken = ucop(*fork, VISUAL="sed -i 's/^said:.*/said: [open/;s/^text:.*/text: [open/'")
    assert broken.code == 2
    kept = broken.err.split("--from-file ")[-1].strip()
    assert "text: [open" in Path(kept).read_text(encoding="utf-8")
    Path(kept).unlink()
    missing = ucop(*fork, VISUAL="no-such-editor")
    assert missing.code == 2
    assert "EDITOR" in missing.err
    made = ucop(*fork, VISUAL="sed -i 's/^text:.*/text: by hand/'")
    assert made.code == 0
    values = ucop("checkpoints", "show", made.out.strip(), "--json").json["values"]
    assert values["text"] == "by hand"
    assert len(ucop("jobs", "list").rows) == 2


def test_old_states_are_pruned(ucop: Ucop, failed: str) -> None:
    before = ucop("checkpoints", "list", failed).rows
    assert ucop("checkpoints", "prune", failed, "--dry-run").rows == [[failed, "1"]]
    assert ucop("checkpoints", "prune", failed, "--older-than", "1h").rows == []
    asked = ucop("checkpoints", "prune", "--status", "failed")
    assert asked.code == 2
    assert "prune the checkpoints of 1 job (1 failed)? Nobody can be asked here" in asked.err
    done = ucop("checkpoints", "prune", "--status", "failed", "--yes")
    assert "1 checkpoint deleted" in done.err
    assert ucop("checkpoints", "list", failed).rows == before[1:]

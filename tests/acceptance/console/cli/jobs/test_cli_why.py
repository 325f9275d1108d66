"""`ucop jobs why`: the cause, the last checkpoint, and commands that work when they are typed."""

from __future__ import annotations

import shlex

from tests.support.command import Ucop


def why(ucop: Ucop, id: str) -> tuple[str, list[str]]:
    """The root cause, and the commands that are proposed, without `ucop`."""
    told = ucop("jobs", "why", id, "--json").json
    return told["causes"][0], [each["command"].removeprefix("ucop ") for each in told["commands"]]


def only(ucop: Ucop) -> str:
    (job,) = ucop("jobs", "list", "--json").json
    return str(job["id"])


def test_a_failed_job_names_its_error_its_checkpoint_and_the_retry(ucop: Ucop) -> None:
    assert ucop("run", "needy", "-i", "text=first").code == 1
    id = only(ucop)
    said = ucop("jobs", "why", id[:8]).out
    assert "FileNotFoundError in node need: no cure.txt" in said
    assert "after shout, before need" in said
    cause, (retry, *_) = why(ucop, id)
    assert "no cure.txt" in cause
    ucop.write("cure.txt", "well")
    assert ucop(*shlex.split(retry)).out.strip() == "WELL"
    assert "nothing is wrong" in why(ucop, id)[0]


def test_a_queued_job_without_a_worker_says_so(ucop: Ucop) -> None:
    id = ucop("run", "say", "-i", "text=hello", "--detach").out.strip()
    cause, commands = why(ucop, id)
    assert cause == "no worker is running"
    assert commands[0] == "worker"
    assert "checkpoint" not in ucop("jobs", "why", id).out


def test_a_paused_job_goes_on_by_the_command_that_is_proposed(ucop: Ucop) -> None:
    id = ucop("run", "say", "-i", "text=hello", "--detach").out.strip()
    ucop("jobs", "pause", id)
    cause, (resume, *_) = why(ucop, id)
    assert cause == "asked to pause"
    assert ucop(*shlex.split(resume)).out.strip() == "HELLO"


def test_a_paused_job_whose_time_has_not_come_is_offered_to_go_on_at_once(ucop: Ucop) -> None:
    id = ucop("run", "say", "-i", "text=hello", "--delay", "1h", "--detach").out.strip()
    ucop("jobs", "pause", id)
    assert "at the earliest: it was delayed" in ucop("jobs", "why", id).out
    cause, (resume, *_) = why(ucop, id)
    assert cause == "asked to pause"
    assert resume == f"jobs resume {id} --now"
    assert ucop(*shlex.split(resume)).out.strip() == "HELLO"


def test_a_job_that_ran_out_of_steps_is_offered_more(ucop: Ucop) -> None:
    ucop.write("go.txt", "on")
    assert ucop("run", "gated", "-i", "text=hello", "--budget", "steps=2").code == 1
    id = only(ucop)
    cause, (more, *_) = why(ucop, id)
    assert "StepsUsedUp" in cause
    assert "--budget steps=4" in more
    assert ucop(*shlex.split(more)).code == 0


def test_a_running_job_names_its_node(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    running.until("looks for go.txt")
    assert "node gate has been running" in why(ucop, only(ucop))[0]
    ucop.write("go.txt", "on")
    assert running.end().code == 0


def test_a_waiting_job_shows_how_to_answer(ucop: Ucop) -> None:
    assert ucop("run", "asking", "-i", "numbers=[1]").code == 4
    cause, (answer, *_) = why(ucop, only(ucop))
    assert "a person's answer in ask" in cause
    assert answer.startswith("jobs answer")


def test_a_job_whose_thread_another_moved_on_is_to_be_forked(ucop: Ucop) -> None:
    for workflow, code in (("asking", 4), ("needy", 1)):
        given = ["-i", "numbers=[1]"] if workflow == "asking" else ["-i", "text=first"]
        for _ in range(2):
            assert ucop("run", workflow, *given, "--thread", f"of-{workflow}").code == code
        newer, older = (job["id"] for job in ucop("jobs", "list", "--limit", "2", "--json").json)
        told = ucop("jobs", "why", older).out
        assert f"it cannot go on: job {newer} has gone on with its thread 'of-{workflow}'" in told
        assert "jobs answer" not in told
        assert "jobs retry" not in told
        fork, *_ = why(ucop, older)[1]
        assert fork == f"checkpoints fork {older}"
        assert ucop(*shlex.split(fork)).code == code  # it asks, or fails, anew
        assert "cannot go on" not in ucop("jobs", "why", newer).out


def test_an_unknown_job_is_not_found(bare: Ucop) -> None:
    assert bare("jobs", "why", "nonesuch").code == 3

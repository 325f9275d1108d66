"""`ucop jobs`: reading jobs quickly, from any process, and in a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.command import ANSI, Ucop
from tests.support.project import FILES

HEAVY = (
    "langgraph",
    "langchain_core",
    "dbos",
    "sqlalchemy",
    "alembic",
    "jsonschema",
    "fastapi",
    "cel",
    "rich.live",
)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ucop]:
    """A project in which one job failed, one was done, and one is queued, in this order."""
    ucop = Ucop(tmp_path_factory.mktemp("worked"))
    for path, text in FILES.items():
        ucop.write(path, text)
    assert ucop("run", "needy", "-i", "text=first").code == 1
    assert ucop("run", "say", "-i", "text=second", "--label", "a=b").code == 0
    assert ucop("run", "say", "-i", "text=third", "--detach").code == 0
    yield ucop
    ucop.close()


def ids(ucop: Ucop) -> list[str]:
    """The jobs' ids, the oldest first."""
    return [job["id"] for job in reversed(ucop("jobs", "list", "--json").json)]


# ---------------------------------------------------------------- nothing there yet


def test_without_a_database_there_are_no_jobs_and_none_is_made(bare: Ucop) -> None:
    listed = bare("jobs", "list")
    assert (listed.code, listed.out) == (0, "")
    assert "no jobs yet" in listed.err
    assert bare("jobs", "list", "--json").json == []
    for command in (["show"], ["events"], ["watch"], ["resume"]):
        assert bare("jobs", *command, "abc").code == 3
    assert list(bare.folder.iterdir()) == []


def test_a_database_that_is_none_is_told(bare: Ucop) -> None:
    bare.write("broken.db", "this is not a database, it is a text\n" * 100)
    done = bare("jobs", "list", "--database", "sqlite:///broken.db")
    assert done.code == 1
    assert "broken.db" in done.err
    assert "Traceback" not in done.err


# ---------------------------------------------------------------- list


def test_the_list_has_the_newest_job_first_and_a_line_of_tabs_a_job(worked: Ucop) -> None:
    rows = worked("jobs", "list").rows
    assert [(row[1], row[2]) for row in rows] == [
        ("say", "pending"),
        ("say", "completed"),
        ("needy", "failed"),
    ]
    assert [row[0] for row in rows] == [id[:12] for id in reversed(ids(worked))]
    assert all(len(row) == 7 for row in rows)
    assert rows[2][6].startswith("FileNotFoundError: no cure.txt")
    datetime.fromisoformat(rows[0][3])


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--status", "completed"], 1),
        (["--status", "cancelled"], 0),
        (["--workflow", "say"], 2),
        (["--workflow", "say", "--status", "pending"], 1),
        (["--limit", "2"], 2),
    ],
)
def test_the_list_is_filtered(worked: Ucop, filters: list[str], count: int) -> None:
    assert len(worked("jobs", "list", *filters).rows) == count


def test_a_status_that_does_not_exist_is_a_usage_error(worked: Ucop) -> None:
    done = worked("jobs", "list", "--status", "done")
    assert done.code == 2
    assert "'completed'" in done.err


# ---------------------------------------------------------------- show


def test_a_job_is_shown_by_the_beginning_of_its_id(worked: Ucop) -> None:
    id = ids(worked)[1]
    shown = worked("jobs", "show", id[:13]).out
    for part in (id, "completed", '{"text": "second", "times": 1}', '"SECOND"', "a=b"):
        assert part in shown
    table = shown.partition("\n\n")[2].splitlines()
    assert table[0].split("\t")[:3] == ["step", "status", "attempt"]
    assert table[1].split("\t")[:3] == ["shout", "completed", "1"]


def test_a_failed_job_shows_its_error_and_what_to_do(worked: Ucop) -> None:
    id = ids(worked)[0]
    done = worked("jobs", "show", id)
    assert done.code == 0
    assert "FileNotFoundError: no cure.txt, so no answer (node need)" in done.out
    assert f"ucop jobs resume {id}" in done.err


def test_the_next_commands_name_the_place_that_was_given(worked: Ucop, tmp_path: Path) -> None:
    id = ids(worked)[0]
    elsewhere = Ucop(tmp_path)
    done = elsewhere("jobs", "show", id, "--project", str(worked.folder))
    assert f"ucop --project {worked.folder} jobs resume {id}" in done.err
    before = elsewhere("--project", str(worked.folder), "jobs", "show", id)
    assert before.out == done.out


def test_an_unknown_job_is_not_found(worked: Ucop) -> None:
    done = worked("jobs", "show", "nonesuch")
    assert done.code == 3
    assert "ucop jobs list" in done.err


def test_the_beginning_of_several_ids_is_not_enough(worked: Ucop) -> None:
    done = worked("jobs", "show", "")
    assert done.code == 3


# ---------------------------------------------------------------- events


def test_events_are_numbered_without_a_gap(worked: Ucop) -> None:
    id = ids(worked)[1]
    lines = [json.loads(line) for line in worked("jobs", "events", id, "--json").out.splitlines()]
    assert [event["seq"] for event in lines] == list(range(1, len(lines) + 1))
    assert [event["type"] for event in lines] == [
        "job.submitted",
        "job.running",
        "step.started",
        "step.completed",
        "job.completed",
    ]


def test_events_after_a_number_are_those_that_were_not_seen(worked: Ucop) -> None:
    rows = worked("jobs", "events", ids(worked)[1], "--after", "3").rows
    assert [row[0] for row in rows] == ["4", "5"]
    assert rows[0][2] == "step.completed"


def test_events_are_followed_until_the_job_rests(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    id = running.until("running, attempt 1").split()[1].rstrip(":")
    following = ucop.start("jobs", "events", id, "--follow")
    following.until("looks for go.txt")
    ucop.write("go.txt", "on")
    assert following.end().out.splitlines()[-1].split("\t")[2] == "job.completed"
    assert running.end().code == 0


# ---------------------------------------------------------------- pipes


def test_a_reader_that_has_enough_is_no_error(worked: Ucop) -> None:
    id = ids(worked)[1]
    for command in (f"jobs events {id}", "jobs list", f"jobs show {id}", "--help"):
        done = worked.shell(f"ucop {command} | head -c 1")
        assert (len(done.out), done.err.replace("next:", "").count("Error")) == (1, 0)
        assert "Broken" not in done.err
        assert "Traceback" not in done.err


def test_nothing_is_coloured_off_a_terminal(worked: Ucop) -> None:
    for command in (["jobs", "list"], ["jobs", "show", ids(worked)[0]], ["workflows", "list"]):
        done = worked(*command, TERM="xterm-256color")
        assert not ANSI.search(done.out + done.err)


# ---------------------------------------------------------------- a quick start


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "list"],
        ["jobs", "list", "--json"],
        ["jobs", "show", "ID"],
        ["jobs", "events", "ID"],
        ["jobs", "watch", "ID"],
        ["jobs", "why", "ID"],
        ["checkpoints", "list", "ID"],
        ["checkpoints", "show", "ID"],
        ["events"],
        ["schedules", "list"],
        ["webhooks", "list"],
        ["webhooks", "deliveries"],
        ["workflows", "list"],
        ["agents", "list"],
        ["mesh", "agents"],
        ["mesh", "stats"],
        ["mesh", "trace", "ID"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_reading_commands_import_nothing_heavy(worked: Ucop, command: list[str]) -> None:
    args = [ids(worked)[1] if word == "ID" else word for word in command]
    told = subprocess.run(
        [sys.executable, "-c", _TELL_MODULES, *args],
        cwd=worked.folder,
        env=worked.env,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(told.stderr.split("modules: ", 1)[1].split())
    assert "ucop.console.cli.main" in modules
    # Specs are checked against their schema when they are read.
    allowed = {"jsonschema"} if "agents" in command else set()
    loaded = [name for name in HEAVY if name in modules and name not in allowed]
    assert not loaded, f"{' '.join(command)} imports {loaded}"


_TELL_MODULES = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
from ucop.console.cli.main import main
main()
"""


def test_jobs_are_archived_deleted_and_kept_for_a_time(ucop: Ucop) -> None:
    for text in ("one", "two", "three"):
        assert ucop("run", "say", "-i", f"text={text}").code == 0
    third, second, first = (job["id"] for job in ucop("jobs", "list", "--json").json)
    assert ucop("jobs", "archive", first).rows == [[first, "completed"]]
    assert ucop("jobs", "list", "--archived").rows[0][0] == first[:12]
    tried = ucop("jobs", "delete", "--workflow", "say", "--dry-run")
    assert tried.rows == [[second], [third]]
    assert ucop("jobs", "delete", second).rows == [[second, "deleted"]]
    assert ucop("jobs", "show", second).code == 3
    unset = ucop("jobs", "prune")
    assert unset.code == 2
    assert "[retention] in ucop.toml" in unset.err
    ucop.write("ucop.toml", '[retention]\ncompleted = "1ms"\n')
    assert "2 jobs deleted" in ucop("jobs", "prune", "--dry-run").err
    assert ucop("jobs", "prune", "--json").json == {"delete": 2, "archive": 0, "prune": 0}
    assert ucop("jobs", "list").rows == []


def test_a_job_is_moved_to_another_database_in_a_file(ucop: Ucop) -> None:
    assert ucop("run", "needy", "-i", "text=hello").code == 1
    (job,) = ucop("jobs", "list", "--json").json
    done = ucop("jobs", "export", job["id"], "-o", "job.jsonl")
    assert (done.code, done.out) == (0, "")
    assert ucop("jobs", "export", job["id"], "-o", "job.jsonl").code == 2
    exported = ucop("jobs", "export", job["id"]).out.splitlines()
    assert exported[1:-1] == ucop.lines("job.jsonl")[1:-1]
    assert ucop("jobs", "import", "job.jsonl").code == 2
    assert ucop("jobs", "import", "ucop.toml", "--new-id").code == 2
    assert ucop("jobs", "import", "nonesuch").code == 2
    other = ["--database", "sqlite:///other.db"]
    assert ucop(*other, "jobs", "import", "job.jsonl").out.strip() == job["id"]
    ucop.write("cure.txt", "well")
    assert ucop(*other, "jobs", "retry", job["id"]).out.strip() == "WELL"
    assert ucop("jobs", "show", job["id"], "--json").json["status"] == "failed"

"""The terminal console on a real engine: what a key does is seen on the screen and in the ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from textual.pilot import Pilot
from textual.widgets import Input, Select, TextArea

from tests.support.command import Ucop
from tests.support.graphs import Log
from tests.support.project import FILES
from tests.support.screen import shown, until
from tests.support.waiting import DEADLINE
from ucop.console.terminal.app import Console
from ucop.console.terminal.screens.jobs_screen import JobsListing
from ucop.console.terminal.source import Source
from ucop.console.view.place import Place
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import DatabaseError

APPROVE = """\
name: approve
input: {text: string}
nodes:
  shout: {agent: shout, with: {text: "${text}"}, writes: said}
  ask:
    ask: "Publish “${said}”?"
    answer: {approved: {type: boolean}, stars: {type: integer, minimum: 1, default: 3}}
    writes: decision
  last: {agent: shout, with: {text: "${said} ${decision.stars}"}, writes: answer}
edges:
  - START -> shout -> ask -> last -> END
output: "${answer}"
"""

Open = Callable[..., Engine]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path, text in {**FILES, "workflows/approve.yaml": APPROVE}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def open_engine(project: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(url: str | None = None, *, worker: bool = False) -> Engine:
            return stack.enter_context(Engine(url, root=project, worker=worker))

        yield opened


@pytest.fixture
def console(project: Path) -> Callable[..., Console]:
    def made(url: str | None = None, job: str | None = None) -> Console:
        return Console(Source(Place(project=project, database=url)), job)

    return made


async def rests(job: JobHandle) -> str:
    return (await job.await_rest(DEADLINE)).value


async def becomes(job: JobHandle, status: str) -> None:
    """Wait until the ledger says so."""
    async with asyncio.timeout(DEADLINE):
        while job.status != status:
            await asyncio.sleep(0.02)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def unwrapped(screen: str) -> str:
    """What a screen says, wherever its lines break: paths in it have any length."""
    return " ".join(screen.split())


# ---------------------------------------------------------------- the list


async def test_without_a_database_it_says_what_to_type_and_shows_the_first_job_by_itself(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    async with console().run_test(size=(80, 24), notifications=True) as pilot:
        await until(
            pilot, lambda screen: "No jobs yet." in screen and "run NAME" in unwrapped(screen)
        )
        job = open_engine().submit("say", {"text": "hello"})
        await until(pilot, f"○ pending    {job.id[:12]}")


async def test_keys_pause_resume_and_cancel_a_job(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine()
    job = engine.submit("say", {"text": "hello"}, budget={"tokens": 100})
    async with console().run_test(size=(100, 24), notifications=True) as pilot:
        await until(pilot, "○ pending")
        await press(pilot, "p")
        await until(pilot, lambda screen: "‖ paused" in screen and "p Pause" not in screen)
        assert job.status == "paused"
        await press(pilot, "r")
        await until(pilot, "It has tokens 100")
        pilot.app.screen.query_one(Input).value = "tokens=many"
        await press(pilot, "enter")
        await until(pilot, "tokens")
        assert job.status == "paused"
        pilot.app.screen.query_one(Input).value = "tokens=200"
        await press(pilot, "enter")
        await until(pilot, lambda screen: "○ pending" in screen and "no worker" in screen)
        assert (job.status, job.get().budget) == ("pending", {"tokens": 200})
        await press(pilot, "c")
        await until(pilot, f"cancel job {job.id[:12]} (say)?")
        await press(pilot, "enter")  # No has the focus
        await until(pilot, "c Cancel")
        assert job.status == "pending"
        await press(pilot, "c")
        await until(pilot, "This is permanent")
        await press(pilot, "y")
        await until(pilot, "⊘ cancelled")
        assert job.status == "cancelled"
        assert "c Cancel" not in shown(pilot.app)


async def test_a_delayed_job_is_run_before_its_time(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine()
    job = engine.submit("say", {"text": "hello"}, delay="1h")
    prompt = engine.submit("say", {"text": "hello"})
    async with console().run_test(size=(100, 24), notifications=True) as pilot:
        await until(pilot, f"○ pending    {job.id[:12]}")
        assert not pilot.app.screen.check_action("resume_now", ())  # the newest is chosen
        await press(pilot, "space", "space", "R")
        await until(pilot, "resume 1 job (1 pending)?")
        await press(pilot, "y")
        await until(pilot, "asked to run at once")
        assert job.get().start_at is None
        assert (job.status, prompt.status) == ("pending", "pending")


async def test_filters_narrow_the_list(open_engine: Open, console: Callable[..., Console]) -> None:
    engine = open_engine()
    first = engine.submit("say", {"text": "needle 50% off"}, tenant="acme")
    second = engine.submit("gated", {"text": "hay"}, labels={"team": "docs"})
    second.pause()
    one, other = first.id[:12], second.id[:12]
    async with console().run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda screen: one in screen and other in screen)
        await press(pilot, "slash")
        await until(pilot, "Show jobs with all of this")
        await press(pilot, *"NEEDLE 50%", "enter")
        await until(pilot, lambda screen: one in screen and other not in screen)
        await press(pilot, "x")
        await until(pilot, other)
        await press(pilot, "slash")
        form = pilot.app.screen
        form.query_one("#status", Select).value = "paused"
        form.query_one("#labels", Input).value = "team docs"
        await press(pilot, "ctrl+s")
        await until(pilot, "KEY=VALUE")
        form.query_one("#labels", Input).value = "team=docs"
        form.query_one("#newer", Input).value = "2027"
        await press(pilot, "ctrl+s")
        await until(pilot, "--newer-than takes")
        form.query_one("#newer", Input).value = ""
        form.query_one("#queue", Input).value = "blk"
        await press(pilot, "ctrl+s")
        await until(pilot, "there is no queue 'blk'")
        form.query_one("#queue", Input).value = "default"
        await press(pilot, "ctrl+s")
        screen = await until(pilot, lambda screen: other in screen and one not in screen)
        assert "1 with status ‖ paused, queue default, label team=docs" in screen
        await press(pilot, "slash")
        pilot.app.screen.query_one("#tenant", Input).value = "acme"
        await press(pilot, "ctrl+s")
        await until(pilot, "No matching jobs.")
        await press(pilot, "x", "s")
        await until(pilot, lambda screen: one in screen and other not in screen)  # pending ones


async def test_five_thousand_jobs_are_read_where_they_are_looked_at(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine()
    newest = engine.submit("say", {"text": "hello"})
    many(project / ".ucop" / "ucop.db", newest.id, 4_999)
    async with console().run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda screen: "5,000 jobs" in screen and newest.id[:12] in screen)
        await press(pilot, "end")
        await until(pilot, f"{1:020x}"[:12])
        listing = pilot.app.query_one(JobsListing)
        assert (listing.cursor, listing.chosen and listing.chosen.id) == (4_999, f"{1:020x}")
        assert listing.known <= 40 + 2 * 40
        for _ in range(3):
            await press(pilot, "pageup")
        await until(pilot, lambda screen: "…   " not in screen)
        # The job under the cursor stays under it when others come.
        before = listing.chosen
        assert before is not None
        engine.submit("say", {"text": "again"})
        await until(pilot, "5,001 jobs")
        assert listing.chosen == before
        assert before.id[:12] in shown(pilot.app)
        await press(pilot, "home")
        await until(pilot, newest.id[:12])


def many(file: Path, like: str, number: int) -> None:
    """Older jobs, like one that there is but for id, thread and age."""
    with sqlite3.connect(file) as database:
        names = [row[1] for row in database.execute("pragma table_info(jobs)")]
        changed = {
            "id": "printf('%020x', :n)",
            "thread_id": "printf('%020x', :n)",
            "created_at": "created_at - 1 - (:number - :n)",
        }
        values = ", ".join(changed.get(name, name) for name in names)
        statement = f"insert into jobs select {values} from jobs where id = :like"
        rows = ({"n": n, "number": number, "like": like} for n in range(1, number + 1))
        database.executemany(statement, rows)
    database.close()


async def test_a_small_terminal_shows_less_and_stays_in_order(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine()
    job = engine.submit("say", {"text": "ウコップ"}, tenant="ein-langer-name", labels={"a": "b"})
    async with console().run_test(size=(140, 40), notifications=True) as pilot:
        await until(pilot, lambda screen: "ein-langer-name" in screen and "try" in screen)
        await pilot.resize_terminal(80, 24)
        screen = await until(pilot, lambda screen: "ein-langer-name" not in screen)
        assert job.id[:12] in screen
        assert len(screen.splitlines()) == 24
        await press(pilot, "enter")
        await until(pilot, "ウコップ")
        await pilot.resize_terminal(30, 8)
        await until(pilot, "pending")


# ---------------------------------------------------------------- one job


async def test_a_failed_job_tells_why_and_is_retried(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine(worker=True)
    job = engine.submit("needy", {"text": "hello"})
    assert await rests(job) == "failed"
    async with console(job=job.id).run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, "no cure.txt, so no answer")
        await until(pilot, lambda screen: f"jobs retry {job.id}" in unwrapped(screen))
        await press(pilot, "2")
        await until(pilot, lambda screen: "✗ need" in screen and "✓ shout" in screen)
        await press(pilot, "3")
        await until(pilot, "✗ failed")
        (project / "cure.txt").write_text("well")
        await press(pilot, "t")
        await until(pilot, "retry job")
        await press(pilot, "enter")
        await until(pilot, "✓ completed")
        assert await rests(job) == "completed"
        await press(pilot, "2")
        await until(pilot, lambda screen: "✓ last" in screen and "✗" not in screen)


async def test_a_question_is_answered_in_a_form_that_checks_the_answer(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine(worker=True)
    job = engine.submit("approve", {"text": "tea"})
    assert await rests(job) == "waiting"
    async with console().run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "? waiting")
        await press(pilot, "a")
        await until(pilot, "Publish “TEA”?")
        form = pilot.app.screen
        await press(pilot, "ctrl+s")
        await until(pilot, "'approved'")
        form.query_one(Select).value = "true"
        form.query_one(Input).value = "0"
        await press(pilot, "ctrl+s")
        await until(pilot, "stars: ")
        assert job.status == "waiting"
        form.query_one(Input).value = "5"
        await press(pilot, "ctrl+s")
        await until(pilot, "✓ completed")
        assert await job.aresult(DEADLINE) == "TEA 5"


async def test_a_job_that_failed_by_its_answer_is_given_another_one(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    def asks(state: Any) -> Any:
        if (answer := interrupt("How many?")) == "few":
            raise ValueError("few is no number")
        return {"log": [answer]}

    graph = StateGraph(Log).add_node("asks", asks).add_edge(START, "asks")
    engine = open_engine(worker=True)
    job = engine.submit(engine.add("counts", graph), {"log": []})
    assert await rests(job) == "waiting"
    job.answer("few")
    assert await rests(job) == "failed"
    async with console().run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "failed")
        await press(pilot, "a")
        await until(pilot, "How many?")
        pilot.app.screen.query_one(Input).value = "seven"
        await press(pilot, "ctrl+s")
        await until(pilot, "✓ completed")
        assert await job.aresult(DEADLINE) == {"log": ["seven"]}


async def test_a_checkpoint_is_compared_edited_forked_and_gone_back_to(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine(worker=True)
    job = engine.submit("needy", {"text": "hello"})
    assert await rests(job) == "failed"
    (project / "cure.txt").write_text("well")
    before = job.checkpoints()
    async with console(job=job.id[:15]).run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, "needy")
        await press(pilot, "5")
        await until(pilot, "text: hello")
        await press(pilot, "home", "m", "end")
        await until(pilot, lambda screen: f"from {before[-1].id}" in screen and "+ hello" in screen)
        await press(pilot, "m", "f")
        await until(pilot, "A new job from needy")
        area = pilot.app.screen.query_one(TextArea)
        area.text = area.text.replace('"hello"', "hello")
        await press(pilot, "ctrl+s")
        await until(pilot, "not JSON")
        area.text = area.text.replace(": hello", ': "other"')
        await press(pilot, "ctrl+s")
        await until(pilot, lambda screen: "✓ completed" in screen and "fork of" in screen)
        fork = next(each for each in engine.jobs() if each.parent is not None)
        assert fork.parent is not None
        assert (fork.parent.job_id, fork.parent.checkpoint_id) == (job.id, before[0].id)
        assert (job.status, job.checkpoints()) == ("failed", before)
        await press(pilot, "6")
        await until(pilot, lambda screen: "text other" in screen and "input" in screen)
        await press(pilot, "escape")
        await until(pilot, lambda screen: fork.id[:12] in screen and job.id in screen)
        await press(pilot, "home", "b")
        await until(pilot, "set job")
        await press(pilot, "y")
        await until(pilot, "is set back to before")
        assert len(job.checkpoints()) == len(before) + 1


async def test_a_job_that_another_process_changes_is_shown_by_itself(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine()
    job = engine.submit("say", {"text": "hello"})
    async with console(job=job.id).run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "no worker is running")
        await press(pilot, "4")
        await until(pilot, "job.submitted")
        done = await asyncio.to_thread(Ucop(project), "jobs", "cancel", job.id)
        assert done.code == 0
        await until(pilot, lambda screen: "⊘ cancelled" in screen and "job.cancelled" in screen)


async def test_a_job_that_is_deleted_gives_its_screen_up(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine()
    job, other = engine.submit("say", {"text": "hello"}), engine.submit("say", {"text": "more"})
    async with console(job=job.id).run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "1 Overview")
        with sqlite3.connect(project / ".ucop" / "ucop.db") as database:
            for table in ("attempts", "events"):
                database.execute(f"delete from {table} where job_id = ?", (job.id,))
            database.execute("delete from jobs where id = ?", (job.id,))
        database.close()
        await until(pilot, lambda screen: "1 Overview" not in screen and other.id[:12] in screen)


async def test_marked_jobs_are_changed_together(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine()
    jobs = [engine.submit("say", {"text": "hello"}) for _ in range(4)]
    jobs[0].cancel()
    async with console().run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, jobs[0].id[:12])
        await press(pilot, "space", "space", "end", "space")  # the newest two, and the cancelled
        screen = await until(pilot, "• 3 marked")
        assert [line.strip()[0] for line in screen.splitlines() if "say" in line] == list("••○•")
        await press(pilot, "p")
        await until(pilot, "pause 2 jobs (2 pending)?")
        await press(pilot, "n")
        await until(pilot, lambda screen: "pause 2 jobs" not in screen)
        assert [job.status for job in jobs] == ["cancelled", *["pending"] * 3]
        await press(pilot, "p", "y")
        await until(pilot, "2 jobs asked to pause")
        assert [job.status for job in jobs] == ["cancelled", "pending", "paused", "paused"]
        await until(pilot, lambda screen: "marked" not in screen)
        await press(pilot, "home", "space", "space", "space")
        await until(pilot, "• 3 marked")
        await press(pilot, "r")
        await until(pilot, "resume 2 jobs (2 paused)?")
        await press(pilot, "y")
        await until(pilot, "2 jobs queued")
        await press(pilot, "home", "space", "x")
        await until(pilot, lambda screen: "marked" not in screen)
        await press(pilot, "question_mark")
        await until(pilot, "Mark the job")


@pytest.mark.parametrize("opened_from", ["list", "job"])
@pytest.mark.parametrize(
    ("order", "form", "sends"),
    [
        ("a", "Publish", "ctrl+s"),
        ("f", "A new job from", "ctrl+s"),
        ("c", "This is permanent", "y"),
        ("a", "Publish", "escape"),
    ],
)
async def test_a_job_that_is_deleted_behind_a_form_is_told_of(
    open_engine: Open,
    console: Callable[..., Console],
    order: str,
    form: str,
    sends: str,
    opened_from: str,
) -> None:
    engine = open_engine(worker=True)
    job = engine.submit("approve", {"text": "hello"})
    assert await rests(job) == "waiting"
    other = engine.submit("say", {"text": "more"})
    await rests(other)
    given = job.id if opened_from == "job" else None
    async with console(job=given).run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "1 Overview" if given else job.id[:12])
        if not given:
            await press(pilot, "down")
        await until(pilot, "f Fork")
        await press(pilot, order)
        await until(pilot, form)
        if order == "a":
            choice = pilot.app.screen.query(Select).first()
            choice.value = "true"
        job.cancel()
        job.delete()
        await until(pilot, form)
        await pilot.pause(0.5)  # what stands behind the form is read anew meanwhile
        await press(pilot, sends)
        await until(pilot, lambda screen: form not in screen and other.id[:12] in screen)
        await until(pilot, lambda screen: job.id[:12] not in screen or "no job" in screen)
        await press(pilot, "enter")
        await until(pilot, "1 Overview")


async def test_a_paused_job_that_is_deleted_behind_its_budget_is_told_of(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    engine = open_engine()
    job, other = engine.submit("say", {"text": "hello"}), engine.submit("say", {"text": "more"})
    job.pause()
    async with console(job=job.id).run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, "r Resume")
        await press(pilot, "r")
        await until(pilot, "Limits to change")
        job.cancel()
        job.delete()
        await pilot.pause(0.5)
        await press(pilot, "enter")
        await until(pilot, lambda screen: "Limits" not in screen and other.id[:12] in screen)


# ---------------------------------------------------------------- trouble, help, commands


async def test_a_database_that_goes_away_is_told_and_found_again(
    open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine()
    job = engine.submit("say", {"text": "hello"})
    engine.close()
    kept, away = project / ".ucop" / "ucop.db", project / "away.db"
    async with console().run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, job.id[:12])
        kept.rename(away)
        kept.write_text("this is no database, and long enough to be looked at" * 100)
        await until(pilot, "the database does not answer; trying again.")
        await press(pilot, "c")
        await until(pilot, "This is permanent")
        await press(pilot, "y")
        await until(pilot, lambda screen: "damaged" in screen)
        kept.unlink()
        away.rename(kept)
        await until(pilot, lambda screen: "does not answer" not in screen and job.id[:12] in screen)
        assert "○ pending" in shown(pilot.app)


async def test_help_and_the_palette_name_what_keys_do(
    open_engine: Open, console: Callable[..., Console]
) -> None:
    job = open_engine().submit("say", {"text": "hello"})
    async with console().run_test(size=(80, 40), notifications=True) as pilot:
        await until(pilot, "○ pending")
        await press(pilot, "question_mark")
        await until(pilot, "Cancel: Cancel the job permanently")
        await press(pilot, "escape")
        await until(pilot, "p Pause")
        await press(pilot, "ctrl+p", *"pause")
        await until(pilot, "Stop when the nodes that run now have ended")
        await press(pilot, "enter")
        await until(pilot, "‖ paused")
        assert job.status == "paused"


@pytest.mark.postgres
async def test_on_postgresql_steps_appear_and_keys_work(
    postgres_url: str, open_engine: Open, console: Callable[..., Console], project: Path
) -> None:
    engine = open_engine(postgres_url, worker=True)
    job = engine.submit("gated", {"text": "hello"})
    async with console(postgres_url).run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, "▶ running")
        await press(pilot, "enter", "2")
        await until(pilot, "▶ gate")
        await press(pilot, "P")
        await until(pilot, "run again later")
        await press(pilot, "y")
        await until(pilot, "‖ paused")
        await becomes(job, "paused")
        (project / "go.txt").write_text("on")
        await press(pilot, "r")
        await until(pilot, "It has no limits")
        await press(pilot, "enter")
        await until(pilot, lambda screen: "✓ completed" in screen and "✓ last" in screen)
        assert await rests(job) == "completed"
        await press(pilot, "5")
        await until(pilot, "answer: ON")
        await press(pilot, "escape", "slash", *"HELLO", "enter")
        await until(pilot, "1 with text")


def test_a_source_opens_the_database_anew_after_an_error(open_engine: Open, project: Path) -> None:
    open_engine().close()
    kept, away = project / ".ucop" / "ucop.db", project / "away.db"
    kept.rename(away)
    kept.write_text("this is no database, and long enough to be looked at" * 100)
    source = Source(Place(project=project))
    with pytest.raises(DatabaseError):
        source.read(lambda reader: reader.counts())
    kept.unlink()
    away.rename(kept)
    assert source.read(lambda reader: reader.counts()) == {}
    source.close()

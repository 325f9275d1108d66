"""Events in, rows out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ucop.console.view.jobs.display import LiveTable, describe
from ucop.console.view.jobs.progress import NodeState, Progress, Row, Spending
from ucop.engine.jobs.job import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Story:
    """Tells a progress one event after the other."""

    def __init__(self, *nodes: str) -> None:
        self.progress = Progress(nodes)
        self._seq = 0

    def tell(self, seconds: float, type: str, **data: Any) -> None:
        self._seq += 1
        self.progress.apply(Event(job_id="j", seq=self._seq, type=type, at=at(seconds), data=data))

    def starts(self, seconds: float, node: str, task: str = "t") -> None:
        self.tell(seconds, "step.started", node=node, task_id=task, attempt=1)

    def ends(self, seconds: float, node: str, task: str = "t", **data: Any) -> None:
        self.tell(seconds, "step.completed", node=node, task_id=task, **data)

    def row(self, node: str, seconds: float, **live: Spending) -> Row:
        rows = {row.node: row for row in self.progress.rows(at(seconds), live)}
        return rows[node]

    def states(self, seconds: float = 0) -> dict[str, str]:
        return {row.node: row.state.value for row in self.progress.rows(at(seconds))}


def test_known_nodes_wait_in_their_order() -> None:
    assert Story("b", "a").states() == {"b": "waiting", "a": "waiting"}
    assert Story("a").row("a", 5).seconds is None


def test_a_running_node_ticks_and_a_done_one_stands() -> None:
    story = Story("a")
    story.starts(1, "a")
    assert story.row("a", 3.5).seconds == 2.5
    assert story.row("a", 3.5).state is NodeState.RUNNING
    story.ends(4, "a", tokens_in=10, tokens_out=3)
    row = story.row("a", 99)
    assert (row.state, row.seconds, row.tokens_in, row.tokens_out) == (NodeState.DONE, 3, 10, 3)


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    story = Story()
    story.starts(10, "a")
    assert story.row("a", 2).seconds == 0


def test_a_loop_adds_its_runs_up() -> None:
    story = Story()
    for begin in (0, 10):
        story.starts(begin, "a", task=f"t{begin}")
        story.ends(begin + 2, "a", task=f"t{begin}", tokens_in=5, tokens_out=1)
    row = story.row("a", 50)
    assert (row.runs, row.seconds, row.tokens_in) == (2, 4, 10)


def test_parallel_runs_of_one_node_count_their_time_once() -> None:
    story = Story()
    story.starts(0, "a", task="one")
    story.starts(1, "a", task="two")
    story.ends(3, "a", task="one")
    assert story.row("a", 3).state is NodeState.RUNNING
    story.ends(5, "a", task="two")
    assert (story.row("a", 9).state, story.row("a", 9).seconds) == (NodeState.DONE, 5)


def test_what_a_running_node_spends_is_added_while_it_runs() -> None:
    story = Story()
    story.starts(0, "a")
    spending = Spending(tokens_in=4, tokens_out=2)
    assert story.row("a", 1, a=spending).tokens_out == 2
    story.ends(2, "a", tokens_in=4, tokens_out=9)
    assert story.row("a", 3, a=spending).tokens_out == 9


def test_items_and_notes_come_from_progress() -> None:
    story = Story("a")
    story.starts(0, "a")
    story.tell(1, "progress", node="a", text="reads x.md")
    story.tell(2, "progress", node="a", text="3/5")
    assert (story.row("a", 3).items, story.row("a", 3).note) == ("3/5", "reads x.md")
    story.ends(4, "a")
    assert (story.row("a", 5).items, story.row("a", 5).note) == ("3/5", "")


def test_the_end_of_a_job_says_what_became_of_each_node() -> None:
    done = Story("a", "b")
    done.starts(0, "a")
    done.ends(1, "a")
    done.tell(1, "job.completed", attempt=1)
    assert done.states() == {"a": "done", "b": "skipped"}

    failed = Story("a", "b", "c")
    failed.starts(0, "a", task="ta")
    failed.starts(0, "b", task="tb")
    failed.tell(1, "step.failed", node="a", task_id="ta", error={"message": "boom"})
    failed.tell(1, "job.failed", attempt=1, error={"type": "E", "message": "boom"})
    assert failed.states() == {"a": "failed", "b": "stopped", "c": "not run"}
    assert failed.row("a", 2).note == "boom"
    assert failed.row("b", 9).seconds == 1


def test_the_next_attempt_goes_on() -> None:
    story = Story("a", "b", "c")
    story.tell(0, "job.running", attempt=1)
    story.starts(0, "a")
    story.ends(1, "a")
    story.starts(1, "b")
    story.tell(2, "job.pending", attempt=2, reason="the worker was stopped")
    assert story.states() == {"a": "done", "b": "stopped", "c": "waiting"}
    assert story.progress.reason == "the worker was stopped"
    story.tell(3, "job.running", attempt=2)
    story.starts(4, "b", task="t2")
    row = story.row("b", 6)
    assert (row.state, row.runs, row.seconds) == (NodeState.RUNNING, 2, 3)
    assert (story.progress.attempt, story.progress.reason) == (2, "")


def test_a_retried_job_waits_again_for_what_it_did_not_reach() -> None:
    story = Story("a")
    story.tell(0, "job.failed", attempt=1)
    assert story.states() == {"a": "not run"}
    story.tell(1, "job.running", attempt=2)
    assert story.states() == {"a": "waiting"}


def test_a_question_is_told() -> None:
    story = Story()
    story.starts(0, "a")
    story.tell(1, "step.pending", node="a", task_id="t")
    story.tell(1, "job.waiting", attempt=1, reason="an answer is due in a")
    assert story.states() == {"a": "asks"}


def test_each_model_is_named_once() -> None:
    story = Story()
    for _ in range(2):
        story.tell(0, "model.used", asked="default", name="ollama:x", note="ollama:x at home")
    assert story.progress.models == ["ollama:x at home"]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "job.running",
                "job.pending",
                "job.failed",
                "job.completed",
                "step.started",
                "step.completed",
                "step.failed",
                "step.pending",
                "progress",
            ]
        ),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["t1", "t2"]),
        st.floats(0, 5),
    ),
    max_size=30,
)


@given(EVENTS)
def test_any_order_of_events_gives_rows_that_make_sense(
    events: list[tuple[str, str, str, float]],
) -> None:
    story, now = Story("a"), 0.0
    for type, node, task, pause in events:
        now += pause
        story.tell(now, type, node=node, task_id=task, attempt=1, text="x")
        for row in story.progress.rows(at(now)):
            assert row.seconds is None or 0 <= row.seconds <= now + 1e-6
            assert (row.runs == 0) == (row.seconds is None)
        if type.startswith("job.") and type != "job.running":
            assert "running" not in story.states(now).values()


def test_events_are_told_in_lines() -> None:
    def line(type: str, **data: Any) -> str:
        return describe(Event(job_id="j", seq=1, type=type, at=START, data=data))

    assert line("step.started", node="a") == "a: running"
    spent = {"seconds": 1.234, "model_calls": 2, "tokens_in": 30, "tokens_out": 4}
    assert line("step.completed", node="a", **spent) == (
        "a: done in 1.2 s, 2 model calls, 30 tokens in, 4 out"
    )
    error = {"type": "ValueError", "message": "no\nmore"}
    assert line("step.failed", node="a", error=error) == "a: failed: ValueError: no"
    assert line("job.pending", reason="the worker was stopped").endswith(
        "pending: the worker was stopped"
    )
    assert line("model.used", note="a small model") == "model: a small model"
    assert line("something.new") == ""


def test_tries_caught_errors_and_branches_not_taken_are_told() -> None:
    story = Story("a", "b")
    story.starts(0, "a")
    error = {"type": "ValueError", "message": "no"}
    told: list[tuple[str, dict[str, Any]]] = [
        ("step.retried", {"node": "a", "try": 2, "error": error}),
        ("step.failed", {"node": "a", "task_id": "t", "error": {**error, "caught": True}}),
        ("step.skipped", {"node": "b"}),
    ]
    lines = [describe(Event(job_id="j", seq=1, type=type, at=START, data=d)) for type, d in told]
    assert lines == [
        "a: try 2, after ValueError: no",
        "a: failed, and the job goes on: ValueError: no",
        "b: skipped",
    ]
    story.tell(1, told[0][0], **told[0][1])
    assert story.row("a", 1).note == "try 2: no"
    for type, data in told[1:]:
        story.tell(2, type, **data)
    assert story.states() == {"a": "failed", "b": "skipped"}


def test_what_an_error_holds_gives_the_terminal_no_orders() -> None:
    table = LiveTable("blog", ["a"], dict)
    error = {"type": "ValueError", "message": "\x1b]0;owned\x07 \x9b2J"}
    told: list[tuple[str, dict[str, Any]]] = [
        ("step.started", {}),
        ("step.failed", {"error": error}),
    ]
    for type, more in told:
        data = {"node": "a", "task_id": "t", **more}
        table.apply(Event(job_id="j", seq=1, type=type, at=START, data=data, position=1))
    drawn = StringIO()
    Console(file=drawn, width=100, markup=False).print(table._draw())
    assert "\\x1b]0;owned" in drawn.getvalue()
    assert not {"\x1b", "\x07", "\x9b"} & set(drawn.getvalue())

"""Many people ask for something at the same moment: one of them gets it, the others a clear no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from tests.support.graphs import Log, chain, failing
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import RefusedChange

DEADLINE = 60.0
ROUNDS = 4
EACH = 3
"""How many ask for the same."""

Open = Callable[..., Engine]


def asks(state: Log) -> dict[str, list[str]]:
    return {"log": [str(interrupt("Well?"))]}


def asking() -> StateGraph[Log]:
    graph = StateGraph(Log)
    graph.add_node("asks", asks)
    graph.add_edge(START, "asks")
    return graph


def race(*actions: Callable[[], None]) -> Counter[str]:
    """Call all at once, each from a thread of its own; how many were granted, and refused."""
    start = Barrier(len(actions))

    def run(action: Callable[[], None]) -> str:
        start.wait()
        try:
            action()
        except RefusedChange:
            return "refused"
        return "granted"

    with ThreadPoolExecutor(len(actions)) as pool:
        return Counter(pool.map(run, actions))


def whole_story(job: JobHandle) -> list[str]:
    """The types of a job's own events, whose numbers have no gap."""
    events = list(job.events(follow=False))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events if event.type.startswith("job.")]


@pytest.fixture
def clients(open_engine: Open) -> list[Engine]:
    """Three programs; none of them works."""
    return [open_engine(worker=False) for _ in range(3)]


def test_one_of_many_answers_is_taken(open_engine: Open, clients: list[Engine]) -> None:
    with open_engine() as worker:
        workflow = worker.add("asking", asking())
        ids = [worker.submit(workflow, {"log": []}).id for _ in range(ROUNDS)]
        for id in ids:
            assert worker.job(id).wait(DEADLINE) == "waiting"
    for id in ids:
        jobs = [client.job(id) for client in clients for _ in range(EACH)]
        (question,) = jobs[0].questions()
        answers = [partial(job.answer, n, question=question.id) for n, job in enumerate(jobs)]
        assert race(*answers) == {"granted": 1, "refused": len(jobs) - 1}
        assert whole_story(jobs[0])[-2:] == ["job.waiting", "job.pending"]
        assert jobs[0].get().attempt == 2


def test_one_of_many_resumes_and_one_of_many_cancels_is_taken(clients: list[Engine]) -> None:
    for client in clients:
        client.add("flow", chain("a"))
    for _ in range(ROUNDS):
        job = clients[0].submit("flow")
        job.pause()
        jobs = [client.job(job.id) for client in clients for _ in range(EACH)]
        assert race(*(each.resume for each in jobs)) == {"granted": 1, "refused": len(jobs) - 1}
        assert job.get().attempt == 2
        assert race(*(each.cancel for each in jobs)) == {"granted": 1, "refused": len(jobs) - 1}
        assert whole_story(job) == [
            "job.submitted",
            "job.paused",
            "job.pending",
            "job.cancelled",
        ]


def test_one_of_many_retries_is_taken(open_engine: Open, clients: list[Engine]) -> None:
    with open_engine() as worker:
        id = worker.submit(worker.add("breaking", failing(1, []))).id
        assert worker.job(id).wait(DEADLINE) == "failed"
    jobs = [client.job(id) for client in clients for _ in range(EACH)]
    assert race(*(each.retry for each in jobs)) == {"granted": 1, "refused": len(jobs) - 1}
    assert whole_story(jobs[0])[-2:] == ["job.failed", "job.pending"]


def test_who_asks_for_different_things_leaves_a_job_that_says_what_became_of_it(
    open_engine: Open, clients: list[Engine]
) -> None:
    worker = open_engine()
    for engine in (worker, *clients):
        engine.add("slow", chain("a", "b", "c", seconds=0.02))
    for _ in range(ROUNDS):
        job = clients[0].submit("slow", {"log": []})
        one, two, three = (client.job(job.id) for client in clients)
        race(one.pause, two.cancel, three.resume, partial(two.pause, now=True), one.resume)
        if job.wait(DEADLINE) == "paused":
            job.resume()
            job.wait(DEADLINE)
        assert job.status in ("completed", "cancelled", "paused")
        story = whole_story(job)
        assert story[-1] == f"job.{job.status}"
        assert story.count("job.cancelled") == (job.status == "cancelled")

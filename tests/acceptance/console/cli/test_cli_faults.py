"""What a project's code may do to `ucop worker`, and what people are told of it."""

from __future__ import annotations

import signal

import pytest

from tests.support.command import Ucop, until

FLOWS = """\
import asyncio
import sys
import time

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict):
    total: int


def graph_of(node):
    graph = StateGraph(State)
    graph.add_node("acts", node)
    graph.add_edge(START, "acts")
    return graph


async def exit_now(state):
    sys.exit(3)


async def block(state):
    time.sleep(600)


async def break_the_loop(state):
    asyncio.get_running_loop()._ready = None


def parse(text):
    return int(text)


def fail(state):
    password = "hunter2"
    try:
        parse("many")
    except ValueError as error:
        raise RuntimeError("no total") from error


exits, blocks, breaks, fails = (graph_of(node) for node in (exit_now, block, break_the_loop, fail))
"""

SETTINGS = """\
workflows = ["flows.py:exits", "flows.py:blocks", "flows.py:breaks", "flows.py:fails"]
sweep = 0.2
"""


@pytest.fixture
def faults(bare: Ucop) -> Ucop:
    bare.write("flows.py", FLOWS)
    bare.write("ucop.toml", SETTINGS)
    return bare


def queue(ucop: Ucop, workflow: str) -> str:
    return ucop("run", workflow, "-i", "total=1", "--detach").out.strip()


def status(ucop: Ucop, id: str) -> str:
    return str(ucop("jobs", "show", id, "--json").json["status"])


def test_a_node_that_exits_ends_its_job_and_not_its_worker(faults: Ucop) -> None:
    worker = faults.start("worker")
    ids = [queue(faults, "exits") for _ in range(3)]
    for id in ids:
        until(lambda id=id: status(faults, id) == "failed", "failed")  # type: ignore[misc]
        error = faults("jobs", "show", id, "--json").json["error"]
        assert (error["type"], error["node"]) == ("SystemExit", "acts")
    worker.signal(signal.SIGTERM)
    assert worker.end().code == 0


@pytest.mark.parametrize("workflow", ["breaks", "blocks"])
def test_a_worker_whose_loop_does_not_go_on_ends_with_an_error(faults: Ucop, workflow: str) -> None:
    plain = {"UCOP_LEASE": "0.5", "PYTHONPATH": str(faults.folder)}
    # The standard library's loop can be broken, and not only stopped.
    faults.write("uvloop.py", "raise ImportError")
    queue(faults, workflow)
    done = faults.start("worker", **plain).end()
    assert done.code == 1
    assert ("loop ended" if workflow == "breaks" else "blocked in node acts") in done.err


def test_a_failed_job_tells_where_in_the_users_code_and_from_what(faults: Ucop) -> None:
    failed = faults("run", "fails", "-i", "total=1")
    assert failed.code == 1
    id = faults("jobs", "list", "--json").json[0]["id"]
    flows = str(faults.folder / "flows.py")
    for command in ("why", "show"):
        text = faults("jobs", command, id).out
        assert "RuntimeError" in text
        assert f"at {flows}:" in text
        assert "raised from ValueError: invalid literal for int() with base 10: 'many'" in text
        assert "in parse" in text
        assert "hunter2" not in text
        assert "site-packages" not in text
    assert f"at {flows}:" in failed.err  # the log of the worker inside

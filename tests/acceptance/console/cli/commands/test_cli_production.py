"""Production mode on the command line: a test double is told before anything runs."""

from __future__ import annotations

import pytest

from tests.support.command import Ucop

FAKED = """\

from unittest.mock import Mock

service = Mock(return_value="paid")


@agent
def pay(amount: int) -> str:
    return service(amount)
"""
PAYING = """\
name: paying
input: {amount: integer}
nodes:
  pay: {agent: pay, with: {amount: "${amount}"}, writes: receipt}
"""


@pytest.fixture
def paying(ucop: Ucop) -> Ucop:
    ucop.write("agents.py", (ucop.folder / "agents.py").read_text() + FAKED)
    ucop.write("workflows/paying.yaml", PAYING)
    return ucop


def test_check_says_of_a_sound_project_that_it_is(ucop: Ucop) -> None:
    done = ucop("check", "--production")
    assert done.code == 0, done.err
    assert "agents: ok\n" in done.out
    assert "workflow say: ok\n" in done.out
    assert "workflow adder: ok\n" in done.out


def test_check_names_each_double_with_its_place(paying: Ucop) -> None:
    assert paying("check").code == 0
    done = paying("check", "--production")
    assert done.code == 2
    assert "agents: 1 mistake\n" in done.out
    assert "workflow paying: 1 mistake\n" in done.out
    assert "agent 'pay' uses a test double: pay > service is Mock of unittest.mock" in done.err
    assert "workflows/paying.yaml:4:16: error: node 'pay' calls agent 'pay'" in done.err
    told = paying("check", "--production", "--json").json
    assert {one["code"] for one in told if one["severity"] == "error"} == {"test-double"}


def test_check_tells_of_workflows_and_agents_that_cannot_be_read(ucop: Ucop) -> None:
    ucop.write("workflows/bad.yaml", "name: bad\nnodes: {a: {agent: shoutt}}\n")
    done = ucop("check")
    assert done.code == 2
    assert "did you mean 'shout'?" in done.err
    ucop.write("agents.py", "from ucop.agents import agent\n\n@agent\ndef bad(x: Nonsense): ...\n")
    done = ucop("check", "--json")
    assert done.code == 2
    (finding,) = done.json
    assert "Nonsense" in finding["message"]


def test_a_run_is_refused_and_leaves_no_trace(paying: Ucop) -> None:
    paying.extra["UCOP_MODE"] = "production"
    done = paying("run", "paying", "-i", "amount=3")
    assert done.code == 2
    assert "pay > service is Mock of unittest.mock" in done.err
    assert not (paying.folder / ".ucop").exists()
    assert paying("run", "say", "-i", "text=hi").code == 0


def test_a_dry_run_objects(paying: Ucop) -> None:
    done = paying("run", "paying", "-i", "amount=3", "--dry-run", "--json", UCOP_MODE="production")
    assert done.code == 2
    (objection,) = done.json["objections"]
    assert (objection["by"], objection["nodes"]) == ("gate", ["pay"])
    assert "Mock of unittest.mock" in objection["message"]
    assert paying("run", "paying", "-i", "amount=3", "--dry-run").code == 0


def test_another_mode_is_refused(ucop: Ucop) -> None:
    done = ucop("check", UCOP_MODE="prod")
    assert done.code == 2
    assert "'development' or 'production'" in done.err

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


FLOWS = '''
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    given: Any
    log: str


def asks(state):
    given = interrupt("What?")
    if given == "wrong":
        raise ValueError("not that")
    return {"given": [type(given).__name__, given]}


ask = StateGraph(State).add_node("asks", asks).add_edge(START, "asks")


def first(state):
    return {"log": "first"}


def second(state):
    return {"log": state["log"] + " second"}


halt = StateGraph(State).add_node("first", first).add_node("second", second)
halt = halt.add_edge(START, "first").add_edge("first", "second").compile(interrupt_before=["second"])


class Scripted(BaseChatModel):
    """Calls a tool once, then says what came of it."""

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        last = messages[-1]
        if last.type == "tool":
            said = AIMessage(f"done: {last.content}")
        else:
            call = {"name": "delete", "args": {"path": "/etc"}, "id": "1"}
            said = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


agent = create_agent(
    Scripted(),
    [delete],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"delete": True})],
)
'''


def _project(ucop: Ucop) -> None:
    ucop.write("flows.py", FLOWS)
    graphs = '"flows.py:ask", "flows.py:halt", "flows.py:agent"'
    ucop.write("ucop.toml", f"workflows = [{graphs}]\n")


def test_answers_keep_their_types_and_a_rejected_one_is_given_again(bare: Ucop) -> None:
    _project(bare)
    for typed, given in (("false", ["bool", False]), ("null", ["NoneType", None])):
        id = bare("run", "ask", "--json").json["id"]
        done = bare("jobs", "answer", id, typed, "--json")
        assert done.code == 0, done.err
        assert done.json["output"]["given"] == given
    id = bare("run", "ask", "--json").json["id"]
    wrong = bare("jobs", "answer", id, "wrong")
    assert wrong.code == 1
    why = bare("jobs", "why", id)
    assert f"ucop jobs answer {id} TEXT" in why.out
    right = bare("jobs", "answer", id, "3", "--text", "--json")
    assert right.code == 0, right.err
    assert right.json["output"]["given"] == ["str", "3"]


def test_a_tool_call_is_approved_from_the_command_line(bare: Ucop) -> None:
    _project(bare)
    bare.write("input.json", '{"messages": [{"role": "user", "content": "go"}]}')
    asks = bare("run", "agent", "--input-file", "input.json")
    assert asks.code == 4, asks.err
    assert 'may the agent call delete(path="/etc")? (approve, edit, reject' in asks.err
    (line,) = [line for line in asks.err.splitlines() if "ucop jobs answer" in line]
    done = bare.shell(line.strip())  # as it was told
    assert done.code == 0, done.err
    assert "done: deleted /etc" in done.out


def test_a_job_at_a_breakpoint_tells_so_and_goes_on_edited(bare: Ucop) -> None:
    _project(bare)
    stops = bare("run", "halt", "--json")
    assert stops.code == 4, stops.err
    id = stops.json["id"]
    assert f"go on with: ucop jobs resume {id}" in stops.err
    why = bare("jobs", "why", id)
    assert "stopped at a breakpoint before second" in why.out
    assert f"ucop jobs resume {id}" in why.out
    assert bare("jobs", "answer", id, "x").code == 2
    done = bare("jobs", "resume", id, "--set", "log=edited", "--json")
    assert done.code == 0, done.err
    assert done.json["output"]["log"] == "edited second"


def test_a_job_is_shown_with_its_questions_and_what_became_of_them(bare: Ucop) -> None:
    _project(bare)
    id = bare("run", "ask", "--json").json["id"]
    (question,) = bare("jobs", "show", id, "--json").json["questions"]
    assert (question["question"], question["answered_at"]) == ("What?", None)
    assert "asks: What? (open)" in bare("jobs", "show", id).out
    assert bare("jobs", "answer", id, "wrong").code == 1
    assert 'asks: What? (answered "wrong", not used yet)' in bare("jobs", "show", id).out
    assert bare("jobs", "answer", id, "[1]").code == 0
    assert "asks: What? (answered [1])" in bare("jobs", "show", id).out

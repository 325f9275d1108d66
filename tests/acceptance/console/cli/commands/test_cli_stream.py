"""`ucop run --stream` and `ucop jobs watch --stream`: tokens as they come, in real processes."""

from __future__ import annotations

import json

import pytest

from tests.support.command import Ucop

SPEAKS = """
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph


class Speaker(BaseChatModel):
    _llm_type = "speaker"

    def _generate(self, messages: Any, *args: Any, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("whole"))])

    async def _astream(self, messages: Any, *args: Any, **more: Any) -> Any:
        for word in ("tides ", "follow ", "the moon\\x1b[2J"):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Speaker().ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("speak", speak)
builder.add_edge(START, "speak")
builder.add_edge("speak", END)
chat = builder
"""

ASKED = 'messages=[{"role": "user", "content": "Why?"}]'


@pytest.fixture
def chatty(bare: Ucop) -> Ucop:
    bare.write("speaks.py", SPEAKS)
    bare.write("ucop.toml", 'workflows = ["speaks.py:chat"]\n')
    return bare


def test_tokens_go_to_stdout_and_the_rest_to_stderr(chatty: Ucop) -> None:
    done = chatty("run", "chat", "-i", ASKED, "--stream")
    assert (done.code, done.out) == (0, "tides follow the moon\x1b[2J\n")
    assert "speak:" in done.err
    assert "completed" in done.err


def test_json_is_a_line_for_each_part_and_the_job_is_the_last(chatty: Ucop) -> None:
    done = chatty("run", "chat", "-i", ASKED, "--stream", "--json")
    *parts, job = map(json.loads, done.out.splitlines())
    tokens = [part["data"][0]["content"] for part in parts if part["type"] == "messages"]
    assert "".join(tokens).startswith("tides follow the moon")
    assert {part["type"] for part in parts} == {"values", "updates", "messages"}
    assert (job["type"], job["data"]["status"]) == ("job", "completed")


def test_a_job_that_is_over_shows_the_tokens_that_are_kept(chatty: Ucop) -> None:
    done = chatty("run", "chat", "-i", ASKED, "--stream", "--json")
    id = json.loads(done.out.splitlines()[-1])["data"]["id"]
    watched = chatty("jobs", "watch", id, "--stream")
    assert (watched.code, watched.out) == (0, "tides follow the moon\x1b[2J\n")


def test_stream_and_detach_exclude_each_other(chatty: Ucop) -> None:
    done = chatty("run", "chat", "-i", ASKED, "--stream", "--detach")
    assert done.code == 2
    assert "give one of the two" in done.err

"""What stands between a question and its model: places, turns, tries; and LangChain's view of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from ucop.agents.errors import ModelError, ModelResponseError
from ucop.agents.models.meter import Meter, Usage
from ucop.agents.models.models import Models
from ucop.agents.providers.retry import Retry
from ucop.agents.providers.settings import ProviderSettings

QUESTION = [HumanMessage("Well?")]


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama() as endpoint:
        yield endpoint


@pytest.fixture
def short_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ucop.agents.providers.rates.MINUTE", 0.4)


def limited(ollama: ScriptedOllama, **limits: Any) -> Models:
    return Models(
        ollama_host=ollama.url,
        embedded=False,
        retry=Retry(tries=3, backoff=0.01),
        providers={"ollama": ProviderSettings(**limits)},
    )


async def ask_many(models: Models, number: int) -> Usage:
    """So many calls at once; what they used."""
    meter = Meter()
    config: Any = {"callbacks": [meter]}
    try:
        await asyncio.gather(*(models.ask(None, QUESTION, config=config) for _ in range(number)))
    finally:
        await models.aclose()
    return meter.total()


async def test_no_more_calls_run_at_once_than_a_provider_has_places() -> None:
    with ScriptedOllama(lambda request: scripted.text("ok", delay=0.05)) as ollama:
        usage = await ask_many(limited(ollama, concurrency=2), 7)
        assert ollama.most_at_once == 2
    assert usage.model_calls == 7
    assert usage.seconds_waited >= 0.05, "five of them, at least one call long"


@pytest.mark.usefixtures("short_minute")
async def test_waiting_for_a_rate_is_told_and_is_no_part_of_the_timeout(
    ollama: ScriptedOllama,
) -> None:
    # The last of them waits three minutes, which are longer than a call may take.
    usage = await ask_many(limited(ollama, requests_per_minute=1, timeout=0.9), 4)
    assert (usage.model_calls, ollama.calls) == (4, 4)
    assert usage.seconds_waited > 0


async def test_tokens_are_counted_against_the_rate_as_they_were_reported() -> None:
    with ScriptedOllama(lambda request: scripted.text("ok", tokens=(90, 10))) as ollama:
        models = limited(ollama, tokens_per_minute=800)
        async with asyncio.timeout(30):  # where a minute was full, a call would wait for one
            for _ in range(3):  # taken for some 500 each, and then known to have been 100
                await models.ask(None, QUESTION)
        await models.aclose()
    assert ollama.calls == 3


@pytest.mark.usefixtures("short_minute")
async def test_who_no_longer_waits_gives_its_turn_back(ollama: ScriptedOllama) -> None:
    models = limited(ollama, requests_per_minute=1)
    await models.ask(None, QUESTION)
    waiting = [asyncio.create_task(models.ask(None, QUESTION)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(10):  # with fifty turns before it, it would come in twenty seconds
        await models.ask(None, QUESTION)
    await models.aclose()
    assert ollama.calls == 2


async def test_a_chat_tries_again_and_each_try_is_counted_once() -> None:
    meter = Meter()
    replies = [scripted.status(500), scripted.cut(), scripted.text("fine", tokens=(11, 3))]
    with ScriptedOllama(replies) as ollama:
        models = limited(ollama)
        chat = await models.chat()
        answer = await chat.ainvoke("Well?", {"callbacks": [meter]})
        assert answer.text == "fine"
        await models.aclose()
    usage = meter.total()
    assert (usage.model_calls, usage.tokens_in, usage.tokens_out) == (ollama.calls, 11, 3)
    assert usage.models == ("ollama:llama3.2",)
    assert usage.seconds_waited > 0


async def test_a_chat_streams_and_tries_again_only_what_nobody_has_heard() -> None:
    meter = Meter()
    config: Any = {"callbacks": [meter]}
    whole = scripted.text("a b c", tokens=(11, 3))
    with ScriptedOllama([scripted.status(500), whole, scripted.cut(after=2), whole]) as ollama:
        models = limited(ollama)
        chat = await models.chat()
        pieces = [piece async for piece in chat.astream("Well?", config)]
        assert len([piece for piece in pieces if piece.text]) == 3
        assert "".join(piece.text for piece in pieces) == "a b c"
        heard: list[str] = []

        async def hear() -> None:
            async for piece in chat.astream("Well?", config):
                heard.append(piece.text)

        with pytest.raises(ModelResponseError, match="broke off"):
            await hear()
        assert heard == ["one ", "two "]
        assert ollama.calls == 3
        async for _ in chat.astream("Well?", config):
            break
        await models.aclose()
    usage = meter.total()
    assert (usage.model_calls, ollama.calls) == (4, 4)


async def test_no_other_model_goes_on_with_what_one_has_begun_to_say() -> None:
    with ScriptedOllama([scripted.cut(after=2)], models=["big:latest", "small:latest"]) as ollama:
        models = Models(
            ollama_host=ollama.url,
            embedded=False,
            aliases={"smart": ["ollama:big", "ollama:small"]},
        )
        chat = await models.chat("smart")
        with pytest.raises(ModelResponseError, match="broke off"):
            _ = [piece async for piece in chat.astream("Well?")]
        await models.aclose()
    assert [request["model"] for request in ollama.requests] == ["big"]


async def test_a_chat_whose_model_fails_raises_what_ask_raises() -> None:
    with ScriptedOllama([scripted.status(400, "no")]) as ollama:
        models = limited(ollama)
        chat = await models.chat()
        with pytest.raises(ModelResponseError, match="HTTP 400: no"):
            await chat.ainvoke("Well?")
        await models.aclose()


async def test_a_chat_must_not_block_its_own_loop(ollama: ScriptedOllama) -> None:
    models = limited(ollama)
    chat = await models.chat()
    with pytest.raises(RuntimeError, match="ainvoke"):
        chat.invoke("Well?")
    await models.aclose()


async def test_a_chain_drives_an_agent_with_tools() -> None:
    """Each model of the chain gets the tools; every call is counted, the tool's own too."""

    def by_model(request: dict[str, Any]) -> scripted.Reply:
        if request["model"] == "big":
            return scripted.status(503)
        said = request["messages"][-1]
        if said["role"] == "user" and said["content"] == "inside":
            return scripted.text("deep", tokens=(5, 1))
        if said["role"] == "user":
            return scripted.tool_call("search", {"words": "tea"}, tokens=(20, 4))
        return scripted.text("Green.", tokens=(30, 2))

    with ScriptedOllama(by_model, models=["big:latest", "small:latest"]) as ollama:
        models = Models(
            ollama_host=ollama.url,
            embedded=False,
            retry=Retry(tries=1),
            aliases={"smart": ["ollama:big", "ollama:small"]},
        )

        @tool
        async def search(words: str) -> str:
            """Search for words."""
            return f"{words}: {(await models.ask('smart', [HumanMessage('inside')])).text}"

        meter = Meter()
        worker: Any = create_agent(await models.chat("smart"), [search])
        state = await worker.ainvoke(
            {"messages": [HumanMessage("Which tea?")]}, {"callbacks": [meter]}
        )
        await models.aclose()
    assert state["messages"][-1].text == "Green."
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["tea: deep"]
    assert all(request["tools"] for request in (ollama.requests[0], ollama.requests[1]))
    usage = meter.total()
    assert (usage.model_calls, ollama.calls) == (6, 6), "three questions, each to two models"
    assert (usage.tokens_in, usage.tokens_out) == (ollama.tokens_in, ollama.tokens_out) == (55, 7)
    assert usage.models == ("ollama:big", "ollama:small")


class Keeps:
    """Keeps answers in this process, as an engine does in its database."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def find(self, key: str) -> str | None:
        return self.kept.get(key)

    async def keep(self, key: str, answer: str, seconds: float) -> None:
        self.kept[key] = answer

    async def drop(self, key: str) -> None:
        self.kept.pop(key, None)


async def test_the_calls_of_an_agent_with_tools_are_kept_each() -> None:
    """The second time nothing is asked, although the conversation goes over a tool."""

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    replies = [scripted.tool_call("add", {"a": 1, "b": 2}), scripted.text("It is 3.")]
    meter = Meter()
    with ScriptedOllama(replies) as ollama:
        models = Models(ollama_host=ollama.url, embedded=False, answers=Keeps())
        worker: Any = create_agent(await models.chat(cache=3600), [add])
        said = []
        for _ in range(2):
            state = await worker.ainvoke(
                {"messages": [HumanMessage("1 and 2?")]}, {"callbacks": [meter]}
            )
            said.append([(m.type, m.text) for m in state["messages"]])
        await models.aclose()
        assert ollama.calls == 2
    assert said[0] == said[1]
    assert (meter.total().model_calls, meter.total().cached_calls) == (2, 2)


class Fact(BaseModel):
    """A fact."""

    number: int


async def test_a_chat_gives_structured_output_as_langchain_does() -> None:
    with ScriptedOllama([scripted.tool_call("Fact", {"number": 5})]) as ollama:
        models = limited(ollama)
        chat = (await models.chat()).with_structured_output(Fact)
        assert await chat.ainvoke("Well?") == Fact(number=5)
        await models.aclose()


async def test_an_error_of_a_chain_is_a_model_error() -> None:
    with ScriptedOllama(models=[]) as ollama:
        with pytest.raises(ModelError, match="has no llama3"):
            await limited(ollama).chat()

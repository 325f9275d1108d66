"""Models against a scripted Ollama: who serves a name, and what happens when it fails."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from ucop.agents.embedded import EmbeddedModel
from ucop.agents.errors import ModelError, ModelResponseError, ModelTimeout, ModelUnavailable
from ucop.agents.models.meter import Meter
from ucop.agents.models.models import Models
from ucop.agents.models.provider import ModelUse
from ucop.agents.providers.retry import Retry

QUICK = Retry(tries=3, backoff=0.01)
QUESTION = [HumanMessage("How are you?")]


def models(endpoint: ScriptedOllama | str, **more: Any) -> Models:
    host = endpoint if isinstance(endpoint, str) else endpoint.url
    return Models(ollama_host=host, **{"embedded": False, "retry": QUICK, **more})


async def ask(endpoint: ScriptedOllama | str, name: str | None = None, **more: Any) -> AIMessage:
    one = models(endpoint, **more)
    try:
        return await one.ask(name, QUESTION)
    finally:
        await one.aclose()


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class NotInstalled(EmbeddedModel):
    def available(self) -> bool:
        return False


# Who serves a name


async def test_the_default_model_is_asked_at_the_ollama_that_has_it() -> None:
    used: list[ModelUse] = []
    with ScriptedOllama([scripted.text("Fine, thanks.")]) as ollama:
        answer = await ask(ollama, on_use=used.append)
    assert answer.content == "Fine, thanks."
    assert [(use.asked, use.name, use.embedded) for use in used] == [
        ("default", "ollama:llama3.2", False)
    ]
    assert used[0].endpoint == ollama.url
    assert ollama.requests[0]["model"] == "llama3.2"


async def test_an_alias_is_a_chain_and_the_first_that_can_be_had_is_used() -> None:
    with ScriptedOllama(models=["small:1b"]) as ollama:
        one = models(
            ollama, aliases={"smart": ["ollama:big:70b", "fast"], "fast": "ollama:small:1b"}
        )
        assert one.candidates("smart") == ("ollama:big:70b", "ollama:small:1b")
        assert (await one.resolve("smart")).name == "ollama:small:1b"
        await one.aclose()


async def test_a_chain_goes_on_when_its_first_model_fails() -> None:
    def by_model(request: dict[str, Any]) -> scripted.Reply:
        return scripted.status(500) if request["model"] == "big" else scripted.text("from small")

    used: list[str] = []
    with ScriptedOllama(by_model, models=["big:latest", "small:latest"]) as ollama:
        answer = await ask(
            ollama,
            "smart",
            aliases={"smart": ["ollama:big", "ollama:small"]},
            on_use=lambda use: used.append(use.name),
        )
    assert answer.content == "from small"
    assert used == ["ollama:big", "ollama:small"]
    assert ollama.calls == QUICK.tries + 1


async def test_a_chain_that_fails_altogether_names_every_failure() -> None:
    with ScriptedOllama([scripted.status(500)], models=["a:1", "b:1"]) as ollama:
        with pytest.raises(ModelResponseError, match=r"a:1 at(.|\n)*b:1 at"):
            await ask(ollama, "both", aliases={"both": ["ollama:a:1", "ollama:b:1"]})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smrt", "no model alias 'smrt'; known: default, loop, other"),
        ("loop", "loop → other → loop"),
        ("ollama:nothere", "has no nothere (`ollama pull nothere`)"),
        (
            "nobodys_provider:x",
            "there is no provider 'nobodys_provider'; there is embedded, anthro",
        ),
        ("embedded:other", "the embedded model is smollm2:135m"),
    ],
)
async def test_a_name_that_nobody_serves_says_what_to_do(name: str, words: str) -> None:
    with ScriptedOllama() as ollama:
        with pytest.raises(ModelUnavailable) as caught:
            await ask(ollama, name, aliases={"loop": "other", "other": "loop"})
    assert words in str(caught.value)
    assert ollama.calls == 0


async def test_without_an_ollama_and_without_the_extra_both_ways_out_are_named() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        await ask(nobody(), embedded=NotInstalled())
    assert "no Ollama answers at" in str(caught.value)
    assert "ucop models install" in str(caught.value)


@pytest.mark.parametrize(
    "trouble", [scripted.status(500), scripted.garbage(), scripted.cut()], ids=lambda r: str(r)[:30]
)
async def test_an_ollama_in_trouble_is_not_silently_replaced(trouble: scripted.Reply) -> None:
    with ScriptedOllama(tags=trouble) as ollama:
        with pytest.raises(ModelUnavailable, match="does not list its models"):
            await ask(ollama, embedded=True)


async def test_the_endpoint_is_asked_for_its_models_only_once() -> None:
    with ScriptedOllama() as ollama:
        one = models(ollama)
        await asyncio.gather(*(one.ask(None, QUESTION) for _ in range(5)))
        await one.aclose()
    assert ollama.paths.count("/api/tags") == 1
    assert ollama.calls == 5


async def test_a_model_that_was_missing_is_looked_for_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("ucop.agents.models.ollama_provider.RECHECK_AFTER", 0.0)
    with ScriptedOllama(models=[]) as ollama:
        one = models(ollama)
        with pytest.raises(ModelUnavailable):
            await one.resolve(None)
        ollama.models = ["llama3.2:latest"]
        assert (await one.resolve(None)).name == "ollama:llama3.2"
        await one.aclose()


# What is sent


async def test_options_and_schema_reach_the_endpoint_unchanged() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    options = {"temperature": 0, "seed": 7, "num_predict": 9, "min_p": 0.1, "stop": ["x"]}
    with ScriptedOllama() as ollama:
        one = models(ollama)
        answer = await one.ask(None, QUESTION, options=options, schema=schema)
        await one.ask(None, QUESTION)
        await one.aclose()
    first, second = ollama.requests
    assert first["options"] == options
    assert first["format"] == schema
    assert first["stream"] is True
    assert answer.content == '{"n": 1}'
    assert second["options"] == {}
    assert "format" not in second


async def test_a_raw_chat_has_the_same_options_and_the_same_errors() -> None:
    with ScriptedOllama([scripted.fitting(), scripted.unfinished()]) as ollama:
        one = models(ollama)
        chat = await one.chat(None, options={"seed": 3, "num_ctx": 512}, schema={"const": 5})
        assert (await chat.ainvoke("hello", stop=["."])).content == "5"
        with pytest.raises(ModelResponseError, match="ended without `done`"):
            async for _ in chat.astream("hello"):
                pass
        with pytest.raises(ModelResponseError, match="ended without `done`"):
            await asyncio.to_thread(chat.invoke, "hello")
        await one.aclose()
    assert ollama.requests[0]["options"] == {"seed": 3, "num_ctx": 512, "stop": ["."]}


async def test_a_request_that_ollama_does_not_know_is_refused_before_it_is_sent() -> None:
    with ScriptedOllama() as ollama:
        one = models(ollama)
        not_a_schema: Any = ["answer"]
        with pytest.raises(ModelResponseError, match="Change the agent's options"):
            await one.ask(None, QUESTION, schema=not_a_schema)
        await one.aclose()
    assert ollama.calls == 0


# What goes wrong


@pytest.mark.parametrize(
    "failure",
    [
        scripted.status(429),
        scripted.status(408),
        scripted.status(500),
        scripted.status(503),
        scripted.cut(after=0),
        scripted.cut(after=2),
        scripted.unfinished(),
        scripted.garbage(),
        scripted.garbage(b"[1]\n"),
        scripted.garbage(b'{"done": true}\n'),
        scripted.garbage(b""),
        scripted.mid_error("the runner has stopped"),
    ],
    ids=lambda reply: str(reply)[:60],
)
async def test_a_passing_failure_is_tried_again(failure: scripted.Reply) -> None:
    with ScriptedOllama([failure, scripted.text("Now it works.")]) as ollama:
        assert (await ask(ollama)).content == "Now it works."
    assert ollama.calls == 2


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (scripted.status(429, "too many"), "HTTP 429: too many"),
        (scripted.status(500), "HTTP 500"),
        (scripted.cut(), "broke off"),
        (scripted.unfinished(), "ended without `done`"),
        (scripted.garbage(), "not Ollama's NDJSON"),
        (scripted.mid_error("the runner has stopped"), "the runner has stopped"),
    ],
)
async def test_a_lasting_failure_ends_after_the_last_try(
    failure: scripted.Reply, words: str
) -> None:
    with ScriptedOllama([failure]) as ollama:
        with pytest.raises(ModelResponseError) as caught:
            await ask(ollama)
    assert ollama.calls == QUICK.tries
    message = str(caught.value)
    assert words in message
    assert f"llama3.2 at {ollama.url}" in message
    assert "ucop jobs resume" in message


@pytest.mark.parametrize("code", [400, 401, 404, 413])
async def test_a_refused_request_is_not_tried_again(code: int) -> None:
    with ScriptedOllama([scripted.status(code, "no")]) as ollama:
        with pytest.raises(ModelResponseError, match=f"HTTP {code}: no") as caught:
            await ask(ollama)
    assert ollama.calls == 1
    assert caught.value.status == code


async def test_retry_after_is_obeyed() -> None:
    replies = [scripted.status(429, retry_after=0.4), scripted.text("Fine.")]
    with ScriptedOllama(replies) as ollama:
        began = time.monotonic()
        await ask(ollama)
    assert time.monotonic() - began >= 0.4, "a least time holds on any machine"


async def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    # Who waited for either of the two would outlast what a test may take.
    with ScriptedOllama([scripted.status(429, retry_after=7200)]) as ollama:
        with pytest.raises(ModelResponseError) as caught:
            await ask(ollama, timeout=3600)
    assert caught.value.retry_after == 7200


@pytest.mark.parametrize("silence", [scripted.hang(), scripted.hang(after=2)])
async def test_silence_ends_after_the_idle_timeout(silence: scripted.Reply) -> None:
    with ScriptedOllama([silence]) as ollama:
        with pytest.raises(ModelTimeout, match="idle timeout"):
            await ask(ollama, idle_timeout=0.3)
        assert ollama.until(lambda seen: seen.hang_ups == 1)
    assert ollama.calls == 1


async def test_a_slow_drip_ends_after_the_whole_call_timeout() -> None:
    with ScriptedOllama([scripted.text("a b c d e f g h i j k l", pause=0.2)]) as ollama:
        with pytest.raises(ModelTimeout, match=r"no answer within 0\.7 s"):
            await ask(ollama, timeout=0.7, idle_timeout=5)
        assert ollama.until(lambda seen: seen.hang_ups == 1)


async def test_a_slow_answer_within_the_timeouts_is_whole() -> None:
    with ScriptedOllama([scripted.text("a b c", delay=0.2, pause=0.2)]) as ollama:
        assert (await ask(ollama, idle_timeout=1)).content == "a b c"


@pytest.mark.parametrize("silence", [scripted.hang(), scripted.hang(after=1)])
async def test_a_cancelled_task_hangs_up(silence: scripted.Reply) -> None:
    with ScriptedOllama([silence]) as ollama:
        one = models(ollama)
        call = asyncio.create_task(one.ask(None, QUESTION))
        await asyncio.to_thread(ollama.until, lambda seen: seen.calls == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(ollama.until, lambda seen: seen.hang_ups == 1, 2)
        await one.aclose()


async def test_an_endpoint_that_went_away_is_named_and_not_replaced() -> None:
    with ScriptedOllama() as ollama:
        one = models(ollama, embedded=True)
        await one.ask(None, QUESTION)
    with pytest.raises(ModelUnavailable, match="cannot connect") as caught:
        await one.ask(None, QUESTION)
    assert ollama.url in str(caught.value)
    assert caught.value.reached is False
    await one.aclose()


async def test_credentials_reach_the_endpoint_but_no_error(monkeypatch: Any) -> None:
    with ScriptedOllama([scripted.status(401)]) as ollama:
        host = ollama.url.replace("http://", "http://me:secret-word@")
        with pytest.raises(ModelError) as caught:
            await ask(host)
    assert "secret-word" not in str(caught.value) + repr(caught.value.__cause__)


async def test_every_try_that_arrived_is_metered() -> None:
    meter = Meter()
    replies = [scripted.status(500), scripted.cut(), scripted.text("a b c", tokens=(11, 3))]
    with ScriptedOllama(replies) as ollama:
        one = models(ollama)
        await one.ask(None, QUESTION, config={"callbacks": [meter]})
    usage = meter.total()
    assert (usage.model_calls, usage.tokens_in, usage.tokens_out) == (3, 11, 3)
    assert (ollama.calls, ollama.tokens_in, ollama.tokens_out) == (3, 11, 3)
    assert usage.models == ("ollama:llama3.2",)
    with pytest.raises(ModelUnavailable):
        await one.ask(None, QUESTION, config={"callbacks": [meter]})
    assert meter.total().model_calls == 3
    await one.aclose()


async def test_models_work_from_two_event_loops_at_once() -> None:
    answers: list[object] = []
    with ScriptedOllama() as ollama:
        one = models(ollama)

        def elsewhere() -> None:
            async def both() -> None:
                answers.append((await one.ask(None, QUESTION)).content)
                answers.append((await one.ask(None, QUESTION)).content)
                await one.aclose()

            asyncio.run(both())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        answers.append((await one.ask(None, QUESTION)).content)
        await asyncio.to_thread(thread.join)
        answers.append((await one.ask(None, QUESTION)).content)
        await one.aclose()
    assert answers == ["A scripted answer."] * 4


async def test_a_hundred_and_fifty_calls_at_once_all_end() -> None:
    with ScriptedOllama(lambda request: scripted.text("ok", delay=0.1)) as ollama:
        one = models(ollama, idle_timeout=5)
        answers = await asyncio.gather(*(one.ask(None, QUESTION) for _ in range(150)))
        await one.aclose()
    assert {answer.content for answer in answers} == {"ok"}
    assert ollama.calls == 150

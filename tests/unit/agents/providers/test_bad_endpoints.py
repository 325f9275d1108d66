"""What endpoints do that no honest server does: each ends in an answer, a retry or an error
within its deadline, and the meter counts what the endpoint saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.support.wire import CLOSE, HANG, RESET, Reply, Step, Wire, head, refusal, stream, whole
from ucop.agents.errors import ModelError, ModelResponseError, ModelTimeout, ModelUnavailable
from ucop.agents.models.meter import Meter
from ucop.agents.models.models import Models
from ucop.agents.providers.retry import Retry
from ucop.agents.providers.settings import ProviderSettings

TRIES = 3
RETRY = Retry(tries=TRIES, backoff=0.01)
DEADLINE = 60.0
"""Seconds after which a call that no timeout ended counts as hanging."""

TOKENS = (7, 2)
"""What a whole answer reports."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script, and how a call must end."""

    replies: Sequence[Reply]
    answer: str | None = None
    error: type[ModelError] | None = None
    words: str = ""
    calls: int
    tokens: tuple[int, int] = (0, 0)
    idle_timeout: float = 5.0
    timeout: float = 20.0


def again(failure: Reply, answer: Reply) -> dict[str, Any]:
    """A failure that is gone at the second try."""
    return {"replies": [failure, answer], "answer": "fine", "calls": 2, "tokens": TOKENS}


def lasting(failure: Reply, words: str, **more: Any) -> dict[str, Any]:
    """A failure that stays: after the last try it is told."""
    error = {"error": ModelResponseError, "calls": TRIES}
    return {"replies": [failure], "words": words, **error, **more}


def at_once(failure: Reply, words: str, **more: Any) -> dict[str, Any]:
    """A failure that another try would not mend."""
    return lasting(failure, words, calls=1, **more)


async def run(case: Case, models: Models, name: str, wire: Wire) -> None:
    meter = Meter()
    try:
        async with asyncio.timeout(DEADLINE):
            if case.error is None:
                answer = await models.ask(
                    name, [HumanMessage("Well?")], config={"callbacks": [meter]}
                )
                assert answer.text == case.answer
            else:
                with pytest.raises(case.error) as caught:
                    await models.ask(name, [HumanMessage("Well?")], config={"callbacks": [meter]})
                assert case.words in str(caught.value)
                assert name in str(caught.value) or "m at http" in str(caught.value)
    finally:
        await models.aclose()
    assert wire.calls == case.calls
    usage = meter.total()
    assert (usage.model_calls, usage.tokens_in, usage.tokens_out) == (wire.calls, *case.tokens)


# ---- Ollama's protocol ----


def line(**fields: Any) -> bytes:
    shape = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False, **fields}
    return json.dumps(shape).encode() + b"\n"


def word(text: str) -> bytes:
    return line(message={"role": "assistant", "content": text})


def done(**fields: Any) -> bytes:
    counts = {"prompt_eval_count": TOKENS[0], "eval_count": TOKENS[1], **fields}
    message = {"role": "assistant", "content": ""}
    return line(message=message, done=True, done_reason="stop", **counts)


FINE = stream(word("fi"), word("ne"), done())
HTML = b"<html><body>Bad gateway</body></html>"
BAD_CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": "nothing"}]}
DRIP: list[Step] = [step for _ in range(200) for step in (word("a "), 0.05)]


OLLAMA = {
    "429": again(refusal(429), FINE),
    "429 with seconds": again(refusal(429, ("Retry-After", "0.2")), FINE),
    "429 with a date": again(refusal(429, ("Retry-After", formatdate(0, usegmt=True))), FINE),
    "429 with nonsense": again(refusal(429, ("Retry-After", "soon")), FINE),
    "429 for ever": lasting(refusal(429), "HTTP 429"),
    "429 beyond the deadline": at_once(refusal(429, ("Retry-After", "3600")), "wait 3600 s"),
    "408": again(refusal(408), FINE),
    "500": again(refusal(500), FINE),
    "500 for ever": lasting(refusal(500), "HTTP 500"),
    "502 with a page": again(refusal(502, body=HTML.decode()), FINE),
    "503 with seconds": again(refusal(503, ("Retry-After", "0")), FINE),
    "504": again(refusal(504), FINE),
    "529": again(refusal(529), FINE),
    "400": at_once(refusal(400), "HTTP 400"),
    "401": at_once(refusal(401), "Check OLLAMA_API_KEY"),
    "403": at_once(refusal(403), "HTTP 403"),
    "404, no such model": at_once(refusal(404), "`ollama pull m`"),
    "413": at_once(refusal(413), "shorten the prompt"),
    "silence before the first byte": at_once(
        [HANG], "idle timeout", error=ModelTimeout, idle_timeout=0.2
    ),
    "silence after the headers": at_once(
        stream(HANG), "idle timeout", error=ModelTimeout, idle_timeout=0.2
    ),
    "silence inside the stream": at_once(
        stream(word("a"), HANG), "idle timeout", error=ModelTimeout, idle_timeout=0.2
    ),
    "a drip that never ends": at_once(
        stream(*DRIP, ends=False), "no answer within 0.5 s", error=ModelTimeout, timeout=0.5
    ),
    "a drip that ends": {
        "replies": [stream(word("fi"), 0.1, word("ne"), 0.1, done())],
        "answer": "fine",
        "calls": 1,
        "tokens": TOKENS,
        "idle_timeout": 2.0,
    },
    "a reset before the answer": again([RESET], FINE),
    "a reset inside the answer": again([*stream(word("fi"), ends=False), RESET], FINE),
    "closed without an answer": again([CLOSE], FINE),
    "closed inside the answer": again([*stream(word("fi"), ends=False), CLOSE], FINE),
    "cut inside a line": again(stream(word("fi"), word("ne")[:20]), FINE),
    "no `done`": again(stream(word("fi"), word("ne")), FINE),
    "no `done`, for ever": lasting(stream(word("fi")), "ended without `done`"),
    "an empty body": again(whole(200, b""), FINE),
    "a page instead of JSON": again(whole(200, HTML), FINE),
    "a page, for ever": lasting(whole(200, HTML), "not Ollama's NDJSON"),
    "garbage between two lines": again(stream(word("fi"), b"%%%\n", word("ne"), done()), FINE),
    "a list instead of an object": again(stream(b"[1, 2]\n"), FINE),
    "invalid UTF-8": again(stream(b'{"message": {"content": "\xff\xfe"}}\n'), FINE),
    "an error inside the stream": again(stream(word("fi"), b'{"error": "out of memory"}\n'), FINE),
    "an error inside, for ever": lasting(stream(b'{"error": "out of memory"}\n'), "out of memory"),
    "a broken tool call": again(stream(line(message=BAD_CALL), done()), FINE),
    "not HTTP at all": again([b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE], FINE),
    "compressed, it says": again(
        [head(200, ("Content-Encoding", "gzip"), ("Content-Length", len(HTML))), HTML], FINE
    ),
    "shorter than its length": again(
        [head(200, ("Content-Length", "9999")), word("fi"), CLOSE], FINE
    ),
    "longer than its length": again(
        [head(200, ("Content-Length", "20")), word("fi"), done()], FINE
    ),
    "sent in circles": at_once(refusal(307, ("Location", "/api/chat")), "elsewhere"),
    "an empty answer": {
        "replies": [stream(done())],
        "answer": "",
        "calls": 1,
        "tokens": TOKENS,
    },
    "a huge line": {
        "replies": [stream(word("x" * 3_000_000), done())],
        "answer": "x" * 3_000_000,
        "calls": 1,
        "tokens": TOKENS,
    },
    "negative counts": {
        "replies": [stream(word("fine"), done(prompt_eval_count=-3, eval_count=-1))],
        "answer": "fine",
        "calls": 1,
    },
    "no counts": {
        "replies": [stream(word("fine"), done(prompt_eval_count=None, eval_count=None))],
        "answer": "fine",
        "calls": 1,
    },
}


@pytest.mark.parametrize("case", [Case(**case) for case in OLLAMA.values()], ids=OLLAMA.keys())
async def test_an_ollama_that_misbehaves(case: Case) -> None:
    with Wire(case.replies) as wire:
        models = Models(
            ollama_host=wire.url,
            embedded=False,
            retry=RETRY,
            idle_timeout=case.idle_timeout,
            timeout=case.timeout,
        )
        await run(case, models, "ollama:m", wire)


async def test_an_endpoint_that_is_gone_is_asked_nothing() -> None:
    with Wire([FINE]) as wire:
        models = Models(ollama_host=wire.url, embedded=False, retry=RETRY)
        await models.resolve("ollama:m")  # it was there
    case = Case(replies=[], error=ModelUnavailable, words="cannot connect", calls=0)
    await run(case, models, "ollama:m", wire)


async def test_a_call_waits_as_long_as_it_is_asked_to() -> None:
    meter = Meter()
    with Wire([refusal(429, ("Retry-After", "0.3")), FINE]) as wire:
        models = Models(ollama_host=wire.url, embedded=False, retry=RETRY)
        await models.ask("ollama:m", [HumanMessage("Well?")], config={"callbacks": [meter]})
        await models.aclose()
    assert meter.total().seconds_waited >= 0.3


# ---- OpenAI's and Google's protocols, read by their own libraries ----


def event(body: object) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"data: {text}\r\n\r\n".encode()


def piece(text: str, finish: str | None = None, **usage: int) -> bytes:
    """Of OpenAI's stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    shape = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return event({**shape, "choices": [choice], **({"usage": usage} if usage else {})})


COUNTS = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
OPENAI_FINE = stream(piece("fi"), piece("ne", "stop", **COUNTS), event("[DONE]"))

OPENAI = {
    "429 with seconds": again(refusal(429, ("Retry-After", "0.1")), OPENAI_FINE),
    "429 for ever": lasting(refusal(429), "HTTP 429"),
    "500": again(refusal(500), OPENAI_FINE),
    "503 for ever": lasting(refusal(503), "HTTP 503"),
    "400": at_once(refusal(400), "HTTP 400"),
    "401": at_once(refusal(401), "Check OPENAI_API_KEY"),
    "404, no such model": at_once(refusal(404), "Check the model's name"),
    "silence before the first byte": at_once(
        [HANG], "idle timeout", error=ModelTimeout, idle_timeout=0.3
    ),
    "silence inside the stream": at_once(
        stream(piece("a"), HANG), "idle timeout", error=ModelTimeout, idle_timeout=0.3
    ),
    "a drip that never ends": at_once(
        stream(*(step for _ in range(200) for step in (piece("a "), 0.05)), ends=False),
        "no answer within 0.8 s",
        error=ModelTimeout,
        timeout=0.8,
    ),
    "a reset before the answer": again([RESET], OPENAI_FINE),
    "a reset inside the answer": again([*stream(piece("fi"), ends=False), RESET], OPENAI_FINE),
    "cut without an end": again(stream(piece("fi")), OPENAI_FINE),
    "garbage in the stream": again(stream(piece("fi"), event("%%%")), OPENAI_FINE),
    "a page instead of a stream": again(
        whole(200, HTML, ("Content-Type", "text/html")), OPENAI_FINE
    ),
    "an error inside the stream": again(
        stream(piece("fi"), event({"error": {"message": "overloaded"}})), OPENAI_FINE
    ),
    "no counts": {
        "replies": [stream(piece("fine", "stop"), event("[DONE]"))],
        "answer": "fine",
        "calls": 1,
    },
}


def part(text: str, finish: str | None = None, **usage: int) -> bytes:
    """Of Google's stream."""
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    ending = {"finishReason": finish} if finish else {}
    counts = {"usageMetadata": usage} if usage else {}
    return event({"candidates": [{**candidate, **ending}], "modelVersion": "m", **counts})


GOOGLE_COUNTS = {
    "promptTokenCount": TOKENS[0],
    "candidatesTokenCount": TOKENS[1],
    "totalTokenCount": sum(TOKENS),
}
GOOGLE_FINE = stream(part("fi"), part("ne", "STOP", **GOOGLE_COUNTS))


def google(status: int, *details: dict[str, Any]) -> list[Step]:
    error = {"code": status, "message": "scripted", "status": "SCRIPTED", "details": details}
    return whole(status, json.dumps({"error": error}), ("Content-Type", "application/json"))


GOOGLE = {
    "429 with seconds in its body": again(
        google(429, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.1s"}),
        GOOGLE_FINE,
    ),
    "429 beyond the deadline": at_once(google(429, {"retryDelay": "3600s"}), "wait 3600 s"),
    "500": again(google(500), GOOGLE_FINE),
    "503 for ever": lasting(google(503), "HTTP 503"),
    "400": at_once(google(400), "HTTP 400"),
    "403": at_once(google(403), "Check GOOGLE_API_KEY"),
    "404, no such model": at_once(google(404), "Check the model's name"),
    "silence before the first byte": at_once(
        [HANG], "idle timeout", error=ModelTimeout, idle_timeout=0.3
    ),
    "silence inside the stream": at_once(
        stream(part("a"), HANG), "idle timeout", error=ModelTimeout, idle_timeout=0.3
    ),
    "a reset before the answer": again([RESET], GOOGLE_FINE),
    "a reset inside the answer": again([*stream(part("fi"), ends=False), RESET], GOOGLE_FINE),
    "cut without an end": again(stream(part("fi")), GOOGLE_FINE),
    "garbage in the stream": again(stream(part("fi"), event("%%%")), GOOGLE_FINE),
}


async def test_an_error_whose_body_has_no_end_is_told_by_its_beginning() -> None:
    with Wire([[head(400), b"y" * 20_000, HANG]]) as wire:
        models = Models(ollama_host=wire.url, embedded=False, retry=RETRY, idle_timeout=60.0)
        with pytest.raises(ModelResponseError, match=r"HTTP 400: y{400}\. ") as caught:
            async with asyncio.timeout(DEADLINE):
                await models.ask("ollama:m", [HumanMessage("Well?")])
        assert len(str(caught.value)) < 1_000
        await models.aclose()


@pytest.mark.parametrize("provider", ["openai", "google_genai"])
async def test_another_provider_that_is_gone_is_asked_nothing(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "scripted")
    monkeypatch.setenv("GOOGLE_API_KEY", "scripted")
    with Wire([FINE]) as wire:
        pass
    case = Case(replies=[], error=ModelUnavailable, words="cannot connect", calls=0)
    await run(case, other(case, provider, wire.url), f"{provider}:m", wire)


@pytest.mark.parametrize("case", [Case(**case) for case in OPENAI.values()], ids=OPENAI.keys())
async def test_an_openai_that_misbehaves(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "scripted")
    with Wire(case.replies) as wire:
        await run(case, other(case, "openai", f"{wire.url}/v1"), "openai:m", wire)


@pytest.mark.parametrize("case", [Case(**case) for case in GOOGLE.values()], ids=GOOGLE.keys())
async def test_a_google_that_misbehaves(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "scripted")
    with Wire(case.replies) as wire:
        await run(case, other(case, "google_genai", wire.url), "google_genai:m", wire)


def other(case: Case, provider: str, url: str) -> Models:
    limits = ProviderSettings(base_url=url, timeout=case.timeout, idle_timeout=case.idle_timeout)
    return Models(embedded=False, retry=RETRY, providers={provider: limits})

"""The embedded model for real: its endpoint through ChatOllama, and its process."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

from ucop.agents import AgentSpec, Registry, run_alone
from ucop.agents.embedded import EMBEDDED_MODEL, EmbeddedModel
from ucop.agents.errors import ModelResponseError
from ucop.agents.models.meter import Meter
from ucop.agents.models.models import Models
from ucop.agents.models.provider import ModelUse
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.spec import Options
from ucop.engine.stores.memory import JobStore

pytestmark = pytest.mark.model

SHORT = {"num_predict": 8, "temperature": 0, "seed": 1}
NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedModel]:
    model = EmbeddedModel()
    yield model
    model.close()


@pytest.fixture
async def models(embedded: EmbeddedModel) -> AsyncIterator[Models]:
    one = Models(ollama_host=NOBODY, embedded=embedded)
    yield one
    await one.aclose()


def says(words: str) -> list[Any]:
    return [HumanMessage(words)]


def exchange(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    text = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(method, path, text, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    try:
        return response.status, json.loads(answer)
    except ValueError:
        return response.status, answer.decode()


def chat(url: str, words: str, **more: Any) -> tuple[int, Any]:
    message = {"role": "user", "content": words}
    body = {"model": EMBEDDED_MODEL, "messages": [message], "stream": False, "options": SHORT}
    return exchange(url, "POST", "/api/chat", {**body, **more})


# Answers


async def test_where_no_ollama_answers_the_embedded_model_stands_in_and_says_so(
    embedded: EmbeddedModel,
) -> None:
    used: list[ModelUse] = []
    models = Models(ollama_host=NOBODY, embedded=embedded, on_use=used.append)
    answer = await models.ask(None, says("Say hello."), options=SHORT)
    await models.aclose()
    assert str(answer.content).strip()
    [use] = used
    assert (use.asked, use.name, use.embedded) == ("default", "embedded:smollm2:135m", True)
    assert "small model" in use.note
    assert "no Ollama answers" in use.note


async def test_an_answer_streams_and_its_tokens_are_counted(models: Models) -> None:
    meter = Meter()
    model = await models.chat("embedded", options={**SHORT, "num_predict": 20})
    config: Any = {"callbacks": [meter]}
    pieces = [piece async for piece in model.astream("Tell me about the sea.", config)]
    assert len([piece for piece in pieces if piece.content]) > 5
    usage = meter.total()
    assert usage.model_calls == 1
    assert 1 <= usage.tokens_out <= 20
    assert usage.tokens_in > 5
    assert usage.models == ("embedded:smollm2:135m",)


async def test_a_schema_is_honoured(models: Models) -> None:
    schema = {
        "type": "object",
        "properties": {
            "colour": {"enum": ["teal", "ochre"]},
            "words": {
                "type": "array",
                "items": {"type": "string", "maxLength": 12},
                "minItems": 2,
                "maxItems": 2,
            },
            "score": {"type": "integer", "minimum": 3, "maximum": 5},
        },
        "required": ["colour", "words", "score"],
    }
    answer = await models.ask(
        "embedded", says("Choose."), options={"num_predict": 120, "seed": 2}, schema=schema
    )
    value = json.loads(str(answer.content))
    assert value["colour"] in {"teal", "ochre"}
    assert [len(word) <= 12 for word in value["words"]] == [True, True]
    assert value["score"] in {3, 4, 5}


async def test_json_mode_gives_json(embedded: EmbeddedModel) -> None:
    url = await embedded.endpoint()
    status, answer = await asyncio.to_thread(
        chat, url, "A person as JSON.", format="json", options={"num_predict": 200, "seed": 1}
    )
    assert status == 200
    if answer["done_reason"] == "stop":
        json.loads(answer["message"]["content"])
    assert answer["message"]["content"].lstrip().startswith("{")


async def test_the_same_seed_gives_the_same_answer_and_stop_ends_it(models: Models) -> None:
    options = {"num_predict": 24, "seed": 5, "temperature": 0.9}
    question = says("Write about rivers.")
    first = str((await models.ask("embedded", question, options=options)).content)
    again = str((await models.ask("embedded", question, options=options)).content)
    other = str((await models.ask("embedded", question, options={**options, "seed": 6})).content)
    assert first == again
    assert first != other
    stop = first.split()[3]
    short = await models.ask("embedded", question, options={**options, "stop": [stop]})
    assert str(short.content) == first[: first.index(stop)]
    assert short.response_metadata["done_reason"] == "stop"


async def test_a_tool_is_called_and_its_result_is_put_into_words(models: Models) -> None:
    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    options = {"num_predict": 60, "seed": 1}
    model = (await models.chat("embedded", options=options)).bind_tools([weather])
    messages = says("What is the weather in Paris?")
    asked = await model.ainvoke(messages)
    [call] = asked.tool_calls
    assert call["name"] == "weather"
    assert isinstance(call["args"]["city"], str)
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    answer = await model.ainvoke([*messages, asked, result])
    assert str(answer.content).strip()
    assert not answer.tool_calls


async def test_requests_at_once_wait_for_their_turn(embedded: EmbeddedModel) -> None:
    url = await embedded.endpoint()
    answers = await asyncio.gather(
        *(asyncio.to_thread(chat, url, f"Say {word}.") for word in ("a", "b", "c", "d", "e", "f"))
    )
    assert [status for status, _ in answers] == [200] * 6


async def test_waiting_for_the_model_is_not_taken_for_silence(embedded: EmbeddedModel) -> None:
    """A second client's stream gets empty pieces while the first has the model."""
    url = await embedded.endpoint()
    body = {"model": EMBEDDED_MODEL, "messages": [{"role": "user", "content": "Count."}]}
    long = {**body, "options": {"num_predict": 600, "temperature": 1.5, "seed": 1}, "format": LONG}
    async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(6.5)) as client:
        async with client.stream("POST", f"{url}/api/chat", json=long) as first:
            told = first.aiter_lines()  # held: a dropped iterator would hang up
            await anext(told)
            async with client.stream("POST", f"{url}/api/chat", json=body) as second:
                line = json.loads(await anext(second.aiter_lines()))
    assert line["message"]["content"] == ""
    assert line["done"] is False


LONG = {"type": "array", "items": {"enum": ["one", "two"]}, "minItems": 200}
"""An answer that cannot end early."""


@pytest.mark.parametrize("words", [5, 1500], ids=["in the stream", "before the first token"])
async def test_a_cancelled_call_frees_the_model(
    models: Models, embedded: EmbeddedModel, words: int
) -> None:
    await short_call(embedded)  # the model is loaded
    before = await short_call(embedded)
    call = asyncio.create_task(
        models.ask("embedded", says("count " * words), options={"num_predict": 900}, schema=LONG)
    )
    await asyncio.sleep(1.0)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    freed = await short_call(embedded)
    idle = max(before, await short_call(embedded))
    assert freed < 25 * idle, "900 tokens take longer than that"


async def short_call(embedded: EmbeddedModel) -> float:
    """Seconds that a short call takes."""
    began = time.monotonic()
    status, _ = await asyncio.to_thread(chat, await embedded.endpoint(), "Say hi.")
    assert status == 200
    return time.monotonic() - began


async def test_a_prompt_beyond_the_context_is_refused_with_its_length(models: Models) -> None:
    with pytest.raises(ModelResponseError, match=r"HTTP 400: the prompt has \d+ tokens") as caught:
        await models.ask("embedded", says("word " * 6000))
    assert "shorten the prompt" in str(caught.value)


# Routes


async def test_the_routes_of_an_ollama_are_there(embedded: EmbeddedModel) -> None:
    url = await embedded.endpoint()
    assert exchange(url, "GET", "/") == (200, "Ollama is running")
    assert exchange(url, "HEAD", "/")[0] == 200
    assert exchange(url, "GET", "/api/version")[0] == 200
    for path in ("/api/tags", "/api/ps"):
        status, answer = exchange(url, "GET", path)
        assert [model["name"] for model in answer["models"]] == [EMBEDDED_MODEL]
    status, answer = exchange(url, "POST", "/api/show", {"model": EMBEDDED_MODEL})
    assert "tools" in answer["capabilities"]
    asked = {"model": EMBEDDED_MODEL, "prompt": "Hi.", "stream": False, "options": SHORT}
    status, answer = exchange(url, "POST", "/api/generate", asked)
    assert status == 200
    assert answer["response"]


async def test_texts_of_any_length_are_embedded_and_likeness_shows(embedded: EmbeddedModel) -> None:
    texts = ["The cat sleeps on the sofa.", "A cat is asleep on the couch.", "Tax law, 1986."]
    asked = {"model": EMBEDDED_MODEL, "input": [*texts, "word " * 300, ""]}
    status, answer = exchange(await embedded.endpoint(), "POST", "/api/embed", asked)
    assert status == 200
    vectors = answer["embeddings"]
    assert [round(sum(x * x for x in vector), 3) for vector in vectors] == [1.0] * 5
    assert answer["prompt_eval_count"] > 300

    def likeness(a: int, b: int) -> float:
        return float(sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True)))

    assert likeness(0, 1) > likeness(0, 2)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/api/chat", "not json", {}, 400),
        ("POST", "/api/chat", "[]", {}, 400),
        ("POST", "/api/chat", {"model": "other", "messages": []}, {}, 404),
        ("POST", "/api/chat", {"model": EMBEDDED_MODEL}, {}, 400),
        ("POST", "/api/chat", None, {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/api/chat", None, {"Content-Length": "99999999999"}, 413),
        ("POST", "/api/embed", {"model": EMBEDDED_MODEL, "input": 5}, {}, 400),
        ("GET", "/api/other", None, {}, 404),
        ("GET", "/api/tags", None, {"Host": "evil.example"}, 403),
    ],
)
async def test_a_bad_request_is_answered_with_its_reason(
    embedded: EmbeddedModel, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    url = await embedded.endpoint()
    answered, answer = await asyncio.to_thread(exchange, url, method, path, body, **headers)
    assert answered == status
    assert answer["error"]


async def test_a_schema_that_is_none_is_refused_by_the_grammar(embedded: EmbeddedModel) -> None:
    url = await embedded.endpoint()
    status, answer = await asyncio.to_thread(chat, url, "Hi.", format={"type": "strin"})
    assert status == 400
    assert "strin" in answer["error"]


# The process


def alive(pid: int) -> bool:
    """There, and no zombie. Read here, because a bare Debian has no `ps`."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pid: int, within: float = 3.0) -> bool:
    until = time.monotonic() + within
    while alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


OWNER = """
import os, sys, time
from ucop.agents.embedded import EmbeddedModel
model = EmbeddedModel()
model.start()
print(model._process.pid, flush=True)
{then}
time.sleep(60)
"""


def own(then: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """A process that owns a model, and the numbers it printed: its child's first."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(then=then)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    lines = 1 if not then else 2
    return owner, [int(owner.stdout.readline()) for _ in range(lines)]


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()


def test_the_model_leaves_with_an_owner_that_is_killed() -> None:
    owner, [child] = own()
    owner.send_signal(signal.SIGKILL)
    assert gone(child)
    end(owner)


def test_a_forked_child_does_not_keep_the_model_alive() -> None:
    owner, [child, forked] = own(
        "fork = os.fork()\nif fork:\n    print(fork, flush=True)\nelse:\n    time.sleep(60)"
    )
    owner.send_signal(signal.SIGKILL)
    try:
        assert gone(child)
        assert alive(forked)
    finally:
        os.kill(forked, signal.SIGKILL)
        end(owner)


def test_a_forked_child_has_a_model_of_its_own() -> None:
    then = """
fork = os.fork()
if fork == 0:
    print(model._process is None and model.start() and model._process.pid, flush=True)
    model.close()
    os._exit(0)
os.waitpid(fork, 0)
assert model._process.poll() is None
"""
    owner, [child, other] = own(then)
    assert child != other
    assert gone(other)
    assert alive(child)
    end(owner)
    assert gone(child)


async def test_a_model_that_dies_in_the_middle_is_started_again() -> None:
    models = Models(ollama_host=NOBODY, embedded=(embedded := EmbeddedModel()))
    call = asyncio.create_task(
        models.ask("embedded", says("Count."), options={"num_predict": 300, "seed": 1})
    )
    await embedded.endpoint()
    await asyncio.sleep(0.5)
    assert embedded._process is not None
    first = embedded._process.pid
    os.kill(first, signal.SIGKILL)
    assert str((await call).content).strip()
    assert embedded._process.pid != first
    await models.aclose()
    embedded.close()
    assert embedded._process is None


def test_a_closed_model_leaves_no_process() -> None:
    model = EmbeddedModel()
    model.start()
    assert model._process is not None
    pid = model._process.pid
    model.close()
    assert gone(pid, within=0.1)


def test_serving_in_the_foreground_ends_cleanly_with_ctrl_c_in_the_middle_of_an_answer() -> None:
    code = "from ucop.agents.embedded.server import serve; serve(); print('left')"
    served = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    url = served.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert chat(url, "Say hi.")[0] == 200
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    messages = [{"role": "user", "content": "Count."}]
    body = {"model": EMBEDDED_MODEL, "messages": messages, "format": LONG}
    client.request("POST", "/api/chat", json.dumps(body))
    assert client.getresponse().readline()
    served.send_signal(signal.SIGINT)
    out, err = served.communicate(timeout=60)
    client.close()
    assert (served.returncode, out, err) == (0, "left\n", "")


async def test_an_agent_with_tools_calls_one_and_answers_in_its_form(
    models: Models, tmp_path: Path
) -> None:
    words: list[str] = []

    @tool
    def count_words(text: str) -> int:
        """Count the words of a text."""
        words.append(text)
        return len(text.split())

    spec = AgentSpec(
        name="counter",
        prompt="How many words are in: green tea is made from leaves",
        tools=["count_words"],
        output={"words": "integer"},
        options=Options(num_predict=60, temperature=0, seed=1),
    )
    found = Registry.of(spec_agent(spec, "test"), count_words).get("counter")
    ran = await run_alone(found, {}, models=models, folder=tmp_path)
    assert isinstance(ran.output["words"], int)
    assert len(words) == 1
    assert ran.usage.model_calls >= 2
    assert ran.usage.tokens_out > 0


async def test_the_embedded_model_makes_the_vectors_of_a_memory(
    models: Models, tmp_path: Path
) -> None:
    store = JobStore(f"sqlite:///{tmp_path}/memory.db", models)
    try:
        memory = store.memory("p", None).shared
        await memory.aput("bees", "Bees make honey from the nectar of flowers.")
        await memory.aput("law", "The court dismissed the appeal on procedural grounds.")
        await memory.aput("long", "tea " * 150)
        found = await memory.asearch("Bees make honey from nectar.", limit=3)
        assert found[0].key == "bees"
        assert {one.key for one in found} == {"bees", "law", "long"}
        assert all(one.score is not None and -1.001 <= one.score <= 1.001 for one in found)
    finally:
        await store.aclose()

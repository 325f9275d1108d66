"""One call of an agent: what the model is sent, repairs, functions, and clear errors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from ucop.agents import (
    AgentContext,
    AgentInputError,
    AgentOutputError,
    AgentSpec,
    Models,
    agent,
    call,
    run_alone,
)
from ucop.agents.errors import MemoryUnavailable
from ucop.agents.run.function_agent import in_thread
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.function import agent_of


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama() as one:
        yield one


@pytest.fixture
async def context(ollama: ScriptedOllama, tmp_path: Path) -> AsyncIterator[AgentContext]:
    models = Models(ollama_host=ollama.url, embedded=False)
    yield AgentContext(job_id="job-1", node="write", key="job-1/t1", models=models, folder=tmp_path)
    await models.aclose()


def script(ollama: ScriptedOllama, *replies: scripted.Reply) -> None:
    ollama._replies = replies


async def ask(context: AgentContext, data: dict[str, Any] | None = None, **spec: Any) -> Any:
    made = AgentSpec.model_validate({"name": "writer", "prompt": "Write.", **spec})
    return await call(spec_agent(made, "test"), data or {}, context=context)


def sent(ollama: ScriptedOllama, number: int = -1) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in ollama.requests[number]["messages"]]


# What the model is sent


async def test_the_model_is_sent_system_examples_and_question(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.answer({"n": 3}))
    value = await ask(
        context,
        {"topic": "tea"},
        system="Count for ${who}.",
        prompt="Topic: ${topic} ${list}",
        input={
            "topic": "string",
            "who": {"type": "string", "default": "me"},
            "list": {"type": "array", "default": [1, "ü"]},
        },
        output={"n": "integer"},
        examples=[{"input": {"topic": "milk", "list": []}, "output": {"n": 1}}],
        options={"temperature": 0.1, "seed": 3, "num_predict": 50, "stop": "#"},
    )
    assert value == {"n": 3}
    assert sent(ollama) == [
        ("system", "Count for me."),
        ("user", "Topic: milk []"),
        ("assistant", '{"n": 1}'),
        ("user", 'Topic: tea [1, "ü"]'),
    ]
    request = ollama.requests[0]
    assert request["format"]["properties"] == {"n": {"type": "integer"}}
    options = request["options"]
    assert {k: options[k] for k in ("temperature", "seed", "num_predict", "stop")} == {
        "temperature": 0.1,
        "seed": 3,
        "num_predict": 50,
        "stop": ["#"],
    }


async def test_text_from_an_input_is_never_read_as_a_template(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    evil = "${secret} {0} {{x}} $${y} %s"
    await ask(
        context,
        {"topic": evil, "secret": "s"},
        prompt="About ${topic}",
        input={"topic": "string", "secret": "string"},
    )
    assert sent(ollama) == [("user", f"About {evil}")]


async def test_an_enum_that_refers_to_an_input_holds_the_model_to_it(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.answer({"fact": "Three."}), scripted.answer({"fact": "Two."}))
    value = await ask(
        context,
        {"sentences": ["One.", "Two."]},
        input={"sentences": {"type": "array", "items": "string"}},
        output={"fact": {"type": "string", "enum": "${sentences}"}},
    )
    assert value == {"fact": "Two."}
    assert ollama.requests[0]["format"]["properties"]["fact"]["enum"] == ["One.", "Two."]


async def test_the_model_of_the_spec_is_asked(context: AgentContext) -> None:
    with pytest.raises(Exception, match="no model alias 'nobody'"):
        await ask(context, model="nobody")


# Answers that do not fit


async def test_a_bad_answer_goes_back_with_what_was_wrong(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(
        ollama, scripted.text("not JSON"), scripted.answer({"n": "x"}), scripted.answer({"n": 1})
    )
    assert await ask(context, output={"n": "integer"}, options={"seed": 5}) == {"n": 1}
    assert ollama.calls == 3
    roles = [role for role, _ in sent(ollama)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert sent(ollama)[1] == ("assistant", "not JSON")
    assert "not JSON" in sent(ollama)[2][1]
    assert "n: must be a whole number" in sent(ollama)[4][1]
    assert {request["options"]["seed"] for request in ollama.requests} == {5}


async def test_reseeding_asks_the_same_again_with_other_chances(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.text("no"))
    with pytest.raises(AgentOutputError):
        await ask(
            context, output={"n": "integer"}, options={"seed": 5, "temperature": 0}, repair="reseed"
        )
    assert all(sent(ollama, i) == [("user", "Write.")] for i in range(3))
    chances = [(r["options"]["seed"], r["options"]["temperature"]) for r in ollama.requests]
    assert chances == [(5, 0.0), (6, 0.3), (7, 0.5)]


async def test_repairs_are_bounded_and_the_error_says_where_and_what(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.answer({"list": [1, "x"]}))
    with pytest.raises(AgentOutputError) as caught:
        await ask(context, output={"list": {"type": "array", "items": "integer"}}, repairs=1)
    assert ollama.calls == 2
    told = str(caught.value)
    assert "agent 'writer' in node 'write' of job job-1: 2 answers" in told
    assert 'list[1]: must be a whole number, not "x"' in told
    assert '{"list": [1, "x"]}' in told


async def test_no_repairs_means_one_question(ollama: ScriptedOllama, context: AgentContext) -> None:
    script(ollama, scripted.text("no"))
    with pytest.raises(AgentOutputError, match=r"1 answer of llama3.2 did not fit"):
        await ask(context, output={"n": "integer"}, repairs=0)
    assert ollama.calls == 1


@pytest.mark.parametrize("output", [None, {"n": "integer"}])
async def test_an_answer_that_was_cut_off_is_no_answer(
    ollama: ScriptedOllama, context: AgentContext, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_core.messages import AIMessage

    async def cut(*args: Any, **more: Any) -> AIMessage:
        return AIMessage('{"n": 1}', response_metadata={"done_reason": "length"})

    # The border to the model: what it says of how an answer ended.
    monkeypatch.setattr(Models, "ask", cut)
    with pytest.raises(AgentOutputError, match="cut off at `num_predict` tokens; raise it"):
        await ask(context, output=output)


async def test_an_agent_without_output_schema_gives_text_that_is_not_empty(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.text(" "), scripted.text(" Hello there. "))
    assert await ask(context) == "Hello there."
    assert "format" not in ollama.requests[0] or not ollama.requests[0]["format"]
    assert "the answer is empty" in sent(ollama)[-1][1]


async def test_json_in_a_fence_is_read(ollama: ScriptedOllama, context: AgentContext) -> None:
    script(ollama, scripted.text('```json\n{"n": 1}\n```'))
    assert await ask(context, output={"n": "integer"}) == {"n": 1}


@pytest.mark.parametrize("text", ['{"t": "\\u0000"}', '{"t": "\\ud800"}', '{"t": NaN}', "[" * 5000])
async def test_json_that_cannot_be_stored_is_refused(
    ollama: ScriptedOllama, context: AgentContext, text: str
) -> None:
    script(ollama, scripted.text(text))
    with pytest.raises(AgentOutputError):
        await ask(context, output={"t": {}}, repairs=0)


# Inputs


async def test_an_input_that_does_not_fit_is_refused_before_the_model_is_asked(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    with pytest.raises(AgentInputError) as caught:
        await ask(context, {"topik": 1}, prompt="${topic}", input={"topic": "string"})
    assert "'topic' is missing" in str(caught.value)
    assert "did you mean 'topic'" in str(caught.value)
    assert ollama.calls == 0


async def test_null_inside_a_prompt_is_a_clear_error(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    with pytest.raises(AgentInputError, match="topic is null, which cannot stand inside text"):
        await ask(context, {"topic": None}, prompt="On ${topic}", input={"topic": {}})
    assert ollama.calls == 0


# Functions


class Point(BaseModel):
    x: int
    day: date | None = None


@agent
def mover(point: Point, by: int = 1) -> Point:
    return Point(x=point.x + by, day=date(2026, 1, 2))


@agent
async def doubler(n: int) -> Any:
    await asyncio.sleep(0)
    return {"n": [n, n]}


async def run(function: Any, context: AgentContext, **data: Any) -> Any:
    found = agent_of(function)
    assert found is not None
    return await call(found, data, context=context)


async def test_a_function_gets_models_and_gives_json(context: AgentContext) -> None:
    assert await run(mover, context, point={"x": 1}) == {"x": 2, "day": "2026-01-02"}
    assert await run(doubler, context, n=2) == {"n": [2, 2]}


async def test_a_functions_input_is_checked(context: AgentContext) -> None:
    with pytest.raises(AgentInputError, match=r"point\.x: must be a whole number"):
        await run(mover, context, point={"x": "1"})
    with pytest.raises(AgentInputError, match=r"point\.day"):
        await run(mover, context, point={"x": 1, "day": "yesterday"})


async def test_a_functions_output_is_checked(context: AgentContext) -> None:
    @agent
    def liar() -> int:
        return "x"  # type: ignore[return-value]

    @agent
    def odd() -> Any:
        return object()

    with pytest.raises(AgentOutputError, match="the output of agent 'liar' in node 'write'"):
        await run(liar, context)
    with pytest.raises(AgentOutputError, match="the output of agent 'odd'"):
        await run(odd, context)


async def test_a_function_gets_the_context_and_raises_its_own_errors(context: AgentContext) -> None:
    @agent
    async def keyed(context: AgentContext) -> str:
        return context.key

    @agent
    def broken() -> int:
        raise KeyError("mine")

    assert await run(keyed, context) == "job-1/t1"
    with pytest.raises(KeyError, match="mine"):
        await run(broken, context)


async def test_sync_functions_run_beside_each_other_and_off_the_loop(context: AgentContext) -> None:
    together = threading.Barrier(20, timeout=30)

    @agent
    def waiter() -> str:
        together.wait()
        return threading.current_thread().name

    names = await asyncio.gather(*(run(waiter, context) for _ in range(20)))
    assert set(names) == {"ucop-agent"}


async def test_progress_is_told_on_the_loop_also_from_a_thread(context: AgentContext) -> None:
    told: list[tuple[str, asyncio.AbstractEventLoop]] = []

    def hear(text: str) -> None:
        told.append((text, asyncio.get_running_loop()))

    @agent
    def threaded(context: AgentContext) -> None:
        context.progress("half")
        context.progress("whole")

    await run(threaded, replace(context, progress=hear))
    assert told == [(text, asyncio.get_running_loop()) for text in ("half", "whole")]


async def test_a_cancelled_sync_function_is_left_behind_at_once() -> None:
    began, release, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def blocks() -> None:
        loop.call_soon_threadsafe(began.set)
        release.wait(30)
        ended.set()

    task = asyncio.create_task(in_thread(blocks))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    release.set()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_an_iterators_end_is_told_as_an_error() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_thread(lambda: next(iter(())))


async def test_cancelling_a_model_agent_hangs_up(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.hang(after=2))
    task = asyncio.create_task(ask(context))
    assert await asyncio.to_thread(ollama.until, lambda one: one.calls == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ollama.until, lambda one: one.hang_ups == 1)


async def test_without_a_script_the_answer_fits_any_schema(context: AgentContext) -> None:
    value = await ask(context, output={"a": {"type": "array", "minItems": 2, "items": "integer"}})
    assert len(value["a"]) >= 2
    json.dumps(value)


# Placeholders


TITLED: dict[str, Any] = {"output": {"title": "string", "text": "string"}}
UNFILLED = {"title": "Your title here", "text": "Tea is quiet."}


async def test_in_production_a_placeholder_goes_back_to_the_model(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    fine = {"title": "Tea", "text": "Tea is quiet."}
    script(ollama, scripted.answer(UNFILLED), scripted.answer(fine))
    assert await ask(replace(context, production=True), **TITLED) == fine
    said = sent(ollama)[-1][1]
    assert "title: “Your title here” was left to be filled in" in said


async def test_in_production_a_model_that_leaves_it_unfilled_fails_the_call(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, *[scripted.answer({"title": "Tea", "text": ""})] * 3)
    with pytest.raises(AgentOutputError, match="text: is required, and empty"):
        await ask(replace(context, production=True), repairs=2, **TITLED)
    assert ollama.calls == 3


async def test_in_production_an_input_of_the_prompt_is_known_as_a_field(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, *[scripted.answer("All about {topic}.")] * 3)
    with pytest.raises(AgentOutputError, match=r"“{topic}” was left"):
        await ask(replace(context, production=True), {"topic": "tea"}, input={"topic": "string"})


async def test_in_development_a_placeholder_passes(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.answer(UNFILLED))
    assert await ask(context, **TITLED) == UNFILLED


async def test_in_production_a_function_that_answers_a_placeholder_fails(
    context: AgentContext,
) -> None:
    @agent
    def letter(name: str) -> dict[str, Any]:
        return {"letters": [{"text": f"Dear {name}, yours, [Your Name]"}]}

    made = agent_of(letter)
    assert made is not None
    strict = replace(context, production=True)
    with pytest.raises(AgentOutputError, match=r"letters\[0\]\.text: “\[Your Name\]” was left"):
        await call(made, {"name": "Ada"}, context=strict)
    assert await call(made, {"name": "Ada"}, context=context)


async def test_in_production_a_function_may_pass_on_what_it_was_given_or_say_nothing(
    context: AgentContext,
) -> None:
    @agent
    def same(text: str) -> dict[str, str]:
        return {"text": text, "remark": ""}

    made = agent_of(same)
    assert made is not None
    data = {"text": "Dear [Your Name], TODO"}
    answer = await call(made, data, context=replace(context, production=True))
    assert answer == {**data, "remark": ""}


# What `context` gives


async def test_context_gives_async_functions_a_model_with_retries(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.status(503, retry_after=0), scripted.answer({"n": 2}))

    @agent
    async def asks(context: AgentContext) -> dict[str, int]:
        chat = context.model(options={"seed": 5}, schema={"type": "object"})
        said = await chat.ainvoke("How many?")
        found: dict[str, int] = json.loads(said.text)
        return found

    assert await call(agent_of(asks), {}, context=context) == {"n": 2}  # type: ignore[arg-type]
    assert ollama.calls == 2
    assert ollama.requests[0]["options"]["seed"] == 5
    assert ollama.requests[0]["format"] == {"type": "object"}


async def test_context_gives_sync_functions_a_model_that_is_metered(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    script(ollama, scripted.text("two words", tokens=(3, 2)))

    @agent
    def asks(context: AgentContext) -> str:
        return str(context.model("default").invoke("How many?").text)

    ran = await run_alone(agent_of(asks), {}, models=context.models)  # type: ignore[arg-type]
    assert ran.output == "two words"
    assert (ran.usage.model_calls, ran.usage.tokens_in, ran.usage.tokens_out) == (1, 3, 2)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_context_tells_the_job_the_key_and_the_agents_own_logger(
    context: AgentContext, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def work(context: AgentContext) -> list[str]:
        context.progress("half done")
        context.logger.warning("careful")
        return [context.job_id, context.node, context.key, context.folder.name]

    async def later(context: AgentContext) -> list[str]:
        return work(context)

    made = agent("worker")(work if kind == "sync" else later)
    listening = replace(context, progress=told.append)
    found = await call(agent_of(made), {}, context=listening)  # type: ignore[arg-type]
    assert found == ["job-1", "write", "job-1/t1", context.folder.name]
    await asyncio.sleep(0)
    assert told == ["half done"]
    assert [(r.name, r.message) for r in caplog.records] == [("ucop.agent.worker", "careful")]


async def test_memory_without_a_job_says_that_there_is_none(context: AgentContext) -> None:
    @agent
    def sync(context: AgentContext) -> None:
        context.memory.put("a", "b")

    @agent
    async def later(context: AgentContext) -> None:
        await context.memory.shared.aget("a")

    for made in (sync, later):
        with pytest.raises(MemoryUnavailable, match="Run the agent in a workflow"):
            await call(agent_of(made), {}, context=context)  # type: ignore[arg-type]

"""Agents that ask: functions by `context.ask`, prompts by the choice in their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.ollama import ScriptedOllama, answer
from ucop.agents import AgentContext, AgentOutputError, Models, agent
from ucop.agents.errors import NobodyToAsk
from ucop.agents.run.answered import Answered
from ucop.agents.run.asking import asking_schema, consult
from ucop.agents.run.run import call
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.function import agent_of
from ucop.agents.spec.spec import AgentSpec
from ucop.agents.text.validation import validate


class Topic(BaseModel):
    word: str


@agent
def curious(context: AgentContext, topic: Topic | None = None) -> str:
    """Asks twice, and catches every exception."""
    try:
        first = context.ask("research", {"topic": topic})
        again = context.ask("research", {"topic": topic})
    except Exception:
        return "caught"
    return f"{first}, {again}"


@agent(asks=["research"])
async def strict(context: AgentContext) -> Any:
    return context.ask("magic")


def context(models: Models | None = None) -> AgentContext:
    return AgentContext(
        job_id="j", node="n", key="k", models=models or Models(embedded=False), folder=Path()
    )


async def asked(function: Any, *answered: Answered, **data: Any) -> dict[str, Any]:
    found = agent_of(function)
    assert found is not None
    return await consult(found, data, context=context(), answered=answered, asks={})


async def test_a_function_asks_and_is_called_again_with_the_answer() -> None:
    said = await asked(curious, topic={"word": "tea"})
    assert said == {"ask": {"capability": "research", "data": {"topic": {"word": "tea"}}}}
    known = Answered(answer="notes", **said["ask"])
    # The same question is asked once.
    assert await asked(curious, known, topic={"word": "tea"}) == {"answer": "notes, notes"}
    assert "ask" in await asked(curious, known, topic={"word": "milk"})


async def test_a_function_that_declares_what_it_asks_for_asks_for_nothing_else() -> None:
    with pytest.raises(AgentOutputError, match=r"'magic', and declares only asks=\['research'\]"):
        await asked(strict)


async def test_outside_a_mesh_there_is_nobody_to_ask() -> None:
    found = agent_of(strict)
    assert found is not None
    with pytest.raises(NobodyToAsk, match="is not called in a mesh"):
        await call(found, {}, context=context())


PLACE = {
    "type": "object",
    "properties": {"at": {"$ref": "#/$defs/At"}},
    "$defs": {"At": {"type": "integer"}},
}


def test_a_choice_keeps_each_schema_and_what_its_references_lead_to() -> None:
    schema = asking_schema(PLACE, {"research": PLACE, "check": {"type": "object"}})
    fits: list[dict[str, Any]] = [
        {"answer": {"at": 1}},
        {"ask": {"capability": "research", "data": {"at": 2}}},
        {"ask": {"capability": "check", "data": {"anything": 1}}},
    ]
    unfit = [
        {"answer": {"at": "x"}},
        {"ask": {"capability": "research", "data": {"at": "x"}}},
        {"ask": {"capability": "magic", "data": {}}},
        {**fits[0], **fits[1]},
        {},
    ]
    assert [bool(validate(schema, value)) for value in (*fits, *unfit)] == [False] * 3 + [True] * 5


SPEC = AgentSpec.model_validate(
    {
        "name": "writer",
        "asks": ["research"],
        "system": "Write.",
        "prompt": "On ${topic}",
        "input": {"topic": "string"},
        "output": {"text": "string"},
        "examples": [{"input": {"topic": "milk"}, "output": {"text": "White."}}],
    }
)


async def test_a_prompt_chooses_between_an_answer_and_a_question_and_sees_what_came_back() -> None:
    question = {"ask": {"capability": "research", "data": {"topic": "tea"}}}
    replies = [answer(question), answer({"answer": {"text": "Green."}})]
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}}
    writer = spec_agent(SPEC, "here")
    with ScriptedOllama(replies) as endpoint:
        models = Models(ollama_host=endpoint.url, embedded=False)

        async def ask(*answered: Answered) -> dict[str, Any]:
            return await consult(
                writer,
                {"topic": "tea ${topic}"},
                context=context(models),
                answered=answered,
                asks={"research": schema},
            )

        first = await ask()
        assert first == question
        back = Answered(capability="research", data={"topic": "tea"}, answer="${system} leaves")
        assert await ask(back) == {"answer": {"text": "Green."}}
        one, two = endpoint.requests
        await models.aclose()
    system, example, shown, asked_first = [message["content"] for message in one["messages"]]
    assert system.startswith("Write.")
    assert "- research: data {topic}" in system
    assert (example, shown) == ("On milk", '{"answer": {"text": "White."}}')
    assert asked_first == "On tea ${topic}"
    # What came back is text, and never read as a template.
    last = two["messages"][-1]["content"]
    assert last.startswith("On tea ${topic}\n\nYou asked for research")
    assert last.endswith("${system} leaves")
    consts = [way["properties"].get("ask") for way in one["format"]["anyOf"]]
    assert [c and c["properties"]["capability"] for c in consts] == [None, {"const": "research"}]


async def test_a_prompt_that_asks_again_what_it_was_answered_is_told_so() -> None:
    question = {"ask": {"capability": "research", "data": {}}}
    known = Answered(capability="research", data={}, answer="Green.")
    with ScriptedOllama([answer(question), answer({"answer": {"text": "Green."}})]) as endpoint:
        models = Models(ollama_host=endpoint.url, embedded=False)
        said = await consult(
            spec_agent(SPEC, "here"),
            {"topic": "tea"},
            context=context(models),
            answered=[known],
            asks={},
        )
        await models.aclose()
        assert "was asked and answered already" in endpoint.requests[1]["messages"][-1]["content"]
    assert said == {"answer": {"text": "Green."}}


async def test_without_a_mesh_a_prompt_only_answers() -> None:
    with ScriptedOllama([answer({"text": "Green."})]) as endpoint:
        models = Models(ollama_host=endpoint.url, embedded=False)
        found = await call(spec_agent(SPEC, "here"), {"topic": "tea"}, context=context(models))
        await models.aclose()
    assert found == {"text": "Green."}

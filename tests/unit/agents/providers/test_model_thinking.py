"""Models that think: how they are told to, what of it is the answer, and what it may cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.support.ollama import Reply, ScriptedOllama, text
from ucop.agents.models.models import Models
from ucop.agents.providers.settings import ProviderSettings
from ucop.agents.providers.thinking import REASONING, ROOM
from ucop.agents.run.prompt import read_answer
from ucop.agents.spec.spec import AgentSpec

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
QUESTION = [HumanMessage("Well?")]


def models(ollama: ScriptedOllama, **settings: Any) -> Models:
    limits = {"ollama": ProviderSettings(**settings)}
    return Models(ollama_host=ollama.url, embedded=False, providers=limits)


async def asked(ollama: ScriptedOllama, options: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The request that was made."""
    asking = models(ollama, **settings)
    try:
        await asking.ask("ollama:llama3.2", QUESTION, options=options)
    finally:
        await asking.aclose()
    return ollama.requests[-1]


@pytest.mark.parametrize("think", [True, False, "low"])
async def test_an_agent_says_whether_its_model_thinks(think: bool | str) -> None:
    spec = AgentSpec.model_validate(
        {"name": "a", "prompt": "Well?", "options": {"think": think, "seed": 1}}
    )
    with ScriptedOllama() as ollama:
        request = await asked(ollama, spec.options.given())
    assert (request["think"], request["options"]) == (think, {"seed": 1})


async def test_settings_say_it_for_all_and_an_agent_overrides_them() -> None:
    with ScriptedOllama() as ollama:
        assert "think" not in await asked(ollama, {})
        assert (await asked(ollama, {}, think=False))["think"] is False
        assert (await asked(ollama, {"think": "high"}, think=False))["think"] == "high"


@pytest.mark.parametrize(
    ("pieces", "thinking"),
    [
        (("<th", "ink>Let me", " see.</thi", "nk>\n\n", '{"n"', ": 4}"), ()),
        (('{"n"', ": 4}"), ("Let me", " see.")),
    ],
)
async def test_reasoning_stands_beside_the_answer(
    pieces: tuple[str, ...], thinking: tuple[str, ...]
) -> None:
    with ScriptedOllama([Reply(pieces=pieces, thinking=thinking)]) as ollama:
        asking = models(ollama)
        answer = await asking.ask("ollama:llama3.2", QUESTION, schema=NUMBER)
        assert answer.additional_kwargs[REASONING] == "Let me see."
        assert read_answer(answer, NUMBER).value == {"n": 4}
        chat = await asking.chat("ollama:llama3.2")
        streamed = [piece async for piece in chat.astream("Well?")]
        assert json.loads("".join(piece.text for piece in streamed)) == {"n": 4}
        await asking.aclose()


async def test_a_short_answer_that_might_have_been_a_tag_comes_whole() -> None:
    with ScriptedOllama([Reply(pieces=("<thi",))]) as ollama:
        asking = models(ollama)
        assert (await asking.ask("ollama:llama3.2", QUESTION)).text == "<thi"
        chat = await asking.chat("ollama:llama3.2")
        assert "".join([piece.text async for piece in chat.astream("Well?")]) == "<thi"
        await asking.aclose()


async def test_a_thought_that_was_cut_off_is_no_answer() -> None:
    reply = text("<think>Let me see, and", done_reason="length")
    with ScriptedOllama([reply]) as ollama:
        asking = models(ollama)
        answer = await asking.ask("ollama:llama3.2", QUESTION, schema=NUMBER)
        await asking.aclose()
    (problem,) = read_answer(answer, NUMBER).problems
    assert "still thinking when `num_predict` tokens were used up" in str(problem)


async def test_thinking_has_room_beside_what_num_predict_leaves_the_answer() -> None:
    able = ("completion", "thinking")
    with ScriptedOllama(capabilities=able) as ollama:
        asking = models(ollama)
        for options, wanted in (
            ({"num_predict": 50}, 50 + ROOM),
            ({"num_predict": 50, "think": True}, 50 + ROOM),
            ({"num_predict": 50, "think": False}, 50),
            ({"num_predict": -1}, -1),
        ):
            await asking.ask("ollama:llama3.2", QUESTION, options=options)
            assert ollama.requests[-1]["options"]["num_predict"] == wanted
        assert ollama.paths.count("/api/show") == 1
        await asking.aclose()
    with ScriptedOllama() as ollama:
        request = await asked(ollama, {"num_predict": 50})
        assert request["options"]["num_predict"] == 50

"""An Ollama that loads a model is waited for; one that is silent is not."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from tests.support.ollama import ScriptedOllama, hang, text
from ucop.agents.errors import ModelTimeout
from ucop.agents.models.models import Models
from ucop.agents.providers.retry import Retry

MODEL = "llama3.2:latest"
QUESTION = [HumanMessage("Well?")]


def models(ollama: ScriptedOllama, timeout: float = 60.0) -> Models:
    return Models(
        ollama_host=ollama.url,
        embedded=False,
        timeout=timeout,
        idle_timeout=0.2,
        retry=Retry(tries=1),
    )


async def test_a_model_that_is_loaded_for_longer_than_the_idle_timeout_answers() -> None:
    with ScriptedOllama([text("Yes.", delay=1.0)]) as ollama:
        ollama.loading.add(MODEL)
        asking = models(ollama)
        assert (await asking.ask(f"ollama:{MODEL}", QUESTION)).text == "Yes."
        assert ollama.calls == 1
        await asking.aclose()


async def test_one_that_is_loaded_and_silent_does_not() -> None:
    with ScriptedOllama([hang()]) as ollama:
        asking = models(ollama)
        with pytest.raises(ModelTimeout, match="nothing came within the idle timeout"):
            await asking.ask(f"ollama:{MODEL}", QUESTION)
        assert ollama.until(lambda o: o.hang_ups == 1)
        await asking.aclose()


async def test_after_the_first_token_silence_counts_also_of_a_model_that_is_not_listed() -> None:
    with ScriptedOllama([hang(after=1)]) as ollama:
        ollama.loading.add(MODEL)
        asking = models(ollama)
        with pytest.raises(ModelTimeout, match="nothing came within the idle timeout"):
            await asking.ask(f"ollama:{MODEL}", QUESTION)
        await asking.aclose()


async def test_loading_without_end_is_bounded_by_the_time_of_the_call() -> None:
    with ScriptedOllama([hang()]) as ollama:
        ollama.loading.add(MODEL)
        asking = models(ollama, timeout=1.0)
        with pytest.raises(ModelTimeout, match="no answer within 1 s"):
            await asking.ask(f"ollama:{MODEL}", QUESTION)
        assert ollama.until(lambda o: o.hang_ups == 1)
        await asking.aclose()


async def test_a_model_that_makes_vectors_is_waited_for_as_well() -> None:
    with ScriptedOllama(models=["nomic-embed-text:latest"]) as ollama:
        ollama.loading.add("nomic-embed-text:latest")
        ollama.embed_delay = 1.0
        asking = models(ollama)
        assert len(await asking.embed("ollama:nomic-embed-text", ["a", "b"])) == 2
        ollama.loading.clear()
        with pytest.raises(ModelTimeout, match="nothing came within the idle timeout"):
            await asking.embed("ollama:nomic-embed-text", ["a"])
        await asking.aclose()

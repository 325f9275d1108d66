"""Answers of models that are kept, and given again where the same is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..providers.request import ModelRequest

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

KEPT_UNDER = "ucop_cache_key"
"""In an answer's `response_metadata`: the key under which it is kept."""

FROM_CACHE = "ucop_cached"
"""In an answer's `response_metadata`: it was kept, and not asked for again."""


class KeptAnswers(Protocol):
    """Keeps answers of models and nodes, as JSON, for all jobs and beyond the process."""

    async def find(self, key: str) -> str | None:
        """The answer under `key`, unless its time is over."""

    async def keep(self, key: str, answer: str, seconds: float) -> None:
        """Keep an answer for so many seconds, in place of the one before."""

    async def drop(self, key: str) -> None:
        """Keep it no longer."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request by the name it was asked under."""

    asked: str
    request: ModelRequest
    config: RunnableConfig
    keep_for: float | None
    """Seconds to keep its answer; None to look for none, and keep none."""
    passed_on: Callable[[], bool]
    """Whether a piece of an answer has been passed on, and cannot be taken back."""


class AnswerCache:
    """The answers of one process's models."""

    def __init__(self, answers: KeptAnswers | None, seconds: float | None) -> None:
        """`seconds` is how long to keep answers that would be the same again."""
        self._answers, self._seconds = answers, seconds

    def seconds_of(self, request: ModelRequest, given: float | None) -> float | None:
        """How long the answer to a request is kept, which may say it itself."""
        if self._answers is None:
            return None
        if given is not None:
            return given
        return self._seconds if request.is_repeatable else None

    async def find(self, question: Question, keys: Mapping[str, str | None]) -> AIMessage | None:
        """The answer that is kept under the first key; `keys` has the key of each model, None for
        a request that has none. A fallback's answer was paid for too."""
        if self._answers is None:
            return None
        from langchain_core.messages import AIMessage

        from .meter import Usage, note

        for model, key in keys.items():
            text = await self._answers.find(key) if key else None
            if text is not None:
                note(question.config, Usage(cached_calls=1, models=(model,)))
                answer = AIMessage.model_validate(json.loads(text))
                answer.response_metadata |= {FROM_CACHE: True, KEPT_UNDER: key}
                return answer
        return None

    async def keep(self, question: Question, key: str | None, answer: AIMessage) -> None:
        """Keep the answer if the question asks for it."""
        if self._answers is not None and question.keep_for is not None and key:
            text = json.dumps(answer.model_dump(mode="json"), ensure_ascii=False)
            await self._answers.keep(key, text, question.keep_for)
            answer.response_metadata[KEPT_UNDER] = key

    async def forget(self, answers: Sequence[AIMessage]) -> None:
        """Keep these answers no longer."""
        for answer in answers:
            key = answer.response_metadata.get(KEPT_UNDER)
            if key and self._answers is not None:
                await self._answers.drop(key)

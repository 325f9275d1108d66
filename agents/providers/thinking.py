"""What a model thinks aloud before it answers: `<think>…</think>` is reasoning, not the answer.

Models write the tags into their text where their server does not part the two. A stream cuts them
anywhere, and an answer that was cut off never closes them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

M = TypeVar("M", bound="BaseMessage")

REASONING = "reasoning_content"
"""The key in a message's `additional_kwargs`, as LangChain has it."""

TAGS = {"<think>": "</think>", "<thinking>": "</thinking>"}

ROOM = 8192
"""Tokens for thinking, beside those of the answer that `num_predict` allows: it counts both."""

_CLOSED_ALONE = re.compile(r"\A(.*?)^\s*</think>[ \t]*$\s*", re.DOTALL | re.MULTILINE)
"""Some models' templates open the tag themselves, and the text only closes it."""


class Thinking:
    """Parts a text that comes in pieces. Blocks before the answer are reasoning; a tag inside the
    answer is a part of it."""

    def __init__(self) -> None:
        self._held = ""
        """What may still become a tag."""
        self._closing: str | None = None
        """The tag that ends the block we are in."""
        self._thought = self._answers = False

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, answer) that are sure after one more piece."""
        if self._answers:
            return "", text
        self._held += text
        reasoning = ""
        while True:
            if self._closing is None and not self._opens():
                break
            thought, closed = self._inside(self._closing or "")
            reasoning += thought
            if not closed:
                break
        return reasoning, self._answer()

    def end(self) -> tuple[str, str]:
        """(reasoning, answer) of what was held back."""
        held, self._held = self._held, ""
        if self._closing is not None:
            return held, ""
        return "", "" if self._thought and not held.strip() else held

    def _opens(self) -> bool:
        """Whether a block begins here."""
        text = self._held.lstrip()
        for opening, closing in TAGS.items():
            if text.startswith(opening):
                self._held, self._closing = text[len(opening) :], closing
                return True
        if text and not any(opening.startswith(text) for opening in TAGS):
            self._answers = True
        return False

    def _inside(self, closing: str) -> tuple[str, bool]:
        """The thoughts up to the closing tag, and whether it is there."""
        thought, found, rest = self._held.partition(closing)
        if found:
            self._held, self._closing, self._thought = rest, None, True
            return thought, True
        kept = next((n for n in range(len(closing) - 1, 0, -1) if thought.endswith(closing[:n])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept], False

    def _answer(self) -> str:
        if not self._answers:
            return ""
        answer, self._held = self._held, ""
        return answer.lstrip() if self._thought else answer


def split_thinking(text: str) -> tuple[str, str]:
    """(reasoning, answer) of a whole text."""
    if alone := _CLOSED_ALONE.match(text):
        before = alone.group(1)
        if not any(tag in before for tag in TAGS):
            return before.strip(), text[alone.end() :]
    thinking = Thinking()
    reasoning, answer = thinking.feed(text)
    more, rest = thinking.end()
    return reasoning + more, answer + rest


def without_thinking(message: M) -> M:
    """A message whose text is the answer alone; its reasoning is kept beside it."""
    if not isinstance(message.content, str):
        return message
    return with_reasoning(message, *split_thinking(message.content))


def with_reasoning(message: M, reasoning: str, answer: str) -> M:
    """`message` with `answer` as its text, and more reasoning beside it."""
    if answer == message.content:
        return message
    beside = message.additional_kwargs
    if reasoning:
        beside = {**beside, REASONING: str(beside.get(REASONING) or "") + reasoning}
    return message.model_copy(update={"content": answer, "additional_kwargs": beside})


def has_thought(message: BaseMessage) -> bool:
    """Whether a message came with reasoning."""
    return bool(message.additional_kwargs.get(REASONING))

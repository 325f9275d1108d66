"""A prompt that is longer than the model's window: its beginning is cut off without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

TRUNCATED = "ucop_truncated"
"""The key in an answer's metadata that holds the size of a window which the prompt filled."""

SMALLEST, GRAIN = 2048, 256
"""Windows have at least so many tokens, and are multiples of that."""


def may_be_cut(read: Any) -> bool:
    """Whether so many tokens of a prompt may be a whole window, so that it is worth a question."""
    return isinstance(read, int) and read >= SMALLEST and read % GRAIN == 0


def truncation(answer: AIMessage) -> str | None:
    """What to tell of an answer whose prompt was cut; None if it was not."""
    window = answer.response_metadata.get(TRUNCATED)
    if window is None:
        return None
    return (
        f"the prompt filled the model's window of {window} tokens, so its beginning was cut off "
        "and the model did not see it; raise `num_ctx` in the agent's options, or shorten the prompt"
    )

"""`<think>` before an answer is reasoning, however it is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from ucop.agents.providers.thinking import REASONING, Thinking, split_thinking, without_thinking

PARTED = {
    "<think>Hm.</think>Yes.": ("Hm.", "Yes."),
    "<think>\nHm.\n</think>\n\nYes.\n": ("\nHm.\n", "Yes.\n"),
    "\n <think>a</think>\n<think>b</think> Yes.": ("ab", "Yes."),
    "<thinking>Hm.</thinking>{}": ("Hm.", "{}"),
    "<think></think>Yes.": ("", "Yes."),
    "<think>never closed": ("never closed", ""),
    "<think>almost closed</thin": ("almost closed</thin", ""),
    "<think>a < b </b></think>c": ("a < b </b>", "c"),
    "Yes.": ("", "Yes."),
    "  Yes.": ("", "  Yes."),
    "": ("", ""),
    "<thin air": ("", "<thin air"),
    "<th": ("", "<th"),
    "Use <think> and </think> like this.": ("", "Use <think> and </think> like this."),
    'The text "</think>" closes it.': ("", 'The text "</think>" closes it.'),
    "<think>Hm.</think>\n": ("Hm.", ""),
}


@pytest.mark.parametrize("text", PARTED)
def test_a_whole_text(text: str) -> None:
    assert split_thinking(text) == PARTED[text]


def test_a_tag_that_the_template_opened() -> None:
    assert split_thinking("Hm, well.\n</think>\n\nYes.") == ("Hm, well.", "Yes.")


@given(text=st.sampled_from(sorted(PARTED)), cuts=st.lists(st.integers(0, 40)))
def test_pieces_part_as_the_whole_does(text: str, cuts: list[int]) -> None:
    thinking, reasoning, answer = Thinking(), "", ""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, stop in itertools.pairwise(edges):
        thought, said = thinking.feed(text[start:stop])
        reasoning, answer = reasoning + thought, answer + said
    thought, said = thinking.end()
    assert (reasoning + thought, answer + said) == PARTED[text]


def test_a_message_keeps_its_reasoning_beside_the_answer() -> None:
    message = without_thinking(AIMessage("<think>Hm.</think>Yes."))
    assert (message.content, message.additional_kwargs) == ("Yes.", {REASONING: "Hm."})
    plain = AIMessage("Yes.")
    assert without_thinking(plain) is plain

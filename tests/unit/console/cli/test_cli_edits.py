"""A state as YAML: what nobody changed comes back as it was."""

from __future__ import annotations

import pytest

from ucop.agents.text.source import read_yaml
from ucop.console.cli.edits import as_yaml


@pytest.mark.parametrize(
    "value",
    ["one\ntwo\n", "a\r\nb", " lead\nmore", "\n  in\n", "yes", "007", "1e5", "# no", "x" * 300],
)
def test_texts_come_back_as_they_were(value: str) -> None:
    assert read_yaml(as_yaml({"text": value}), "state.yaml").data == {"text": value}


def test_a_long_text_stands_as_a_block() -> None:
    assert as_yaml({"text": "one\ntwo\n"}) == "text: |\n  one\n  two\n"

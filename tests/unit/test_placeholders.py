"""Placeholders are told from honest text, each with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.outputs import HONEST, NAMES, UNFILLED

from ucop.agents.placeholders import unfilled
from ucop.agents.schema import write_path


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]


def test_the_corpus_is_large_enough_and_says_nothing_twice() -> None:
    assert len({shown(one) for one in HONEST}) == len(HONEST) >= 100
    assert len({shown(one) for one, _ in UNFILLED}) == len(UNFILLED) >= 100


@pytest.mark.parametrize("value", HONEST, ids=shown)
def test_an_honest_output_passes(value: Any) -> None:
    assert unfilled(value, names=NAMES) == []


@pytest.mark.parametrize(("value", "path"), UNFILLED, ids=shown)
def test_an_unfilled_output_is_told_with_its_place(value: Any, path: str) -> None:
    problems = unfilled(value, names=NAMES)
    assert [write_path(problem.path) for problem in problems] == [path]
    assert "was left to be filled in" in str(problems[0])

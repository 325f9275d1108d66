"""A share of the corpus, of kills, pauses and random graphs; `python -m tests.twins` does all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

import pytest

from tests.support.paths import DOCS
from tests.twins.compare import Difference, differences
from tests.twins.run import on_bare
from tests.twins.trial import Trial
from tests.twins.twin import Twin, corpus

PAGE = DOCS / "langgraph.md"

LEAST = 150
"""Graphs that the corpus must have."""


@pytest.fixture
def chance() -> Random:
    """The same share each time, so that only a change can break what was green; TWINS_SEED takes
    another."""
    seed = int(os.environ.get("TWINS_SEED", "7"))
    print(f"seed {seed}")
    return Random(seed)


def told(found: list[Difference]) -> str:
    return "\n".join(str(each.to_json()) for each in found)


def share(chance: Random, number: int) -> list[Twin]:
    return chance.sample(list(corpus().values()), number)


def test_the_corpus_has_every_feature_and_each_graph_a_file_of_its_feature() -> None:
    twins = corpus().values()
    assert len(twins) >= LEAST
    assert {twin.feature for twin in twins} >= {
        "agents", "breakpoints", "commands", "edges", "errors", "functional", "history", "inside",
        "messages", "questions", "runtime", "sends", "states", "tools", "types",
    }  # fmt: skip


def test_each_difference_that_is_allowed_is_explained_in_the_docs() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PAGE.read_text(), re.MULTILINE))
    named = {why for twin in corpus().values() for why in twin.differs.values()}
    assert named <= headings


def test_a_share_of_the_corpus_runs_as_on_bare_langgraph(tmp_path: Path, chance: Random) -> None:
    trial = Trial(tmp_path, f"sqlite:///{tmp_path}/ucop.db", share(chance, 60))
    trial.once()
    assert not trial.found, told(trial.found)


@pytest.mark.postgres
def test_a_share_of_the_corpus_runs_so_on_postgresql(
    tmp_path: Path, postgres_url: str, chance: Random
) -> None:
    trial = Trial(tmp_path, postgres_url, share(chance, 20))
    trial.once()
    assert not trial.found, told(trial.found)


def test_a_share_of_the_corpus_emits_the_same_stream(tmp_path: Path, chance: Random) -> None:
    trial = Trial(tmp_path, f"sqlite:///{tmp_path}/ucop.db", share(chance, 20))
    trial.streams()
    assert not trial.found, told(trial.found)


def test_a_share_is_paused_at_each_visit_of_a_node(tmp_path: Path, chance: Random) -> None:
    trial = Trial(tmp_path, f"sqlite:///{tmp_path}/ucop.db", share(chance, 5))
    trial.pauses()
    assert not trial.found, told(trial.found)
    assert trial.counts["pauses"]


@pytest.mark.chaos
def test_a_share_of_workers_dies(tmp_path: Path, chance: Random) -> None:
    trial = Trial(tmp_path, f"sqlite:///{tmp_path}/ucop.db", share(chance, 12))
    trial.kills(12, chance)
    assert not trial.found, told(trial.found)
    assert trial.counts["kills"]


def test_random_graphs_run_as_on_bare_langgraph(tmp_path: Path, chance: Random) -> None:
    trial = Trial(tmp_path, f"sqlite:///{tmp_path}/ucop.db", [])
    trial.graphs(40, chance.randrange(2**31))
    assert not trial.found, told(trial.found)


# ---------------------------------------------------------------- the harness itself


@pytest.mark.parametrize(
    ("name", "other", "parts"),
    [
        ("five_nodes_in_a_row", "one_node", {"result", "runs", "history"}),
        ("one_question", "one_node", {"status", "questions", "result", "runs", "history"}),
        ("a_value_error", "a_key_error", {"error", "history"}),
        ("a_graph_as_a_node", "graphs_three_deep", {"result", "runs", "history", "nested"}),
        ("a_named_tuple", "an_empty_text_and_none", {"result", "history"}),
    ],
)
def test_what_differs_is_found(name: str, other: str, parts: set[str], tmp_path: Path) -> None:
    one, two = corpus()[name], corpus()[other]
    found = differences(one, on_bare(one, tmp_path), on_bare(two, tmp_path))
    assert {each.part for each in found} >= parts


@pytest.mark.parametrize("twin", ["questions_of_a_fan_out", "a_pydantic_model_over_a_question"])
def test_bare_langgraph_does_not_differ_from_itself(twin: str, tmp_path: Path) -> None:
    one = corpus()[twin]
    assert differences(one, on_bare(one, tmp_path), on_bare(one, tmp_path)) == []

"""The blog workflow with a person who is asked before the article is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.library import Cast, nodes_of
from tests.support.ollama import ScriptedOllama
from ucop.engine import Engine, Settings

TRAINS = "Trains leave on time in every town. A small delay does not spread to other trains."
TEA = "Green tea is made from leaves that are not fermented. Most of it is grown in China."
DEADLINE = 120.0


@pytest.mark.parametrize("approved", [True, False])
def test_given_approval_then_a_person_decides_whether_the_article_is_published(
    approved: bool, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(
        f"{TRAINS}\n\nTickets can be bought at every station. {TEA}\n"
    )
    given = {"topic": "trains", "folder": "docs", "sections": 1, "approval": True}
    url = f"sqlite:///{tmp_path}/ucop.db"
    cast = Cast(
        reviewer=[{"comments": "It says what it should say.", "score": 8}],
        headline_writer=[{"heading": "Trains on time"}],
    )
    with ScriptedOllama(cast) as ollama:
        settings = Settings.load(tmp_path, database=url, ollama_host=ollama.url, embedded=False)
        with Engine(settings=settings) as engine:
            job = engine.submit("blog", given)
            assert job.wait(DEADLINE) == "waiting", job.get().error
            assert not (tmp_path / "articles").exists()
            (question,) = job.questions()
            assert str(question.question).startswith("Publish “")
            assert "# " in str(question.question)
            job.answer({"approved": approved})
            output = job.result(DEADLINE)
            ran = nodes_of(job.get())
    assert (output["path"] is not None) == approved
    assert (ran[-1] == "publish") == approved

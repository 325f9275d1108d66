"""The bundled agents that write an article: their rules, and the real embedded model.

Shapes, enums and counts are asserted, never wording: what the small model writes may change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from ucop.agents import (
    AgentContext,
    AgentInputError,
    AgentOutputError,
    Models,
    ModelUse,
    call,
    load_registry,
)
from ucop.agents.library.text import (
    ends_open,
    groups,
    paragraphs,
    repeats_itself,
    sentences,
    share_of_stems,
    slug,
)

NOBODY = "127.0.0.1:9"
TRAINS = "Trains leave on time in every town. A small delay does not spread to other trains."


def context_of(models: Models, folder: Path, job_id: str = "0123456789abcdef") -> AgentContext:
    return AgentContext(job_id=job_id, node="n", key=f"{job_id}/t", models=models, folder=folder)


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[AgentContext]:
    """For agents that ask no model."""
    models = Models(ollama_host=NOBODY, embedded=False)
    yield context_of(models, tmp_path)
    await models.aclose()


async def run(context: AgentContext, agent: str, **data: Any) -> Any:
    return await call(load_registry(None).get(agent), data, context=context)


# Text


def test_the_prose_of_markdown_is_its_paragraphs_and_list_items() -> None:
    text = (
        "---\ntitle: x\n---\n# Heading\n\nOne **bold** [link](http://x)\nline.\n\n```\ncode\n```\n"
        "| a | b |\n\n- first item\n- second item\n\n<!-- hidden -->\n![image](x.png)\n> quoted\n"
    )
    assert list(paragraphs(text)) == ["One bold link line.", "first item", "second item"]


def test_sentences_are_whole_and_abbreviations_do_not_end_them() -> None:
    text = 'Dr. Smith came at once, e.g. by train. He said "yes, of course." Then nothing was'
    assert sentences(text) == [
        "Dr. Smith came at once, e.g. by train.",
        'He said "yes, of course."',
    ]


@pytest.mark.parametrize("count", range(1, 14))
def test_sentences_are_grouped_by_two_to_four(count: int) -> None:
    items = [str(number) for number in range(count)]
    cut = list(groups(items))
    assert [item for group in cut for item in group] == items
    assert all(2 <= len(group) <= 4 for group in cut) or count == 1


def test_grounding_and_repetition_are_told_by_rules() -> None:
    assert share_of_stems("Small delays spread to trains.", [TRAINS]) == 1.0
    assert share_of_stems("Elephants enjoy swimming lakes.", [TRAINS]) == 0.0
    assert not repeats_itself(TRAINS)
    assert repeats_itself("the train is late and the train is late and the train is late")
    assert ends_open("What to do with the")
    assert slug("Über “Tea” & Co.! " + "x" * 100).startswith("uber-tea-co-xxx")
    assert slug("漢字") == ""


# Reading


async def test_the_demo_pages_are_read_where_no_folder_is_given(context: AgentContext) -> None:
    passages = await run(context, "document_reader", topic="Durable agents")
    assert len(passages) == 3
    assert len({p["source"] for p in passages}) == 3
    for passage in passages:
        whole = sentences(passage["text"])
        assert 2 <= len(whole) <= 4
        assert [*passage["openings"], *passage["endings"]] == whole


async def test_passages_come_by_relevance_one_of_each_document_first(
    context: AgentContext,
) -> None:
    docs = context.folder / "docs" / "deep"
    docs.mkdir(parents=True)
    (docs / "a.md").write_text(
        f"{TRAINS}\n\nTea is grown in China today. Green tea is not fermented."
    )
    (docs / "b.txt").write_text("Cats sleep most of the day. They rarely drink any tea.")
    (docs / ".hidden.md").write_text(TRAINS)
    (docs / "c.pdf").write_bytes(b"%PDF")
    passages = await run(context, "document_reader", topic="green tea", folder="docs", limit=9)
    assert [(p["source"], p["text"].split()[0]) for p in passages] == [
        ("deep/a.md", "Tea"),
        ("deep/b.txt", "Cats"),
        ("deep/a.md", "Trains"),
    ]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", "there is no folder"),
        ("empty", "holds no document"),
        ("bare", "no document in .* has a paragraph of whole sentences"),
        ("../elsewhere", "is outside the project's folder"),
        ("/etc", "is outside the project's folder"),
        ("a\0b", "is outside the project's folder"),
    ],
)
async def test_a_folder_that_cannot_be_read_is_a_clear_error(
    context: AgentContext, folder: str, message: str
) -> None:
    (context.folder / "empty").mkdir()
    (context.folder / "bare").mkdir()
    (context.folder / "bare" / "a.md").write_bytes(b"# Only a heading\n\xff\xfe\n")
    with pytest.raises(AgentInputError, match=message):
        await run(context, "document_reader", topic="tea", folder=folder)


# Writing


SECTIONS = [
    {"heading": "One", "text": "First text here.", "source": "a.md", "quoted": False},
    {"heading": "Two", "text": "Second text.", "source": "a.md", "quoted": True},
]


async def test_sections_become_an_article_with_its_sources(context: AgentContext) -> None:
    article = await run(context, "assembler", title="Tea", sections=SECTIONS)
    assert article == {
        "markdown": "# Tea\n\n## One\n\nFirst text here.\n\n## Two\n\n> Second text.\n\n"
        "## Sources\n\n- a.md\n",
        "words": 7,
        "sections": 2,
    }


async def test_one_job_writes_one_file_however_often_it_runs(context: AgentContext) -> None:
    article = await run(context, "assembler", title="Tea", sections=SECTIONS)
    first = await run(context, "article_writer", topic="Green tea!", article=article)
    again = await run(context, "article_writer", topic="Green tea!", article=article)
    assert first == again
    assert first["path"] == "articles/green-tea-0123456789abcdef.md"
    assert (context.folder / first["path"]).read_text() == article["markdown"]
    other = context_of(context.models, context.folder, "an id / of another kind")
    second = await run(other, "article_writer", topic="Green tea!", article=article)
    assert second["path"] != first["path"]
    assert len(os.listdir(context.folder / "articles")) == 2


async def test_no_file_is_written_outside_the_project(context: AgentContext) -> None:
    article = {"markdown": "x", "words": 1, "sections": 1}
    with pytest.raises(AgentInputError, match="outside the project's folder"):
        await run(context, "article_writer", topic="tea", article=article, folder="../out")


# With a scripted model: what happens to answers that do not do


async def with_answers(tmp_path: Path, agent: str, *answers: Any, **data: Any) -> Any:
    with ScriptedOllama([scripted.answer(each) for each in answers]) as ollama:
        models = Models(ollama_host=ollama.url, embedded=False)
        try:
            return await run(context_of(models, tmp_path), agent, **data), ollama.calls
        finally:
            await models.aclose()


SECTION = {"heading": "On time", "note": TRAINS, "source": "a.md"}


async def test_a_section_that_leaves_its_note_is_written_again(tmp_path: Path) -> None:
    written, calls = await with_answers(
        tmp_path,
        "section_writer",
        {"text": "Elephants enjoy swimming in warm lakes all day."},
        {"text": "A small delay does not spread to other trains."},
        topic="trains",
        section=SECTION,
    )
    assert calls == 2
    assert written == {
        "heading": "On time",
        "text": "A small delay does not spread to other trains.",
        "source": "a.md",
        "quoted": False,
    }


async def test_a_note_is_quoted_where_no_section_keeps_to_it(tmp_path: Path) -> None:
    written, calls = await with_answers(
        tmp_path,
        "section_writer",
        {"text": "Elephants enjoy swimming in warm lakes all day."},
        topic="trains",
        section=SECTION,
    )
    assert calls == 3
    assert (written["text"], written["quoted"]) == (TRAINS, True)


async def test_headings_differ_and_the_documents_name_stands_in(tmp_path: Path) -> None:
    notes = [{"facts": [TRAINS], "source": f"{n}-trains.md"} for n in ("slow", "slow", "fast")]
    outline, calls = await with_answers(
        tmp_path, "outliner", {"heading": "Trains on time"}, topic=" swiss  trains", notes=notes
    )
    assert [s["heading"] for s in outline["sections"]] == [
        "Trains on time",
        "Slow trains",
        "Fast trains",
    ]
    assert outline["title"] == "Swiss trains"
    assert calls == 1 + 3 + 3


async def test_the_researcher_cannot_invent_a_sentence(tmp_path: Path) -> None:
    first, second = sentences(TRAINS)
    passage = {"source": "a.md", "text": TRAINS, "openings": [first], "endings": [second]}
    with pytest.raises(AgentOutputError, match=r"facts\[0\]: must be one of"):
        await with_answers(
            tmp_path,
            "researcher",
            {"facts": ["Invented.", second], "source": "a.md"},
            topic="trains",
            passage=passage,
        )


# On the embedded model


@pytest.mark.model
@pytest.mark.timeout(120)
async def test_the_embedded_model_writes_an_article(tmp_path: Path) -> None:
    uses: list[ModelUse] = []
    models = Models(ollama_host=NOBODY, on_use=uses.append)
    context = context_of(models, tmp_path)
    try:
        passages = await run(context, "document_reader", topic="Durable agents")
        notes = await asyncio.gather(
            *(run(context, "researcher", topic="Durable agents", passage=p) for p in passages)
        )
        outline = await run(context, "outliner", topic="Durable agents", notes=notes)
        drafts = await asyncio.gather(
            *(
                run(context, "section_writer", topic="Durable agents", section=section)
                for section in outline["sections"]
            )
        )
        article = await run(context, "assembler", title=outline["title"], sections=drafts)
        review = await run(context, "reviewer", article=article["markdown"])
        published = await run(context, "article_writer", topic="Durable agents", article=article)
    finally:
        await models.aclose()

    for passage, note in zip(passages, notes, strict=True):
        assert note["facts"][0] in passage["openings"]
        assert note["facts"][1] in passage["endings"]
        assert note["source"] == passage["source"]
    headings = [section["heading"] for section in outline["sections"]]
    assert len(headings) == len(set(headings)) == 3
    for section, draft in zip(outline["sections"], drafts, strict=True):
        grounded = share_of_stems(draft["text"], [section["note"], "Durable agents"])
        assert draft["quoted"] or grounded >= 0.8
        assert not repeats_itself(draft["text"])
    assert 1 <= review["score"] <= 10
    assert (tmp_path / published["path"]).read_text() == article["markdown"]
    assert all(use.embedded for use in uses)
    assert 10 <= len(uses) <= 28  # 3 notes, 3 headings, 3 sections and a review, with repairs

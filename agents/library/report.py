"""`topic_finder`, `note_grouper` and `report_writer`: from passages to a report with sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel

from ..run.context import AgentContext
from ..spec.function import agent
from .documents import Passage
from .files import job_part, publish
from .outline import Section, WrittenSection
from .text import ends_open, has_twin_words, sentences, slug, stems

TOPICS = 6
"""Topics that a passage may be given to choose from."""


class TopicalPassage(Passage):
    """A passage with the words of it that may name its topic."""

    topics: list[str]


class TopicalNote(BaseModel):
    """Two sentences of a document, word for word, under a topic."""

    topic: str
    facts: list[str]
    source: str


class Quotation(BaseModel):
    """A sentence as it stands in a document."""

    text: str
    source: str


class TopicSummary(BaseModel):
    """What the documents say about one topic."""

    topic: str
    text: str
    quoted: bool
    """Whether the text is the sentences themselves, because no summary kept to them."""
    quotations: list[Quotation]


class Findings(BaseModel):
    """A report as data, as its JSON file has it."""

    question: str
    topics: list[TopicSummary]
    sources: list[str]


class WrittenReport(BaseModel):
    """A report that lies in two files, and what it says."""

    report: str
    """The Markdown file, relative to the project's folder."""
    summary: str
    """The JSON file."""
    findings: Findings


@agent(capabilities=["topics"], category="research")
def topic_finder(passages: list[Passage], context: AgentContext) -> list[TopicalPassage]:
    """Find words in passages that may name their topics; no model is asked.

    Words and pairs of words that several passages share come first, so that passages meet
    under one topic.
    """
    phrases = [_phrases(passage.text) for passage in passages]
    spread = Counter(phrase for counted in phrases for phrase in counted)
    topical = []
    for passage, counted in zip(passages, phrases, strict=True):
        ranked = sorted(counted, key=lambda phrase: -_weight(phrase, counted, spread))
        chosen = _apart(ranked) or [Path(passage.source).stem]
        topical.append(TopicalPassage(**passage.model_dump(), topics=chosen[:TOPICS]))
    context.progress(f"{len({t for p in topical for t in p.topics})} possible topics")
    return topical


@agent(capabilities=["outline"], category="research")
def note_grouper(notes: list[TopicalNote]) -> list[Section]:
    """Put the notes of one topic together, in the order in which topics appear."""
    return [
        Section(
            heading=_title(group[0].topic),
            note=" ".join(dict.fromkeys(fact for note in group for fact in note.facts)),
            source=", ".join(dict.fromkeys(note.source for note in group)),
        )
        for group in _groups(notes)
    ]


@agent(capabilities=["publish"], category="files")
def report_writer(
    topic: str,
    notes: list[TopicalNote],
    drafts: list[WrittenSection],
    context: AgentContext,
    folder: str = "reports",
) -> WrittenReport:
    """Write a report as Markdown and as JSON into files under the project's folder.

    Every quotation names the document it stands in. The files are named after the question
    and the job.
    """
    found = _findings(topic, notes, drafts)
    name = f"{slug(topic) or 'report'}-{job_part(context.job_id)}"
    report = publish(context, folder, f"{name}.md", _markdown(found))
    data = json.dumps(found.model_dump(), ensure_ascii=False, indent=2) + "\n"
    summary = publish(context, folder, f"{name}.json", data)
    context.progress(f"wrote {report}")
    return WrittenReport(report=report, summary=summary, findings=found)


def _groups(notes: list[TopicalNote]) -> list[list[TopicalNote]]:
    """The notes of each topic; `event` and `events` are one."""
    grouped: dict[str, list[TopicalNote]] = {}
    for note in notes:
        grouped.setdefault(" ".join(stems(note.topic)) or note.topic, []).append(note)
    return list(grouped.values())


def _findings(question: str, notes: list[TopicalNote], drafts: list[WrittenSection]) -> Findings:
    """The drafts are those of the groups, in their order."""
    topics = [
        TopicSummary(
            topic=draft.heading,
            text=draft.text,
            quoted=draft.quoted,
            quotations=_quotations(group),
        )
        for group, draft in zip(_groups(notes), drafts, strict=True)
    ]
    sources = sorted({note.source for note in notes})
    return Findings(question=question, topics=topics, sources=sources)


def _quotations(notes: list[TopicalNote]) -> list[Quotation]:
    said = {(fact, note.source): None for note in notes for fact in note.facts}
    return [Quotation(text=text, source=source) for text, source in said]


def _markdown(found: Findings) -> str:
    parts = [f"# {_title(found.question)}"]
    for topic in found.topics:
        parts.append(f"## {topic.topic}")
        if not topic.quoted:
            parts.append(topic.text)
        parts += [f"> {said.text}\n>\n> — {said.source}" for said in topic.quotations]
    parts += ["## Sources", "\n".join(f"- {source}" for source in found.sources)]
    return "\n\n".join(parts) + "\n"


def _title(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]


# ---- phrases ----


def _phrases(text: str) -> Counter[str]:
    """The words of meaning in a text, and the pairs of them that stand together."""
    counted: Counter[str] = Counter()
    for sentence in sentences(text):
        for run in re.split(r"[^\w\s'’-]+", sentence.lower()):
            words = [word for word in run.split() if re.fullmatch(r"[^\W\d_][\w'’-]*", word)]
            counted.update(word for word in words if len(word) > 3 and stems(word))
            pairs = [" ".join(pair) for pair in pairwise(words)]
            counted.update(pair for pair in pairs if _is_phrase(pair))
    return counted


def _is_phrase(pair: str) -> bool:
    """Two words of meaning, neither of them one that only joins others."""
    return len(stems(pair)) == 2 and not ends_open(pair) and not has_twin_words(pair)


def _weight(phrase: str, counted: Counter[str], spread: Counter[str]) -> float:
    shared = min(spread[phrase], 3)
    pair = 1.5 if " " in phrase and (spread[phrase] > 1 or counted[phrase] > 1) else 1.0
    return counted[phrase] * shared * pair


def _apart(ranked: list[str]) -> list[str]:
    """The best phrases of which none says what one before it says."""
    chosen: list[str] = []
    for phrase in ranked:
        said = {stem for other in chosen for stem in stems(other)}
        if not said & set(stems(phrase)):
            chosen.append(phrase)
    return chosen

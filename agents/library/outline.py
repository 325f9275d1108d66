"""`outliner` and `section_writer`: from research notes to an outline, and from its entries to texts."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import BaseModel

from ..errors import AgentOutputError
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from ..text.validation import Problem
from .specs import bundled_spec
from .text import ends_open, has_twin_words, repeats_itself, share_of_stems

GROUNDED = 0.5
"""How much of a heading, or of a section, must be words of its text: models forget what they read."""
GROUNDED_SMALL = 0.8
"""The same for sections of the embedded model. Large models say the same in other words, small ones
say something else."""


class Note(BaseModel):
    """What research found in one passage."""

    facts: list[str]
    source: str


class Section(BaseModel):
    """One entry of an outline."""

    heading: str
    note: str
    source: str


class Outline(BaseModel):
    """The plan of an article."""

    title: str
    sections: list[Section]


class WrittenSection(BaseModel):
    """One section of an article."""

    heading: str
    text: str
    source: str
    quoted: bool
    """Whether the text is the note itself, because no paragraph kept to it."""


@agent(capabilities=["outline"], category="writing")
async def outliner(topic: str, notes: list[Note], context: AgentContext) -> Outline:
    """Plan an article: one section for each note, each with a heading of its own.

    The headings are asked for one by one: asked for all at once, small models repeat them.
    """
    sections: list[Section] = []
    for note in notes:
        text = " ".join(dict.fromkeys(note.facts))
        heading = await _heading(text, note.source, [s.heading for s in sections], context)
        context.progress(f"section {len(sections) + 1} of {len(notes)}: {heading}")
        sections.append(Section(heading=heading, note=text, source=note.source))
    title = " ".join(topic.split())
    return Outline(title=title[:1].upper() + title[1:], sections=sections)


@agent(capabilities=["section"], category="writing")
async def section_writer(
    topic: str, section: Section, context: AgentContext, remarks: str | None = None
) -> WrittenSection:
    """Write the section of an outline's entry from its note and nothing else.

    A paragraph that says what the note does not, or goes in circles, is written again; after
    the last try the note is quoted. `remarks` of a reviewer are passed on to the model.
    """
    spec = bundled_spec("paragraph_writer")
    use = await context.models.resolve(spec.model)
    share = GROUNDED_SMALL if use.embedded else GROUNDED

    def keeps_to_note(value: dict[str, str]) -> list[Problem]:
        text = value["text"]
        if share_of_stems(text, (section.note, topic)) < share:
            return [Problem(("text",), "says things that the input does not say")]
        return [Problem(("text",), "repeats itself")] if repeats_itself(text) else []

    note = section.note if not remarks else f"{section.note}\n(A reviewer said: {remarks})"
    try:
        answer = await ask(spec, {"note": note}, context=context, check=keeps_to_note)
    except AgentOutputError:
        context.progress(f"{section.heading}: the note is quoted")
        answer = None
    return WrittenSection(
        heading=section.heading,
        text=section.note if answer is None else answer["text"],
        source=section.source,
        quoted=answer is None,
    )


async def _heading(text: str, source: str, used: list[str], context: AgentContext) -> str:
    def serves(value: dict[str, str]) -> list[Problem]:
        wrong = _wrong_with(value["heading"], text, used)
        return [Problem(("heading",), wrong)] if wrong else []

    try:
        spec = bundled_spec("headline_writer")
        answer = await ask(spec, {"text": text}, context=context, check=serves)
    except AgentOutputError:
        return _named_after(source, used)
    return str(answer["heading"])


def _wrong_with(heading: str, text: str, used: list[str]) -> str | None:
    if heading.casefold() in (other.casefold() for other in used):
        return "is used already; find another one"
    if ends_open(heading):
        return "breaks off; make it shorter"
    if has_twin_words(heading):
        return "says one word twice"
    return None if share_of_stems(heading, [text]) >= GROUNDED else "is not what the text says"


def _named_after(source: str, used: list[str]) -> str:
    """A heading from the document's name, where the model found no new one."""
    words = PurePosixPath(source).stem.replace("-", " ").replace("_", " ")
    name = words[:1].upper() + words[1:]
    times = sum(heading == name or heading.startswith(f"{name} (") for heading in used)
    return f"{name} ({times + 1})" if times else name

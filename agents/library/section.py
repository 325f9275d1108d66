"""`section_writer`: the text of one section, held to what its note says."""

from __future__ import annotations

from pydantic import BaseModel

from ..errors import AgentOutputError
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from ..text.schema import Problem
from .outline import Section
from .specs import bundled_spec
from .text import repeats_itself, share_of_stems

# Large models say the same in other words, small ones say something else.
GROUNDED_SMALL = 0.8
GROUNDED = 0.5


class WrittenSection(BaseModel):
    """One section of an article."""

    heading: str
    text: str
    source: str
    quoted: bool
    """Whether the text is the note itself, because no paragraph kept to it."""


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
        return _written(section, section.note, quoted=True)
    return _written(section, answer["text"], quoted=False)


def _written(section: Section, text: str, *, quoted: bool) -> WrittenSection:
    return WrittenSection(heading=section.heading, text=text, source=section.source, quoted=quoted)

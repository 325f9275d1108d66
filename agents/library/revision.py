"""`reviser`: a text that did not pass its checks, written again."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel

from ..errors import AgentOutputError
from ..production.placeholders import placeholders
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from .checks import GROUNDED, Rules, Verdict, check_text, prose, repeated, ungrounded, verdict
from .specs import bundled_spec, with_new_seed
from .text import sentences, share_of_stems

KEPT = 0.5
"""How much of the old text the new one must still say."""
KNOWN = 0.7
"""How much of the new text the old one or its sources must say."""
LONGEST_EMBEDDED = 1500
"""Characters of a text that the small embedded model can still write again."""


class Revision(BaseModel):
    """A text after one round."""

    text: str
    by: Literal["model", "rules", "nobody"]
    """Who changed it: rules, where the model's text kept no more checks than the old one."""


@agent(capabilities=["revise"], category="writing")
async def reviser(
    text: str,
    verdict: Verdict,
    context: AgentContext,
    min_words: int = 1,
    max_words: int | None = None,
    sources: list[str] | None = None,
    grounding: float = GROUNDED,
) -> Revision:
    """Write a text again so that it keeps more of its checks.

    The model's text is taken only if it keeps more of the named checks than the old one.
    Else the rules repair what they can: sentences at fault go, a text that is too short gets
    sentences of its sources, one that is too long ends earlier.
    """
    rules = Rules(
        min_words=min_words,
        max_words=max_words,
        sources=tuple(sources or ()),
        grounding=grounding,
    )
    revised = await _by_model(text, verdict, context)
    better = revised is not None and _faults(revised, rules) < max(1, _faults(text, rules))
    if revised is not None and better and _is_of(revised, text, rules):
        return _announce(Revision(text=revised, by="model"), context)
    repaired = by_rules(text, rules)
    if repaired != text and _faults(repaired, rules) <= _faults(text, rules):
        return _announce(Revision(text=repaired, by="rules"), context)
    return _announce(Revision(text=text, by="nobody"), context)


async def _by_model(text: str, last: Verdict, context: AgentContext) -> str | None:
    spec = bundled_spec("rewriter")
    use = await context.models.resolve(spec.model)
    if use.embedded and len(text) > LONGEST_EMBEDDED:
        return None
    asked = {
        "text": text,
        "remarks": last.remarks or "Write it better.",
        "longest": len(text) + 200 if use.embedded else 2 * len(text) + 400,
    }
    try:
        answer = await ask(with_new_seed(spec, last.round - 1), asked, context=context)
    except AgentOutputError:  # cut off, most of the time: the text went in circles
        return None
    return str(answer["text"])


def by_rules(text: str, rules: Rules) -> str:
    """The text without the sentences at fault, and as long as it is wanted."""
    for sentence in repeated(text):
        text = _without_later(text, sentence)
    gone = ungrounded(text, rules) if rules.sources else []
    gone += [s for paragraph in prose(text) for s in paragraph if placeholders(s)]
    for sentence in gone:
        text = _without(text, sentence)
    return _lengthen(_shorten(text, rules), rules)


def _place(text: str, sentence: str, start: int = 0) -> tuple[int, int] | None:
    """Where a sentence stands, even if its lines are broken elsewhere."""
    at = text.find(sentence, start)
    if at >= 0:
        return at, at + len(sentence)
    found = re.compile(r"\s+".join(map(re.escape, sentence.split()))).search(text, start)
    return found.span() if found else None


def _without_later(text: str, sentence: str) -> str:
    """Without what repeats: the first time it was said stays."""
    first = _place(text, sentence)
    again = _place(text, sentence, first[1]) if first else None
    place = again or first
    return _cut(text, place) if place else text


def _without(text: str, sentence: str) -> str:
    place = _place(text, sentence)
    return _cut(text, place) if place else text


def _cut(text: str, place: tuple[int, int]) -> str:
    before, after = text[: place[0]].rstrip(" "), text[place[1] :].lstrip(" ")
    glue = " " if before and after and before[-1] != "\n" and after[0] != "\n" else ""
    # Where a paragraph is gone, so is the space around it.
    middle = re.sub(r"\n{3,}", "\n\n", before[-9:] + glue + after[:9])
    joined = (before[:-9] + middle + after[9:]).strip("\n")
    return joined + ("\n" if text.endswith("\n") else "")


def _shorten(text: str, rules: Rules) -> str:
    """Sentences from the end go, until the text is short enough; one stays."""
    said = [sentence for paragraph in prose(text) for sentence in paragraph]
    words = len(text.split())
    while rules.max_words is not None and words > rules.max_words and len(said) > 1:
        last = said.pop()
        at = text.rfind(last)
        place = (at, at + len(last)) if at >= 0 else _place(text, last)
        if place is None:
            break
        words -= len(last.split())
        text = _cut(text, place)
    return text


def _lengthen(text: str, rules: Rules) -> str:
    """Sentences of the sources follow, until the text is long enough."""
    for source in rules.sources:
        for sentence in sentences(" ".join(source.split())):
            if len(text.split()) >= rules.min_words:
                return text
            if sentence not in text:
                text = f"{text.rstrip()} {sentence}".strip()
    return text


def _is_of(revised: str, text: str, rules: Rules) -> bool:
    """Whether it is the same text still, and not another one that keeps the rules by chance."""
    kept = share_of_stems(text, [revised]) >= KEPT or rules.max_words is not None
    return kept and share_of_stems(revised, [text, *rules.sources]) >= KNOWN


def _faults(text: str, rules: Rules) -> int:
    return len(verdict(check_text(text, rules), round=0, words=0).failed)


def _announce(revision: Revision, context: AgentContext) -> Revision:
    context.progress(f"revised by {revision.by}")
    return revision

"""Named checks of a text, in plain Python, and the gate that rests on them, whatever the model's size.

A check says what it looked at and why it did not pass. The model's score is one check among
the others, and none at all where the small embedded model gave it: that model repeats the
score of its example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from ..errors import AgentOutputError, ModelError
from ..production.placeholders import placeholders
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from .specs import bundled_spec
from .text import paragraphs, repeats_itself, sentences, stems

GROUNDED = 0.5
"""How much of a sentence must occur in its sources, if nothing else is said."""
SHOWN = 3
"""Sentences that a remark quotes."""
READ_EMBEDDED = 6000
"""Characters of a text that fit into the small embedded model's window."""


class Check(BaseModel):
    """One named rule and whether a text keeps it."""

    name: str
    passed: bool
    detail: str
    counts: bool = True
    """Whether it decides. A score that means nothing is told and does not count."""


class Verdict(BaseModel):
    """What a text's checks say together."""

    passed: bool
    checks: list[Check]
    failed: list[str]
    """The names of those that count and did not pass."""
    remarks: str | None
    """What to do better, for whoever writes the text again; null if it passed."""
    round: int
    """How often the text was checked in this job, this time included."""
    words: int


class Score(BaseModel):
    """A reviewer's opinion."""

    comments: str
    score: int


class Outcome(BaseModel):
    """Whether a gate is open."""

    passed: bool


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is wanted of a text; the length counts words."""

    min_words: int = 0
    max_words: int | None = None
    sources: tuple[str, ...] = ()
    """What the text may say; without any, it is not checked for that."""
    grounding: float = GROUNDED


@agent(capabilities=["check"], category="checks")
async def text_checker(
    text: str,
    context: AgentContext,
    min_words: int = 1,
    max_words: int | None = None,
    sources: list[str] | None = None,
    grounding: float = GROUNDED,
    score: int | None = None,
    min_score: int = 4,
    comments: str | None = None,
    round: int | None = None,
) -> Verdict:
    """Check a text by name: length, placeholders, repetition, grounding, score.

    `grounding` is the share of each sentence's words that must occur in `sources`. `round` is
    that of the last verdict, null for the first. The score of a reviewer counts if a model
    gave it that is larger than the embedded one; its comments are then the remark.
    """
    rules = Rules(
        min_words=min_words,
        max_words=max_words,
        sources=tuple(sources or ()),
        grounding=grounding,
    )
    checks = check_text(text, rules)
    if score is not None:
        checks.append(_score(score, min_score, counts=await _counts(context)))
    found = verdict(checks, round=(round or 0) + 1, words=len(text.split()), comments=comments)
    context.progress(f"round {found.round}: {told(found)}")
    return found


@agent(capabilities=["review"], category="checks")
async def text_reviewer(text: str, context: AgentContext) -> Score:
    """Review a text of any length.

    The small embedded model reads how a long text begins.
    """
    spec = bundled_spec("reviewer")
    use = await context.models.resolve(spec.model)
    read = text[:READ_EMBEDDED] if use.embedded else text
    answer = await ask(spec, {"article": read}, context=context)
    return Score(**answer)


@agent(capabilities=["gate"], category="checks")
def gatekeeper(
    passed: bool, context: AgentContext, must_pass: bool = False, remarks: str | None = None
) -> Outcome:
    """Let a job end with what it found, or fail where it must pass and did not."""
    if must_pass and not passed:
        why = f" ({remarks.rstrip('.')})" if remarks else ""
        raise AgentOutputError(
            f"node {context.node!r} of job {context.job_id}: the checks did not pass{why}. "
            "The steps of the job hold what was tried; without `must_pass` it is the job's output."
        )
    return Outcome(passed=passed)


def check_text(text: str, rules: Rules) -> list[Check]:
    """Every check that the rules ask for, in a fixed order."""
    checks = [_length(text, rules), _placeholders(text), _repetition(text)]
    return [*checks, _grounding(text, rules)] if rules.sources else checks


def verdict(checks: list[Check], *, round: int, words: int, comments: str | None = None) -> Verdict:
    """What checks say together; a reviewer's comments tell more than the score does."""
    failed = [check for check in checks if check.counts and not check.passed]
    remarks = [
        comments if check.name == "score" and comments else f"{check.name}: {check.detail}."
        for check in failed
    ]
    return Verdict(
        passed=not failed,
        checks=checks,
        failed=[check.name for check in failed],
        remarks=" ".join(remarks) or None,
        round=round,
        words=words,
    )


def told(found: Verdict) -> str:
    """A verdict in a few words."""
    return "passed" if found.passed else f"not passed: {', '.join(found.failed)}"


def prose(text: str) -> list[list[str]]:
    """The sentences of each paragraph, quoted ones included."""
    unquoted = re.sub(r"^>\s?", "", text, flags=re.MULTILINE)
    found = [sentences(paragraph) for paragraph in paragraphs(unquoted)]
    return [paragraph for paragraph in found if paragraph]


def ungrounded(text: str, rules: Rules) -> list[str]:
    """The sentences that say what no source says."""
    known = {stem for source in rules.sources for stem in stems(source)}

    def covered(sentence: str) -> float:
        said = stems(sentence)
        return sum(stem in known for stem in said) / len(said) if said else 1.0

    return [sentence for sentence in _sentences(text) if covered(sentence) < rules.grounding]


def repeated(text: str) -> list[str]:
    """The sentences that go in circles, or say again what one before them said."""
    said: set[tuple[str, ...]] = set()
    found: list[str] = []
    for sentence in _sentences(text):
        meaning = tuple(stems(sentence))
        if repeats_itself(sentence) or (meaning and meaning in said):
            found.append(sentence)
        said.add(meaning)
    return found


async def _counts(context: AgentContext) -> bool:
    """Whether a score means anything: the small embedded model repeats its example's."""
    try:
        use = await context.models.resolve(bundled_spec("reviewer").model)
    except ModelError:  # who gave it is gone, and was not the embedded model, which stands in
        return True
    return not use.embedded


def _length(text: str, rules: Rules) -> Check:
    words = len(text.split())
    detail = f"{words} words"
    if words < rules.min_words:
        detail += f", at least {rules.min_words} are wanted"
    elif rules.max_words is not None and words > rules.max_words:
        detail += f", at most {rules.max_words} are wanted"
    else:
        return Check(name="length", passed=True, detail=detail)
    return Check(name="length", passed=False, detail=detail)


def _placeholders(text: str) -> Check:
    return _check_of("placeholders", placeholders(text), "left to fill in", "none")


def _repetition(text: str) -> Check:
    return _check_of("repetition", repeated(text), "said again", "nothing is said twice")


def _grounding(text: str, rules: Rules) -> Check:
    fine = "every sentence is covered by the sources"
    return _check_of("grounding", ungrounded(text, rules), "not covered by the sources", fine)


def _check_of(name: str, faults: list[str], what: str, fine: str) -> Check:
    if not faults:
        return Check(name=name, passed=True, detail=fine)
    quoted = "; ".join(f"“{fault[:120]}”" for fault in faults[:SHOWN])
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return Check(name=name, passed=False, detail=f"{what}: {quoted}{more}")


def _score(score: int, wanted: int, *, counts: bool) -> Check:
    detail = f"{score}, at least {wanted} is wanted"
    if not counts:
        detail = f"{score}, which means nothing from the small embedded model"
    return Check(name="score", passed=score >= wanted, detail=detail, counts=counts)


def _sentences(text: str) -> Iterator[str]:
    for paragraph in prose(text):
        yield from paragraph

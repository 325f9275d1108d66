"""The writer of the bundled mesh, and those who help it: each asks others for what they can do.

They hold no model themselves: an agent that asked is called again from its beginning, and what
stands before a question is done again.
"""

from __future__ import annotations

from pydantic import BaseModel

from ..run.context import AgentContext
from ..spec.function import agent
from .checks import GROUNDED, Rules, ungrounded

TRIES = 3
"""How often a function is written, where its tests do not pass."""


class Finding(BaseModel):
    """What is known about a topic, word for word."""

    facts: list[str]
    sources: list[str]


class FactCheck(BaseModel):
    """Which sentences of a text say what no fact says."""

    passed: bool
    unsupported: list[str]


class Example(BaseModel):
    """A function and whether it did what its tests want."""

    code: str
    passed: bool
    summary: str


class Story(BaseModel):
    """A short text with what it rests on."""

    topic: str
    text: str
    sources: list[str]
    quoted: bool
    """Whether the text is the facts themselves, because a text of its own did not pass."""
    unsupported: list[str]
    """What did not pass, and was left out."""
    example: Example | None
    """Code, where a task was given."""


@agent(
    capabilities=["story"],
    asks=["findings", "section", "fact_check", "example"],
    category="writing",
)
def story_writer(
    topic: str, context: AgentContext, task: str | None = None, folder: str | None = None
) -> Story:
    """Write a short text on a topic, asking for research, a fact check and, with a task, code."""
    found = Finding(**context.ask("findings", {"topic": topic, "folder": folder}))
    note = " ".join(dict.fromkeys(found.facts))
    section = {"heading": topic, "note": note, "source": ", ".join(found.sources)}
    text = str(context.ask("section", {"topic": topic, "section": section})["text"])
    check = FactCheck(**context.ask("fact_check", {"text": text, "facts": found.facts}))
    example = Example(**context.ask("example", {"task": task})) if task else None
    return Story(
        topic=topic,
        text=text if check.passed else note,
        sources=found.sources,
        quoted=not check.passed or text == note,
        unsupported=check.unsupported,
        example=example,
    )


@agent(capabilities=["findings"], asks=["read", "research"], category="research")
def fact_finder(topic: str, context: AgentContext, folder: str | None = None) -> Finding:
    """Ask for passages about a topic, and for the sentences of each that say most about it."""
    passages = context.ask("read", {"topic": topic, "folder": folder, "limit": 2})
    notes = [context.ask("research", {"topic": topic, "passage": one}) for one in passages]
    return Finding(
        facts=[fact for note in notes for fact in note["facts"]],
        sources=list(dict.fromkeys(note["source"] for note in notes)),
    )


@agent(capabilities=["fact_check"], category="checks")
def fact_checker(text: str, facts: list[str]) -> FactCheck:
    """Find the sentences of a text that say what no fact says. By rules: no model is asked."""
    wrong = ungrounded(text, Rules(sources=tuple(facts), grounding=GROUNDED))
    return FactCheck(passed=not wrong, unsupported=wrong)


@agent(capabilities=["example"], asks=["plan", "code", "check"], category="code")
def example_writer(task: str, context: AgentContext) -> Example:
    """Ask for a function that does a task, and for its tests to be run, until they pass."""
    exercise = context.ask("plan", {"task": task})
    last = None
    for _ in range(TRIES):
        solution = context.ask("code", {"exercise": exercise, "last": last})
        last = context.ask("check", {"exercise": exercise, "solution": solution, "last": last})
        if last["passed"]:
            break
    assert last is not None
    return Example(code=solution["code"], passed=last["passed"], summary=last["summary"])

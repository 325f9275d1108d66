"""Bundled workflows as jobs of a real engine, on a scripted endpoint or the embedded model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.ollama import Reply, Request, answer, fitting
from ucop.engine import Engine, Job, Settings

NOBODY = "127.0.0.1:9"
PATIENCE = 170.0


def run_job(
    folder: Path, workflow: str, data: Mapping[str, Any], *, ollama: str | None = None
) -> Job:
    """Run a bundled workflow to its end; without `ollama` on the embedded model."""
    settings = Settings.load(
        folder,
        database=f"sqlite:///{folder}/ucop.db",
        ollama_host=ollama or NOBODY,
        embedded=ollama is None,
    )
    with Engine(settings=settings) as engine:
        handle = engine.submit(workflow, dict(data))
        for _ in handle.events():
            pass
        return handle.get()


class Cast:
    """Answers by agent: what a scripted model says to whom.

    An agent is known by words of its system prompt. Each has a list of answers, of which the
    last repeats; one that is not listed gets what fits its schema.
    """

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: dict[str, list[str]] = {name: [] for name in WORDS}

    def __call__(self, request: Request) -> Reply:
        messages = request["messages"]
        name = next(n for n, words in WORDS.items() if words in messages[0]["content"])
        self.asked[name].append(messages[-1]["content"])
        given = self.answers.get(name)
        if given is None:
            return fitting()
        return answer(given[min(len(self.asked[name]), len(given)) - 1])

    @property
    def calls(self) -> dict[str, int]:
        """How often each agent was asked, of those that were."""
        return {name: len(asked) for name, asked in self.asked.items() if asked}


WORDS = {
    "draft_writer": "two to four sentences about the topic",
    "rewriter": "You correct a text",
    "reviewer": "You review a blog article",
    "researcher": "Copy the two sentences of the text",
    "note_taker": "Choose the topic that the text is about",
    "headline_writer": "Write a heading",
    "paragraph_writer": "You write one short paragraph for a blog",
    "function_writer": "Write the whole function",
    "expression_writer": "Complete the function with one line",
}


def nodes_of(job: Job) -> list[str]:
    """The nodes that ran, in order."""
    return [step.node for step in job.steps if step.status != "skipped"]

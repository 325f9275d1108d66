"""A twin: a small graph that is run twice, and what is done with it while it runs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.twins import corpus as folder


@dataclass(frozen=True)
class Again:
    """Run the graph again on the same thread, with another input."""

    input: Any


@dataclass(frozen=True)
class Fork:
    """Go on from the first checkpoint at which `at` is due, after the state was written to as
    `as_node`; with nothing to write just from there."""

    at: str
    update: Mapping[str, Any] = field(default_factory=dict)
    as_node: str | None = None


@dataclass(frozen=True)
class Edit:
    """Write into the state of a graph that waits or has failed, and go on."""

    replace: Mapping[str, Any]
    as_node: str | None = None


Move = Again | Fork | Edit


@dataclass(frozen=True)
class Turns:
    """What is answered the first time a question is asked, the second time, and so on."""

    answers: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Twin:
    name: str
    build: Callable[[], Any]
    """Makes the graph anew: a StateGraph, a compiled graph or an entrypoint."""
    feature: str
    """The file of the corpus that it stands in."""
    input: Any = field(default_factory=dict)
    answers: Any = "yes"
    """What every question is answered, or by question (as text), maybe Turns."""
    retries: int = 0
    """How often it is retried after it failed."""
    rests: int = 40
    """How often it may come to rest before the play ends."""
    then: tuple[Move, ...] = ()
    """What is done, one after the other, once it rests with nothing open."""
    context: Any = None
    config: Mapping[str, Any] = field(default_factory=dict)
    parallel: bool = False
    """Whether the order of questions asked at the same time is left open."""
    once: bool = False
    """Whether it means something without a break only: it keeps something in its process, or
    depends on who is faster."""
    differs: Mapping[str, str] = field(default_factory=dict)
    """Which parts may differ from bare LangGraph, and the heading of docs/langgraph.md that
    says why."""

    def answer_to(self, question: Any, times: int) -> Any:
        """What a question is answered that was answered so many times before."""
        answer = self.answers
        if isinstance(answer, dict):
            text = question.get("question") if isinstance(question, dict) else question
            answer = answer.get(str(text), answer.get("", "yes"))
        if isinstance(answer, Turns):
            return answer.answers[min(times, len(answer.answers) - 1)]
        return answer


_corpus: dict[str, Twin] = {}


def twin(**terms: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """The decorated function makes a graph of the corpus."""

    def kept(build: Callable[[], Any]) -> Callable[[], Any]:
        feature = build.__module__.rpartition(".")[2]
        made = Twin(name=build.__name__, build=build, feature=feature, **terms)
        if made.name in _corpus:
            raise ValueError(f"two graphs of the corpus are named {made.name}")
        _corpus[made.name] = made
        return build

    return kept


def corpus() -> dict[str, Twin]:
    """All twins by name."""
    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    return _corpus

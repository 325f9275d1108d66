"""A run as it would be: what is asked, of whom, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..language.kind import NodeKind


@dataclass(frozen=True, kw_only=True)
class PlannedInput:
    """One input of the job."""

    name: str
    required: bool
    given: bool
    value: Any = None
    """As given, else the default."""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """One node, who does its work, and how it may go."""

    name: str
    kind: NodeKind
    work: str
    """Who works, in a few words: `agent reviewer`."""
    asks: str | None = None
    """The name of the model that it asks; None if none is known."""
    may_ask: bool = False
    """Whether it is code that is given models, and may ask one."""
    at_will: bool = False
    """Whether the agents of a mesh decide how often it is called, if at all."""
    answered: tuple[str, ...] = ()
    """The models that answered it in past jobs."""
    each: str | None = None
    """What it runs over, where it runs once per item."""
    items: int | None = None
    """Over how many items, where the input tells."""
    policies: Mapping[str, Any]
    """`retry`, `timeout`, `cache`, `within`, `default` and `on_error` as they are declared."""
    inside: tuple[tuple[PlannedNode, ...], ...] = ()
    """The waves of the workflow that it runs, named as their steps will be: `node/inner`."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way on: its target, and when it is taken."""

    target: str
    when: str = ""
    at_most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Ways out of a node of which one is taken: the first that holds."""

    source: str
    ways: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedLoop:
    """A way back."""

    source: str
    target: str
    at_most: int | None
    """None if a Python graph decides by itself."""
    body: tuple[str, ...] = ()
    """The nodes that run again."""


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """What answers to one name of a model."""

    asked: str
    nodes: tuple[str, ...]
    name: str | None
    """`provider:model` of what would answer; None if nothing would."""
    embedded: bool
    """Whether it is the small embedded model."""
    note: str


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one past job used."""

    model_calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    """US dollars; None if a price is unknown."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """What half of the past jobs stayed within, and what 95 of 100 did."""

    p50: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the run may use, from past jobs."""

    jobs: int
    same_definition: bool
    """Whether they ran this very definition, or earlier ones of the same name."""
    model_calls: Range
    tokens_in: Range
    tokens_out: Range
    cost: Range | None
    """US dollars; None if the price of a past job is unknown."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """Completed jobs of the workflow."""

    jobs: Sequence[Spent]
    same_definition: bool
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By node: the models that answered it."""


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Why the run would be refused, or fail."""

    by: Literal["input", "model", "database", "gate"]
    """Who objects; `gate` is the NoMockGate."""
    message: str
    nodes: tuple[str, ...] = ()


Waves = tuple[tuple[PlannedNode, ...], ...]

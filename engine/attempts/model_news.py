"""What an attempt tells of the models that answer it, as events of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config

from ucop.agents.models.meter import way_of

if TYPE_CHECKING:
    from ucop.agents.models.fallback import ModelFallback
    from ucop.agents.models.models import Models, ModelWarning
    from ucop.agents.models.provider import ModelUse

    from ..journal.journal import Journal

model_news: ContextVar[ModelNews] = ContextVar("model_news")
"""Of the attempt in whose tasks this code runs."""


class ModelNews:
    """From any thread. Each thing is told once an attempt, or a node of it."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._loop = journal, asyncio.get_running_loop()
        self._told: set[tuple[object, ...]] = set()

    def used(self, use: ModelUse) -> None:
        """Which model answers where one is asked for."""
        told = {"asked": use.asked, "name": use.name, "embedded": use.embedded, "note": use.note}
        self._used(told)

    def used_other(self, name: str) -> None:
        """A graph or an agent of Python asks a model of its own."""
        note = f"{name}, which the graph's own code asks"
        self._used({"asked": name, "name": name, "embedded": False, "note": note})

    def _used(self, told: dict[str, Any]) -> None:
        self._soon(self._once, "model.used", (told["asked"], told["name"]), told)

    def fell_back(self, fallback: ModelFallback) -> None:
        """Another model than the first one is asked, and why."""
        self._soon(self._fell_back, _way(), fallback)

    def _fell_back(self, way: Sequence[str], fallback: ModelFallback) -> None:
        _, node = self._innermost(way)
        key = (node, fallback.failed, fallback.name)
        self._once("model.fallback", key, {"node": node, **asdict(fallback)})

    def warned(self, warning: ModelWarning) -> None:
        """What is to be said of an answer."""
        self._soon(self._warned, _way(), warning)

    def _warned(self, way: Sequence[str], warning: ModelWarning) -> None:
        task, node = self._innermost(way)
        told = {"node": node, "task_id": task, "model": warning.name, "message": warning.message}
        self._once("model.warning", (task, warning.name, warning.message), told)

    def _soon(self, tell: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(tell, *args)

    def _once(self, type: str, key: tuple[object, ...], told: dict[str, Any]) -> None:
        if (type, *key) not in self._told:
            self._told.add((type, *key))
            self._journal.event(type, told)

    def _innermost(self, way: Sequence[str]) -> tuple[str, str | None]:
        """The innermost task of a way that runs, and its node."""
        nodes = dict(self._journal.open_nodes())
        task = next((task for task in reversed(way) if task in nodes), "")
        return task, nodes.get(task)


def follow_models(models: Models) -> None:
    """Let each attempt hear of the models that are asked in it."""
    models.listen(*_HEARD)


def _to(tell: Callable[[ModelNews, Any], None]) -> Callable[[Any], None]:
    def heard(news: Any) -> None:
        if (attempt := model_news.get(None)) is not None:
            tell(attempt, news)

    return heard


def _way() -> Sequence[str]:
    """The tasks that this code runs in, from the outermost."""
    metadata = var_child_runnable_config.get() or {}
    return way_of(metadata.get("metadata", {}))


_HEARD = (_to(ModelNews.used), _to(ModelNews.fell_back), _to(ModelNews.warned))
"""Always the same, for several engines may ask the same models."""

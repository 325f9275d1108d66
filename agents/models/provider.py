"""The port to providers: what `Models` needs of one, whoever it is.

Two classes stand behind it: `OllamaProvider`, with the embedded model as a special case, and
`LangChainProvider` for all others. They know nothing of aliases, chains, retries or limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from ..providers.request import ModelRequest
from ..providers.settings import ProviderSettings

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """Which model really answers a question to a name."""

    asked: str
    """The name as the agent or caller wrote it."""
    name: str
    """`provider:model` of what answers."""
    endpoint: str
    """Its address without credentials; the provider's name if it has no address."""
    embedded: bool
    note: str
    """One plain sentence for progress displays."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Why a model cannot be used; `may_stand_in` lets the embedded model replace it."""

    reason: str
    may_stand_in: bool = False


class Provider(Protocol):
    """One provider of models in one process."""

    @property
    def settings(self) -> ProviderSettings:
        """Its limits."""

    async def find(self, model: str, asked: str) -> ModelUse | Absence:
        """Who serves `model`, to a caller who `asked` by that name."""

    async def look_up(self, model: str) -> None:
        """Ask the endpoint of a model that `find` found whether it has it. Raises ModelError."""

    def forget(self) -> None:
        """Look for all models again when they are next needed."""

    def prepare(self, request: ModelRequest) -> ModelRequest:
        """The request as this provider takes it, with its own settings applied."""

    async def answer(self, model: str, request: ModelRequest, config: RunnableConfig) -> AIMessage:
        """Make one request, without retries. Raises ModelError."""

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """Make one request for the vector of each text. Raises ModelError."""

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""


class PerLoop(Generic[T]):
    """One value for each event loop, for what belongs to the loop that made it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The value of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            self._values[loop] = self._make()
        return self._values[loop]

    def pop(self) -> T:
        """The value of the running loop, which gets a new one when it next needs it."""
        value = self.get()
        del self._values[asyncio.get_running_loop()]
        return value

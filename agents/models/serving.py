"""Who serves a model now: an Ollama that has it, the embedded one, or a provider of LangChain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from weakref import WeakKeyDictionary

from ..embedded import EMBEDDED_MODEL, EmbeddedModel
from ..errors import ModelUnavailable
from ..providers.endpoint import Endpoint
from ..providers.retry import Retry
from .aliases import EMBEDDED

RECHECK_AFTER = 5.0
"""Seconds until an Ollama that did not answer, or lacked a model, is asked again."""


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """Which model really answers where one was asked for."""

    asked: str
    """The name as the agent or caller wrote it."""
    name: str
    """`provider:model` of what answers."""
    endpoint: str
    """Its address without credentials; the provider's name where it has no address."""
    embedded: bool
    note: str
    """One plain sentence for progress displays."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Why a candidate cannot be had; `may_stand_in` lets the embedded model replace it."""

    reason: str
    may_stand_in: bool = False


class Serving:
    """Finds who serves the candidates of a name, and remembers what an Ollama has."""

    def __init__(
        self,
        *,
        ollama: Endpoint,
        embedded: EmbeddedModel,
        may_stand_in: bool,
        retry: Retry,
        other: Callable[[str], Awaitable[str]],
    ) -> None:
        """`other` opens a model of another provider and tells its address; it raises
        ModelUnavailable where a package or a key is missing."""
        self._ollama, self._embedded, self._retry = ollama, embedded, retry
        self._other = other
        self._may_stand_in = may_stand_in
        self._held: set[str] = set()
        self._missed: dict[str, tuple[float, Absence]] = {}
        self._probing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    async def serve(self, candidate: str, asked: str) -> ModelUse | Absence:
        """Who serves `provider:model`, for one who `asked` by that name."""
        provider, _, model = candidate.partition(":")
        if provider == EMBEDDED:
            return await self._serve_embedded(candidate, asked)
        if provider == "ollama":
            return await self._serve_ollama(candidate, model, asked)
        return await self._serve_other(candidate, asked)

    async def stand_in(self, asked: str, absences: Mapping[str, Absence]) -> ModelUse:
        """The embedded model, where it may stand in for any of those that are absent.

        Raises ModelUnavailable, with the next step, where nobody is left.
        """
        stand_in = any(absence.may_stand_in for absence in absences.values())
        if stand_in and self._may_stand_in and self._embedded.available():
            reasons = "; ".join(absence.reason for absence in absences.values())
            return await self._embedded_use(asked, reasons)
        self._missed.clear()  # whoever asks next may have mended it
        raise _nobody_serves(asked, absences, stand_in and self._may_stand_in)

    def forget(self) -> None:
        """A model that was there is not there any more: look again next time."""
        self._held.clear()

    async def _serve_embedded(self, candidate: str, asked: str) -> ModelUse | Absence:
        if candidate != f"{EMBEDDED}:{EMBEDDED_MODEL}":
            return Absence(reason=f"the embedded model is {EMBEDDED_MODEL}, no other")
        if not self._embedded.available():
            return Absence(reason="the embedded model is not installed: `ucop models install`")
        return await self._embedded_use(asked, "")

    async def _serve_ollama(self, candidate: str, model: str, asked: str) -> ModelUse | Absence:
        tagged = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
        absence = await self._find(tagged)
        if absence is not None:
            return absence
        return ModelUse(
            asked=asked,
            name=candidate,
            endpoint=self._ollama.url,
            embedded=False,
            note=f"{model} on the Ollama at {self._ollama.url}",
        )

    async def _serve_other(self, candidate: str, asked: str) -> ModelUse | Absence:
        try:
            endpoint = await self._other(candidate)
        except ModelUnavailable as error:
            return Absence(reason=str(error))
        note = f"{candidate} at {endpoint}"
        return ModelUse(asked=asked, name=candidate, endpoint=endpoint, embedded=False, note=note)

    async def _find(self, tagged: str) -> Absence | None:
        """None where the Ollama has the model; asked once per process when it does."""
        lock = self._probing.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            if tagged in self._held:
                return None
            missed = self._missed.get(tagged)
            if missed and time.monotonic() < missed[0] + RECHECK_AFTER:
                return missed[1]
            absence = await self._probe(tagged)
            if absence is None:
                self._held.add(tagged)
            else:
                self._missed[tagged] = (time.monotonic(), absence)
            return absence

    async def _probe(self, tagged: str) -> Absence | None:
        try:
            held = await self._list()
        except ModelUnavailable as error:
            return Absence(reason=str(error))
        if held is None:
            return Absence(reason=f"no Ollama answers at {self._ollama.url}", may_stand_in=True)
        if tagged not in held:
            plain = tagged.removesuffix(":latest")
            return Absence(
                reason=f"the Ollama at {self._ollama.url} has no {plain} (`ollama pull {plain}`)",
                may_stand_in=True,
            )
        return None

    async def _list(self) -> frozenset[str] | None:
        """What the Ollama has; tried again, as a call is, where it is in trouble."""
        from ..providers.ollama_list import list_models

        for tries in count(1):
            try:
                return await list_models(self._ollama)
            except ModelUnavailable as error:
                pause = self._retry.pause(error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("counting has no end")

    async def _embedded_use(self, asked: str, because: str) -> ModelUse:
        note = f"the embedded {EMBEDDED_MODEL}, a small model: expect simple answers"
        return ModelUse(
            asked=asked,
            name=f"{EMBEDDED}:{EMBEDDED_MODEL}",
            endpoint=await self._embedded.endpoint(),
            embedded=True,
            note=f"{note} ({because})" if because else note,
        )


def _nobody_serves(
    asked: str, absences: Mapping[str, Absence], could_embed: bool
) -> ModelUnavailable:
    reasons = "\n".join(f"  {name}: {absence.reason}" for name, absence in absences.items())
    steps = []
    if any(name.startswith("ollama:") for name in absences):
        steps.append("Start Ollama or set OLLAMA_HOST")
    if could_embed:
        steps.append("or run `ucop models install` for the small embedded model")
    advice = f"{', '.join(steps)}. " if steps else ""
    return ModelUnavailable(
        f"no model for {asked!r}:\n{reasons}\n{advice}A job keeps what it finished.",
        reached=False,
        transient=True,
    )

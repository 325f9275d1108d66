"""One request to one model, until it has an answer: its turn, its tries, its deadline.

The one place that waits and tries again; the providers' own libraries do not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from ..errors import ModelError, ModelTimeout
from ..providers.rates import Rates, Reservation
from ..providers.request import ModelRequest
from ..providers.retry import Retry
from .provider import ModelUse, Provider

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

log = logging.getLogger("ucop.agents.models.models")


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """A request on its way to one model."""

    use: ModelUse
    provider: Provider
    request: ModelRequest
    """As the provider takes it."""
    config: RunnableConfig
    place: asyncio.Semaphore | None
    """Of the provider's calls at the same time."""
    rates: Rates
    retry: Retry
    timeout: float
    """Seconds from the first request on; waiting for a place or a rate does not count."""
    passed_on: Callable[[], bool]
    """Whether a piece of a failed try has been passed on: then there is no next one."""

    async def answer(self) -> AIMessage:
        """The model's answer. Raises ModelError."""
        async with self._in_place():
            last: ModelError | None = None
            clock = asyncio.timeout(self.timeout)
            try:
                async with clock:
                    for tries in count(1):
                        try:
                            return await self._try(clock)
                        except ModelError as error:
                            last = error
                            await self._pause(error, tries, clock)
            except TimeoutError as error:
                if not clock.expired():
                    raise
                raise self._too_slow(last) from error
            raise AssertionError("counting has no end")

    @asynccontextmanager
    async def _in_place(self) -> AsyncIterator[None]:
        if self.place is None:
            yield
            return
        began = time.monotonic()
        async with self.place:
            self._note_waiting(time.monotonic() - began)
            yield

    async def _try(self, clock: asyncio.Timeout) -> AIMessage:
        turn = await self._turn(clock)
        try:
            model = self.use.name.partition(":")[2]
            answer = await self.provider.answer(model, self.request, self.config)
        except ModelError as error:
            if turn is not None and not error.reached:
                await self.rates.release(turn)
            raise
        if turn is not None and self.provider.settings.tokens_per_minute is not None:
            usage = answer.usage_metadata
            if usage is not None:
                await self.rates.settle(turn, usage["input_tokens"] + usage["output_tokens"])
        return answer

    async def _turn(self, clock: asyncio.Timeout) -> Reservation | None:
        """Wait until the provider may be asked; the deadline waits too."""
        rate = self.provider.settings.rate
        if rate is None:
            return None
        began = time.monotonic()
        deadline = clock.when()
        clock.reschedule(None)
        provider = self.use.name.partition(":")[0]
        turn = await self.rates.reserve(provider, rate, self.request.tokens())
        try:
            await asyncio.sleep(turn.wait)
        except asyncio.CancelledError:
            await asyncio.shield(self.rates.release(turn))
            raise
        waited = time.monotonic() - began
        self._note_waiting(waited)
        if deadline is not None:
            clock.reschedule(deadline + waited)
        return turn

    async def _pause(self, error: ModelError, tries: int, clock: asyncio.Timeout) -> None:
        """Wait before the next try. Raises `error` if there is none."""
        pause = None if self.passed_on() else self.retry.pause(error, tries)
        deadline = clock.when()
        now = asyncio.get_running_loop().time()
        if pause is None or (deadline is not None and now + pause >= deadline):
            raise error
        log.info("%s failed (try %d), again in %.1f s: %s", self.use.name, tries, pause, error)
        await asyncio.sleep(pause)
        self._note_waiting(pause)

    def _note_waiting(self, seconds: float) -> None:
        from .meter import Usage, note

        note(self.config, Usage(seconds_waited=seconds))

    def _too_slow(self, last: ModelError | None) -> ModelTimeout:
        before = f" The last try before: {last}" if last else ""
        return ModelTimeout(
            f"{self.use.name} at {self.use.endpoint}: no answer within {self.timeout:g} s. Ask "
            "for less (`num_predict`), give `timeout` more seconds, or use a faster model. A job "
            f"keeps what it finished: `ucop jobs resume` goes on from there.{before}"
        )

"""Whether a model can be asked now: its endpoint is asked for it, and on wish for one answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ModelError
from .provider import Absence

if TYPE_CHECKING:
    from .models import Models

SHORTEST = 8
"""Tokens of the answer that a check asks for."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found out about one model."""

    name: str
    """`provider:model`."""
    ok: bool
    answered_by: str | None
    """`provider:model` of what would answer: the embedded one may stand in. None: nobody."""
    endpoint: str | None
    seconds: float
    """How long finding out took."""
    called: bool
    """Whether it was asked for an answer, and not only looked up."""
    note: str
    """What was found, in words."""


async def check(models: Models, name: str, *, call: bool = False) -> Health:
    """Ask the endpoint of `provider:model` for it; with `call`, for a short answer too."""
    began = time.monotonic()
    found = await models.look_up(name)
    if isinstance(found, Absence):
        return Health(
            name=name,
            ok=False,
            answered_by=None,
            endpoint=None,
            seconds=time.monotonic() - began,
            called=False,
            note=found.reason,
        )
    ok, note = True, found.note
    if call:
        began = time.monotonic()
        try:
            await _call(models, found.name)
            note = f"{note}; it answered"
        except ModelError as error:
            ok, note = False, str(error)
    return Health(
        name=name,
        ok=ok,
        answered_by=found.name if ok else None,
        endpoint=found.endpoint,
        seconds=time.monotonic() - began,
        called=call,
        note=note,
    )


async def _call(models: Models, name: str) -> None:
    from langchain_core.messages import HumanMessage

    await models.ask(
        name, [HumanMessage("Reply with OK.")], options={"num_predict": SHORTEST, "think": False}
    )

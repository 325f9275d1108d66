"""Going on to the next model of a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ModelError, ModelUnavailable
from .provider import Absence

FIRST_BAD_REQUEST = frozenset({400, 405, 409, 411, 413, 414, 415, 422})
"""Statuses that say that the request is at fault: another model would get the same."""


@dataclass(frozen=True, kw_only=True)
class ModelFallback:
    """A model of a chain did not answer, and the next one is asked instead."""

    asked: str
    """The name as the agent or caller wrote it."""
    failed: str
    """`provider:model` of what did not answer."""
    name: str
    """`provider:model` of what is asked now."""
    reason: str


def may_fall_back(error: ModelError) -> bool:
    """Whether the next model of a chain may do better: not where the request is at fault."""
    if error.status in FIRST_BAD_REQUEST:
        return False
    return error.reached or error.transient or isinstance(error, ModelUnavailable)


def error_of_chain(failures: Sequence[ModelError], absences: Mapping[str, Absence]) -> ModelError:
    """The one failure; or, of a chain, one that names them all."""
    if len(failures) == 1 and not absences:
        return failures[0]
    told = [f"{name}: {absence.reason}" for name, absence in absences.items()]
    listed = "\n".join(f"  {line}" for line in (*told, *map(str, failures)))
    last = failures[-1]
    return type(last)(
        f"no model of the chain answered:\n{listed}",
        reached=any(failure.reached for failure in failures),
        transient=last.transient,
        status=last.status,
    )


def error_of_absences(
    asked: str, absences: Mapping[str, Absence], may_stand_in: bool
) -> ModelUnavailable:
    """That no model of a chain is there; `may_stand_in` if the embedded model would help."""
    reasons = "\n".join(f"  {name}: {absence.reason}" for name, absence in absences.items())
    steps = []
    if any(name.startswith("ollama:") for name in absences):
        steps.append("Start Ollama or set OLLAMA_HOST")
    if may_stand_in:
        steps.append("or run `ucop models install` for the small embedded model")
    advice = f"{', '.join(steps)}. " if steps else ""
    return ModelUnavailable(
        f"no model for {asked!r}:\n{reasons}\n{advice}A job keeps what it finished.",
        reached=False,
        transient=True,
    )

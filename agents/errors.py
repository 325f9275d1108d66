"""The base error and the errors of agents and models.

UcopError
├── InvalidDefinition        a file or spec that cannot be accepted; lists every finding
│   └── DoublesRefused       test doubles in production mode
├── UnknownAgent             no agent of that name
├── UnknownMerge             no `@merge` function of that name
├── MemoryUnavailable        what agents remember cannot be reached, or searched
├── ToolUnavailable          a tool that an agent may call cannot be had
├── AgentInputError          the input does not fit the agent's schema
├── AgentOutputError         the output still does not fit after the repairs
├── NotJson                  a value that is to be JSON has no form there
├── InterceptorMisused       an interceptor kept a node from running
├── NobodyToAsk              an agent asks for help if it is not called in a mesh
└── ModelError               a chat model did not give an answer
    ├── ModelUnavailable     nobody serves this model, or the endpoint cannot be reached
    ├── ModelTimeout         the whole call, or the pause between two tokens, took too long
    └── ModelResponseError   the endpoint answered with an error, or with half an answer

Every message says what happened, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .finding import Finding


class UcopError(Exception):
    """Something that ucop can explain: what happened, where, and what to do next."""

    ends_attempt: ClassVar[bool] = False
    """Whether it ends the job's whole attempt, whatever a workflow's `on_error` says."""


class NotJson(UcopError):
    """A value that is to be given out as JSON has no form there."""


class InvalidDefinition(UcopError):
    """A definition was refused; `findings` holds every mistake with its place."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        super().__init__("\n".join(_line(finding) for finding in self.findings))

    def __reduce__(self) -> tuple[type[InvalidDefinition], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)


class DoublesRefused(InvalidDefinition):
    """A workflow with test doubles does not start in production mode; each is a finding."""


class UnknownAgent(UcopError):
    """No agent has this name."""


class UnknownMerge(UcopError):
    """No function of the project is marked with `@merge` under this name."""


class MemoryUnavailable(UcopError):
    """What agents remember cannot be reached, or not be searched by meaning."""


class ToolUnavailable(UcopError):
    """A tool that an agent may call cannot be had: its server does not answer, or lacks it."""


class AgentInputError(UcopError):
    """The input does not fit the agent's input schema."""


class AgentOutputError(UcopError):
    """The agent's output does not fit its output schema, also after the repairs."""


class InterceptorMisused(UcopError):
    """An interceptor of nodes did not await `call_next()`, so its node did not run."""


class NobodyToAsk(UcopError):
    """An agent asks for what others can do, and there are no others: it is called alone."""


class ModelError(UcopError):
    """A chat model did not give an answer.

    `reached` is False when no request arrived at the endpoint; `transient` is True when
    the same request may succeed a little later; `status` is the HTTP status, and
    `retry_after` the seconds that the endpoint asked to wait, where it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        reached: bool = True,
        transient: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reached = reached
        self.transient = transient
        self.status = status
        self.retry_after = retry_after


class ModelUnavailable(ModelError):
    """Nobody serves this model, or the endpoint cannot be reached."""


class ModelTimeout(ModelError):
    """The model took longer than a call, or the pause between two tokens, may take."""


class ModelResponseError(ModelError):
    """The endpoint answered with an error, or broke off its answer."""


def _line(finding: Finding) -> str:
    position = finding.position
    place = f"{position.file}:{position.line}:{position.column}: " if position else ""
    hint = f" ({finding.hint})" if finding.hint else ""
    return f"{place}{finding.message}{hint}"

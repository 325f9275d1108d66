"""What may be set for one provider of models: how much at once, how often, how long."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from .rates import Rate


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """Limits of one provider, whichever of its models is asked. None is no limit of its own."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    concurrency: int | None = None
    """Calls at the same time, in each process."""
    requests_per_minute: int | None = None
    """Requests that begin within any minute, over all processes on one database."""
    tokens_per_minute: int | None = None
    """Tokens, in and out, of the requests that begin within any minute, over all processes."""
    timeout: float | None = None
    """Seconds of a whole call, tries and their pauses included; else `model_timeout`."""
    idle_timeout: float | None = None
    """Seconds before the first token and between two; else `model_idle_timeout`."""
    retries: int | None = None
    """Tries after the first; else 3."""
    think: bool | Literal["low", "medium", "high"] | None = None
    """Whether, or how hard (`low`, `medium`, `high`), its models think; an agent's own option
    overrides it."""
    base_url: str | None = None
    """Where the provider's API answers, if not at its usual address."""

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that lets nothing through."""
        for name, value in asdict(self).items():
            if name in ("retries", "think") or not isinstance(value, int | float):
                continue
            if value <= 0:
                raise ValueError(f"{name} must be above 0")
        if self.retries is not None and self.retries < 0:
            raise ValueError("retries must be at least 0")

    @property
    def rate(self) -> Rate | None:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            return None
        return Rate(requests=self.requests_per_minute, tokens=self.tokens_per_minute)


UNLIMITED = ProviderSettings()

"""Webhooks, as the project's file declares them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ucop.agents.text.duration import seconds_of

from ..record import Record

RETRIES = ("5s", "30s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h")
"""Pauses before a delivery is tried again; some three days in all."""


class Webhook(Record):
    """An address that is told of events, as `[webhooks.NAME]` of the project says."""

    url: str
    """`http` or `https`. Redirects are not followed."""
    secret_env: str
    """The environment variable with the secret that signs (`whsec_…`), or with several, which
    have spaces between them."""
    types: tuple[str, ...] = ("job.*",)
    """Types of events, such as `job.failed`; `job.*` names all that begin so."""
    workflows: tuple[str, ...] = ()
    """Only jobs of these; default: of all."""
    timeout: float = Field(default=10.0, gt=0, le=60)
    """Longest time in seconds until it answers."""
    retries: tuple[str, ...] = RETRIES

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address that begins with https:// or http://")
        if parts.username or parts.password:
            raise ValueError("must hold no user and password")
        return url

    @field_validator("secret_env")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("whsec_"):
            raise ValueError(
                "must be the name of an environment variable; the secret itself is not written here"
            )
        return name

    @field_validator("types", "workflows")
    @classmethod
    def _are_few(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) > 26:
            raise ValueError("at most 26 can be named")
        return names

    @field_validator("retries")
    @classmethod
    def _are_times(cls, retries: tuple[str, ...]) -> tuple[str, ...]:
        if any(seconds_of(pause) is None for pause in retries):
            raise ValueError("must be times such as 5s, 30m or 2h")
        return retries

    def pause(self, tries: int) -> float | None:
        """Seconds until the next try after so many, None where there is none."""
        return seconds_of(self.retries[tries - 1]) if tries <= len(self.retries) else None

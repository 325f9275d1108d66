"""Records: data that travels."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Data that travels is frozen and takes no unknown fields."""

    # A command that reads builds the validators of the records that it reads, and no others.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

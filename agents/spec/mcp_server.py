"""A server of the Model Context Protocol, as a project's settings declare it.

Only a project's settings name a server, because its command runs on this machine. An agent uses it
as `mcp:NAME`, or one of its tools as `mcp:NAME/TOOL`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class McpServer(BaseModel):
    """`[mcp.NAME]` of a project: a process that is started, or an address."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    command: str | None = None
    """A program that speaks MCP on its standard streams; it runs for one call of an agent."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    """Its environment beside the few variables that MCP passes on; `${NAME}` is one of ours."""
    url: str | None = None
    """An address that speaks MCP's streamable HTTP."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with each request; `${NAME}` is a variable of our environment."""
    timeout: float = Field(default=60.0, gt=0)
    """Longest start, and longest call of one tool, in seconds."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` (with `args`, `env`) or `url` (with `headers`)")
        if self.url is not None and (self.args or self.env):
            raise ValueError("`args` and `env` belong to a `command`")
        if self.command is not None and self.headers:
            raise ValueError("`headers` belong to a `url`")
        return self

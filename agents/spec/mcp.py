"""The tools of Model Context Protocol servers, while an agent uses them."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ToolUnavailable
from ..text.secret_url import shown_url
from .mcp_server import McpServer

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

log = logging.getLogger(__name__)

EXTRA = "langchain_mcp_adapters"


@dataclass(frozen=True, kw_only=True)
class McpTools:
    """The tools of a server that an agent may call."""

    server: str
    settings: McpServer
    only: str | None = None
    """The one tool; None for all."""

    @property
    def description(self) -> str:
        where = shown_url(self.settings.url or "") or self.settings.command
        return f"{self.only or 'all tools'} of the MCP server {self.server!r} ({where})"


@asynccontextmanager
async def open_tools(asked: list[McpTools], folder: Path) -> AsyncIterator[list[BaseTool]]:
    """The tools, on sessions that end with the block; a server's process starts in `folder`.

    Raises ToolUnavailable for a server that does not start, or has no such tool.
    """
    async with AsyncExitStack() as stack:
        found: list[BaseTool] = []
        for name, server in {one.server: one.settings for one in asked}.items():
            tools = await stack.enter_async_context(_tools_of_server(name, server, folder))
            for one in asked:
                found += _tools_named(one, tools) if one.server == name else []
        yield found


@asynccontextmanager
async def _tools_of_server(
    name: str, server: McpServer, folder: Path
) -> AsyncIterator[Mapping[str, BaseTool]]:
    """All tools of a server, while a task of their own holds its session: a session's task group
    cancels the task that opened it, and wraps what is raised there."""
    ready: asyncio.Future[Mapping[str, BaseTool]] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with AsyncExitStack() as stack:
            ready.set_result(await _open(name, server, stack, folder))
            await done.wait()

    holder = asyncio.create_task(hold(), name=f"ucop-mcp-{name}")
    try:
        both: list[asyncio.Future[Any]] = [holder, ready]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            error = _error_of(holder)
            if isinstance(error, ToolUnavailable):
                raise error
            why = "it ended" if error is None else f"{type(error).__name__}: {error}"
            raise ToolUnavailable(_does_not_start(name, server, why)) from error
        yield ready.result()
    finally:
        done.set()
        await asyncio.wait([holder])
        if (error := _error_of(holder)) is not None:
            log.debug("MCP server %s ended with %r", name, error)


def _error_of(ended: asyncio.Task[None]) -> BaseException | None:
    """What a task raised, below the groups that concurrent code wraps it in."""
    error = None if ended.cancelled() else ended.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tools_named(one: McpTools, tools: Mapping[str, BaseTool]) -> list[BaseTool]:
    if one.only is None:
        return list(tools.values())
    if one.only not in tools:
        known = ", ".join(sorted(tools)) or "none"
        raise ToolUnavailable(f"MCP server {one.server!r} has no tool {one.only!r}; it has {known}")
    return [tools[one.only]]


async def _open(
    name: str, server: McpServer, stack: AsyncExitStack, folder: Path
) -> dict[str, BaseTool]:
    if find_spec(EXTRA) is None:
        raise ToolUnavailable(
            f"the tools of MCP server {name!r} need langchain-mcp-adapters: "
            "`pip install 'ucop[mcp]'`"
        )
    # Not there without the extra `mcp`.
    sessions = import_module(f"{EXTRA}.sessions")
    load = import_module(f"{EXTRA}.tools").load_mcp_tools
    connection = _connection(name, server, folder)
    try:
        async with asyncio.timeout(server.timeout):
            session = await stack.enter_async_context(sessions.create_session(connection))
            await session.initialize()
            tools: list[BaseTool] = await load(session, server_name=name)
    except TimeoutError as error:
        why = f"nothing came within {server.timeout:g} s"
        raise ToolUnavailable(_does_not_start(name, server, why)) from error
    return {tool.name: tool for tool in tools}


def _connection(name: str, server: McpServer, folder: Path) -> dict[str, Any]:
    limits = {"read_timeout_seconds": timedelta(seconds=server.timeout)}
    for value in (*server.env.values(), *server.headers.values()):
        for variable in re.findall(r"\$\{([^}]+)\}", value):
            if variable not in os.environ:
                raise ToolUnavailable(
                    f"MCP server {name!r} needs the environment variable {variable}, "
                    "which is not set"
                )
    if server.command is not None:
        return {
            "transport": "stdio",
            "command": server.command,
            "args": list(server.args),
            "env": dict(server.env) or None,
            "cwd": str(folder),
            "session_kwargs": limits,
        }
    return {
        "transport": "http",
        "url": server.url,
        "headers": dict(server.headers),
        "session_kwargs": limits,
    }


def _does_not_start(name: str, server: McpServer, why: str) -> str:
    where = f"at {shown_url(server.url)}" if server.url else f"`{server.command}`"
    return f"MCP server {name!r} ({where}) does not answer: {why}. Look at [mcp.{name}]"

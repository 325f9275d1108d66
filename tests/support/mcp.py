"""A real MCP server as a program: it notes its process in the folder NOTES."""

from __future__ import annotations

SERVER = '''
import os, sys
from mcp.server.fastmcp import FastMCP

server = FastMCP("notes", port=int(os.environ.get("NOTES_PORT", "8000")), log_level="ERROR")
open(os.path.join(os.environ["NOTES"], f"{os.getpid()}.pid"), "w").close()


@server.tool()
def remember(word: str) -> str:
    """Remember a word."""
    return f"{os.environ['NOTES_WORD']} {word}"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("it is broken")


server.run(sys.argv[1])
'''

"""An application that reads jobs and changes them through a source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from textual.app import App
from textual.reactive import reactive

from .source import Source

if TYPE_CHECKING:
    from ucop.engine import Engine
    from ucop.engine.reading.reader import Reader

T = TypeVar("T")


class SourceApp(App[None]):
    """What its screens ask, and tell it."""

    trouble: reactive[str] = reactive("")
    """Why the database does not answer; empty while it does."""

    def __init__(self, source: Source) -> None:
        # Textual makes colours grey for NO_COLOR; with the terminal's own it sends none.
        plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=True if plain else None)
        if plain:
            self.theme = "ansi-dark"
        self.source = source

    async def read(self, ask: Callable[[Reader], T]) -> T:
        """Ask the ledger, on a thread. Raises DatabaseError."""
        return await asyncio.to_thread(self.source.read, ask)

    async def act(self, do: Callable[[Engine], T]) -> T:
        """Change something, on a thread. Raises UcopError."""
        return await asyncio.to_thread(self.source.act, do)

    def tell(self, text: str, *, failed: bool = False) -> None:
        """A note at the lower edge that goes away by itself."""
        self.notify(text, severity="error" if failed else "information", timeout=8.0, markup=False)

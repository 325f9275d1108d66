"""A screen that shows what is in the database, and goes on showing it while it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer, Static

from ucop.engine.errors import DatabaseError, UcopError

from .signs import one_line

if TYPE_CHECKING:
    from .source_app import SourceApp

QUIET = 0.2
"""Seconds between two loads at least, however often others write; a load that takes long is
followed by as long a pause."""
AGAIN = 1.0
"""Seconds until a load that failed is tried again."""


class LiveScreen(Screen[None]):
    """Its heirs say what to load, and show it."""

    def __init__(self) -> None:
        super().__init__()
        self._stale = asyncio.Event()
        self._stale.set()

    @property
    def console(self) -> SourceApp:
        return cast("SourceApp", self.app)

    def compose(self) -> ComposeResult:
        yield Static("", id="top", markup=False)
        yield Static("", id="trouble", markup=False)
        yield from self.body()
        yield Footer(show_command_palette=False)

    def body(self) -> ComposeResult:
        """What stands between the top line and the keys."""
        raise NotImplementedError

    async def load(self) -> None:
        """Read on a thread, and show. Raises UcopError."""
        raise NotImplementedError

    def tick(self) -> None:
        """A second went by: times that count up are drawn anew."""

    def on_mount(self) -> None:
        self.watch(self.app, "trouble", self._show_trouble)
        self.run_worker(self._keep_up(), group="load")
        self.set_interval(1.0, self.tick)

    def changed(self) -> None:
        """Somebody wrote, or something else is to be shown."""
        self._stale.set()

    async def _keep_up(self) -> None:
        while True:
            await self._stale.wait()
            if self._goes_away:
                return
            self._stale.clear()
            began = time.monotonic()
            try:
                await self.load()
            except NoMatches:
                if self._goes_away:  # while it read
                    return
                raise
            except DatabaseError as error:
                self.console.trouble = str(error)
                self._stale.set()
                await asyncio.sleep(AGAIN)
            except UcopError as error:
                self.console.tell(str(error), failed=True)
                await asyncio.sleep(AGAIN)
            else:
                self.console.trouble = ""
            await asyncio.sleep(max(QUIET, time.monotonic() - began))

    @property
    def _goes_away(self) -> bool:
        """Whether it loses its widgets: it was dismissed, or the console ends."""
        return self not in self.app.screen_stack or not self.app.is_running

    def _show_trouble(self, trouble: str) -> None:
        banner = self.query_one("#trouble", Static)
        banner.display = bool(trouble)
        banner.update(one_line(f"✗ the database does not answer; trying again. {trouble}"))

    def offered(self) -> Iterator[Binding]:
        """The keys of this screen that do something now."""
        seen: set[Any] = set()
        for active in self.active_bindings.values():
            binding = active.binding
            if active.node is self and active.enabled and binding.action not in seen:
                seen.add(binding.action)
                yield binding

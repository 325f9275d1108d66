"""The terminal console: jobs, and one job from all sides, live."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from ucop.engine.errors import DatabaseError
from ucop.engine.loop.loop import BlockingCalls
from ucop.engine.reading.reader import NoDatabase

from .live_screen import LiveScreen
from .screens.help_screen import HelpScreen
from .screens.jobs_screen import JobsScreen
from .source import Source
from .source_app import SourceApp

if TYPE_CHECKING:
    pass

T = TypeVar("T")

HEAR = 0.25
"""Seconds between two looks whether another process wrote; PostgreSQL tells at once."""
AGAIN = 1.0
"""Seconds before a database that does not answer is asked again."""


class Console(SourceApp):
    """All screens, and the one place that listens to the database."""

    TITLE = "ucop"
    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, source: Source, job: str | None = None) -> None:
        super().__init__(source)
        self._job = job

    def get_default_screen(self) -> Screen[None]:
        return JobsScreen()

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        # A thread that hangs in a dead database must not keep the console from closing.
        loop.set_default_executor(BlockingCalls())
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(signal.SIGTERM, self.exit)
        self.run_worker(self._listen(), group="ear")
        if self._job is not None:
            from .screens.job_screen import JobScreen

            self.push_screen(JobScreen(self._job))

    async def on_unmount(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.to_thread(self.source.close)

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        if isinstance(screen, LiveScreen):
            for binding in screen.offered():
                yield SystemCommand(
                    binding.description,
                    binding.tooltip or f"Key {binding.key}",
                    lambda action=binding.action: screen.run_worker(screen.run_action(action)),
                )

    async def _listen(self) -> None:
        while True:
            try:
                heard = await asyncio.to_thread(self.source.hear, HEAR)
            except NoDatabase:
                # Not there yet, or not there any more: the screens tell which.
                await self._let_go()
                heard = True
            except DatabaseError as error:
                self.trouble = str(error)
                await self._let_go()
                heard = True
            if heard:
                for screen in self.screen_stack:
                    if isinstance(screen, LiveScreen):
                        screen.changed()

    async def _let_go(self) -> None:
        await asyncio.to_thread(self.source.reset)
        await asyncio.sleep(AGAIN)

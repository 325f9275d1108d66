"""What a Textual application shows, as text."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from textual.app import App
from textual.pilot import Pilot

from tests.support.waiting import Deadline


def shown(app: App[Any]) -> str:
    """The rows of the screen, as a person without colours sees them."""
    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        record=True,
        legacy_windows=False,
    )
    console.print(app.screen._compositor.render_update(full=True))
    return console.export_text(styles=False)


async def until(pilot: Pilot[Any], text: str | Callable[[str], bool]) -> str:
    """Wait until the screen shows a text, or what it shows is as `text` says."""
    deadline = Deadline()
    while True:
        screen = shown(pilot.app)
        if (text in screen) if isinstance(text, str) else text(screen):
            return screen
        assert pilot.app.is_running, f"it ended without {text!r}"
        deadline.check(repr(text), partial(str, screen))
        await pilot.pause(0.05)

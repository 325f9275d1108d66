"""The keys of a screen, as they are bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

_EVERYWHERE = (
    ("↑ ↓ j k", "move in a list; so do PgUp, PgDn, Home and End"),
    ("Enter", "open"),
    ("Esc", "back"),
    ("Tab", "to the next part of a screen or form"),
    ("Ctrl-P", "command palette: all commands by name, themes"),
    ("?", "this page"),
    ("q", "quit, as does Ctrl-C; jobs go on"),
)


class HelpScreen(ModalScreen[None]):
    """Closed by any of the usual keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,question_mark,q", "dismiss", "Back")
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        text = Text()
        for title, rows in (("Here", self._here()), ("Everywhere", iter(_EVERYWHERE))):
            listed = list(rows)
            if not listed:
                continue
            text.append(f"{title}\n", style="bold")
            for key, what in listed:
                text.append(f"  {key:<11}{what}\n")
        text.append(
            "A key that does nothing now, such as answering a job that asks nothing, is not shown "
            "at the lower edge.",
            style="dim",
        )
        with VerticalScroll(classes="dialog"):
            yield Static(text)

    def _here(self) -> Iterator[tuple[str, str]]:
        own = self._about._bindings.key_to_bindings.values()
        listing = self._about.focused
        # Of a list's own keys most are everywhere the same.
        more = () if listing is None else listing._bindings.key_to_bindings.values()
        told_here = [[one for one in each if one.tooltip] for each in more]
        for binding in (*own, *told_here):
            for one in binding:
                if one.description and not one.action.startswith(("app.", "screen.")):
                    told = f": {one.tooltip}" if one.tooltip else ""
                    yield one.key_display or _key(one.key), f"{one.description}{told}"


def _key(key: str) -> str:
    names = {"slash": "/", "escape": "Esc", "left_square_bracket": "[", "enter": "Enter"}
    return names.get(key, key.capitalize() if len(key) > 1 else key)

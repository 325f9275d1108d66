"""One long text, whole."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from ..signs import clean


class TextScreen(ModalScreen[None]):
    """A text that may be scrolled, selected and copied, and not changed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back", priority=True)]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog whole"):
            yield Static(clean(self._title), classes="question", markup=False)
            yield TextArea(clean(self._text), read_only=True, soft_wrap=True, compact=True)
            yield Static("Esc: back", classes="hint", markup=False)

"""A form for what a job asks, made from the schema that the answer must fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static, TextArea

from ucop.agents.text.validation import validate

from ...view.jobs.questions import asked_as_text, typed
from ..signs import clean

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job, Question

Given = tuple["Question", Any]


class AnswerForm(ModalScreen[Given | None]):
    """Gives the question that was answered, and the answer, which fits."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("ctrl+s", "send", "Send", priority=True),
        Binding("ctrl+n", "next", "Next question", priority=True),
    ]

    def __init__(self, job: Job, questions: Sequence[Question]) -> None:
        super().__init__()
        self._job, self._questions, self._number = job, questions, 0

    @property
    def _question(self) -> Question:
        return self._questions[self._number]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("", id="asks", classes="question", markup=False)
            yield VerticalScroll(id="fields", can_focus=False)
            yield Static("", id="wrong", classes="wrong", markup=False)
            more = "   Ctrl-N: next question" if len(self._questions) > 1 else ""
            yield Static(f"Enter or Ctrl-S: send   Esc: back{more}", classes="hint")

    async def on_mount(self) -> None:
        await self._show()

    async def action_next(self) -> None:
        self._number = (self._number + 1) % len(self._questions)
        await self._show()

    async def _show(self) -> None:
        question = self._question
        several = len(self._questions)
        which = f" (question {self._number + 1} of {several})" if several > 1 else ""
        head = f"{self._job.workflow} · {question.node} asks{which}\n{asked_as_text(question)}"
        self.query_one("#asks", Static).update(clean(head))
        self.query_one("#wrong", Static).update("")
        fields = self.query_one("#fields")
        await fields.remove_children()
        await fields.mount_all(
            widget
            for name, schema, needed in _fields(question)
            for widget in _entry(name, schema, needed=needed)
        )
        if entries := list(fields.query(_Entry)):
            entries[0].control.focus()

    def on_input_submitted(self) -> None:
        self.action_send()

    def action_send(self) -> None:
        question, schema = self._question, self._question.answer_schema or {}
        try:
            answer = self._read(question)
        except ValueError as error:
            self.query_one("#wrong", Static).update(clean(f"not JSON: {error}"))
            return
        if problems := validate(schema, answer) if schema else []:
            listed = "\n".join(str(problem) for problem in problems)
            self.query_one("#wrong", Static).update(clean(listed))
            return
        self.dismiss((question, answer))

    def _read(self, question: Question) -> Any:
        entries = {entry.field: entry for entry in self.query(_Entry)}
        if not _has_fields(question):
            return entries[""].read()
        found = {name: entry.read() for name, entry in entries.items()}
        return {name: value for name, value in found.items() if value is not _BLANK}


_BLANK: Any = object()
"""Nothing was typed: a field that may be left out is."""


class _Entry(Widget):
    """One field: a choice where the schema lists what may be said, else a text."""

    DEFAULT_CSS = "_Entry { height: auto; }"

    def __init__(self, field: str, schema: Mapping[str, Any], *, needed: bool) -> None:
        super().__init__()
        self.field, self._schema, self._needed = field, schema, needed
        self.control: Input | Select[str] | TextArea = self._control()

    def compose(self) -> ComposeResult:
        yield self.control

    def read(self) -> Any:
        """What was typed, as the type that is asked for. Raises ValueError."""
        control = self.control
        if isinstance(control, Select):
            chosen = control.value
            return json.loads(chosen) if isinstance(chosen, str) else _BLANK
        if isinstance(control, TextArea):
            return json.loads(control.text) if control.text.strip() else _BLANK
        if not control.value and self.field:
            return _BLANK
        return typed(self._schema, control.value)

    def _control(self) -> Input | Select[str] | TextArea:
        given = self._schema.get("default")
        kind = self._schema.get("type")
        choices = [True, False] if kind == "boolean" else self._schema.get("enum")
        if choices:
            words = {True: "yes", False: "no"} if kind == "boolean" else {}
            options = [(clean(str(words.get(each, each))), json.dumps(each)) for each in choices]
            chosen = json.dumps(given) if given in choices else Select.NULL
            return Select(options, value=chosen, prompt="choose", compact=True)
        if kind in ("object", "array"):
            text = "" if given is None else json.dumps(given, ensure_ascii=False, indent=2)
            return TextArea(text, language=None, compact=True)
        text = "" if given is None else str(given)
        return Input(text, placeholder="" if self._needed else "may be left out", compact=True)


def _entry(name: str, schema: Mapping[str, Any], *, needed: bool) -> tuple[Widget, Widget]:
    kind = str(schema.get("type", "")) if "enum" not in schema else "one of these"
    told = ", ".join(part for part in (kind, str(schema.get("description", ""))) if part)
    label = f"{name or 'answer'}{f' ({told})' if told else ''}"
    return Label(clean(label), markup=False), _Entry(name, schema, needed=needed)


def _has_fields(question: Question) -> bool:
    return bool((question.answer_schema or {}).get("properties"))


def _fields(question: Question) -> list[tuple[str, Mapping[str, Any], bool]]:
    """(name, schema, whether it is needed) of each field; one without a name for a bare value."""
    schema = question.answer_schema or {}
    if not _has_fields(question):
        return [("", schema, True)]
    needed = schema.get("required") or ()
    return [
        (name, field if isinstance(field, Mapping) else {}, name in needed)
        for name, field in schema["properties"].items()
    ]

"""Values with `${…}` in them: what they refer to, and how they are filled from the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ucop.agents.text.paths import path_text
from ucop.agents.text.places import Path, Places
from ucop.agents.text.template import Reference as Hole
from ucop.agents.text.template import TemplateError, parse

from ..errors import ExpressionError
from .cel import Expression, compile_expression, follow
from .evaluation import Scope
from .tokens import BadExpression


@dataclass(frozen=True)
class Use:
    """One expression in a value."""

    path: Path
    """Where its text stands in the file."""
    offset: int
    """Where the expression begins in that text."""
    expression: Expression
    whole: bool = True
    """Whether the text is this expression and nothing else, so that its value keeps its type."""


@dataclass(frozen=True)
class Fault:
    """An expression that cannot be read."""

    path: Path
    offset: int
    needle: str
    message: str
    hint: str | None = None


def inspect(value: Any, path: Path) -> tuple[list[Use], list[Fault]]:
    """The expressions in `value`, which stands at `path`, and those that cannot be read."""
    uses: list[Use] = []
    faults: list[Fault] = []
    _inspect(value, path, uses, faults)
    return uses, faults


def inspect_expression(text: str, path: Path) -> tuple[list[Use], list[Fault]]:
    """As `inspect`, for a text that is an expression by itself, such as `when`."""
    return _compile(text, path, 0, whole=True)


def compile_template(value: Any) -> Callable[[Scope], Any]:
    """A function that fills `value` from a scope. Raises BadExpression, TemplateError."""
    if isinstance(value, str) and "${" in value:
        return _compile_text(value)
    if isinstance(value, Mapping):
        fields = {key: compile_template(item) for key, item in value.items()}
        return lambda scope: {key: fill(scope) for key, fill in fields.items()}
    if isinstance(value, list):
        items = [compile_template(item) for item in value]
        return lambda scope: [fill(scope) for fill in items]
    return lambda scope: value


def compile_output(output: Any, places: Places) -> Callable[[Scope], Any]:
    """As `compile_template`, for `output`: a path through null gives null there.

    A branch that ended early has not written what others would have.
    """
    return _compile_output(output, ("output",), places)


def _compile_output(value: Any, path: Path, places: Places) -> Callable[[Scope], Any]:
    if isinstance(value, Mapping):
        fields = {key: _compile_output(v, (*path, key), places) for key, v in value.items()}
        return lambda scope: {key: fill(scope) for key, fill in fields.items()}
    if isinstance(value, list):
        items = [_compile_output(v, (*path, i), places) for i, v in enumerate(value)]
        return lambda scope: [fill(scope) for fill in items]
    fill = compile_template(value)
    lenient = isinstance(fill, Expression) and fill.plain

    def placed(scope: Scope) -> Any:
        if lenient and _passes_null(fill.references[0].path, scope):  # type: ignore[attr-defined]
            return None
        try:
            return fill(scope)
        except ExpressionError as error:
            place = places.at(path)
            where = f" ({place})" if place else ""
            raise ExpressionError(f"{path_text(path)}{where}: {error}") from error

    return placed


def _passes_null(path: Path, scope: Scope) -> bool:
    for end in range(1, len(path)):
        try:
            if follow(path[:end], scope) is None:
                return True
        except ExpressionError:
            return False
    return False


def _compile_text(text: str) -> Callable[[Scope], Any]:
    template = parse(text)
    if template.whole is not None:
        return compile_expression(template.whole.text)
    compiled = {part.offset: compile_expression(part.text) for part in template.references}

    def fill(scope: Scope) -> Any:
        try:
            return template.render_text(lambda hole: compiled[hole.offset](scope))
        except TemplateError as error:
            raise ExpressionError(str(error)) from None

    return fill


def _inspect(value: Any, path: Path, uses: list[Use], faults: list[Fault]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _inspect(item, (*path, key), uses, faults)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _inspect(item, (*path, index), uses, faults)
    elif isinstance(value, str) and "${" in value:
        _inspect_text(value, path, uses, faults)


def _inspect_text(text: str, path: Path, uses: list[Use], faults: list[Fault]) -> None:
    try:
        template = parse(text)
    except TemplateError as error:
        faults.append(Fault(path, error.offset, "${", str(error)))
        return
    for hole in template.references:
        found, wrong = _compile_hole(hole, path, whole=template.whole is not None)
        uses += found
        faults += wrong


def _compile_hole(hole: Hole, path: Path, *, whole: bool) -> tuple[list[Use], list[Fault]]:
    return _compile(hole.text, path, hole.offset, whole=whole)


def _compile(text: str, path: Path, offset: int, *, whole: bool) -> tuple[list[Use], list[Fault]]:
    try:
        return [Use(path, offset, compile_expression(text), whole)], []
    except BadExpression as error:
        needle = text[error.offset : error.offset + 1] or text
        return [], [Fault(path, offset + error.offset, needle, str(error), error.hint)]

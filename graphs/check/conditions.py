"""Expressions that cannot be evaluated on the declared types, and branches never taken."""

from __future__ import annotations

from ucop.agents.finding import Position

from ..expressions.templates import Use
from ..language.definition import Definition, Entry, Node
from ..types.deduction import TypeFault
from ..types.inference import Deduced, Inference
from ..types.references import Condition, Readings
from ..types.shapes import words
from .report import Report


def check_expressions(
    definition: Definition, readings: Readings, inference: Inference, report: Report
) -> None:
    """Tell of operations that fail with every value of the types they are given."""
    uses: list[tuple[Use, Node | None]] = [(use, None) for use in readings.output]
    for node in definition.nodes.values():
        item = node if node.each is not None else None
        uses += [(use, item) for use in readings.inputs[node.name]]
        uses += [(use, None) for use in readings.each[node.name]]
    for use, item in uses:
        if not use.expression.plain:
            _tell_faults(use, inference.deduce(use, item), report)


def check_conditions(readings: Readings, inference: Inference, report: Report) -> None:
    """Tell of conditions that cannot be evaluated, that never hold, or that always do."""
    for condition in readings.conditions:
        deduced = inference.deduce(condition.use, None)
        if not _tell_faults(condition.use, deduced, report):
            _check_outcome(condition, deduced, report)


def _check_outcome(condition: Condition, deduced: Deduced, report: Report) -> None:
    guess, use = deduced.guess, condition.use
    place = report.at(use.path)
    types = guess.types
    if types is not None and "boolean" not in types:
        said = f"a condition must be true or false, and this is {words(types)}"
        report.error("not-a-condition", said, place)
    elif guess.may_be(True) and guess.may_be(False):
        return
    elif not use.expression.references:
        outcome = "always" if guess.may_be(True) else "never"
        report.warn("constant-condition", f"this condition {outcome} holds", place)
    else:
        _tell_outcome(condition.entry, use, deduced, report)


def _tell_outcome(entry: Entry, use: Use, deduced: Deduced, report: Report) -> None:
    remark = deduced.told.remarks[0] if len(deduced.told.remarks) == 1 else None
    why = f": {remark.message}" if remark else ""
    hint = remark.hint if remark else None
    place = _place(use, remark, report) if remark else report.at(use.path)
    if deduced.guess.may_be(False):
        report.error("never-taken", f"the edge to {entry.target} is never taken{why}", place, hint)
    else:
        report.warn("constant-condition", f"this condition always holds{why}", place, hint)


def _tell_faults(use: Use, deduced: Deduced, report: Report) -> bool:
    """Whether there were any."""
    for fault in deduced.told.faults:
        report.error("type-mismatch", fault.message, _place(use, fault, report), fault.hint)
    for fault in deduced.told.mixed:
        place = _place(use, fault, report)
        report.warn("mixed-numbers", fault.message, place, "write double(x) or int(x)")
    return bool(deduced.told.faults)


def _place(use: Use, fault: TypeFault, report: Report) -> Position | None:
    source = use.expression.source
    rest = source[fault.start :]
    needle = rest.split()[0] if rest.split() else rest
    return report.inside(use.path, use.offset + fault.start, needle)

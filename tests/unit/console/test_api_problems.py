"""The table from errors to problems holds the whole tree."""

from __future__ import annotations

from collections.abc import Iterator

from ucop.agents.errors import UcopError
from ucop.console.api.problems import KINDS, OF_ERROR, code_of, refusal_of
from ucop.engine import errors

NO_ANSWER = {
    "AgentOutputError", "NotJson", "InterceptorMisused", "NobodyToAsk", "JobFailed", "JobStopped",
    "ResultTimeout", "Unstorable", "LimitReached", "AnswerIgnored", "Superseded", "MeshStopped",
    "InstallFailed", "InvalidSettings", "WorkflowError", "PathError", "TemplateError",
}  # fmt: skip
"""Errors of runs, or of the server's own start: if a request meets one, it is a defect."""


def tree(kind: type[UcopError]) -> Iterator[type[UcopError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith(("ucop.agents", "ucop.graphs", "ucop.engine")):
            yield each
            yield from tree(each)


def test_every_error_has_a_code_or_is_known_to_be_no_answer() -> None:
    assert errors.UcopError is UcopError
    for kind in tree(UcopError):
        family = {each.__name__ for each in kind.__mro__}
        code = code_of(kind.__new__(kind))
        assert (code == "internal") == bool(family & NO_ANSWER), kind


def test_every_code_is_known() -> None:
    assert {code for _, code in OF_ERROR} <= set(KINDS)


def test_what_nobody_planned_says_nothing_of_itself() -> None:
    refusal = refusal_of(RuntimeError("the password is x"))
    assert refusal.code == "internal"
    assert "password" not in refusal.detail

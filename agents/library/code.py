"""`coder`, `code_checker` and `code_writer`: a function written, tried, and kept."""

from __future__ import annotations

import re
import textwrap
from typing import Annotated

from pydantic import BaseModel, Field

from ..errors import AgentOutputError
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from ..text.validation import Problem
from .exercise import Exercise
from .files import job_part, publish
from .specs import bundled_spec, with_new_seed
from .trial import Limits, Report, try_code


class Trial(BaseModel):
    """One attempt at a function and what its tests said."""

    passed: bool
    attempt: int
    """From 1."""
    report: Report
    summary: str
    remarks: str | None
    """What went wrong, for the next attempt; null if all tests passed."""
    tried: list[str]
    """Every code that was tried in this job, this one last."""


class Solution(BaseModel):
    """A function as Python text."""

    code: str


class KeptCode(BaseModel):
    """Where a function lies."""

    path: str | None
    """Relative to the project's folder; null if the tests did not pass."""


@agent(capabilities=["code"], category="code")
async def coder(exercise: Exercise, context: AgentContext, last: Trial | None = None) -> Solution:
    """Write a function; after a failed trial another one, with the errors in sight.

    The small embedded model is asked for one line, larger ones for the whole function. An
    answer that was tried already is asked for again.
    """
    small = (await context.models.resolve(None)).embedded
    tried = last.tried if last else []

    def solution(answer: dict[str, str]) -> str:
        text = answer["line"] if small else answer["code"]
        return _whole(text, exercise)

    def is_new(answer: dict[str, str]) -> list[Problem]:
        known = solution(answer) in tried
        return [Problem((), "was tried already and failed; write another one")] if known else []

    spec = bundled_spec("expression_writer" if small else "function_writer")
    asked = {"task": exercise.task, "signature": exercise.signature}
    remarks = _remarks(last, small) if last else ""
    more = {"remarks": remarks} if small else {"remarks": remarks, "tests": exercise.tests}
    try:
        answer = await ask(
            with_new_seed(spec, last.attempt if last else 0),
            {**asked, **more},
            context=context,
            check=is_new,
        )
    except AgentOutputError:
        if not tried:
            raise
        context.progress("the model has no other answer")
        return Solution(code=tried[-1])
    return Solution(code=solution(answer))


@agent(capabilities=["check"], category="code")
async def code_checker(
    exercise: Exercise,
    solution: Solution,
    context: AgentContext,
    last: Trial | None = None,
    seconds: Annotated[int, Field(ge=1, le=60)] = 5,
    megabytes: Annotated[int, Field(ge=64, le=2048)] = 256,
) -> Trial:
    """Run a function's tests in a fresh process, within limits of time and memory.

    The limits stop mistakes and runaways. They are no sandbox for code that wants to break
    out: docs/library.md says what holds.
    """
    limits = Limits(seconds=seconds, megabytes=megabytes)
    report = await try_code(solution.code, exercise.tests, exercise.name, limits)
    attempt = last.attempt + 1 if last else 1
    passed = sum(test.passed for test in report.tests)
    summary = report.error or f"{passed} of {len(report.tests)} tests passed"
    context.progress(f"attempt {attempt}: {summary}")
    return Trial(
        passed=report.passed,
        attempt=attempt,
        report=report,
        summary=summary,
        remarks=None if report.passed else _errors(report),
        tried=[*(last.tried if last else []), solution.code],
    )


@agent(capabilities=["publish"], category="files")
def code_writer(
    exercise: Exercise,
    solution: Solution,
    trial: Trial,
    context: AgentContext,
    folder: str = "code",
) -> KeptCode:
    """Write a function that passed its tests into a file under the project's folder.

    The file is named after the function and the job. What did not pass is not kept.
    """
    if not trial.passed:
        context.progress(f"not kept: {trial.summary}")
        return KeptCode(path=None)
    name = f"{exercise.name}_{job_part(context.job_id)}.py"
    path = publish(context, folder, name, solution.code.rstrip("\n") + "\n")
    context.progress(f"wrote {path}")
    return KeptCode(path=path)


def _whole(text: str, exercise: Exercise) -> str:
    """A whole function, where the model wrote only its body."""
    text = textwrap.dedent(text.strip("\n")).rstrip()
    if re.search(rf"^(?:async )?def {exercise.name}\b", text, re.MULTILINE):
        return text
    return f"{exercise.signature}:\n{textwrap.indent(text, '    ')}"


def _remarks(last: Trial, small: bool) -> str:
    if small:
        line = last.tried[-1].splitlines()[-1].strip()
        error = (last.remarks or "").splitlines()[0]
        return f"\n    # wrong: {line}\n    # {error}"
    return f"\nThis was tried and is wrong:\n{last.tried[-1]}\nWhat its tests said:\n{last.remarks}"


def _errors(report: Report) -> str:
    if report.error:
        return report.error
    wrong = [test for test in report.tests if not test.passed]
    return "\n".join(f"{test.test or 'before the tests'}: {test.error}" for test in wrong[:5])

"""What a person answers, checked against what the job asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ucop.agents.text.validation import validate
from ucop.agents.text.whole_numbers import with_whole_numbers
from ucop.graphs.errors import StateError
from ucop.graphs.types.state import normalise

from ..errors import InvalidInput, RefusedChange
from .job import Question
from .status import JobStatus


def checked_answer(
    job: str, status: JobStatus, asked: Sequence[Question], answer: Any, question: str | None
) -> tuple[str, str]:
    """The id of the question that is answered, and the answer as JSON that fits it.

    Args:
        asked: All that the job asked.
        question: An id or the beginning of one; None if only one question can be answered.

    Raises RefusedChange if no such question takes an answer, or several do, and InvalidInput if
    the answer does not fit.
    """
    chosen = _chosen(job, status, asked, question)
    schema = chosen.answer_schema
    if schema and (problems := validate(schema, answer)):
        listed = "; ".join(str(problem) for problem in problems)
        raise InvalidInput(f"the answer does not fit the question of {chosen.node}: {listed}")
    try:
        kept = normalise(with_whole_numbers(schema, answer), None, f"the answer to {chosen.node}")
    except StateError as error:
        raise InvalidInput(str(error)) from None
    return chosen.id, json.dumps(kept, ensure_ascii=False)


def _chosen(job: str, status: JobStatus, asked: Sequence[Question], name: str | None) -> Question:
    named = [each for each in asked if name is None or each.id.startswith(name)]
    able = [each for each in named if each.takes_answer(status)]
    if len(able) == 1:
        return able[0]
    what = "several questions are open" if able else "no such question is open"
    ids = ", ".join(f"{each.id} ({each.node})" for each in asked if each.takes_answer(status))
    late = ", ".join(each.node for each in named if each.by_default) if not able else ""
    told = f" ({late} was not answered in time, so the default was used)" if late else ""
    raise RefusedChange(f"job {job}: {what}{told}; open: {ids or 'none'}")

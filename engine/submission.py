"""From what a caller says of a job to the row that is submitted. Writes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ucop.engine.errors import InvalidInput
from ucop.engine.job import Terms, ThreadId, new_job_id
from ucop.engine.rows import NewJob, to_json
from ucop.graphs.workflow import Workflow


def read_terms(**given: Any) -> Terms:
    """What is said of a job beside its input. Raises InvalidInput naming everything wrong."""
    try:
        return Terms.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"the job cannot be submitted so: {wrong}") from None


def new_job(
    workflow: Workflow, data: Mapping[str, Any], terms: Terms, budget: Mapping[str, float]
) -> NewJob:
    """A job of its own id; `data` was accepted by the workflow. Raises InvalidInput."""
    id = new_job_id(time.time())
    return NewJob(
        id=id,
        workflow=workflow.name,
        fingerprint=workflow.fingerprint,
        definition=to_json(workflow.stored),
        needs=to_json(list(workflow.needs)),
        input=_input_json(workflow.name, data),
        thread_id=ThreadId(terms.thread_id or id),
        key=terms.key,
        priority=terms.priority,
        tenant=terms.tenant,
        labels=to_json(terms.labels),
        budget=to_json({**workflow.limits.given(), **budget}),
    )


def graph_name(graph: Any) -> str:
    """What a graph that was passed without a name is known as."""
    name = getattr(graph, "name", None) or getattr(graph, "__name__", None)
    if isinstance(name, str) and name not in ("LangGraph", "<lambda>"):
        return name
    return f"graph-{id(graph):x}"


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _input_json(workflow: str, data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the input of {workflow!r} must be JSON: {error}; pass texts, numbers, lists and "
            "objects, and let the graph build the rest"
        ) from error

"""A job's input as it is typed: `-i key=value`, a file, or one text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ucop.agents.text.duration import moment_of, seconds_of

from .exits import UsageProblem

if TYPE_CHECKING:
    from ucop.engine.jobs.filter import Filter
    from ucop.engine.jobs.status import JobStatus
    from ucop.graphs.workflow import Workflow


def read_input(
    workflow: Workflow, typed: Sequence[str], file: str | None, text: str | None = None
) -> Any:
    """The input for `workflow`, not yet checked: an object, or for a graph that takes any value
    what the file holds, or the text. Raises UsageProblem, InvalidDefinition."""
    if not workflow.takes_values and not typed:
        return text if text is not None else _parse(file, "--input-file") if file else None
    first = {} if text is None else {text_input(workflow): text}
    return typed_input(workflow.input_schema, typed, file, first)


def typed_input(
    schema: Mapping[str, Any] | None,
    typed: Sequence[str],
    file: str | None,
    first: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """An input as `schema` reads it, not yet checked: the file's, over it `first`, over it what
    was typed. Raises UsageProblem, InvalidDefinition."""
    data = {**(read_object(file, "--input-file") if file else {}), **first}
    fields = (schema or {}).get("properties", {})
    for key, value in pairs(typed, "-i").items():
        data[key] = _coerce(fields.get(key, {}), value)
    return data


def pairs(typed: Sequence[str], option: str) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises UsageProblem naming every one that is none."""
    split = [text.partition("=") for text in typed]
    wrong = [key + eq + value for key, eq, value in split if not eq or not key.strip()]
    if wrong:
        named = ", ".join(repr(text) for text in wrong)
        raise UsageProblem(f"{option} takes KEY=VALUE, not {named}")
    return {key.strip(): value for key, _, value in split}


def read_filter(
    status: Sequence[JobStatus] | None,
    queue: str | None,
    workflow: str | None,
    tenant: str | None,
    label: Sequence[str] | None,
    older_than: str | None,
    newer_than: str | None,
    *,
    archived: bool = False,
) -> Filter:
    """The filter that the options of a command name. Raises UsageProblem."""
    from ucop.engine.jobs.filter import Filter

    return Filter(
        status=status or None,
        queue=queue,
        workflow=workflow,
        tenant=tenant,
        labels=pairs(label or (), "--label"),
        before=None if older_than is None else read_age(older_than, "--older-than"),
        after=None if newer_than is None else read_age(newer_than, "--newer-than"),
        archived=archived,
    )


def read_age(text: str, option: str) -> datetime:
    """The moment that an age names, or that is named itself. Raises UsageProblem."""
    # A number alone may be a year as well as seconds.
    seconds = seconds_of(text) if text[-1:].isalpha() else None
    try:
        if seconds is not None:
            return datetime.now(UTC) - timedelta(seconds=seconds)
    except OverflowError:
        pass
    if (found := moment_of(text)) is not None:
        return found
    raise UsageProblem(
        f"{option} takes a time such as 90s, 30m, 2h or 7d, or a date such as 2026-11-28 or "
        f"2026-11-28T18:00 (in UTC), not {text!r}"
    )


def read_moment(text: str, option: str) -> datetime:
    """A date, or a date and a time. Raises UsageProblem."""
    if (found := moment_of(text)) is not None:
        return found
    raise UsageProblem(
        f"{option} takes a date such as 2026-11-28 or 2026-11-28T18:00 (in UTC), not {text!r}"
    )


def read_budget(typed: Sequence[str]) -> dict[str, float]:
    """`--budget` as typed. Raises UsageProblem, InvalidInput."""
    from ucop.engine.jobs import budget

    return budget.read_budget(
        {name: _number(value) for name, value in pairs(typed, "--budget").items()}
    )


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def text_input(workflow: Workflow) -> str:
    """The input that takes a text: the first required one that may be a string."""
    schema = workflow.input_schema or {}
    required = schema.get("required", ())
    for name, field in _fields(workflow).items():
        if name in required and _takes_text(field):
            return name
    known = ", ".join(_fields(workflow)) or "none"
    raise UsageProblem(
        f"workflow {workflow.name!r} has no required text input (its inputs: {known}); "
        f"use `ucop run {workflow.name} -i key=value`"
    )


def _takes_text(field: Mapping[str, Any]) -> bool:
    declared = field.get("type")
    return "string" in declared if isinstance(declared, list) else declared in ("string", None)


def _fields(workflow: Workflow) -> dict[str, Any]:
    return dict((workflow.input_schema or {}).get("properties", {}))


def _coerce(field: Mapping[str, Any], text: str) -> Any:
    from ucop.agents.text.schema import coerce_text

    return coerce_text(field, text)


def read_object(file: str, option: str) -> dict[str, Any]:
    """The object in a JSON or YAML file, or on stdin. Raises UsageProblem, InvalidDefinition."""
    data = _parse(file, option)
    if not isinstance(data, dict):
        raise UsageProblem(f"{option} {file}: must be an object of names and values")
    return data


def _parse(file: str, option: str) -> Any:
    try:
        # Not as text: where the locale says so, Python takes any byte for some character.
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{option} {file}: cannot be read: {error}") from error
    if not file.endswith((".yaml", ".yml")):
        try:
            return json.loads(text)
        except ValueError as error:
            if file.endswith(".json"):
                raise UsageProblem(f"{option} {file}: not JSON: {error}") from error
    from ucop.agents.text.source import read_yaml

    return read_yaml(text, file).data

"""What a run is given beside its input, as it is typed: `--context`, `--context-file`, `--config`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..view.inputs import pairs, read_object

_GROUPS = ("configurable", "metadata")
_WHOLE = ("tags", "recursion_limit", "interrupt_before", "interrupt_after")
_NODES = ("interrupt_before", "interrupt_after")


@dataclass(frozen=True, kw_only=True)
class Given:
    """The options as they were typed."""

    context: Sequence[str] | None
    context_file: str | None
    config: Sequence[str] | None

    def __bool__(self) -> bool:
        return any((self.context, self.context_file, self.config))

    def read(self, fields: Callable[[], Mapping[str, Any]] = dict) -> dict[str, Any]:
        """What the options say, as Engine.submit takes it. `fields` returns the JSON Schemas of the
        context's names, and is called if any is given. Raises UsageProblem, InvalidDefinition."""
        return {
            "context": _context(self.context or (), self.context_file, fields),
            "config": _config(self.config or ()),
        }


def _context(
    typed: Sequence[str], file: str | None, fields: Callable[[], Mapping[str, Any]]
) -> dict[str, Any] | None:
    if not typed and file is None:
        return None
    data = read_object(file, "--context-file") if file else {}
    schemas = fields() if typed else {}
    for key, value in pairs(typed, "--context").items():
        data[key] = _value(value, schemas.get(key))
    return data


def _config(typed: Sequence[str]) -> dict[str, Any] | None:
    """A name is one of `configurable`, unless it is LangGraph's own or says its group."""
    if not typed:
        return None
    config: dict[str, Any] = {}
    for key, text in _split_pairs(typed):
        value = _value(text, None)
        group, dot, name = key.partition(".")
        if key in _WHOLE:
            if key == "tags" and not isinstance(value, list):
                value = [*config.get("tags", []), text]
            if key in _NODES and isinstance(value, str) and value != "*":
                value = [*config.get(key, []), text]
            config[key] = value
        elif dot and group in _GROUPS:
            config.setdefault(group, {})[name] = value
        else:
            config.setdefault("configurable", {})[key] = value
    return config


def _split_pairs(typed: Sequence[str]) -> list[tuple[str, str]]:
    return [next(iter(pairs([text], "--config").items())) for text in typed]


def _value(text: str, schema: Mapping[str, Any] | None) -> Any:
    """As its schema says; without one JSON, or else a text."""
    if schema:
        from ucop.agents.text.schema import coerce_text

        return coerce_text(schema, text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def fields_of(place: Any, workflow: str) -> Mapping[str, Any]:
    """The JSON Schemas of what a job's workflow takes as context, where it is still there."""
    from ucop.engine.errors import UcopError

    try:
        found: Mapping[str, Any] = place.catalog.find(workflow).context_fields
    except UcopError:
        return {}
    return found

"""A LangGraph project's own file: what of it ucop uses, and what not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InvalidSettings

NAME = "langgraph.json"

_USED = ("graphs", "env", "dependencies", "python_version", "$schema")


def read_langgraph(text: str, file: Path) -> dict[str, Any] | None:
    """The settings in a `langgraph.json`: its `graphs`, `{name: "./file.py:attribute"}`; None
    where it has none. The variables of its `env` are set in this process, unless they are set
    already. Raises InvalidSettings, and ValueError for what is no JSON."""
    data = json.loads(text)
    graphs = data.get("graphs") if isinstance(data, dict) else None
    if not isinstance(graphs, dict):
        return None
    paths = [graph.get("path") if isinstance(graph, dict) else graph for graph in graphs.values()]
    if not all(isinstance(path, str) for path in paths):
        raise InvalidSettings(f'{file}: every entry of "graphs" must be "./file.py:attribute"')
    for name, value in _variables(data.get("env"), file).items():
        os.environ.setdefault(name, value)
    named = zip(graphs, paths, strict=True)
    return {"workflows": tuple(f"{name}={path}" for name, path in named)}


def _variables(env: Any, file: Path) -> dict[str, str]:
    """The variables of a map, or of a file such as `.env`. Raises InvalidSettings."""
    if env is None:
        return {}
    if isinstance(env, Mapping):
        wrong = sorted(name for name, value in env.items() if isinstance(value, dict | list))
        if wrong:
            raise InvalidSettings(f'{file}: "env": {", ".join(wrong)} must be text')
        return {name: _text(value) for name, value in env.items() if value is not None}
    if not isinstance(env, str):
        raise InvalidSettings(f'{file}: "env" must be a file such as ".env", or a map of texts')
    where = file.parent / env
    if not where.is_file():
        raise InvalidSettings(f'{file}: "env" names {env}, and there is no such file')
    from dotenv import dotenv_values  # comes with pydantic-settings

    return {name: value for name, value in dotenv_values(where).items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def unused(folder: Path) -> list[str]:
    """What the `langgraph.json` of a project asks for that ucop does not see to."""
    file = folder / NAME
    if not file.is_file():
        return []
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # told where the project is read
    return list(_unused(data)) if isinstance(data, dict) and "graphs" in data else []


def _unused(data: Mapping[str, Any]) -> list[str]:
    found = []
    dependencies = [str(each) for each in data.get("dependencies") or ()]
    if any(each not in (".", "./") for each in dependencies):
        found.append(
            f"dependencies ({', '.join(dependencies)}): ucop installs nothing; install them into "
            "the environment of the workers"
        )
    asked = data.get("python_version")
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if asked is not None and str(asked) != running:
        found.append(f"python_version ({asked}): this is Python {running}; ucop starts no other")
    others = [name for name in data if name not in _USED]
    if others:
        found.append(f"{', '.join(others)}: of LangGraph's server; ucop does not use them")
    return [f"{NAME}: {each}" for each in found]

"""A state, edited as it is typed: `--set path=value`, a file, or by hand in $EDITOR."""

from __future__ import annotations

import copy
import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ..view import streams
from ..view.exits import UsageProblem
from ..view.inputs import pairs, read_object
from ..view.output import note


def edited(values: Mapping[str, Any], typed: Sequence[str], file: str | None) -> dict[str, Any]:
    """The names of a state that are edited, with their new values. Raises UsageProblem."""
    changed = read_object(file, "--from-file") if file else {}
    for path, text in pairs(typed, "--set").items():
        name, *inner = path.split(".")
        if name not in changed:
            changed[name] = copy.deepcopy(values.get(name))
        changed[name] = _with(changed[name], inner, _value(text), path)
    return changed


HEAD = """\
# The state of checkpoint {id} of job {job}.
# What you change goes into the new job; save and close to start it. An unchanged file starts nothing.
"""

TRIES = 5
"""How often a file that cannot be read is opened again."""


def edit_by_hand(values: Mapping[str, Any], job: str, checkpoint: str) -> dict[str, Any]:
    """The names whose values a person changed in $EDITOR, with their new values. Raises
    UsageProblem where nothing was changed, or where it stayed no YAML."""
    import click

    before = written = HEAD.format(id=checkpoint, job=job) + as_yaml(values)
    if _read(before) != values:
        raise UsageProblem("this state is too big, or not plain enough, for YAML; use --set")
    for _ in range(TRIES):
        text = _open_editor(written)
        if text is None or text == before:
            raise UsageProblem("the state was not changed; nothing was started")
        written = text
        given = _read(text)
        if isinstance(given, dict):
            return _changes(values, given)
        note(f"what was saved is no state: {given}")
        if not sys.stdin.isatty() or not click.confirm("open it again?", default=True, err=True):
            break
    kept = _keep(written)
    raise UsageProblem(
        f"nothing was started; your text is kept in {kept}: mend it, then give it "
        f"with --from-file {kept}"
    )


def _read(text: str) -> dict[str, Any] | str:
    """A state, or why it is none."""
    from ucop.agents.errors import InvalidDefinition
    from ucop.agents.text.source import read_yaml

    try:
        data = read_yaml(text, "state.yaml").data
    except InvalidDefinition as error:
        return str(error)
    return data if isinstance(data, dict) else "it must be a mapping of names and values"


def as_yaml(values: Mapping[str, Any]) -> str:
    """A state as YAML; long texts stand as blocks."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString, walk_tree

    def block(text: str) -> str:
        plain = all(character.isprintable() or character in "\n\t" for character in text)
        return LiteralScalarString(text) if plain else text

    data = copy.deepcopy(dict(values))
    walk_tree(data, {"\n": block})
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(data, stream)
    return stream.getvalue()


def _open_editor(text: str) -> str | None:
    import click

    try:
        with streams.lent():
            return click.edit(text, extension=".yaml", require_save=False)
    except click.ClickException as error:
        raise UsageProblem(
            f"{error.message}; set EDITOR to an editor that waits until the file is closed, or use "
            "--set or --from-file"
        ) from error


def _changes(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    if gone := [name for name in values if name not in given]:
        raise UsageProblem(
            f"{', '.join(gone)}: a name of the state cannot be taken away; write null for no value"
        )
    new = {name: value for name, value in given.items() if value != values.get(name, ...)}
    if not new:
        raise UsageProblem("the state was not changed; nothing was started")
    return new


def _keep(text: str) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="ucop-state-", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return file.name


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _with(value: Any, path: Sequence[str], new: Any, whole: str) -> Any:
    """`value` with something new at a path inside it."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return [
            _with(item, rest, new, whole) if index == int(key) else item
            for index, item in enumerate(value)
        ]
    if value is None or isinstance(value, dict):
        inner = (value or {}).get(key)
        return {**(value or {}), key: _with(inner, rest, new, whole)}
    raise UsageProblem(f"--set {whole}: there is no {key!r} in {json.dumps(value)[:80]}")

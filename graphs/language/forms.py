"""What may stand under a key of a workflow's file: read, kept and described in one place.

A `Form` is one way to write a value. `Annotated[T, Key(form)]` makes a dataclass's field a key of
the language, and the field's docstring is what editors are told of it. So a new key is a new
field: the loader, what a job keeps, and the JSON Schema follow from the class.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, get_type_hints

from ucop.agents.finding import Finding, Position
from ucop.agents.text.duration import seconds_of
from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.places import Path, Places

Schema = dict[str, Any]


class Reader:
    """Reads one document and collects what is wrong with it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.findings: list[Finding] = []
        self.defaults: dict[str, dict[str, Any]] = {}
        """By key, the fields of nodes that do not have the key."""

    def error(
        self, code: str, message: str, path: Path, hint: str | None = None, *, key: bool = False
    ) -> None:
        """Report a mistake in the value at `path`, or in its key."""
        self.error_at(code, message, self.places.at(path, key=key), hint)

    def error_at(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        self.findings.append(Finding.error(code, message, position, hint))

    def mapping(self, value: Any, path: Path, what: str) -> dict[str, Any] | None:
        if isinstance(value, dict):
            return value
        self.error("wrong-type", f"{what} must be a mapping, not {shown(value)}", path)
        return None

    def known(self, names: Iterable[str], path: Path, known: Iterable[str]) -> None:
        """Report the names that are no keys here."""
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"there is {', '.join(known)}"
                what = f"there is no key {name!r} here"
                self.error("unknown-key", what, (*path, name), hint, key=True)


def shown(value: Any) -> str:
    """A value in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…'"


def ref(name: str) -> Schema:
    """A part of the language that the schema describes once."""
    return {"$ref": f"#/$defs/{name}"}


# ---- forms ----


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a value."""

    read: Callable[[Reader, Any, Path], Any]
    """Gives what a value means; None if it is not of this form, which is reported."""
    schema: Schema
    write: Callable[[Any], Any] = lambda value: value
    """Gives what a job keeps of the meaning."""


ANYTHING = Form(lambda _, value, __: value, {})

_TYPES: dict[type, tuple[str, str]] = {
    str: ("string", "a text"),
    dict: ("object", "a mapping"),
    list: ("array", "a list"),
    int: ("integer", "a whole number"),
}


def typed(kind: type, **keywords: Any) -> Form:
    """A value of one type of JSON; editors are told further keywords."""
    name, words = _TYPES[kind]

    def read(reader: Reader, value: Any, path: Path) -> Any:
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        reader.error("wrong-type", f"{path[-1]!r} must be {words}, not {shown(value)}", path)
        return None

    return Form(read, {"type": name, **keywords})


TEXT, MAPPING, LIST = typed(str), typed(dict), typed(list)


def count(most: int | None = None) -> Form:
    """A whole number from 1 on."""
    number = typed(int, minimum=1, **({} if most is None else {"maximum": most}))

    def read(reader: Reader, value: Any, path: Path) -> int | None:
        if number.read(reader, value, path) is None:
            return None
        if value >= 1 and (most is None or value <= most):
            return int(value)
        bound = "at least 1" if value < 1 else f"at most {most}"
        reader.error("bad-value", f"{path[-1]!r} must be {bound}", path)
        return None

    return Form(read, number.schema)


def _seconds(reader: Reader, value: Any, path: Path) -> float | None:
    if (seconds := seconds_of(value)) is not None:
        return seconds
    what = f"{path[-1]!r} must be a time such as 500ms, 60s, 5m or 1h, not {shown(value)}"
    reader.error("bad-value", what, path)
    return None


DURATION = Form(_seconds, ref("duration"))


def one_of(members: type[Enum], wanted: str) -> Form:
    """A member of an enum, by its value; `wanted` begins the message about any other."""
    values = [member.value for member in members]

    def read(reader: Reader, value: Any, path: Path) -> Enum | None:
        if value in values:
            return members(value)
        reader.error("bad-value", f"{wanted}, not {shown(value)}", path)
        return None

    return Form(read, {"enum": values}, lambda member: member.value)


def only(name: str, form: Form, description: str, needs: str, **keywords: Any) -> Form:
    """A mapping of one key, whose value is meant; `needs` ends the message if it is missing."""

    def read(reader: Reader, value: Any, path: Path) -> Any:
        reader.known(value, path, (name,))
        if name in value:
            return form.read(reader, value[name], (*path, name))
        owner = path[-1] if isinstance(path[-1], str) else "agent"
        reader.error("missing-key", f"{owner} {needs}", path)
        return None

    described = {"description": description, **form.schema, **keywords}
    return Form(read, closed({name: described}, [name]), lambda value: {name: value})


def either(plain: Form, mapping: Form, schema: Schema | None = None) -> Form:
    """A plain value or a mapping, which `schema` describes to editors. A job keeps the plain."""

    def read(reader: Reader, value: Any, path: Path) -> Any:
        return (mapping if isinstance(value, Mapping) else plain).read(reader, value, path)

    return Form(read, {"anyOf": [plain.schema, schema or mapping.schema]}, plain.write)


# ---- keys ----


@dataclass(frozen=True, eq=False)
class Key:
    """Says of a field that it is a key of the language."""

    form: Form
    name: str = ""
    """The key; empty if it is called as its field."""
    also: str = ""
    """A second field that it fills."""
    examples: Iterable[Any] = ()
    shown: Any = None
    """The default for editors, if the field's own is not in the words of the language."""
    needed: str = ""
    """The message if it is missing; empty if it may be left out."""
    hint: str | None = None
    belongs: str = ""
    """The key without which it means nothing."""
    written: bool = False
    """Whether a job keeps it also if it is the default."""
    of_call: bool = False
    """Whether it means nothing if a person is asked."""
    policy: bool = False
    """Whether a workflow's `defaults` may have it."""

    # Known once it stands in a class.
    fields: tuple[str, ...] = ()
    default: Any = None
    meaning: Callable[[], str] = str
    inside: str = ""
    """The field whose object has these fields, if it is not the class itself."""

    def values(self, reader: Reader, value: Any, path: Path) -> dict[str, Any]:
        """What a value says, by field, as far as it can be understood."""
        said = self.form.read(reader, value, path)
        if said is None:
            return {}
        if not self.also:
            return {self.fields[0]: said}
        pairs = zip(self.fields, said, strict=True)
        return {name: part for name, part in pairs if part is not None}

    def held(self, owner: Any) -> Any:
        """What an object of its class holds for it."""
        if self.inside:
            owner = getattr(owner, self.inside)
            if owner is None:
                return self.default
        held = getattr(owner, self.fields[0])
        return (held, getattr(owner, self.also)) if self.also else held

    def schema(self) -> Schema:
        meaning = {"description": said} if (said := self.meaning()) else {}
        default = {"default": self.shown} if self.shown else {}
        examples = {"examples": list(self.examples)} if self.examples else {}
        return {**meaning, **default, **self.form.schema, **examples}


@dataclass(frozen=True)
class KeysOf:
    """Says of a field that the keys of its object stand among those of the class around it."""

    cls: type


Keys = Mapping[str, Key]


@cache
def keys_of(cls: Any) -> Keys:
    """The keys that a dataclass declares, by name."""
    defaults = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory()
        for one in fields(cls)
    }
    keys: dict[str, Key] = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        for said in getattr(hint, "__metadata__", ()):
            if isinstance(said, KeysOf):
                inner = keys_of(said.cls).items()
                keys |= {other: replace(key, inside=name) for other, key in inner}
            elif isinstance(said, Key):
                keys[said.name or name] = _key_at(said, cls, name, defaults)
    return keys


def _key_at(key: Key, cls: Any, field: str, defaults: Mapping[str, Any]) -> Key:
    """A key that knows the field that it stands at."""
    default, shown = defaults[field], key.shown
    if shown is None and isinstance(default, Enum | str | int):
        shown = default.value if isinstance(default, Enum) else default
    return replace(
        key,
        name=key.name or field,
        fields=(field, key.also) if key.also else (field,),
        default=(default, defaults[key.also]) if key.also else default,
        meaning=lambda: docstrings(cls).get(field, ""),
        shown=shown,
    )


@cache
def docstrings(cls: Any) -> dict[str, str]:
    """The docstrings of a class's fields, which Python itself does not keep."""
    (tree,) = ast.parse(dedent(inspect.getsource(cls))).body
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in pairwise(tree.body if isinstance(tree, ast.ClassDef) else ())
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant)
        if isinstance(said.value.value, str)
    }


def read_keys(
    reader: Reader, given: Mapping[str, Any], path: Path, keys: Keys, passed: Container[str] = ()
) -> dict[str, Any]:
    """What stands under the keys, by field of their class, as far as it can be understood; those
    that are `passed` are known and not read."""
    if not given.keys() <= keys.keys():
        reader.known(given, path, keys)
    for key in keys.values():
        if key.needed and key.name not in given:
            reader.error("missing-key", key.needed, path, key.hint)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in keys and name not in passed:
            values |= keys[name].values(reader, value, (*path, name))
    return values


def write_keys(owner: Any, keys: Keys) -> dict[str, Any]:
    """What a job keeps of an object of a class with keys."""
    written: dict[str, Any] = {}
    for name, key in keys.items():
        held = key.held(owner)
        if held != key.default or (key.written and (not key.belongs or key.belongs in written)):
            written[name] = key.form.write(held)
    return written


def section(cls: Any, name: str) -> Form:
    """A mapping of the keys that a dataclass declares; editors know it as `name`."""

    def read(reader: Reader, value: Any, path: Path) -> Any:
        given = MAPPING.read(reader, value, path)
        return None if given is None else cls(**read_keys(reader, given, path, keys_of(cls)))

    return Form(read, ref(name), lambda value: write_keys(value, keys_of(cls)))


def keys_schema(keys: Keys, required: Iterable[str] = ()) -> Schema:
    """An object with these keys and no others."""
    needed = [name for name, key in keys.items() if key.needed or name in required]
    return closed({name: key.schema() for name, key in keys.items()}, needed)


def closed(properties: Schema, required: list[str]) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }

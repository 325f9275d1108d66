"""Edges: chains such as `a -> [b, c]`, and choices of which the first that holds is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

from ucop.agents.text.places import Path

from .forms import LIST, TEXT, Form, Key, Reader, count, keys_of, read_keys, ref, typed, write_keys
from .names import END, START

_WORD = re.compile(r"[^\s,\[\]]+")


def _condition(reader: Reader, value: Any, path: Path) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    when = TEXT.read(reader, value, path)
    if when is not None and when.startswith("${") and when.endswith("}"):
        what = "'when' is an expression already: write it without ${ }"
        reader.error("bad-expression", what, path)
        return None
    return when


_BARE = {"type": "string", "not": {"pattern": r"^\$\{[\s\S]*\}$"}}
_CONDITION = Form(_condition, {"anyOf": [{"type": "boolean"}, _BARE]})
_TARGET = Form(TEXT.read, ref("target"))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One way out of a route; `at_most` makes it a loop edge."""

    target: Annotated[str, Key(_TARGET, name="node", needed="an entry of 'to' needs 'node'")]
    when: Annotated[
        str | None, Key(_CONDITION, examples=["review.score < 7", "size(notes) > 2 && !done"])
    ] = None
    """A condition in CEL, without braces."""
    at_most: Annotated[int | None, Key(count())] = None
    """Makes it a loop edge, taken at most so often per entry into its loop."""
    path: Path = field(default=(), compare=False)
    # Where the target's name begins inside a chain's text; -1 if it stands alone.
    offset: int = field(default=-1, compare=False)


ENTRY = keys_of(Entry)


def _entries(reader: Reader, value: Any, path: Path) -> tuple[Entry, ...]:
    if not isinstance(value, list):
        entries = [_entry(reader, value, path)]
    else:
        entries = [_entry(reader, one, (*path, i)) for i, one in enumerate(value)]
        if not value:
            reader.error("bad-edge", "'to' is empty", path)
    return tuple(entry for entry in entries if entry is not None)


def _entry(reader: Reader, given: Any, path: Path) -> Entry | None:
    place = path
    if isinstance(given, str):
        values: dict[str, Any] = {"target": given}
    else:
        fields = reader.mapping(given, path, "an entry of 'to'")
        if fields is None:
            return None
        values, place = read_keys(reader, fields, path, ENTRY), (*path, "node")
    if values.get("target") == START:
        reader.error("bad-edge", "no edge leads to START", place)
        return None
    return Entry(**values, path=path) if isinstance(given, str) or values.get("target") else None


_ENTRIES = Form(
    _entries,
    {"anyOf": [ref("entry"), {"type": "array", "minItems": 1, "items": ref("entry")}]},
    lambda entries: [write_keys(entry, ENTRY) for entry in entries],
)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Edges out of one node of which the first that holds is taken. All routes of a node apply."""

    source: Annotated[
        str,
        Key(
            typed(str, **{"not": {"const": END}}),
            name="from",
            needed="an edge needs 'from'",
            examples=[START],
        ),
    ]
    """The node that the edges leave, or START."""
    entries: Annotated[
        tuple[Entry, ...],
        Key(
            _ENTRIES,
            name="to",
            needed="an edge needs 'to'",
            examples=[[{"node": "draft", "when": "review.score < 7", "at_most": 2}, END]],
        ),
    ]
    """The first entry that holds is taken; one without `when` always holds."""
    path: Path = field(default=(), compare=False)
    offset: int = field(default=-1, compare=False)


ROUTE = keys_of(Route)


def _edges(reader: Reader, value: Any, path: Path) -> tuple[Route, ...]:
    if value is None or value == []:
        hint = "leave it out to have the edges follow from references"
        reader.error("no-edges", "edges is empty", path, hint, key=True)
        return ()
    edges = enumerate(LIST.read(reader, value, path) or ())
    return tuple(route for i, edge in edges for route in _edge(reader, edge, (*path, i)))


def _write_edges(routes: Iterable[Route]) -> Any:
    """Routes of one node stay in their order; among nodes there is none."""
    ordered = sorted(routes, key=lambda route: route.source)
    return [write_keys(route, ROUTE) for route in ordered]


EDGES = Form(_edges, {"type": "array", "minItems": 1, "items": ref("edge")}, _write_edges)


def _edge(reader: Reader, given: Any, path: Path) -> Iterable[Route]:
    if isinstance(given, str):
        return _chain(reader, given, path)
    if isinstance(given, Mapping):
        return _choice(reader, given, path)
    what = "an edge is a chain such as a -> b, or {from: a, to: [...]}"
    reader.error("wrong-type", what, path)
    return ()


def _choice(reader: Reader, given: Mapping[str, Any], path: Path) -> Iterator[Route]:
    values = read_keys(reader, given, path, ROUTE)
    if values.get("source") == END:
        reader.error("bad-edge", "no edge leads out of END", (*path, "from"))
    if values.get("source") and values.get("entries"):
        yield Route(**values, path=path)


def _chain(reader: Reader, chain: str, path: Path) -> Iterator[Route]:
    links = list(_links(reader, chain, path))
    if len(links) < 2:
        if all(links):
            reader.error("bad-edge", f"{chain!r} leads nowhere: write a -> b", path)
        return
    for position, link in enumerate(links):
        for name, offset in link:
            if name == START and position > 0:
                what = "no edge leads to START"
            elif name == END and position < len(links) - 1:
                what = "no edge leads out of END"
            else:
                continue
            reader.error_at("bad-edge", what, reader.places.inside(path, offset, name))
    for sources, targets in pairwise(links):
        for source, start in sources:
            for target, offset in targets:
                entry = Entry(target=target, path=path, offset=offset)
                yield Route(source=source, entries=(entry,), path=path, offset=start)


def _links(reader: Reader, chain: str, path: Path) -> Iterator[list[tuple[str, int]]]:
    """The nodes between the arrows of a chain, each with where it begins."""
    start = 0
    for part in chain.split("->"):
        words = [(m.group(), start + m.start()) for m in _WORD.finditer(part)]
        bare = part.strip()
        grouped = bare.startswith("[") and bare.endswith("]") and bare.count("[") == 1
        if not words:
            place = reader.places.inside(path, start, part)
            reader.error_at("bad-edge", "a node is missing here", place)
        elif not (bare == words[0][0] or (grouped and _is_list(bare[1:-1]))):
            place = reader.places.inside(path, words[0][1], words[0][0])
            what = f"{bare!r} is neither a node nor a list such as [b, c]"
            reader.error_at("bad-edge", what, place)
            words = []
        yield words
        start += len(part) + 2


def _is_list(inside: str) -> bool:
    return all(_WORD.fullmatch(part.strip()) for part in inside.split(","))

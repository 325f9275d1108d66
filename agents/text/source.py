"""Text with places: YAML that was read, and findings that point into it.

The reader takes the events of ruamel's YAML 1.2 parser and builds plain data from them
itself. That way every value and every key keeps its place, what a definition has no use for
(anchors, tags, duplicate keys, …) is refused where it stands, and nothing is ever constructed
from a name in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InvalidDefinition
from ..finding import Finding, Position
from .scalars import RefusedScalar, plain_scalar

if TYPE_CHECKING:
    from ruamel.yaml.error import MarkedYAMLError, StreamMark
    from ruamel.yaml.events import Event

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50
MAX_VALUES = 20_000
MAX_FINDINGS = 20

DataPath = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """YAML that was read: plain data, and the place of every value and key."""

    data: Any
    text: str
    file: str
    places: dict[DataPath, tuple[Position, Position]] = field(repr=False)

    def at(self, path: DataPath, key: bool = False) -> Position:
        """The place of the value at `path`, or with `key` of the key that leads to it.

        A path that does not exist gives the place of the nearest value around it.
        """
        while path and path not in self.places:
            path = path[:-1]
            key = isinstance(self.value(path), list | dict) if path in self.places else True
        return self.places[path][0 if key else 1]

    def value(self, path: DataPath) -> Any:
        """The data at `path`."""
        value = self.data
        for step in path:
            value = value[step]
        return value

    def locate(self, path: DataPath, fragment: str, nth: int = 0) -> Position:
        """The place of the nth `fragment` inside the text at `path`; else the place of the text.

        Looks in the file itself, so a fragment that is written with escapes is not found.
        """
        start = self.at(path)
        lines = LINE_BREAK.split(self.text)
        for number, line in _lines_of(lines, start, self._next_after(start)):
            before = start.column - 1 if number == start.line else 0
            columns = [
                before + match.start() for match in re.finditer(re.escape(fragment), line[before:])
            ]
            if nth < len(columns):
                return Position(self.file, number, columns[nth] + 1)
            nth -= len(columns)
        return start

    def _next_after(self, start: Position) -> Position | None:
        later = (place for pair in self.places.values() for place in pair)
        after = [p for p in later if (p.line, p.column) > (start.line, start.column)]
        return min(after, key=lambda p: (p.line, p.column), default=None)


def read_yaml(text: str, file: str) -> Document:
    """Read one YAML 1.2 document as plain data.

    Raises InvalidDefinition for text that is not YAML, and for anchors, aliases, tags,
    directives, several documents, duplicate keys, keys that are no strings, numbers that JSON
    cannot hold, more than 256 KiB, 20,000 values or 50 levels.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        _refuse(file, "too-large", f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
    return _Builder(text, file).document()


def read_yaml_file(path: str | Path, shown_as: str | None = None) -> Document:
    """Read one YAML file in UTF-8, called `shown_as` in positions.

    Raises InvalidDefinition as `read_yaml` does, and for a file that cannot be read.
    """
    file = shown_as or str(path)
    try:
        if not Path(path).is_file():
            _refuse(file, "no-file", "there is no such file")
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        _refuse(file, "unreadable", f"the file cannot be read: {error.strerror or error}")
    if len(content) > MAX_BYTES:
        _refuse(file, "too-large", f"the file is longer than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = _end_of(before)
        _refuse(file, "encoding", "the file is not UTF-8 here", Position(file, line, column))
    return read_yaml(text, file)


# The line breaks that ruamel counts.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def _lines_of(lines: list[str], start: Position, end: Position | None) -> Iterator[tuple[int, str]]:
    """The lines, with their numbers, from `start` to before `end`."""
    for number in range(start.line, (end.line if end else len(lines)) + 1):
        line = lines[number - 1]
        yield number, line[: end.column - 1] if end and number == end.line else line


def _end_of(text: str) -> tuple[int, int]:
    lines = LINE_BREAK.split(text)
    return len(lines), len(lines[-1]) + 1


def _refuse(file: str, code: str, message: str, position: Position | None = None) -> NoReturn:
    where = position or Position(file, 1, 1)
    raise InvalidDefinition([Finding.error(code, message, where)])


@dataclass
class _Open:
    """A list or mapping whose end was not read yet."""

    path: DataPath
    value: list[Any] | dict[str, Any]
    key: str | None = None
    key_place: Position | None = None


class _Builder:
    """Builds one document from the parser's events."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.findings: list[Finding] = []
        self.places: dict[DataPath, tuple[Position, Position]] = {}
        self.open: list[_Open] = []
        self.values = 0
        self.documents = 0
        self.data: Any = None

    def document(self) -> Document:
        try:
            for event in _events(self.text):
                self.take(event)
        except _SyntaxError as error:
            self.found("syntax", error.message, error.line, error.column)
        except _Enough:
            pass
        if self.findings:
            raise InvalidDefinition(self.findings)
        self.places.setdefault((), (self.place(0, 0), self.place(0, 0)))
        return Document(data=self.data, text=self.text, file=self.file, places=self.places)

    def place(self, line: int, column: int) -> Position:
        return Position(self.file, line + 1, column + 1)

    def found(self, code: str, message: str, line: int, column: int) -> None:
        self.findings.append(Finding.error(code, message, self.place(line, column)))
        if len(self.findings) >= MAX_FINDINGS:
            raise _Enough

    def found_at(self, code: str, message: str, mark: StreamMark) -> None:
        self.found(code, message, mark.line, mark.column)

    def take(self, event: Event) -> None:
        from ruamel.yaml import events

        match event:
            case events.DocumentStartEvent():
                self.start_document(event)
            case events.AliasEvent():
                self.found_at("alias", f"aliases (*{event.anchor}) are not accepted", _mark(event))
                self.put(None, _mark(event), is_text=False)
            case events.ScalarEvent():
                self.count(event)
                self.put(self.scalar(event), _mark(event), is_text=True)
            case events.SequenceStartEvent():
                self.enter([], event)
            case events.MappingStartEvent():
                self.enter({}, event)
            case events.SequenceEndEvent() | events.MappingEndEvent():
                self.leave()

    def start_document(self, event: Any) -> None:
        if event.version or event.tags:
            self.found_at("directive", "directives (%…) are not accepted", event.start_mark)
        self.documents += 1
        if self.documents > 1:
            self.found_at("documents", "a file holds one document, not several", event.start_mark)
            raise _Enough

    def count(self, event: Any) -> None:
        mark = event.start_mark
        self.values += 1
        if self.values > MAX_VALUES:
            self.found_at("too-many", f"more than {MAX_VALUES:,} values", mark)
            raise _Enough
        if event.anchor is not None:
            self.found_at("anchor", f"anchors (&{event.anchor}) are not accepted", mark)
        if event.tag is not None:
            self.found_at("tag", f"tags ({str(event.tag)[:60]}) are not accepted", mark)

    def enter(self, value: list[Any] | dict[str, Any], event: Any) -> None:
        self.count(event)
        if len(self.open) >= MAX_DEPTH:
            self.found_at("too-deep", f"nested more than {MAX_DEPTH} deep", event.start_mark)
            raise _Enough
        path = self.put(value, event.start_mark, is_text=False)
        self.open.append(_Open(path, value))

    def leave(self) -> None:
        self.open.pop()

    def put(self, value: Any, mark: StreamMark, *, is_text: bool) -> DataPath:
        """Place one value: the root, an item, a key, or the value of the last key."""
        here = self.place(mark.line, mark.column)
        if not self.open:
            self.data = value
            self.places[()] = (here, here)
            return ()
        parent = self.open[-1]
        if isinstance(parent.value, list):
            path: DataPath = (*parent.path, len(parent.value))
            parent.value.append(value)
            self.places[path] = (here, here)
            return path
        if parent.key_place is None:
            parent.key, parent.key_place = self.key(value, parent, mark, is_text), here
            return parent.path
        path = (*parent.path, parent.key or "")
        if parent.key is not None:
            parent.value[parent.key] = value
            self.places[path] = (parent.key_place, here)
        parent.key = parent.key_place = None
        return path

    def key(self, value: Any, parent: _Open, mark: StreamMark, is_text: bool) -> str | None:
        """The key if it can be one; else None, and its value is read and dropped."""
        if not isinstance(value, str):
            hint = f'; write "{value}" in quotes' if is_text and value is not None else ""
            self.found_at("key", f"a key must be a string{hint}", mark)
            return None
        if value in parent.value:
            first = self.places[(*parent.path, value)][0]
            message = f"the key {_short(value)} was already given in line {first.line}"
            self.found_at("duplicate-key", message, mark)
            return None
        return value

    def scalar(self, event: Any) -> str | int | float | bool | None:
        text = _join_surrogates(event.value)
        unfit = _UNFIT.search(text)
        if unfit:
            message = f"the character {_code(unfit.group())} cannot be stored"
            self.found_at("character", message, event.start_mark)
            return None
        if not event.implicit[0]:
            return text
        try:
            return plain_scalar(text)
        except RefusedScalar as error:
            self.found_at("number", str(error), event.start_mark)
            return None


# PostgreSQL stores no NUL, and no database a half surrogate.
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _join_surrogates(text: str) -> str:
    r"""The text with surrogate pairs as one character: JSON's way to escape emoji."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class _Enough(Exception):
    """Reading on would find nothing of use."""


class _SyntaxError(Exception):
    """The text is not YAML; line and column count from 0."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


def _events(text: str) -> Iterator[Event]:
    """The parser's events; anything that it raises becomes a _SyntaxError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    yaml = YAML(typ="safe", pure=True)
    try:
        yield from yaml.parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _SyntaxError(_sentence(error), *_line_column(mark)) from error
    except ReaderError as error:
        line, column = _end_of(text[: max(0, error.position)])
        message = f"the character {_code(error.character)} is not allowed in YAML"
        raise _SyntaxError(message, line - 1, column - 1) from error
    except (
        YAMLError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        # The scanner itself raises these on some malformed text, such as "\\UFFFFFFFF".
        reader = yaml.reader
        raise _SyntaxError("this is not YAML", reader.line, reader.column) from error


def _sentence(error: MarkedYAMLError) -> str:
    """What the parser says, without its class names."""
    if error.problem and error.problem.startswith("expected '<document start>'"):
        return "the document had already ended here; is the indentation right?"
    parts = (error.context, error.problem)
    return ", ".join(part for part in parts if part) or "this is not YAML"


def _line_column(mark: Any) -> tuple[int, int]:
    return (mark.line, mark.column) if mark is not None else (0, 0)


def _mark(event: Any) -> StreamMark:
    mark: StreamMark = event.start_mark
    return mark


def _code(character: str | int) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")

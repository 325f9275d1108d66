"""A folder of Markdown and text in memory: cut into passages, each searchable by its meaning.

A passage's key is its file and number. Ingested again, a folder costs what changed in it: a
passage that is the same is left alone, one that is new or changed gets a vector, one that is
gone is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .memory import TEXT, Memory

if TYPE_CHECKING:
    from langchain_text_splitters import TextSplitter

MARKDOWN = (".md", ".markdown")
SUFFIXES = (*MARKDOWN, ".txt")
PASSAGE = 1000
"""Longest passage, in characters, unless one is given."""
TOGETHER = 64
"""Passages in one write."""
LARGEST = 16 * 1024 * 1024
"""Largest file that is read, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What came of one folder."""

    files: int = 0
    added: int = 0
    """Passages that are new or changed."""
    unchanged: int = 0
    removed: int = 0
    """Passages whose text is no longer in the folder."""
    unread: dict[str, str] = field(default_factory=dict)
    """By file, why it could not be read; what it said before is still there."""


async def ingest(
    folder: Path,
    memory: Memory,
    *,
    passage: int = PASSAGE,
    tell: Callable[[str], None] = lambda text: None,
) -> Ingested:
    """Let `memory` hold the texts of a folder, and no others.

    `memory` is a space that nothing else writes to, such as `Memory.documents()`. `passage` is
    the longest passage, in characters; neighbours share a tenth of it. `tell` hears which file
    is being read. Raises MemoryUnavailable and ModelError; what was written till then stays.
    """
    from langchain_core.utils.iter import batch_iterate

    known = {one.key: one.value for one in await memory.aall()}
    kept, unread = set[str](), dict[str, str]()
    files = unchanged = 0
    news: dict[str, dict[str, object]] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            text = _read(path)
        except (OSError, ValueError) as error:
            unread[name] = str(error)
            kept |= {key for key, value in known.items() if value.get("source") == name}
            continue
        files += 1
        tell(name)
        for number, part in enumerate(_passages(text, path, passage)):
            key = f"{name}#{number}"
            kept.add(key)
            value = {TEXT: part, "source": name, "number": number}
            if known.get(key) == value:
                unchanged += 1
            else:
                news[key] = value
    for some in batch_iterate(TOGETHER, news.items()):
        await memory.aput_all(dict(some))
    gone = known.keys() - kept
    for key in sorted(gone):
        await memory.adelete(key)
    return Ingested(
        files=files, added=len(news), unchanged=unchanged, removed=len(gone), unread=unread
    )


def _files(folder: Path) -> Iterator[Path]:
    """The texts in a folder and below; hidden ones, and links that lead out of it, are not."""
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.suffix.lower() not in SUFFIXES or any(part[0] == "." for part in inside):
            continue
        if path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _read(path: Path) -> str:
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{size} bytes are more than {LARGEST}")
    # No database keeps a NUL.
    return path.read_text(encoding="utf-8").replace("\x00", "")


def _passages(text: str, path: Path, passage: int) -> list[str]:
    return [part for part in _splitter(path, passage).split_text(text) if part.strip()]


def _splitter(path: Path, passage: int) -> TextSplitter:
    from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

    markdown = path.suffix.lower() in MARKDOWN
    kind = Language.MARKDOWN if markdown else None
    separators = RecursiveCharacterTextSplitter.get_separators_for_language(kind) if kind else None
    return RecursiveCharacterTextSplitter(
        separators,
        is_separator_regex=markdown,
        chunk_size=passage,
        chunk_overlap=passage // 10,
    )

"""`document_reader`: passages of a folder's documents that say most about a topic."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from ..errors import AgentInputError
from ..run.context import AgentContext
from ..spec.function import agent
from .files import inside
from .text import groups, paragraphs, sentences, stems

DEMO_DOCUMENTS = Path(__file__).parent
SUFFIXES = (".md", ".markdown", ".txt")
MAX_FILES = 200
MAX_BYTES = 1_000_000


class Passage(BaseModel):
    """A few whole sentences of one document."""

    source: str
    text: str
    openings: list[str]
    """The sentences of its first half."""
    endings: list[str]
    """Those of its second half."""


@agent(capabilities=["read"], category="files")
def document_reader(
    topic: str,
    context: AgentContext,
    folder: str | None = None,
    limit: Annotated[int, Field(ge=1, le=12)] = 3,
) -> list[Passage]:
    """Find the passages of a folder's documents that say most about a topic.

    Reads Markdown and text files in `folder`, relative to the project's folder, and in the
    folders below it; without a folder, three short pages that come with ucop. The best
    passage of each document comes first, so that the passages differ.
    """
    place = DEMO_DOCUMENTS if folder is None else inside(context.folder, folder)
    passages = [passage for path in _files(place) for passage in _passages(path, place)]
    if not passages:
        raise AgentInputError(
            f"no document in {place} has a paragraph of whole sentences. "
            f"Put files ending in {', '.join(SUFFIXES)} there."
        )
    scores = _relevance(topic, passages)
    if not any(scores):
        context.progress(f"no document mentions {topic!r}: taking how each one begins")
    chosen = _best(passages, scores, limit)
    context.progress(f"{len(chosen)} passages from {len({p.source for p in chosen})} documents")
    return chosen


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AgentInputError(f"there is no folder {folder}. Create it and put documents there.")
    found = sorted(_walk(folder))
    if not found:
        raise AgentInputError(
            f"the folder {folder} holds no document ({', '.join(SUFFIXES)}). Put some there."
        )
    if len(found) > MAX_FILES:
        raise AgentInputError(
            f"the folder {folder} holds {len(found)} documents; at most {MAX_FILES} are read."
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place, name)


def _passages(path: Path, folder: Path) -> Iterator[Passage]:
    text = _read(path)
    source = path.relative_to(folder).as_posix()
    for paragraph in paragraphs(text):
        for group in groups(sentences(paragraph)):
            middle = (len(group) + 1) // 2
            yield Passage(
                source=source,
                text=" ".join(group),
                openings=group[:middle],
                endings=group[middle:] or group,
            )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES)
    except OSError as error:
        raise AgentInputError(f"{path} cannot be read: {error.strerror}.") from error
    # A cut at MAX_BYTES may fall inside a character.
    return content.decode("utf-8", "replace").replace("\ufffd", "").replace("\x00", "")


def _relevance(topic: str, passages: list[Passage]) -> list[float]:
    """For each passage the sum over the topic's words, rare ones counting more."""
    words = [Counter(stems(passage.text)) for passage in passages]
    spread = Counter(stem for counted in words for stem in counted)
    wanted = set(stems(topic))
    return [
        sum(
            math.log(1 + len(passages) / spread[stem]) * math.sqrt(counted[stem])
            for stem in wanted
            if counted[stem]
        )
        for counted in words
    ]


def _best(passages: list[Passage], scores: list[float], limit: int) -> list[Passage]:
    """The best of each document, best first; then the second best of each, and so on."""
    ranked = sorted(range(len(passages)), key=lambda i: -scores[i])
    seen: Counter[str] = Counter()
    rounds: list[tuple[int, int]] = []
    for rank, index in enumerate(ranked):
        rounds.append((seen[passages[index].source], rank))
        seen[passages[index].source] += 1
    order = sorted(range(len(ranked)), key=lambda rank: rounds[rank])
    return [passages[ranked[rank]] for rank in order[:limit]]

"""`assembler`, `article_writer` and `duplicate_finder`: from sections to a Markdown file, unless there
is one on the same topic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from ..run.context import AgentContext
from ..spec.function import agent
from .files import inside, job_part, path_in, publish
from .outline import WrittenSection
from .text import slug, stems

MAX_FILES = 2_000
READ = 4_096
"""Bytes of a file in which its title is looked for."""
ALIKE = 0.8
"""Share of two titles' words that they have in common, of all that either has."""


class Article(BaseModel):
    """A whole article as Markdown."""

    markdown: str
    words: int
    sections: int


class PublishedArticle(BaseModel):
    """An article that lies in a file."""

    path: str
    """Relative to the project's folder, with `/` between its parts."""
    words: int
    sections: int


@agent(capabilities=["assemble"], category="writing")
def assembler(title: str, sections: list[WrittenSection]) -> Article:
    """Put the sections of an article together: title, sections, and the list of sources."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.heading}", f"> {section.text}" if section.quoted else section.text]
    sources = list(dict.fromkeys(section.source for section in sections))
    if sources:
        parts += ["## Sources", "\n".join(f"- {source}" for source in sources)]
    words = sum(len(f"{section.heading} {section.text}".split()) for section in sections)
    return Article(markdown="\n\n".join(parts) + "\n", words=words, sections=len(sections))


@agent(capabilities=["publish"], category="files")
def article_writer(
    topic: str, article: Article, context: AgentContext, folder: str = "articles"
) -> PublishedArticle:
    """Write an article into a Markdown file under the project's folder.

    The file is named after the topic and the job: run again by the same job, it is the same
    file; another job never overwrites it. It appears whole or not at all.
    """
    name = f"{slug(topic) or 'article'}-{job_part(context.job_id)}.md"
    path = publish(context, folder, name, article.markdown)
    context.progress(f"wrote {path}")
    return PublishedArticle(path=path, words=article.words, sections=article.sections)


class EarlierArticle(BaseModel):
    """Whether a topic was written about, and where."""

    found: bool
    path: str | None
    """Relative to the project's folder."""


@agent(capabilities=["search"], category="files")
def duplicate_finder(topic: str, context: AgentContext, folder: str = "articles") -> EarlierArticle:
    """Look for an article on the same topic in a folder of the project.

    Two topics are the same when their words of meaning are, whatever their order and endings.
    What this job wrote itself does not count.
    """
    own = f"-{job_part(context.job_id)}.md"
    for path in _articles(inside(context.folder, folder)):
        if not path.name.endswith(own) and _same(topic, _title(path)):
            found = path_in(context, path)
            context.progress(f"there is an article on it already: {found}")
            return EarlierArticle(found=True, path=found)
    return EarlierArticle(found=False, path=None)


def _articles(folder: Path) -> Iterator[Path]:
    """The Markdown files of a folder, by name, as many as are worth a look."""
    if not folder.is_dir():
        return
    names = sorted(name for name in os.listdir(folder) if name.endswith(".md"))
    for name in names[:MAX_FILES]:
        if not name.startswith(".") and (folder / name).is_file():
            yield folder / name


def _title(path: Path) -> str:
    """Its first heading; its name if it has none."""
    try:
        with path.open("rb") as stream:
            text = stream.read(READ).decode("utf-8", "replace")
    except OSError:
        return path.stem
    headings = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    return headings[0] if headings else path.stem


def _same(topic: str, title: str) -> bool:
    one, other = set(stems(topic)), set(stems(title))
    if not one or not other:
        return bool(slug(topic)) and slug(topic) == slug(title)
    return len(one & other) / len(one | other) >= ALIKE

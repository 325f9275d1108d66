"""`assembler` and `article_writer`: from sections to a Markdown file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel

from ..run.context import AgentContext
from ..spec.function import agent
from .folder import inside
from .section import WrittenSection
from .text import slug


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
    directory = inside(context.folder, folder)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _file_name(topic, context.job_id)
    write_whole(path, article.markdown)
    relative = Path(os.path.relpath(path, context.folder)).as_posix()
    context.progress(f"wrote {relative}")
    return PublishedArticle(path=relative, words=article.words, sections=article.sections)


def _file_name(topic: str, job_id: str) -> str:
    return f"{slug(topic) or 'article'}-{job_part(job_id)}.md"


def job_part(job_id: str) -> str:
    """A job's id as a part of a file name."""
    plain = slug(job_id) == job_id and len(job_id) <= 40
    return job_id if plain else hashlib.sha256(job_id.encode()).hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

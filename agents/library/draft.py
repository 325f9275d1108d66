"""`drafter` and `text_writer`: a short text about a topic, and a text as a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from ..errors import AgentInputError
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from .files import inside, path_in, write_whole
from .specs import bundled_spec, with_new_seed

SUFFIXES = (".md", ".markdown", ".txt")


class Draft(BaseModel):
    """A text as the model wrote it."""

    text: str


class KeptText(BaseModel):
    """A text, and where it lies if it was to be kept."""

    text: str
    words: int
    path: str | None
    """Relative to the project's folder; null if no file was asked for."""


@agent(capabilities=["draft"], category="writing")
async def drafter(
    topic: str, context: AgentContext, remarks: str | None = None, round: int | None = None
) -> Draft:
    """Write a short text about a topic; after `remarks` another one.

    `round` counts the drafts before this one: each is asked for with another seed, which
    repairs more on a small model than remarks do.
    """
    spec = with_new_seed(bundled_spec("draft_writer"), round or 0)
    remark = f"\nThe last draft was not good enough. {remarks}" if remarks else ""
    answer = await ask(spec, {"topic": topic, "remarks": remark}, context=context)
    return Draft(text=answer["text"])


@agent(capabilities=["publish"], category="files")
def text_writer(text: str, context: AgentContext, file: str | None = None) -> KeptText:
    """Write a text into a Markdown or text file under the project's folder, if one is named.

    A file that is there already with another text is left alone, and the step fails: an
    input must not be able to replace a project's files.
    """
    words = len(text.split())
    if file is None:
        return KeptText(text=text, words=words, path=None)
    path = _writable(inside(context.folder, file), file)
    content = text.rstrip("\n") + "\n"
    if not _holds(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    relative = path_in(context, path)
    context.progress(f"wrote {relative}")
    return KeptText(text=text, words=words, path=relative)


def _writable(path: Path, given: str) -> Path:
    if path.suffix not in SUFFIXES or path.name.startswith("."):
        raise AgentInputError(
            f"the file {given!r} is not one that texts are written to. "
            f"Give it a name that ends in {', '.join(SUFFIXES)}."
        )
    return path


def _holds(path: Path, content: str) -> bool:
    """Whether the file is there with this content; a job that goes on may write it again."""
    if not path.exists():
        return False
    if path.is_file() and path.read_bytes() == content.encode():
        return True
    raise AgentInputError(f"{path} exists already with another text. Name a new file.")

"""Sentences, words, and how near one text is to another: plain rules, no model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

MAX_SENTENCES = 4


def paragraphs(markdown: str) -> Iterator[str]:
    """The prose of a Markdown text, one paragraph at a time, without its marks.

    Front matter, headings, code, tables, quoted HTML and images are left out.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown.replace("\r\n", "\n"), flags=re.DOTALL)
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    text = _without_comments(text)
    # A list item is a paragraph of its own.
    text = re.sub(r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+", "\n", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if not _NOT_PROSE.match(line)]
        prose = " ".join(_plain(" ".join(lines)).split())
        if prose:
            yield prose


def sentences(paragraph: str) -> list[str]:
    """The whole sentences of a paragraph; what does not end like one is left out."""
    found: list[str] = []
    for piece in _AFTER_SENTENCE.split(paragraph):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return [
        s for s in found if s.rstrip("\"”'’)").endswith((".", "!", "?")) and len(s.split()) >= 4
    ]


def groups(items: list[str]) -> Iterator[list[str]]:
    """Cut a list of sentences into runs of two to four."""
    while len(items) > MAX_SENTENCES:
        size = 3 if len(items) != MAX_SENTENCES + 1 else 2
        yield items[:size]
        items = items[size:]
    if items:
        yield items


def stems(text: str) -> list[str]:
    """The words that carry meaning, cut to their stems, in order."""
    words = re.findall(r"[^\W\d_]+|\d+", text.lower())
    return [_stem(word) for word in words if word not in _EMPTY_WORDS and len(word) > 2]


def share_of_stems(text: str, sources: Iterable[str]) -> float:
    """How much of what `text` says occurs in `sources`: 0 to 1."""
    known = {stem for source in sources for stem in stems(source)}
    said = stems(text)
    return sum(stem in known for stem in said) / len(said) if said else 1.0


def ends_open(text: str) -> bool:
    """Does a text end in a word that wants another one after it, such as `the` or `of`?"""
    words = re.findall(r"\w+", text.lower())
    return bool(words) and words[-1] in _EMPTY_WORDS


def has_twin_words(text: str) -> bool:
    """Does a short text use one word of meaning twice?"""
    used = stems(text)
    return len(set(used)) < len(used)


def repeats_itself(text: str) -> bool:
    """Does a text go in circles? Tuned on the loops that small models fall into."""
    words = re.findall(r"\w+", text.lower())
    fours = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    threes = Counter(tuple(words[i : i + 3]) for i in range(len(words) - 2))
    if fours and len(set(fours)) / len(fours) < 0.93:
        return True
    return any(count >= 3 for count in threes.values())


def slug(text: str) -> str:
    """Text as a part of a file name: lower case, digits and hyphens, at most 60 characters."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    joined = "-".join(re.findall(r"[a-z0-9]+", plain.lower()))
    return joined[:60].strip("-")


_NOT_PROSE = re.compile(r"\s*(#{1,6}\s|\||>|<|!\[|[-=*_]{3,}\s*$|\[[^\]]+\]:)")
_AFTER_SENTENCE = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”'’)]))\s+(?=[\"“'(]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|St|No|Fig|approx|[A-Z])\.$")
_SUFFIXES = ("ations", "ation", "ings", "ing", "ied", "ies", "edly", "ed", "es", "ly", "s", "e")
_EMPTY_WORDS = frozenset(
    """a about after again all also an and any are as at be because been before but by can could
    did do does each else even every for from had has have how if in into is it its just may
    might more most must no not of on one only or other our out over own same shall should so
    some such than that the their them then there these they this those through to too under up
    very was well were what when where which while who why will with would you your""".split()  # noqa: SIM905
)


def _without_comments(text: str) -> str:
    """Without `<!-- … -->`; a search by pattern would begin anew at every `<!--`."""
    kept: list[str] = []
    while (start := text.find("<!--")) >= 0 and (end := text.find("-->", start)) >= 0:
        kept.append(text[:start])
        text = text[end + 3 :]
    return "".join(kept) + text


def _plain(text: str) -> str:
    text = re.sub(r"!\[[^\[\]]*\]\([^()]*\)", "", text)
    text = re.sub(r"\[([^\[\]]+)\]\([^()]*\)", r"\1", text)
    text = re.sub(r"<[^<>]+>", "", text)
    return re.sub(r"(\*\*|__|[*`])", "", text)


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word

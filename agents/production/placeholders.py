"""Text that was meant to be filled in and was not: `[Your Name]`, `{{ title }}`, lorem ipsum.

The rules read as little into a text as they can, because most brackets, braces and ellipses are
honest. What stands in code is left alone, and so is what is quoted, and what a text about
templates says of them. Most rules look for a field's noun (`name`, `date`, `company`); a few
hold only if the field is the whole text or a whole line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..text.schema import subschemas
from ..text.source import DataPath
from ..text.validation import Problem, Schema

NEAR = 500
"""Characters before and after a field that may tell that it is spoken about."""

MOST = 20
"""Placeholders that are told of one text."""

_CUT = "\ufffc"
"""Stands where code stood: no word, so that nothing is read across it."""

# Bounded, and without what may stand between words: a search must not take long on any text.
_WORD = r"[A-Za-z][A-Za-z0-9'’-]{0,30}"
_STRONG = (
    r"(?:name|title|headline|date|company|organi[sz]ation|address|city|country|email|e-mail|phone|"
    r"amount|price|author)"
)
_FIELD = (
    r"(?:name|title|subtitle|headline|heading|date|time|company|organi[sz]ation|address|city|state|"
    r"country|email|e-mail|phone|number|url|link|topic|subject|text|content|description|summary|"
    r"introduction|conclusion|section|paragraph|body|caption|quote|message|tagline|keyword|tag|"
    r"image|photo|logo|amount|price|product|service|author|position|role|department|signature|"
    r"answer|story|bio|year|surname|province|location|venue|here)s?"
)
_ALONE = rf"(?:.*[ _/-])?{_STRONG}|number|year"
_HEAD = rf"(?:{_FIELD}|zip(?: code)?|order id)"
_LISTED = rf"(?:{_WORD}[ _/,&-]{{1,2}}){{0,5}}"
_TOLD = (
    r"(?:briefly |please )?(?:describe|list|explain|mention|provide|include|specify|summari[sz]e|"
    r"add|discuss|elaborate on) (?:the|your|a|an|any|more|some|how|why|what|specific|relevant|main|"
    r"key)"
)
_ASKED = r"(?:your|insert|enter|add|type|write|put|place)"
_DUE = (
    r"(?:determined|added|written|filled|filled in|completed|defined|provided|inserted|announced)"
)

_WHOLE = re.compile(
    r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|\{[\w. -]{1,60}\}|\{\}|%s|%\(\w+\)s|<[A-Za-z][\w -]{0,60}>|"
    r"__[A-Z_]+__|@@\w+@@|\.{2,}|…|_{2,}|[Xx]{4,}|\?{3,}|\[\.{3}\]|\[…\]|"
    r"(?:\[|\()?(?:TODO|Todo|todo|TBD|tbd|TBA|FIXME|T\.B\.D\.)(?:\]|\))?:?|"
    rf"(?i:(?:text |content )?to be {_DUE}|lorem ipsum|placeholder|dummy|"
    r"(?:this is |here is )?(?:some |a |an |the )?(?:placeholder|dummy|sample|filler|example) "
    rf"{_FIELD}|"
    rf"(?:an? )?example {_FIELD}|\[(?:{_FIELD}|example|point|item|step)(?: \d+)?\]|"
    r"your (?:article |blog post |company |product |full )?"
    r"(?:title|headline|heading|subject|text|content|description|name)|\[object Object\])"
)
_LINE = re.compile(
    rf"(?i:{_ASKED}(?: {_WORD}){{0,4}} {_FIELD} (?:goes )?here|"
    rf"(?:{_WORD} ){{0,4}}{_FIELD} (?:goes|comes|to go|will go) here|"
    r"(?:(?:some|any|more|main|body|section|article|author|page|chapter|post|product) )?"
    rf"{_FIELD} here|"
    rf"click (?:here )?to (?:add|edit|enter) {_FIELD}|{_FIELD} coming soon|"
    r"(?:this is )?(?:a )?(?:placeholder|dummy|filler) (?:text|content|paragraph|title))"
)
_MARKS = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*+][ \t]+|\d+[.)][ \t]+)*")
_LABEL = re.compile(r"^(?:title|name|subject|summary|description|heading|body|text): ", re.I)

_FILLED_IN = re.compile(
    r"\{\{\s*[A-Za-z_][\w.\-| ]{0,60}\s*\}\}|(?<![$\\/])\$\{[A-Za-z_][\w.\[\]]{0,60}\}(?!\.?[\w/])|"
    r"(?i:\b(?:dear|hi|hello|hey|thanks|thank you|welcome),? (\{[a-z_ ]{1,40}\}))|"
    r"(?i:\b(?:dear|hi|hello|hey),? (?:(?:mr|mrs|ms|dr)\.? )?(\[[a-z][a-z'’ ]{0,40}\]))|"
    r"<<[A-Za-z][\w ]{0,40}>>|\*\|[A-Z_]{2,30}\|\*|"
    r"%(?:[A-Z]{1,20}_){0,3}(?-i:(?:NAME|TITLE|DATE|COMPANY|EMAIL|ADDRESS))%"
)
_BRACKETS = (
    re.compile(rf"(?<![\w\]!\\])\[{_LISTED}(?i:{_HEAD})\](?![(\[])"),
    re.compile(rf"(?i)(?<![\w\]!\\])\[{_TOLD}\b[^\[\]\n]{{1,100}}\](?![(\[])"),
    re.compile(
        r"(?<![\w\]!\\])\[(?:Link|URL|Name|Date|Title|Details|Summary|Description|Number|Address) "
        r"(?:to|of|for) [^\[\]\n]{1,60}\](?![(\[])"
    ),
    re.compile(
        r"\[[Xx]{1,3}\](?= ?(?:%|percent|years?|months?|days?|hours?|people|clients|users)\b)"
    ),
    re.compile(
        r"(?i)(?<![\w\]!\\])\[(?:insert|your|fill in|fill out|replace with)[ _]\w[^\[\]\n]{0,80}\]"
        r"(?![(\[])"
    ),
    re.compile(
        rf"(?i)(?<![\w\]!\\])\[(?:enter|add|type)[ _](?:{_WORD}[ _]){{0,4}}{_FIELD}\](?![(\[])"
    ),
    re.compile(
        r"(?<![\w\]!\\])\[(?:TODO|TBD|TBA|FIXME|PLACEHOLDER|todo|tbd|placeholder)\b"
        r"[^\[\]\n]{0,80}\]"
    ),
    re.compile(rf"(?i)<(?:your|insert|enter)[ _](?:{_WORD}[ _]){{0,3}}{_FIELD}>"),
    re.compile(rf"(?i)\((?:insert|your)[ _](?:{_WORD}[ _]){{0,3}}{_FIELD}\)"),
    re.compile(rf"(?i)(?<!\{{)\{{(?:insert|your)[ _](?:{_WORD}[ _]){{0,3}}{_FIELD}\}}(?!\}})"),
)
_DUTY = re.compile(
    r"^[ \t]*(?:[-*+][ \t]+)?(?:(?:TODO|FIXME|TBD)(?=[ \t]*$|:)|TBD(?= [-–—(])|"
    r"(?:TODO|FIXME)(?= (?:write|add|fill|insert|expand|complete|finish|update|replace|"
    r"describe|explain|check)\b))[^\n]{0,60}",
    re.MULTILINE,
)
_LOREM = re.compile(r"\blorem ipsum dolor\b[^.\n]{0,60}", re.IGNORECASE)

_ABOUT_TEMPLATES = re.compile(
    r"(?i)\b(?:jinja2?|handlebars|mustache|nunjucks|vue(?:\.js)|angular|helm|ansible|terraform|"
    r"templat(?:es?|ing) (?:engine|language|literal|string|syntax|file|system)s?|templating|"
    r"placeholders?|interpolat\w+|f-strings?|string literals?|braces|github actions|bash|"
    r"shell scripts?|environment variables?|expression language|makefiles?|merge (?:tag|field)s?)\b"
)
_NEAR_TEMPLATES = re.compile(
    r"(?i)\b(?:templates?|variables?|syntax|expressions?|escap(?:e[sd]?|ing)|render(?:s|ed|ing)?|"
    r"expand(?:s|ed)?|"
    r"javascript|typescript|shell|yaml|html)\b"
)
_ABOUT_FIELDS = re.compile(
    r"(?i)\b(?:placeholders?|replac(?:e[sd]?|ing)|fill(?:ed|s)? in|(?:square )?brackets?|syntax|"
    r"template|stands? for|such as|called|labell?ed|optional|argument|usage|command|variables?|"
    r"parameters?|fields?|tuple|array|column|button|checkbox)\b"
)
_ABOUT_LOREM = re.compile(
    r"(?i)\b(?:placeholder|filler|dummy|typeset\w*|typograph\w*|printers?|cicero|latin|designers?)\b"
)
_DETERMINER = re.compile(
    r"(?i)(?:the|an?|this|that|these|those|his|her|its|their|our|my|some|any|another|no|such)"
)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "„": "“", "`": "`"}

_SENTENCE = re.compile(r"[.!?](?:\s|$)|\n")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LINK = re.compile(r"^[ \t]*\[([^\[\]\n]{1,80})\]:[ \t]*(?:[<./#]|[a-z]+:)", re.MULTILINE)

_CODE_LINE = re.compile(
    r"[;{]\s*$|^\s*[})\]]+[;,]?\s*$|"
    r"^\s*(?:def|class|import|return|const|let|var|function|export|#include|public|private|echo|"
    r"elif|SELECT|FROM|INSERT INTO)\b|"
    r"^\s*from [\w.]+ import|^\s*(?:if|for|while|with)\b.*:$|"
    r"^\s*[\w.\[\]]+\s*[+:]?=\s*\S|^\s*#!|^\s*\{%|^\s*[\w.]+\(.*\)$|^\s*@\w+"
)
_FENCED = re.compile(r"^[ \t]*(```+|~~~+).*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(
    r"(`{1,2})[^`\n]{1,300}\1|<(code|pre|kbd)\b[^>]{0,80}>.{0,2000}?</\2>", re.DOTALL
)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+")


def placeholders(text: str, names: Collection[str] = ()) -> list[str]:
    """What a text leaves to be filled in, as it stands there.

    `names` are fields that a template of this text would have: of those `{name}` counts too.
    """
    whole = _MARKS.sub("", text.strip()).strip('*_ \t\n"“”').rstrip(".!")
    if _WHOLE.fullmatch(whole) or _WHOLE.fullmatch(text.strip()):
        return [text.strip()]
    if _is_code(text):
        return []
    prose = _without_code(text)
    found = islice(_find(prose, names), MOST)
    return list(dict.fromkeys(one.strip() for one in found))


def placeholder_problems(
    value: Any,
    schema: Schema | None = None,
    *,
    names: Collection[str] = (),
    given: Any = None,
    may_be_empty: bool = False,
) -> list[Problem]:
    """Every placeholder in a JSON value, with its path.

    What the schema prescribes (`enum`, `const`) is none, nor what stands in `given` as well: it
    was passed on; and a text whose schema has a `contentMediaType` is no prose. A required text
    that is empty counts, unless its schema has a `minLength` (0, where it may be) or
    `may_be_empty`.
    """
    prescribed = set(_prescribed_texts(schema))
    passed_on = "\0".join(text for _, text in _texts(given))
    problems = []
    for path, text in _texts(value, schema):
        if text in prescribed:
            continue
        left = [one for one in placeholders(text, names) if one not in passed_on]
        if left:
            shown = ", ".join(f"“{one[:80]}”" for one in left[:3])
            problems.append(Problem(path, f"{shown} was left to be filled in"))
    if not may_be_empty and schema is not None:
        problems += [Problem(path, "is required, and empty") for path in _empty(value, schema)]
    return problems


# ---- in a text ----


def _find(text: str, names: Collection[str]) -> Iterator[str]:
    yield from _fields(text, names)
    links = {match.group(1).lower() for match in _LINK.finditer(text)}
    for pattern in _BRACKETS:
        for match in pattern.finditer(text):
            is_link = match.group()[1:-1].lower() in links
            if not (is_link or _is_quoted(text, match) or _is_honest(text, match)):
                yield match.group()
    for line in text.splitlines():
        said = _LABEL.sub("", _MARKS.sub("", line).strip("*_ \t")).rstrip(".!… ")
        if len(said) <= 80 and _LINE.fullmatch(said):
            yield line
    if not _ABOUT_LOREM.search(text):
        yield from (match.group() for match in _LOREM.finditer(text))
    yield from (match.group() for match in _DUTY.finditer(text))


def _fields(text: str, names: Collection[str]) -> Iterator[str]:
    """Fields of a template, in a text that is not about templates."""
    if _ABOUT_TEMPLATES.search(text):
        return
    patterns: list[re.Pattern[str]] = [_FILLED_IN]
    # A single letter in braces may be mathematics, and one after a slash a part of an address.
    if own := "|".join(re.escape(name) for name in sorted(names) if len(name) > 2):
        patterns.append(re.compile(rf"(?<![\w$\\{{/])\{{(?:{own})\}}(?!\}})|%\((?:{own})\)s"))
    for pattern in patterns:
        for match in pattern.finditer(text):
            near = _around(text, match, _PARAGRAPH)
            if not (_is_quoted(text, match) or _NEAR_TEMPLATES.search(near)):
                yield match.group(match.lastindex or 0)


def _is_honest(text: str, match: re.Match[str]) -> bool:
    """Whether brackets around a field's noun are an editor's, a link's, or spoken about."""
    inner = match.group()[1:-1]
    words = re.split(r"[ _]", inner)
    if _DETERMINER.fullmatch(words[0]):
        return True
    asked = re.match(rf"(?i){_ASKED}\b|fill|replace|todo|tbd|fixme|placeholder", inner)
    is_lower = inner == inner.lower()
    if not asked and is_lower and ("," in inner or not re.fullmatch(_ALONE, inner)):
        return True
    sentence = _around(text, match, _SENTENCE)
    rest = sentence.replace(match.group(), " ")
    return bool(_ABOUT_FIELDS.search(rest) or re.search(r"(?:^|\s)(?:\$|--?[A-Za-z])", rest))


def _is_quoted(text: str, match: re.Match[str]) -> bool:
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 3].lstrip(",.;:!?")[:1]
    return before in _QUOTES and after == _QUOTES[before]


def _around(text: str, match: re.Match[str], ends: re.Pattern[str]) -> str:
    """The sentence or paragraph that a match stands in, as far as `NEAR` on either side."""
    before = text[max(0, match.start() - NEAR) : match.start()]
    after = text[match.end() : match.end() + NEAR]
    end = ends.search(after)
    return ends.split(before)[-1] + match.group() + (after[: end.start()] if end else after)


def _without_code(text: str) -> str:
    for pattern in (_FENCED, _SPAN, _INDENTED):
        text = pattern.sub(_CUT, text)
    return text


def _is_code(text: str) -> bool:
    """Whether most lines look like a program's."""
    if text.startswith("#!"):
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(map(bool, map(_CODE_LINE.search, lines))) * 2 > len(lines)


# ---- in a value ----


def _texts(value: Any, schema: Any = None, path: DataPath = ()) -> Iterator[tuple[DataPath, str]]:
    """The texts in a value, but for those that their schema says are no prose."""
    declared = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, str):
        if declared.get("contentMediaType") in (None, "text/plain", "text/markdown"):
            yield path, value
    elif isinstance(value, Mapping):
        fields = declared.get("properties") or {}
        for key, held in value.items():
            yield from _texts(held, fields.get(key), (*path, key))
    elif isinstance(value, list):
        for at, held in enumerate(value):
            yield from _texts(held, declared.get("items"), (*path, at))


def _prescribed_texts(schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    chosen: Iterable[Any] = [*(schema.get("enum") or ()), schema.get("const")]
    yield from (text for one in chosen for _, text in _texts(one))
    for _, inner in subschemas(schema):
        yield from _prescribed_texts(inner)


def _empty(value: Any, schema: Any, path: DataPath = ()) -> Iterator[DataPath]:
    """The paths of required texts that are empty."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, str):
        free = {"minLength", "enum", "const"} & schema.keys()
        if schema.get("type") == "string" and not free and not value.strip():
            yield path
    elif isinstance(value, Mapping):
        fields = schema.get("properties") or {}
        for name in schema.get("required") or ():
            if name in value:
                yield from _empty(value[name], fields.get(name), (*path, name))
    elif isinstance(value, list):
        for at, held in enumerate(value):
            if not isinstance(held, str):
                yield from _empty(held, schema.get("items"), (*path, at))

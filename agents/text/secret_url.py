"""URLs as they may be shown: without passwords, wherever in them those stand."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "…"

_USER = re.compile(r"(?<=://)([^/?#\s:@]*):([^?#\s]*)@")
"""Up to the last `@`: a password that should have been encoded may hold one."""

_PARAMETER = re.compile(r"([?&;])([^=&;#\s]+)=([^&;#\s]*)")

_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:ssl)?(?:password|passwd|passphrase|pass|pwd|secret|token|key|api_?key|auth|"
    r"authorization|credentials?|sig|signature)s?$",
    re.IGNORECASE,
)

_QUOTED = re.compile(r"""(?<=")[^"\s]+(?=")|(?<=')[^'\s]+(?=')""")


def shown_url(url: str) -> str:
    """A URL, or a text with URLs in it, with `…` in the place of passwords: those before an `@`, and those of
    parameters such as `?password=`, even if their names are percent-encoded."""
    return _PARAMETER.sub(_hide_parameter, _USER.sub(rf"\1:{HIDDEN}@", url))


def without_url_secrets(text: str, url: str) -> str:
    """What somebody said of `url`, where it may repeat a part of it, or take a part of its password for
    something else."""
    shown = shown_url(url)
    text = text.replace(url, shown)
    if shown == url:
        return text
    return _QUOTED.sub(lambda found: _hide_word(found.group(), url, shown), shown_url(text))


def with_password_in_front(url: str) -> str:
    """`?password=…` as `user:…@`, where libraries know to hide it in what they log."""
    scheme, separator, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    given = [word for word in query.split("&") if word]
    named = [word for word in given if unquote(word.partition("=")[0]) == "password"]
    if not mark or not named:
        return url
    host, slash, path = place.partition("/")
    user, at, address = host.rpartition("@")
    password = named[-1].partition("=")[2]  # as libpq: the last of them holds
    others = "&".join(word for word in given if word not in named)
    front = f"{user.partition(':')[0]}:{password}@{address if at else host}"
    return f"{scheme}{separator}{front}{slash}{path}" + (f"?{others}" if others else "")


def _hide_parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    secret = value and _SECRET_NAME.search(unquote(name))
    return f"{mark}{name}={HIDDEN if secret else value}"


def _hide_word(word: str, url: str, shown: str) -> str:
    """A quoted part of the URL that stands only in what is hidden of it."""
    hidden = (word in url or word in unquote(url)) and word not in unquote(shown)
    return HIDDEN if hidden else word

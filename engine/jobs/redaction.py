"""What is taken out of a job before it leaves its database: secrets always, contents on request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = re.compile(
    r"(?:^|[_\-. ]|(?-i:(?<=[a-z0-9])(?=[A-Z])))"
    r"(?:api[_\-]?key|access[_\-]?key|private[_\-]?key|client[_\-]?secret|secret|"
    r"password|passwd|passphrase|token|authorization|cookie|credentials?)s?$",
    re.IGNORECASE,
)
"""Names under which a text is a secret; `tokens_in` and `max_tokens` hold numbers."""

_SECRETS = re.compile(
    r"""
      \b(?:sk|pk|rk)-[A-Za-z0-9_\-]{16,}          # OpenAI, Anthropic
    | \b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}  # Stripe
    | \bAIza[A-Za-z0-9_\-]{30,}                   # Google
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bxox[abprs]-[A-Za-z0-9\-]{10,}             # Slack
    | \bhf_[A-Za-z0-9]{20,}                       # Hugging Face
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b               # AWS
    | \bwhsec_[A-Za-z0-9+/=]{16,}                 # Standard Webhooks
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}  # a JSON Web Token
    | (?<=\b[Bb]earer\ )[A-Za-z0-9_\-.=+/]{8,}
    | (?<=://)[^\s/:@]*:[^\s/@]+(?=@)             # a URL's user and password
    | (?<=[?&]password=)[^\s&\#"']+ | (?<=[?&]sslpassword=)[^\s&\#"']+
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE,
)

BY_NAME = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
"""A secret by its name in the environment."""

_LETTERS = re.compile(r"[^\W\d_]")
_DIGITS = re.compile(r"\d")


@dataclass(frozen=True)
class Redaction:
    """How texts leave a database."""

    contents: bool = False
    """Whether of every text only its shape is kept: letters as x, digits as 0."""

    def text(self, text: str) -> str:
        text = _SECRETS.sub(REDACTED, text)
        return _DIGITS.sub("0", _LETTERS.sub("x", text)) if self.contents else text

    def named(self, name: str | None, text: str) -> str:
        """A text that stands under a name, which may tell that it is a secret. A secret's own
        name in the environment is none."""
        if BY_NAME.fullmatch(text):
            return text
        return REDACTED if name and _NAMES.search(name) else self.text(text)

    def value(self, value: Any, keep: frozenset[str] = frozenset(), name: str | None = None) -> Any:
        """JSON with its texts redacted; those under a key in `keep` lose their secrets alone."""
        if isinstance(value, str):
            return Redaction().named(name, value) if name in keep else self.named(name, value)
        if isinstance(value, Mapping):
            return {key: self.value(inner, keep, key) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, keep, name) for inner in value]
        return value


REDACTED = "[redacted]"

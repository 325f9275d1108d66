"""What was typed, and what the environment says, as text: bytes that are none are refused."""

from __future__ import annotations

import os
import sys

from ..view.exits import UsageProblem

OURS = ("UCOP_", "OLLAMA_")
"""How the variables begin that ucop reads itself; providers' keys end in API_KEY."""


def refuse_bytes() -> None:
    """Raises UsageProblem for an argument or a variable that is not UTF-8: nothing could store
    or print it."""
    for number, word in enumerate(sys.argv[1:], 1):
        if not _is_text(word):
            shown = word.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise UsageProblem(
                f"argument {number} is not UTF-8: {shown[:200]}; convert it, or rename the file"
            )
    for name, value in os.environ.items():
        read = name.upper().startswith(OURS) or name.endswith("API_KEY")
        if read and not (_is_text(name) and _is_text(value)):
            # Not its value: it may be a secret.
            raise UsageProblem(f"the environment variable {name} is not UTF-8; set it anew")


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True

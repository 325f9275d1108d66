"""Scalars of YAML 1.2's core schema, as far as JSON can hold them."""

from __future__ import annotations

import re

# The core schema of YAML 1.2 (section 10.3): `no`, `on`, `1:30` and `0777` are not special.
_NULL = frozenset(("", "~", "null", "Null", "NULL"))


_BOOL = {text: text[0] in "tT" for text in ("true", "True", "TRUE", "false", "False", "FALSE")}


_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")


_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class RefusedScalar(ValueError):
    """A scalar that a definition cannot hold."""


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return _integer(text)
    if _NOT_FINITE.fullmatch(text):
        raise RefusedScalar(f"{text} is not a number that JSON can hold")
    if _FLOAT.fullmatch(text):
        return _float(text)
    return text


def _integer(text: str) -> int:
    # Checkpoints hold 64 bits, and int() itself raises above 4,300 digits.
    if len(text) <= 25:
        number = int(text, 0) if text[1:2] in ("o", "x") else int(text)
        if -(2**63) <= number < 2**63:
            return number
    raise RefusedScalar("this integer does not fit into 64 bits")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise RefusedScalar("this number is too large")
    return number
